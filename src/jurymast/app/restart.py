"""What the journal remembers of the run before, for the next to go on from."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Final

from jurymast.app.config import Config
from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.events import (
    CanaryFinished,
    CycleFinished,
    DecisionAbstained,
    DecisionMade,
    Event,
    ForecastNoted,
    ForecastScored,
    ModeChanged,
    OpinionStopped,
    PositionSettled,
    ProbeSent,
    RouteChanged,
    RunStarted,
    SecondOpinionGiven,
    ShadowAnswered,
    SizeShareChanged,
    TextCompleted,
)
from jurymast.domain.market import Side
from jurymast.domain.money import PAYOUT, Micros
from jurymast.domain.provider import Route
from jurymast.domain.status import EmergencyMode
from jurymast.journal.queries import JournalReader
from jurymast.journal.sqlite import SqliteJournal
from jurymast.policy.cached import OPINIONS_MAX, Opinions
from jurymast.policy.detector import RouteHealth, revive
from jurymast.policy.interlocks import SettledForecast
from jurymast.policy.ladder import turns
from jurymast.policy.records import ForecastRecords
from jurymast.policy.restart import Earlier
from jurymast.ports import Clock

_PAID: Final = (
    DecisionMade,
    DecisionAbstained,
    ProbeSent,
    ShadowAnswered,
    SecondOpinionGiven,
    CanaryFinished,
    TextCompleted,
)
FORECASTS_READ_MAX: Final = 5_000
"""Of forecasts noted, and of those scored, the newest: a start stays fast whatever the journal's age."""
STOPS_READ_MAX: Final = 1_000


def earlier_run(journal: SqliteJournal, clock: Clock, config: Config) -> Earlier:
    """What the run before left: a restart is no evidence that judgement is better, nor new money."""
    now, wall = clock.monotonic(), clock.utc_now()
    healths: dict[Route, RouteHealth] = {}
    for recorded in journal.read((RouteChanged,)):
        if isinstance(event := recorded.event, RouteChanged):
            healths[event.route] = revive(event.new, event.reason, now, config.detector)
    with JournalReader(config.journal_path) as reader:
        last = reader.last(ModeChanged)
        window = timedelta(seconds=config.ladder.flap_window_secs)
        moved = [recorded.event for recorded in reader.since(wall - window, (ModeChanged,))]
        share = reader.last(SizeShareChanged)
        opinions = Opinions()
        said = reader.events([DecisionMade, DecisionAbstained], newest_first=True, limit=2 * OPINIONS_MAX)
        for recorded in reversed(said):
            opinions.apply(recorded.event)
        midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
        paid = [] if config.budget_path.exists() else reader.since(midnight, _PAID)
    return Earlier(
        mode=last.new if last is not None else EmergencyMode.NORMAL,
        mode_changes=turns(
            (now - (wall - event.at).total_seconds(), event.old, event.new)
            for event in reversed(moved)
            if isinstance(event, ModeChanged)
        ),
        opinions=opinions.all(),
        size_share=share.new if share is not None else 1.0,
        healths=healths,
        spent=sum(_cost(recorded.event) for recorded in paid),
    )


def forecast_records(config: Config) -> ForecastRecords:
    """What every model has said and what became of it, as far back as a start reads."""
    records = ForecastRecords(trusted=config.quality.trusted)
    with JournalReader(config.journal_path) as reader:
        newest = [
            reader.events([kind], newest_first=True, limit=limit)
            for kind, limit in (
                (ForecastNoted, FORECASTS_READ_MAX),
                (ForecastScored, FORECASTS_READ_MAX),
                (OpinionStopped, STOPS_READ_MAX),
                (CanaryFinished, STOPS_READ_MAX),
            )
        ]
    for recorded in sorted(itertools.chain(*newest), key=lambda recorded: recorded.seq):
        records.apply(recorded.event)
    return records


def last_cycle(config: Config) -> CycleFinished | None:
    """The last cycle of the runs before: the day and what its loss is counted from."""
    with JournalReader(config.journal_path) as reader:
        return reader.last(CycleFinished)


def settled_forecasts(journal: SqliteJournal) -> list[SettledForecast]:
    """Forecasts on real money whose markets have paid out since: the last before the payout of each."""
    real, last, settled = False, dict[str, DecisionMade](), list[SettledForecast]()
    for recorded in journal.read((RunStarted, DecisionMade, PositionSettled)):
        match event := recorded.event:
            case RunStarted():
                real = not event.simulated
            case DecisionMade(decision=decision) if real:
                last[decision.ticker] = event
            case PositionSettled(settlement=payout) if payout.ticker in last:
                decision = last.pop(payout.ticker).decision
                market = decision.market_price / PAYOUT
                settled.append(
                    SettledForecast(decision.forecast.probability, market, payout.result is Side.YES)
                )
            case _:
                pass
    return settled


def _cost(event: Event) -> Micros:
    """AI money an event tells of, in micro-dollars, with what may yet be billed."""
    match event:
        case DecisionMade():
            return event.decision.cost + _uncertain(event.decision)
        case DecisionAbstained():
            return event.abstain.cost + _uncertain(event.abstain)
        case ProbeSent() | ShadowAnswered() | SecondOpinionGiven() | CanaryFinished():
            return event.cost
        case TextCompleted():
            return event.cost + event.uncertain
        case _:
            return 0


def _uncertain(outcome: Decision | Abstain) -> Micros:
    return sum(attempt.uncertain for attempt in outcome.attempts)
