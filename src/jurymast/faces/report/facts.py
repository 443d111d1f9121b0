"""The facts of a report, ready for JSON: shares from 0 to 1, money in dollars, times in ISO 8601 UTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from jurymast.domain.decision import Rung
from jurymast.domain.events import FailedOver, RunStarted
from jurymast.domain.money import USD, Micros
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, ProviderStatus
from jurymast.faces.heartbeats import heartbeat
from jurymast.faces.pictures import calibration, drawings
from jurymast.journal.history import HistoryFile, Past, Span
from jurymast.journal.queries import JournalReader
from jurymast.policy.history import Incident, ProviderTally, Tally, total

AVAILABILITY_AIM: Final = 0.999
INCIDENTS_SHOWN: Final = 50
FAILOVERS_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Told:
    """A report's facts, the spans they are of, and what is drawn of them."""

    facts: dict[str, Any]
    spans: tuple[Span, ...]
    drawings: dict[str, str]
    """By name: see :mod:`jurymast.faces.pictures`."""


def gather(data_dir: Path, *, until: datetime, days: float) -> Told:
    """Everything a report says of the ``days`` before ``until``. Raises JournalError without a journal."""
    since = until - timedelta(days=days)
    journal = data_dir / "journal.db"
    past = HistoryFile(journal).fresh(since)
    spans = tuple(span for span in past.spans if span.start < until)
    whole = total(span.tally for span in spans)
    with JournalReader(journal) as reader:
        started = reader.last(RunStarted)
        failovers = reader.events([FailedOver], newest_first=True, limit=FAILOVERS_SHOWN)
    facts = {
        "since": since.isoformat(timespec="seconds"),
        "until": until.isoformat(timespec="seconds"),
        "simulated": list(started.simulated) if started else [],
        "running_secs": round(whole.secs, 1),
        "decisions": _decisions(whole),
        "modes": _shares(whole.modes, list(EmergencyMode)),
        "providers": [
            _provider(name, whole.providers[name], spans, since, until)
            for name in ProviderName
            if name in whole.providers
        ],
        "incidents": _incidents(past, since, until),
        "failovers": [
            {
                "at": row.event.at.isoformat(timespec="seconds"),
                "from": str(row.event.from_route or "nobody"),
                "to": str(row.event.to_route or "nobody"),
                "reason": row.event.reason,
            }
            for row in failovers
            if isinstance(row.event, FailedOver) and row.event.at >= since
        ],
        "failovers_total": whole.failovers,
        "spend_usd": _usd(whole.cost),
        "spend_uncertain_usd": _usd(sum(tally.uncertain for tally in whole.providers.values())),
        "calibration": calibration(data_dir, since, until),
        "trading": _trading(whole, spans),
    }
    return Told(facts, spans, drawings(("latency", "spend", "equity"), data_dir, spans, since, until))


def _decisions(whole: Tally) -> dict[str, Any]:
    asked = whole.answered + whole.unanswered
    return {
        "asked": asked,
        "answered": whole.answered,
        "unanswered": whole.unanswered,
        "availability": whole.availability,
        "aim": AVAILABILITY_AIM,
        "by_rung": {rung.value: whole.rungs.get(rung, 0) for rung in Rung},
        "abstained": dict(sorted(whole.abstained.items())),
        "cost_usd": _usd(whole.cost) / asked if asked else None,
    }


def _provider(
    name: ProviderName, tally: ProviderTally, spans: Sequence[Span], since: datetime, until: datetime
) -> dict[str, Any]:
    return {
        "name": name.value,
        "uptime": tally.uptime,
        "secs": {status.value: round(tally.secs.get(status, 0.0), 1) for status in ProviderStatus},
        "sent": tally.sent,
        "answered": tally.answered,
        "failed": tally.failed,
        "overdue": tally.overdue,
        "probes": tally.probes,
        "probes_failed": tally.probes_failed,
        "spend_usd": _usd(tally.cost),
        "p50_secs": tally.quantile(0.5),
        "p95_secs": tally.quantile(0.95),
        "p99_secs": tally.quantile(0.99),
        "bars": heartbeat(spans, name, since, until),
    }


def _incidents(past: Past, since: datetime, until: datetime) -> list[dict[str, Any]]:
    seen_last = min(past.present.at or until, until)

    def told(incident: Incident) -> dict[str, Any]:
        return {
            "provider": incident.provider,
            "started": incident.started.isoformat(timespec="seconds"),
            "ended": incident.ended.isoformat(timespec="seconds") if incident.ended else None,
            "secs": round(incident.secs(seen_last), 1),
            "reason": incident.reason,
        }

    shown = [each for each in past.incidents if each.started < until and (each.ended or until) > since]
    return [told(each) for each in reversed(shown)][:INCIDENTS_SHOWN]


def _trading(whole: Tally, spans: Sequence[Span]) -> dict[str, Any]:
    equities = [span.tally.equity for span in spans if span.tally.equity is not None]
    first, last = (equities[0], equities[-1]) if equities else (None, None)
    return {
        "orders": whole.orders,
        "fills": whole.fills,
        "settled": whole.settled,
        "settled_pnl_usd": _usd(whole.pnl),
        "equity_first_usd": _usd(first),
        "equity_usd": _usd(last),
        "equity_low_usd": _usd(whole.equity_low),
        "equity_high_usd": _usd(whole.equity_high),
        "drawdown": _drawdown(spans),
    }


def _drawdown(spans: Sequence[Span]) -> float | None:
    """Deepest fall below an earlier peak, as a share of it; by hours, so no finer than they are."""
    peak, deepest = 0, 0.0
    for span in spans:
        low, high = span.tally.equity_low, span.tally.equity_high
        if low is None or high is None:
            continue
        if peak > 0:
            deepest = max(deepest, 1 - low / peak)
        peak = max(peak, high)
    return deepest if peak else None


def _shares(secs: dict[str, float], words: Sequence[str]) -> dict[str, float]:
    whole = sum(secs.values())
    return {word: secs.get(word, 0.0) / whole for word in words} if whole else {}


def _usd(amount: Micros | None) -> Any:
    return None if amount is None else amount / USD
