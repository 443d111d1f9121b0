"""Views as HTML: templates, plots and the few files beside them."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jinja2

from jurymast.domain.money import USD, Micros, format_usd
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, ProviderStatus
from jurymast.faces import plots
from jurymast.faces.cli import reading
from jurymast.faces.pictures import reliability
from jurymast.faces.report.writing import duration
from jurymast.faces.view import SPANS, View

SECTIONS: Final = ("now", "providers", "money", "decisions", "failovers", "trends", "events")
"""Parts of the page that are kept fresh, by their ids."""
_TONES: Final = {
    ProviderStatus.HEALTHY: "good",
    ProviderStatus.DEGRADED: "warn",
    ProviderStatus.UNHEALTHY: "bad",
    ProviderStatus.UNKNOWN: "quiet",
    EmergencyMode.NORMAL: "good",
    EmergencyMode.CONSERVATIVE: "warn",
    EmergencyMode.CACHED: "warn",
    EmergencyMode.MINIMAL: "bad",
    EmergencyMode.SUSPENDED: "bad",
    EmergencyMode.KILLED: "bad",
    "active": "good",
    "reducing": "warn",
    "halted": "bad",
    "healthy": "good",
    "suspect": "warn",
    "half_open": "warn",
    "open": "bad",
    "latched": "bad",
    "isolated": "bad",
    "warning": "warn",
    "critical": "bad",
}
_BADGE_COLOURS: Final = {"good": "#2f8f6b", "warn": "#b9851f", "bad": "#c2483b", "quiet": "#7b8790"}


class Pages:
    """Renders. One environment, every value escaped."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("jurymast.faces.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "duration": duration,
            "share": lambda share: "-" if share is None else f"{share:.2%}" if share < 1 else "100%",
            "usd": _usd,
            "clock": lambda at: at.strftime("%H:%M:%S"),
            "day": lambda at: at.strftime("%d %b %H:%M"),
            "words": lambda text: str(text).replace("_", " "),
            "tone": lambda word: _TONES.get(word, "quiet"),
            "contracts": lambda count: f"{count / 100:g}",
            "cents": lambda price: f"{price / 10_000:g}c",
        }

    def page(self, view: View, *, trusted: bool) -> str:
        """The whole page. ``trusted`` shows the controls."""
        return self._render(
            "page.html.j2", view=view, sections=self.sections(view), trusted=trusted, spans=list(SPANS),
            providers=list(ProviderName), modes=list(EmergencyMode),
        )  # fmt: skip

    def sections(self, view: View) -> dict[str, str]:
        """The parts that change, by id."""
        marks: dict[str, Any] = {
            "beats": {each.name: plots.heartbeat(each.bars, each.labels) for each in view.providers},
            "equity": _equity(view),
            "latency": _latency(view),
            "spend": _spend(view),
            "calibration": reliability(view.calibration),
        }
        return {name: self._render(f"{name}.html.j2", view=view, **marks) for name in SECTIONS}

    def status(self, view: View) -> str:
        """The public page: health without money."""
        beats = {each.name: plots.heartbeat(each.bars, each.labels) for each in view.providers}
        return self._render("status.html.j2", view=view, beats=beats, spans=list(SPANS))

    def why(self, directory: Path, ticker: str) -> str:
        """The chain of reasons of a market. Raises JurymastError when there is none."""
        return self._render("why.html.j2", chain=reading.why(directory, ticker))

    def login(self, *, wrong: bool) -> str:
        return self._render("login.html.j2", wrong=wrong)

    def message(self, text: str) -> str:
        return self._render("message.html.j2", text=text)

    def state(self, view: View) -> dict[str, Any]:
        """The same as facts. Money in dollars, durations in seconds."""
        return {
            "at": view.at.isoformat(),
            "running": view.running,
            "fresh": not view.stale,
            "simulated": list(view.simulated),
            "mode": view.mode,
            "state": view.state,
            "sentence": view.sentence,
            "may": view.may,
            "by_hand": list(view.demands),
            "alerts": [
                {
                    "id": each.id,
                    "level": each.level,
                    "cause": each.cause,
                    "text": each.text,
                    "since": each.since.isoformat(),
                    "acknowledged": each.acknowledged_at is not None,
                }
                for each in view.alerts
            ],
            "availability": view.whole.availability,
            "spend_usd": view.whole.cost / USD,
            "equity_usd": view.cycle.equity / USD if view.cycle else None,
            "providers": [
                {
                    "name": each.name,
                    "status": each.status,
                    "uptime": each.uptime,
                    "reason": each.reason,
                    "back_in_secs": each.back_in_secs,
                    "spend_usd": each.tally.cost / USD,
                }
                for each in view.providers
            ],
        }

    def badge(self, view: View, provider: str | None) -> str | None:
        """Ninety days of uptime as a badge; None for a provider that is not known."""
        if provider is None:
            share, name = view.whole.availability, "judgement"
        else:
            found = next((each for each in view.providers if each.name == provider), None)
            if found is None:
                return None
            share, name = found.uptime, found.name
        tone = "quiet" if share is None else "good" if share >= plots.GOOD_UPTIME else "warn"
        tone = "bad" if share is not None and share < plots.FAIR_UPTIME else tone
        text = "no data" if share is None else f"{share:.2%} 90 d"
        return self._render("badge.svg.j2", name=name, text=text, colour=_BADGE_COLOURS[tone])

    @staticmethod
    @cache
    def static(name: str) -> str:
        """A file that pages link to."""
        return resources.files(__package__).joinpath("static", name).read_text(encoding="utf-8")

    def _render(self, template: str, **values: Any) -> str:
        return self._environment.get_template(template).render(**values)


def _usd(amount: Micros | None, places: int = 2, sign: bool = False) -> str:
    return "-" if amount is None else format_usd(amount, places=places, sign=sign)


def _equity(view: View) -> str:
    points = [
        (span.start.timestamp(), span.tally.equity / USD)
        for span in view.past.spans
        if span.tally.equity is not None
    ]
    if view.cycle is not None:
        points.append((view.cycle.at.timestamp(), view.cycle.equity / USD))
    return plots.line(points, unit="$", title="equity", dated=_ends(view))


def _latency(view: View) -> dict[str, str]:
    """The median answer of each provider, span by span."""
    lines = {}
    for each in view.providers:
        points = []
        for span in view.past.spans:
            tally = span.tally.providers.get(each.name)
            median = tally.quantile(0.5) if tally else None
            if median is not None and median < float("inf"):
                points.append((span.start.timestamp(), median))
        if drawn := plots.line(
            points, height=110, title=f"{each.name}, median answer", dated=_ends(view), places=2
        ):
            lines[each.name] = drawn
    return lines


def _spend(view: View) -> str:
    """AI money, added up over the span."""
    points, spent = list[tuple[float, float]](), 0
    for span in view.past.spans:
        spent += span.tally.cost
        points.append(((span.start + span.length).timestamp(), spent / USD))
    return plots.line(points, unit="$", height=130, title="AI money", dated=_ends(view), places=2)


def _ends(view: View) -> list[str]:
    start: datetime = view.at - SPANS[view.span]
    return [start.strftime("%d %b %H:%M"), view.at.strftime("%d %b %H:%M")]
