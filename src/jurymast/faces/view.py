"""What page and terminal show, read from a data directory's files. Nothing here writes or asks the bot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from jurymast.app import alerts, live
from jurymast.app.clock import SystemClock
from jurymast.app.control import ControlFile
from jurymast.app.live import Live
from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.errors import JournalError
from jurymast.domain.events import (
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    Event,
    FailedOver,
    ForecastNoted,
    ForecastScored,
    MarketScreened,
    OrderIntended,
    ProbeSent,
    RouteChanged,
    RunStarted,
    ShadowAnswered,
    TradeDeclined,
)
from jurymast.domain.provider import ProviderName
from jurymast.domain.status import EmergencyMode, ProviderStatus, RouteReport, RouteState, TradingState
from jurymast.faces.cli.narration import describe
from jurymast.faces.heartbeats import heartbeat
from jurymast.faces.pictures import calibration
from jurymast.journal import codec
from jurymast.journal.history import HistoryFile, Past
from jurymast.journal.queries import JournalReader
from jurymast.policy.alerts import Trouble
from jurymast.policy.demands import sentences
from jurymast.policy.history import Present, ProviderTally, Tally, total

STALE_SECS: Final = 10.0
DECISIONS_SHOWN: Final = 15
FAILOVERS_SHOWN: Final = 12
EVENTS_SHOWN: Final = 40
SPANS: Final = {"24h": timedelta(days=1), "7d": timedelta(days=7), "90d": timedelta(days=90)}
BARS: Final = 60
PAST_SECS: Final = {"24h": 5.0, "7d": 20.0, "90d": 20.0}
"""How old the history on a page may be, by its span: a day's money is looked at beside what is left of it."""
_NOISE: Final = (
    CycleFinished, ForecastNoted, ForecastScored, MarketScreened, ProbeSent, RouteChanged, ShadowAnswered
)  # fmt: skip
_TOLD: Final = tuple(kind for kind in codec.KINDS.values() if kind not in _NOISE)


@dataclass(frozen=True, slots=True)
class ProviderView:
    """One provider as a card."""

    name: str
    status: ProviderStatus
    routes: tuple[RouteReport, ...]
    bars: tuple[float | None, ...]
    labels: tuple[str, ...]
    uptime: float | None
    tally: ProviderTally

    @property
    def reason(self) -> str:
        return next((route.reason for route in self.routes if route.state is not RouteState.HEALTHY), "")

    @property
    def back_in_secs(self) -> float | None:
        """Until the next look whether it is well again."""
        waits = [route.retry_in_secs for route in self.routes if route.retry_in_secs is not None]
        return min(waits, default=None)


@dataclass(frozen=True, slots=True)
class View:
    """Everything on the page, at ``at``."""

    at: datetime
    span: str
    live: Live | None
    running: bool
    cycle: CycleFinished | None
    demands: tuple[str, ...]
    halted: bool
    providers: tuple[ProviderView, ...]
    whole: Tally
    past: Past
    decisions: tuple[dict[str, Any], ...]
    failovers: tuple[FailedOver, ...]
    events: tuple[tuple[datetime, str, str], ...]
    simulated: tuple[str, ...]
    alerts: tuple[Trouble, ...] = ()
    """Open ones, worst first."""
    calibration: tuple[dict[str, Any], ...] = ()

    @property
    def stale(self) -> bool:
        """Whether what the bot said of itself last is old."""
        return self.live is None or (self.at - self.live.at).total_seconds() > STALE_SECS

    @property
    def mode(self) -> EmergencyMode | None:
        if self.live is not None and not self.stale:
            return self.live.status.mode
        return self.cycle.mode if self.cycle else None

    @property
    def state(self) -> TradingState | None:
        if self.halted:
            return TradingState.HALTED
        if self.live is not None and not self.stale:
            return self.live.state
        return self.cycle.state if self.cycle else None

    @property
    def sentence(self) -> str:
        """The state of judgement in one sentence, for whoever has two seconds."""
        if not self.running:
            return "The bot is not running."
        if self.stale or self.live is None:
            return "The bot runs and says nothing: it starts, it hangs, or its disk is full."
        out = [p.name for p in self.providers if p.status is ProviderStatus.UNHEALTHY]
        active = self.live.status.active_route
        if active is None:
            return "Nobody has answered yet." if not out else f"Out: {', '.join(out)}. Nobody answers."
        answers = f"{active.provider} answers with {active.model}."
        return f"Out: {', '.join(out)}. {answers}" if out else f"All is well. {answers}"

    @property
    def may(self) -> str:
        """What trading may do, in one sentence."""
        if not self.running:
            return ""
        match self.state:
            case None:
                return ""
            case TradingState.HALTED:
                return "Nothing is sent. Positions are held."
            case TradingState.REDUCING:
                return "No new risk. Positions may be closed."
            case _ if self.mode in {EmergencyMode.NORMAL, EmergencyMode.CONSERVATIVE, EmergencyMode.CACHED}:
                share = self.live.size_share if self.live else 1.0
                sized = "" if share >= 1.0 else f", at {share:.0%} of the size"
                return f"New positions are taken{sized}."
            case _:
                return "No new risk in this mode. Positions may be closed by rule."


class Viewer:
    """Makes views of one data directory. Not for several threads at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._control = ControlFile(directory, SystemClock())
        self._history = HistoryFile(directory / "journal.db")
        self._pasts: dict[str, tuple[datetime, Past]] = {}
        self._calibrations: dict[str, tuple[datetime, tuple[dict[str, Any], ...]]] = {}

    def view(self, span: str = "24h") -> View:
        """How things stand now; without a journal as well."""
        now = datetime.now(UTC)
        demands = self._control.demands()
        told = sentences(demands, now)
        halted = demands.floor is TradingState.HALTED
        present = live.read(self.directory)
        try:
            with JournalReader(self.directory / "journal.db") as journal:
                return self._from(journal, now, span, present, told, halted=halted)
        except JournalError:
            return View(
                now, span, present, False, None, told, halted, (), Tally(), _NO_PAST, (), (), (), ()
            )  # fmt: skip

    def _from(
        self,
        journal: JournalReader,
        now: datetime,
        span: str,
        present: Live | None,
        told: tuple[str, ...],
        *,
        halted: bool,
    ) -> View:
        started = journal.last(RunStarted)
        past = self._past(span, now)
        since = now - SPANS[span]
        failovers = journal.events([FailedOver], newest_first=True, limit=FAILOVERS_SHOWN)
        feed = journal.events(_TOLD, newest_first=True, limit=EVENTS_SHOWN)
        return View(
            at=now,
            span=span,
            live=present,
            running=journal.writer_pid() is not None,
            cycle=journal.last(CycleFinished),
            demands=told,
            halted=halted,
            providers=self._providers(present, past, since, now),
            whole=total(each.tally for each in past.spans),
            past=past,
            decisions=tuple(_decisions(journal)),
            failovers=tuple(row.event for row in failovers if isinstance(row.event, FailedOver)),
            events=tuple(_lines(row.event for row in feed)),
            simulated=started.simulated if started else (),
            alerts=(alerts.read(self.directory) or alerts.AlertState()).alerts.open,
            calibration=self._calibration(span, now),
        )

    def _calibration(self, span: str, now: datetime) -> tuple[dict[str, Any], ...]:
        kept = self._calibrations.get(span)
        if kept is None or (now - kept[0]).total_seconds() > PAST_SECS[span]:
            rows = tuple(calibration(self.directory, now - SPANS[span], now))
            kept = self._calibrations[span] = now, rows
        return kept[1]

    def _past(self, span: str, now: datetime) -> Past:
        kept = self._pasts.get(span)
        if kept is None or (now - kept[0]).total_seconds() > PAST_SECS[span]:
            kept = self._pasts[span] = now, self._history.past(now - SPANS[span])
        return kept[1]

    def _providers(
        self, present: Live | None, past: Past, since: datetime, now: datetime
    ) -> tuple[ProviderView, ...]:
        whole = total(each.tally for each in past.spans)
        statuses = dict(past.present.statuses)
        routes: tuple[RouteReport, ...] = ()
        if present is not None:
            statuses |= {name.value: status for name, status in present.status.providers.items()}
            routes = present.status.routes
        step = (now - since) / BARS
        labels = tuple((since + place * step).strftime("%d %b %H:%M") for place in range(BARS))
        return tuple(
            ProviderView(
                name=name.value,
                status=ProviderStatus(statuses[name]),
                routes=tuple(each for each in routes if each.route.provider is name),
                bars=tuple(heartbeat(past.spans, name, since, now, BARS)),
                labels=labels,
                uptime=whole.of(name).uptime,
                tally=whole.of(name),
            )
            for name in ProviderName
            if name in statuses
        )


def _decisions(journal: JournalReader) -> list[dict[str, Any]]:
    rows = journal.events([DecisionMade, DecisionAbstained], newest_first=True, limit=DECISIONS_SHOWN)
    shown = []
    for row in rows:
        match row.event:
            case DecisionMade(decision=decision):
                shown.append(_told(decision, _outcome(journal, decision)))
            case DecisionAbstained(abstain=abstain):
                shown.append(_told(abstain, abstain.reason.replace("_", " ")))
            case _:
                pass
    return shown


def _told(source: Decision | Abstain, outcome: str) -> dict[str, Any]:
    return {
        "at": source.decided_at,
        "ticker": source.ticker,
        "rung": source.rung.value,
        "by": str(source.route) if source.route else "nobody",
        "ours": source.forecast.probability_pct if isinstance(source, Decision) else None,
        "market": source.market_price // 10_000 if source.market_price else None,
        "secs": source.secs,
        "cost": source.cost,
        "outcome": outcome,
    }


def _outcome(journal: JournalReader, decision: Decision) -> str:
    for row in journal.events(decision_id=decision.decision_id, limit=20):
        match row.event:
            case OrderIntended(intent=intent):
                return f"{intent.action} {intent.side}"
            case TradeDeclined(reason=reason):
                return reason.replace("_", " ")
            case _:
                pass
    return "-"


def _lines(events: Iterable[Event]) -> list[tuple[datetime, str, str]]:
    described = ((event.at, describe(event)) for event in events)
    return [(at, *told) for at, told in described if told is not None]


_NO_PAST: Final = Past((), (), Present())
