"""The embedded exchange in one process: the engine, its crowd, its clock and its file; SIMULATED.

Exchange time runs ``speed`` times as fast as the clock and never backwards. It stands still while the
exchange is down; only when it was ``aligned`` with the wall clock and runs at its pace it goes on
meanwhile, as a real exchange does.

Markets are simulated in depth while somebody watches them or has orders in them, and the few that end
next; in all others the book is a function of seed and time until somebody trades. Between ticks nothing
moves but time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from jurymast.domain.errors import ConfigError, OrderRejected
from jurymast.domain.market import Book as Quotes
from jurymast.domain.money import PAYOUT, USD, Centi, Micros
from jurymast.exchange.embedded.accounts import Account
from jurymast.exchange.embedded.catalogue import Catalogue, as_datetime, micros_since_epoch, shifted
from jurymast.exchange.embedded.commands import Amend, AnyCommand, OpenAccount, Place, Tick, Watch
from jurymast.exchange.embedded.crowd import Crowd, able
from jurymast.exchange.embedded.engine import Engine
from jurymast.exchange.embedded.execution import Execution
from jurymast.exchange.embedded.floor import Market, State
from jurymast.exchange.embedded.groups import Group
from jurymast.exchange.embedded.lifecycle import Listing, Stage, Step
from jurymast.exchange.embedded.log import CommandLog
from jurymast.exchange.embedded.records import Event, MarketChanged
from jurymast.exchange.questions import Question
from jurymast.ports import Clock

MAX_SPEED: Final = 1_000_000.0
END_OF_TIME: Final = micros_since_epoch(datetime(2200, 1, 1, tzinfo=UTC))
NEAR: Final = 8
"""Markets that end next and are simulated in depth although nobody watches."""
WATCHED_MAX: Final = 2_000
TICK_MARKETS_MAX: Final = 48
"""Markets the crowd acts in at one tick, some 20 ms; when there are more they take turns."""
FRESH_TICKS: Final = 64
"""After so many ticks without the crowd a book is a thing of the past."""
SNAPSHOT_TICKS: Final = 400
SNAPSHOT_COMMANDS: Final = 4_000
USER: Final = "demo-member"

_NOTHING: Final = (0, 0)

Depth: TypeAlias = list[tuple[Micros, Centi]]
"""Levels of one contract: price in its own terms and size, best last."""
Listener: TypeAlias = Callable[[Sequence[Event]], None]


class Actor(Protocol):
    """Who quotes and takes in one market at a time: the simulated crowd, or a tape. What it does follows
    from the engine's state and the time alone, or a restart would make another past."""

    def quotes(self, question: Question, now_us: int) -> Quotes: ...
    def volume_24h(self, question: Question, now_us: int) -> Centi: ...
    def quote(self, market: Market, question: Question, now_us: int) -> None: ...
    def take(self, market: Market, question: Question, idle_us: int, now_us: int) -> None: ...
    def withdraw(self, market: Market, now_us: int) -> None: ...
    def quoted(self) -> set[str]: ...


@dataclass(frozen=True, slots=True)
class Flow:
    """Another crowd than the simulated one, by name, with the listings it trades in."""

    name: str
    crowd: Callable[[Engine], Actor]
    listings: Mapping[str, Listing]


@dataclass(frozen=True, slots=True)
class Rules:
    """What is not documented well enough to be hard-wired, or is a matter of the set-up."""

    shards: int = 1
    near: int = NEAR
    post_only_rejects: bool = True


class EmbeddedExchange:
    """A whole exchange for one member and a simulated crowd.

    A new file begins at exchange time ``start`` with ``cash`` on every shard; an old one goes on where it
    was. ``aligned`` begins now instead and moves all questions by the same whole days. Raises ConfigError
    when the file can't be used or was begun otherwise.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        *,
        clock: Clock,
        start: datetime,
        database: Path | str = ":memory:",
        seed: int = 0,
        speed: float = 1.0,
        cash: Micros = 10_000 * USD,
        aligned: bool = False,
        rules: Rules = Rules(),
        flow: Flow | None = None,
    ) -> None:
        if not 0.0 < speed <= MAX_SPEED:
            raise ConfigError(f"exchange speed {speed} must be above 0 and at most {MAX_SPEED:g}")
        if start.tzinfo is None:
            raise ConfigError(f"exchange start {start} needs a time zone")
        self.seed: Final = seed
        self.speed: Final = speed
        self._flow = flow
        self._clock = clock
        self._listeners: list[Listener] = []
        self._since_snapshot = 0.0
        self._log = CommandLog(database)
        try:
            self._open(questions, start, cash, aligned, rules)
        except BaseException:
            self._log.close()
            raise

    def _open(
        self, questions: Sequence[Question], start: datetime, cash: Micros, aligned: bool, rules: Rules
    ) -> None:
        wall = self._clock.utc_now()
        facts = self._log.facts()
        if not facts:
            shift = timedelta(days=(wall - start).days) if aligned else timedelta()
            begin = wall if aligned else start
            facts = {
                "seed": str(self.seed),
                "shards": str(rules.shards),
                "shift_days": str(shift.days),
                "start_us": str(micros_since_epoch(begin)),
                "aligned": str(aligned),
                "flow": self._flow.name if self._flow is not None else "",
            }
            self._log.begin(facts)
        for name, now in (("seed", self.seed), ("shards", rules.shards)):
            if facts[name] != str(now):
                raise self._log.unusable(f"was begun with {name} {facts[name]}, not {now}")
        name = self._flow.name if self._flow is not None else ""
        if facts.get("flow", "") != name:
            raise self._log.unusable(f"was begun with {facts.get('flow') or 'a simulated crowd'}")
        self.shift = timedelta(days=int(facts["shift_days"]))
        listings = self._flow.listings if self._flow is not None else {}
        self.catalogue = Catalogue(shifted(questions, self.shift), shards=rules.shards, listings=listings)
        state = self._log.snapshot() or State(shards=rules.shards, now_us=int(facts["start_us"]))
        try:
            self.engine = Engine(self.catalogue.listing, state, post_only_rejects=rules.post_only_rejects)
        except OrderRejected as error:
            raise self._log.unusable(f"does not fit the questions ({error})") from error
        self.crowd: Actor = (
            Crowd(self.engine, self.seed) if self._flow is None else self._flow.crowd(self.engine)
        )
        self._near = rules.near
        for command, at_us in self._log.commands():
            self._repeat(command, at_us)
        self.engine.take_events()
        self._base_us = self.engine.state.now_us
        if facts["aligned"] == "True" and self.speed == 1.0:
            self._base_us = max(self._base_us, micros_since_epoch(wall))
        self._anchor = wall
        self._told_us = self._base_us
        opened = self.execute(OpenAccount(USER, 0, (cash,) * rules.shards))
        assert isinstance(opened, Account)  # noqa: S101 (opening an account gives the account)
        self.member = opened
        watched = tuple(ticker for ticker, known in state.markets.items() if known.watched)
        if watched:
            self.execute(Watch(watched, off=True))

    def describe(self) -> str:
        """One line for logs and screens."""
        if self._flow is None:
            markets = f"{len(self.catalogue):,} real questions, simulated crowd, seed {self.seed}"
        else:
            markets = f"{len(self.catalogue):,} markets of {self._flow.name}"
        return f"SIMULATED exchange: {markets}, play money, time x{self.speed:g}, file {self._log.name}"

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with whatever happened, after each command and tick."""
        self._listeners.append(listener)

    def now_us(self) -> int:
        """Exchange time; never before the last change, whatever the wall clock does."""
        elapsed_us = (self._clock.utc_now() - self._anchor) / timedelta(microseconds=1) * self.speed
        return max(self.engine.state.now_us, self._base_us, min(self._base_us + int(elapsed_us), END_OF_TIME))

    def now(self) -> datetime:
        return as_datetime(self.now_us())

    def execute(self, command: AnyCommand) -> Execution | Account | Group | None:
        """Write the command down, carry it out, tell everybody.

        Raises OrderRejected with Kalshi's code, ExchangeUnavailable when it can't be written down.
        """
        now_us = self.now_us()
        self._log.append(command, now_us)
        try:
            return self._carry_out(command, now_us)
        finally:
            self._after(1 / SNAPSHOT_COMMANDS)

    def refresh(self) -> None:
        """Let time pass without anybody acting, so that reads are up to date."""
        self.engine.advance(self.now_us())
        self._publish()

    def tick(self) -> None:
        """Let time pass, and the crowd act once. To be called a few times a second."""
        now_us = self.now_us()
        if not able(self.engine) or not (self._live(now_us) or self.crowd.quoted()):
            self.refresh()
            return
        self._log.append(Tick(), now_us)
        self._carry_out(Tick(), now_us)
        self._after(1 / SNAPSHOT_TICKS)

    def watch(self, tickers: Iterable[str]) -> None:
        """Simulate these in depth. Raises OrderRejected: ``market_not_found``, or too many watched."""
        new = tuple(sorted({ticker for ticker in tickers if not self._watched(ticker)}))
        for ticker in new:
            self.engine.floor.listing(ticker)
        if len(new) + sum(known.watched for known in self.engine.state.markets.values()) > WATCHED_MAX:
            raise OrderRejected("invalid_parameters", f"more than {WATCHED_MAX} markets watched")
        if new:
            self.execute(Watch(new))

    def unwatch(self, tickers: Iterable[str]) -> None:
        old = tuple(sorted({ticker for ticker in tickers if self._watched(ticker)}))
        if old:
            self.execute(Watch(old, off=True))

    def stage(self, ticker: str) -> Stage:
        """Raises OrderRejected with code ``market_not_found``."""
        market = self.engine.floor.markets.get(ticker)
        if market is not None:
            return market.state.stage
        return self.engine.floor.listing(ticker).stage_at(self.now_us())

    def depth(self, ticker: str) -> tuple[Depth, Depth]:
        """Bids for YES and for NO as displayed now, each in its own price, best last."""
        market = self.engine.floor.markets.get(ticker)
        question = self.catalogue.find(ticker)
        stage = self.stage(ticker)
        if market is not None and (stage is not Stage.ACTIVE or self._fresh(market)):
            return market.book.yes.depth(), market.book.no.depth()
        if stage is not Stage.ACTIVE or question is None:
            return [], []
        quotes = self.crowd.quotes(question, self.now_us())
        yes = [(level.price, level.count) for level in reversed(quotes.bids)]
        no = [(PAYOUT - level.price, level.count) for level in reversed(quotes.asks)]
        return yes, no

    def tops(self, question: Question, stage: Stage, now_us: int) -> tuple[tuple[Micros, Centi], ...]:
        """The best level for YES and for NO, each in its own price, 0 for an empty side. For lists, which
        know the stage and the time and need no more."""
        market = self.engine.floor.markets.get(question.ticker)
        if market is not None and (stage is not Stage.ACTIVE or self._fresh(market)):
            return tuple((side.best or 0, side.best_count) for side in (market.book.yes, market.book.no))
        if stage is not Stage.ACTIVE:
            return _NOTHING, _NOTHING
        quotes = self.crowd.quotes(question, now_us)
        bid = (quotes.bids[0].price, quotes.bids[0].count) if quotes.bids else _NOTHING
        ask = (PAYOUT - quotes.asks[0].price, quotes.asks[0].count) if quotes.asks else _NOTHING
        return bid, ask

    def close(self) -> None:
        """Write the state down whole and let go of the file."""
        self.engine.advance(self.now_us())
        self._log.keep(self.engine.state)
        self._log.close()

    def _watched(self, ticker: str) -> bool:
        known = self.engine.state.markets.get(ticker)
        return known is not None and known.watched

    def _fresh(self, market: Market) -> bool:
        return self.engine.state.ticks - market.state.acted <= FRESH_TICKS and market.state.acted >= 0

    def _live(self, now_us: int) -> list[str]:
        """Markets to simulate in depth, in order."""
        floor = self.engine.floor
        tickers = {ticker for ticker, known in self.engine.state.markets.items() if known.watched}
        for account in self.engine.state.accounts:
            if not account.house:
                tickers |= {order.ticker for order in floor.open[account.number].values()}
        tickers.update(self.catalogue.next_to_end(now_us, self._near))
        return sorted(tickers)

    def _repeat(self, command: AnyCommand, at_us: int) -> None:
        with suppress(OrderRejected):  # it was refused the first time as well
            self._carry_out(command, at_us)

    def _carry_out(self, command: AnyCommand, now_us: int) -> Execution | Account | Group | None:
        self.engine.advance(now_us)
        if isinstance(command, Tick):
            self._crowd_acts(now_us)
            return None
        if isinstance(command, Place | Amend) and able(self.engine):
            self._ready(command.ticker, now_us)
        done = self.engine.apply(command, now_us)
        if isinstance(command, Watch) and not command.off and able(self.engine):
            for ticker in command.tickers:
                self._ready(ticker, now_us)
        return done

    def _ready(self, ticker: str, now_us: int) -> None:
        """Put the displayed book in place before somebody trades on it."""
        question = self.catalogue.find(ticker)
        if question is not None:
            market = self.engine.floor.market(ticker)
            if not self._fresh(market):
                self.crowd.quote(market, question, now_us)
                market.state.acted, market.state.acted_us = self.engine.state.ticks, now_us

    def _crowd_acts(self, now_us: int) -> None:
        state, floor = self.engine.state, self.engine.floor
        state.ticks += 1
        live = self._live(now_us)
        for ticker in sorted(self.crowd.quoted().difference(live)):
            self.crowd.withdraw(floor.markets[ticker], now_us)
            floor.markets[ticker].state.acted = -1
        first = state.ticks * TICK_MARKETS_MAX % len(live) if len(live) > TICK_MARKETS_MAX else 0
        for ticker in (live[first:] + live[:first])[:TICK_MARKETS_MAX]:
            question = self.catalogue.find(ticker)
            if question is None:
                continue
            market = floor.market(ticker)
            idle_us = now_us - market.state.acted_us if market.state.acted >= 0 else 0
            self.crowd.quote(market, question, now_us)
            self.crowd.take(market, question, idle_us, now_us)
            market.state.acted, market.state.acted_us = state.ticks, now_us

    def _after(self, weight: float) -> None:
        """Tell everybody, and now and then write the whole state down."""
        self._publish()
        self._since_snapshot += weight
        if self._since_snapshot >= 1.0:
            self._since_snapshot = 0.0
            self._log.keep(self.engine.state)

    def _publish(self) -> None:
        events = self.engine.take_events()
        now_us = self.engine.state.now_us
        if now_us > self._told_us:
            events += self._untouched(self._told_us, now_us)
            self._told_us = now_us
        if events:
            for listener in self._listeners:
                listener(events)

    def _untouched(self, after_us: int, until_us: int) -> list[Event]:
        """Lives of markets that nobody touched."""
        touched = self.engine.floor.markets
        told = {Step.OPEN: "activated", Step.CLOSE: "close_date_updated", Step.DETERMINE: "determined"}
        return [
            MarketChanged(ticker, told.get(step, "settled"))
            for _, ticker, step in self.catalogue.steps(after_us, until_us)
            if ticker not in touched
        ]
