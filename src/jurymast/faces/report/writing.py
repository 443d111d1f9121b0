"""A report's facts as a page of their own, or as Markdown."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import jinja2

from jurymast.faces import plots
from jurymast.faces.heartbeats import BARS
from jurymast.faces.pictures import reliability
from jurymast.faces.report.facts import Told

HOUR_SECS: Final = 3_600.0
DAY_SECS: Final = 86_400.0
_MODE_COLOURS: Final = {"normal": "good", "conservative": "warn", "cached": "warn"}
_RUNG_COLOURS: Final = {"primary": "good", "failover": "good", "local": "warn", "cached": "warn"}


def html(told: Told) -> str:
    """One page that needs nothing else: no script, no font, no picture from anywhere."""
    facts = told.facts
    since, until = datetime.fromisoformat(facts["since"]), datetime.fromisoformat(facts["until"])
    labels = _labels(since, until)
    decisions = facts["decisions"]
    counts = decisions["by_rung"] | decisions["abstained"]
    asked = sum(counts.values())
    return _environment(autoescape=True).get_template("report.html.j2").render(
        facts=facts,
        beats={each["name"]: plots.heartbeat(each["bars"], labels) for each in facts["providers"]},
        rungs=plots.shares(
            [(name, count / asked, _RUNG_COLOURS.get(name, "quiet")) for name, count in counts.items()]
        )
        if asked
        else "",
        modes=plots.shares(
            [(mode, share, _MODE_COLOURS.get(mode, "bad")) for mode, share in facts["modes"].items()]
        ),
        drawn=told.drawings | {"calibration": reliability(facts["calibration"])},
    )  # fmt: skip


def markdown(told: Told) -> str:
    """The same without plots."""
    return _environment(autoescape=False).get_template("report.md.j2").render(facts=told.facts)


def _labels(since: datetime, until: datetime) -> list[str]:
    step = (until - since) / BARS
    form = "%Y-%m-%d" if step >= timedelta(days=1) else "%Y-%m-%d %H:%M"
    return [(since + place * step).strftime(form) for place in range(BARS)]


def _environment(*, autoescape: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jurymast.faces.report", "."),
        autoescape=autoescape,  # noqa: S701 (off for Markdown alone)
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "minute": lambda text: text[:16].replace("T", " "),
        "duration": duration,
        "share": _share,
        "usd": _usd,
        "secs": _secs,
        "words": lambda text: text.replace("_", " "),
        "cell": lambda text: " ".join(text.split()).replace("|", "/"),
    }
    return environment


def duration(secs: float) -> str:
    """Time as people say it, in two units at most: ``3 d 4 h``, ``12 min``, ``8 s``."""
    minutes, rest = divmod(round(secs), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((place for place, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}" if share < 1 else "100%"


def _usd(amount: float | None, places: int = 2, sign: bool = False) -> str:
    if amount is None:
        return "-"
    mark = "-" if amount < 0 else "+" if sign else ""
    return f"{mark}${abs(amount):,.{places}f}"


def _secs(secs: float | None) -> str:
    return "-" if secs is None else f"{secs:.2g} s" if secs < 1 else f"{secs:.0f} s" if secs < 1e9 else "more"


def plain(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts for JSON: an answer's time beyond the last bucket has no number."""
    for provider in facts["providers"]:
        for name in ("p50_secs", "p95_secs", "p99_secs"):
            if provider[name] == float("inf"):
                provider[name] = None
    return facts
