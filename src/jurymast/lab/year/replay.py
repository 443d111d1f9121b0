"""One seed from its first listing to the end of its time: every policy through the same year.

Each market has its turns, ``PACE_SECS`` apart and at its own minute, so that an outage meets as large a share
of them as it is long. A market out of the band of prices that nobody holds is looked at again after a day.
When the questions stop, and when MINIMAL begins, markets that mattered at their last turn are looked at at
once. Between turns nothing happens: what is missed by it, everybody misses.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from jurymast.domain.decision import Decision
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import PAYOUT, Micros
from jurymast.domain.portfolio import Exposure
from jurymast.domain.status import EmergencyMode
from jurymast.exchange.questions import Question
from jurymast.lab.emulators.chance import uniform
from jurymast.lab.year.account import Earned
from jurymast.lab.year.listings import START, YEAR, Listing, listed
from jurymast.lab.year.market import HORIZON_SECS, NORMAL, Markets
from jurymast.lab.year.outages import Outages, Status, lived_through, routes, scheduled
from jurymast.lab.year.policies import POLICIES, Look, Policy, Trader
from jurymast.policy.emergency import TABLE
from jurymast.policy.screening import ScreenReason, screen
from jurymast.policy.sizing import Sized, size

PACE_SECS: Final = 6 * 3_600.0
REACTION_SECS: Final = 1.0
"""Markets are looked at so long after the mode has changed."""
DAY: Final = timedelta(days=1)
ENDLESS: Final = 10**12 * PAYOUT
_ANYBODY: Final = Exposure(equity=ENDLESS, cash=ENDLESS, positions={}, by_market={}, by_event={})
"""Who could afford anything: what is not worth an entry to them is worth one to nobody."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``outages`` is how many times as often as recorded, ``longer`` how many times as long."""

    seed: int = 0
    years: float = 1.0
    outages: int = 1
    longer: float = 1.0


@dataclass(slots=True)
class Outcome:
    """What one policy came to. ``equities`` are those of each midnight and of the end, in micro-dollars."""

    start: Micros
    equities: list[Micros] = field(default_factory=list)
    earned: Earned = field(default_factory=Earned)
    imbalance: Micros = 0

    @property
    def pnl(self) -> Micros:
        return self.equities[-1] - self.start


@dataclass(frozen=True, slots=True)
class Lived:
    """One seed, by policy. ``secs_in`` is how long each mode of the ladder held, ``blind`` how often
    questions stopped."""

    scenario: Scenario
    outcomes: dict[str, Outcome]
    secs_in: dict[EmergencyMode, float]
    blind: int
    violations: int


class _Kind(IntEnum):
    """What comes first of what falls on the same instant."""

    SETTLEMENT = 0
    MIDNIGHT = 1
    ROUND = 2
    TURN = 3


def live(scenario: Scenario, questions: Sequence[Question], policies: Sequence[Policy] = POLICIES) -> Lived:
    """Let every policy live through the year of a scenario."""
    schedule = scheduled(
        scenario.seed, scenario.years, outages=scenario.outages, longer=scenario.longer
    )  # fmt: skip
    outages = lived_through(scenario.seed, schedule)
    year = _Year(scenario, questions, outages, [Trader(policy) for policy in policies])
    year.run()
    return Lived(
        scenario,
        year.outcomes,
        dict(outages.secs_in()),
        sum(_stopped(one.mode, other.mode) for one, other in itertools.pairwise(outages)),
        outages.violations,
    )


class _Year:
    """A heap of what comes, in exchange time."""

    def __init__(
        self, scenario: Scenario, questions: Sequence[Question], outages: Outages, traders: list[Trader]
    ) -> None:
        self.traders = traders
        self.outcomes = {each.policy.name: Outcome(each.account.start) for each in traders}
        self._seed = scenario.seed
        self._end = START + scenario.years * YEAR
        self._outages = outages
        self._listings = listed(questions, scenario.seed, scenario.years)
        self._by_ticker = {listing.question.ticker: listing for listing in self._listings}
        self._markets = Markets([listing.question for listing in self._listings], scenario.seed)
        self._first = routes()[0]
        self._kept: dict[str, tuple[float, Decision | None]] = {}
        self._watched: dict[str, Listing] = {}
        """Markets that were worth a question, or held, at their last turn."""
        self._heap: list[tuple[datetime, _Kind, int, Listing | None]] = []
        self._serial = itertools.count()

    def run(self) -> None:
        """From the first listing to the end."""
        for listing in self._listings:
            question = listing.question
            wait = timedelta(seconds=PACE_SECS * uniform(self._seed, "turn", question.ticker))
            horizon = question.close_time - timedelta(seconds=HORIZON_SECS)
            self._push(max(question.listed_at, horizon) + wait, _Kind.TURN, listing)
            self._push(question.resolves_at, _Kind.SETTLEMENT, listing)
        for status in _rounds(self._outages):
            self._push(START + timedelta(seconds=status.since + REACTION_SECS), _Kind.ROUND, None)
        day = START + DAY
        while day < self._end:
            self._push(day, _Kind.MIDNIGHT, None)
            day += DAY
        while self._heap and self._heap[0][0] < self._end:
            now, kind, _, due = heapq.heappop(self._heap)
            if kind is _Kind.MIDNIGHT:
                self._midnight(now)
            elif kind is _Kind.ROUND:
                self._round(now)
            elif kind is _Kind.SETTLEMENT and due is not None:
                self._settle(due, now)
            elif due is not None:
                self._turn(due, now)
        self._close()

    def _push(self, at: datetime, kind: _Kind, listing: Listing | None) -> None:
        heapq.heappush(self._heap, (at, kind, next(self._serial), listing))

    def _status(self, now: datetime) -> Status:
        return self._outages.at((now - START).total_seconds())

    # What comes

    def _turn(self, listing: Listing, now: datetime) -> None:
        if now >= listing.question.resolves_at:
            return
        snapshot = self._markets.at(listing.question, now)
        screened = screen(snapshot, NORMAL, HORIZON_SECS)
        held = any(trader.account.position(snapshot.ticker) for trader in self.traders)
        wait = timedelta(seconds=PACE_SECS)
        self._watched.pop(snapshot.ticker, None)
        if screened is None or held:
            self._watched[snapshot.ticker] = listing
            self._show(listing, snapshot, self._status(now), asked=screened is None)
        elif screened.reason is ScreenReason.PRICE_OUT_OF_BAND:
            wait = DAY
        self._push(now + wait, _Kind.TURN, listing)

    def _round(self, now: datetime) -> None:
        """The mode has just stopped the questions, or become MINIMAL: look at every market that matters."""
        status = self._status(now)
        for listing in self._watched.values():
            self._show(listing, self._markets.at(listing.question, now), status, asked=False)

    def _show(self, listing: Listing, snapshot: MarketSnapshot, status: Status, *, asked: bool) -> None:
        """Let everybody look. ``asked``: the market is worth a question."""
        fresh = ceiling = kept = None
        if asked:
            ceiling = fresh = self._markets.opinion(snapshot, self._first)
        if status.blind:
            fresh, kept = None, self._last_opinion(listing.question, snapshot.as_of)
        elif fresh is not None and status.answers is not None and status.answers is not self._first:
            fresh = self._markets.opinion(snapshot, status.answers)
        ceiling_worth = _worth(ceiling, snapshot)
        fresh_worth = ceiling_worth if fresh is ceiling else _worth(fresh, snapshot)
        look = Look(snapshot, listing.event, status, fresh, ceiling, kept, fresh_worth, ceiling_worth)
        for trader in self.traders:
            trader.look(look)

    def _last_opinion(self, question: Question, now: datetime) -> Decision | None:
        found = self._outages.last_answer((now - START).total_seconds())
        if found is None:
            return None
        at, place = found
        known = self._kept.get(question.ticker)
        if known is None or known[0] != at:
            opinion = self._markets.last_opinion(question, START + timedelta(seconds=at), place)
            known = self._kept[question.ticker] = (at, opinion)
        return known[1]

    def _settle(self, listing: Listing, now: datetime) -> None:
        self._kept.pop(listing.question.ticker, None)
        self._watched.pop(listing.question.ticker, None)
        for trader in self.traders:
            trader.account.settle(listing.question.ticker, listing.question.outcome, now)

    def _midnight(self, now: datetime) -> None:
        held = sorted({ticker for trader in self.traders for ticker in trader.account.held})
        for ticker in held:
            snapshot = self._markets.at(self._by_ticker[ticker].question, now)
            for trader in self.traders:
                trader.account.mark(snapshot)
        for trader in self.traders:
            trader.midnight()
            outcome = self.outcomes[trader.policy.name]
            outcome.equities.append(trader.account.equity)
            outcome.imbalance = max(outcome.imbalance, abs(trader.account.imbalance))

    def _close(self) -> None:
        self._midnight(self._end)
        for trader in self.traders:
            trader.account.close()
            self.outcomes[trader.policy.name].earned = trader.account.earned


def _rounds(outages: Outages) -> Iterator[Status]:
    """When the ladder stops the questions, and when it comes to MINIMAL or beyond from a better mode."""
    worst, before = EmergencyMode.MINIMAL.severity, EmergencyMode.NORMAL
    for status in outages:
        if _stopped(before, status.mode) or before.severity < worst <= status.mode.severity:
            yield status
        before = status.mode


def _stopped(before: EmergencyMode, after: EmergencyMode) -> bool:
    """Whether questions stop with this change of the mode."""
    return TABLE[before].ask_ai and not TABLE[after].ask_ai


def _worth(decision: Decision | None, snapshot: MarketSnapshot) -> bool:
    """Whether anybody at all would enter on it. Safer modes want more of an edge and see less of it."""
    return decision is not None and isinstance(size(decision, snapshot, _ANYBODY, NORMAL), Sized)
