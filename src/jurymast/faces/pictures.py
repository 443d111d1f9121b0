"""Pictures of the past, each as rows, as a drawing in SVG, and as lines for a terminal.

Made from the history beside the journal, and the calibration from scored forecasts. Times are parts of equal
length of the days told of, oldest first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jurymast.domain.events import ForecastScored, RunStarted
from jurymast.domain.money import USD
from jurymast.faces import plots
from jurymast.faces.heartbeats import block, heartbeat
from jurymast.journal.history import HistoryFile, Span
from jurymast.journal.queries import JournalReader
from jurymast.policy.history import Tally, total

PARTS: Final = 60
BINS: Final = 10
CALIBRATION: Final = "what models said against what came"
_STYLE: Final = """<style>
svg { --good: #2e9e5b; --warn: #c98a1b; --bad: #d0443e; --quiet: #9aa3ad; --line: #d9dee3; --ink: #2b6cb0;
  --series-1: #c05621; --series-2: #6b46c1; --series-3: #2c7a7b; background: #ffffff; }
text { font: 11px system-ui, sans-serif; fill: #3c4650; }
@media (prefers-color-scheme: dark) {
  svg { --line: #39424b; --ink: #63a4e0; --series-1: #e8915a; --series-2: #b49aee; --series-3: #5fc4c4;
    background: #14181c; }
  text { fill: #c9d1d9; }
}
</style>"""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture. ``drawing`` is empty when there is nothing to draw yet."""

    title: str
    rows: list[dict[str, Any]]
    drawing: str
    lines: list[str]
    simulated: tuple[str, ...] = ()

    def svg(self) -> str:
        """A file of its own, light or dark as the reader likes it."""
        inner = self.drawing.partition(">")
        head = inner[0].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        return f"{head}>{_STYLE}{inner[2]}\n"


@dataclass(frozen=True, slots=True)
class _Past:
    """What pictures are made of."""

    data_dir: Path
    spans: tuple[Span, ...]
    since: datetime
    until: datetime

    @property
    def names(self) -> list[str]:
        return sorted({name for span in self.spans for name in span.tally.providers})

    @property
    def paid(self) -> list[str]:
        """Those that have cost anything."""
        return [name for name in self.names if any(span.tally.of(name).cost for span in self.spans)]

    @property
    def parts(self) -> list[tuple[datetime, Tally | None]]:
        """Equal parts of the time with what happened in each; None where nothing is known."""
        width = (self.until - self.since) / PARTS
        held: list[list[Tally]] = [[] for _ in range(PARTS)]
        for span in self.spans:
            held[min(PARTS - 1, max(0, (span.start - self.since) // width))].append(span.tally)
        return [
            (self.since + place * width, total(each) if each else None) for place, each in enumerate(held)
        ]

    @property
    def dated(self) -> list[str]:
        return [self.since.isoformat()[:10], self.until.isoformat()[:10]]


def picture(name: str, data_dir: Path, *, since: datetime, until: datetime) -> Picture:
    """One of :data:`PICTURES`. Raises KeyError for another, JournalError without a journal."""
    draw = PICTURES[name]  # before anything is read
    journal = data_dir / "journal.db"
    spans = tuple(span for span in HistoryFile(journal).fresh(since).spans if span.start < until)
    made = draw(_Past(data_dir, spans, since, until))
    with JournalReader(journal) as reader:
        started = reader.last(RunStarted)
    simulated = started.simulated if started else ()
    return Picture(made.title, made.rows, made.drawing, made.lines, simulated)


def drawings(
    names: Iterable[str], data_dir: Path, spans: Sequence[Span], since: datetime, until: datetime
) -> dict[str, str]:
    """Some of the pictures from spans that are read already, for a page that has the colours."""
    past = _Past(data_dir, tuple(spans), since, until)
    return {name: PICTURES[name](past).drawing for name in names}


def _uptime(past: _Past) -> Picture:
    """Bars under each other, one row a provider."""
    rows, drawings, lines = list[dict[str, Any]](), list[str](), list[str]()
    whole = total(span.tally for span in past.spans)
    for number, name in enumerate(past.names):
        bars = heartbeat(past.spans, name, past.since, past.until, PARTS)
        uptime = whole.of(name).uptime
        rows += [
            {"at": at.isoformat(), "provider": name, "uptime": bar}
            for (at, _), bar in zip(past.parts, bars, strict=True)
        ]
        said = "nothing known" if uptime is None else f"{uptime:.2%}"
        inner = plots.heartbeat(bars, [at.isoformat()[:16] for at, _ in past.parts])
        body = inner[inner.index(">") + 1 : inner.rindex("</svg>")]
        y = 18 + number * 58
        drawings.append(
            f'<text x="0" y="{y - 4}">{name} {said}</text><g transform="translate(0 {y})">{body}</g>'
        )
        lines.append(f"{name:<10} {''.join('·' if bar is None else block(bar) for bar in bars)} {said}")
    height = max(1, len(drawings)) * 58
    drawing = (
        f'<svg viewBox="0 0 {plots.WIDTH} {height}" role="img" aria-label="uptime">{"".join(drawings)}</svg>'
    )
    return Picture("uptime by provider", rows, drawing if drawings else "", lines)


def _latency(past: _Past) -> Picture:
    """The 95th percentile of each provider's answers."""

    def p95(tally: Tally, name: str) -> float | None:
        secs = tally.of(name).quantile(0.95) if name in tally.providers else None
        return None if secs is None or secs == float("inf") else secs

    return _lined(past, "seconds within which 95 % of answers came", "p95_secs", p95, past.names, "", 1)


def _equity(past: _Past) -> Picture:
    def equity(tally: Tally, _: str) -> float | None:
        return None if tally.equity is None else tally.equity / USD

    return _lined(past, "equity", "equity_usd", equity, ["equity"], "$", 0)


def _availability(past: _Past) -> Picture:
    """Questions that a provider answered, of those that were asked of one."""

    def share(tally: Tally, _: str) -> float | None:
        return None if tally.availability is None else tally.availability * 100

    return _lined(past, "% of questions answered", "answered_pct", share, ["answered"], "", 1, 100.0)


def _lined(
    past: _Past,
    title: str,
    what: str,
    value: Callable[[Tally, str], float | None],
    names: Sequence[str],
    unit: str,
    places: int,
    most: float | None = None,
) -> Picture:
    series: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    rows, lines = list[dict[str, Any]](), list[str]()
    for name in names:
        told: list[float | None] = []
        for at, tally in past.parts:
            known = None if tally is None else value(tally, name)
            told.append(known)
            if known is not None:
                series[name].append((at.timestamp(), known))
                rows.append({"at": at.isoformat(), "name": name, what: known})
        last = next((each for each in reversed(told) if each is not None), None)
        if last is not None:
            lines.append(f"{name:<10} {_spark(told)} {unit}{last:,.{places}f}")
    drawing = plots.lines(series, unit=unit, title=title, dated=past.dated, places=places, most=most)
    return Picture(title, rows, drawing, lines)


def _spend(past: _Past) -> Picture:
    """AI money by provider, a column for each part of the time."""
    parts: list[tuple[str, Mapping[str, float]]] = []
    rows, lines = list[dict[str, Any]](), list[str]()
    for at, tally in past.parts:
        amounts = {
            name: tally.of(name).cost / USD if tally and name in tally.providers else 0.0
            for name in past.paid
        }
        parts.append((at.isoformat()[:16], amounts))
        rows += [{"at": at.isoformat(), "provider": n, "spend_usd": usd} for n, usd in amounts.items() if usd]
    for name in past.paid:
        each = [amounts[name] for _, amounts in parts]
        if any(each):
            lines.append(f"{name:<10} {_spark(each)} ${sum(each):,.4f}")
    drawing = plots.columns(parts, unit="$", title="AI money by provider", places=4)
    return Picture("AI money by provider", rows, drawing, lines)


def calibration(data_dir: Path, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """What models said against what came, in bins of ten percents: their first forecast of each market that
    has resolved in that time."""
    said: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    with JournalReader(data_dir / "journal.db") as reader:
        for recorded in reader.scan([ForecastScored], after_seq=reader.seq_before(since)):
            event = recorded.event
            if isinstance(event, ForecastScored) and event.yes is not None and since <= event.at < until:
                probability = event.record.probability_pct / 100
                said[min(BINS - 1, int(probability * BINS))].append((probability, event.yes))
    return [
        {
            "said": _mean(probability for probability, _ in each),
            "came": _mean(float(yes) for _, yes in each),
            "forecasts": len(each),
        }
        for each in said
        if each
    ]


def reliability(rows: Iterable[Mapping[str, Any]]) -> str:
    """The same as a drawing, empty without any."""
    bins = [(row["said"], row["came"], row["forecasts"]) for row in rows]
    return plots.reliability(bins, title=CALIBRATION) if bins else ""


def _calibration(past: _Past) -> Picture:
    rows = calibration(past.data_dir, past.since, past.until)
    lines = [
        f"said {row['said']:>4.0%}  came {row['came']:>4.0%}  {'█' * round(row['came'] * 30):<30} "
        f"{row['forecasts']} forecasts"
        for row in rows
    ]
    return Picture(CALIBRATION, rows, reliability(rows), lines)


PICTURES: Final[Mapping[str, Callable[[_Past], Picture]]] = {
    "uptime": _uptime,
    "availability": _availability,
    "latency": _latency,
    "spend": _spend,
    "equity": _equity,
    "calibration": _calibration,
}


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known)


def _spark(values: Sequence[float | None]) -> str:
    """Values as blocks between their own least and most."""
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    room = (high - low) or 1.0
    return "".join(
        "·" if value is None else block((value - low) / room if high > low else 0.5) for value in values
    )
