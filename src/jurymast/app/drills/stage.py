"""Where a game day is played: the whole bot on virtual time, emulators and an exchange on real sockets.

Policy times are those of real use; only what waits for the network is shortened. Time moves in steps, and in
each the crowd trades, sick routes are probed, demands of people are looked at, and when it is due a cycle
runs, as the supervisor would. SIMULATED throughout.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from jurymast.app.config import Config, FailoverSection
from jurymast.app.desk import ControlDesk
from jurymast.app.drills.grading import Condition, Look, Seen
from jurymast.app.staging import CASH_USD, CYCLE_SECS, staged
from jurymast.app.wiring import Bot, build
from jurymast.domain.events import DecisionAbstained, DecisionMade, Event, OrderIntended
from jurymast.domain.market import Side
from jurymast.domain.money import CENT, CONTRACT, USD, Micros, notional
from jurymast.domain.order import Action, OrderIntent, Purpose, TimeInForce
from jurymast.domain.provider import ProviderName
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.invariants import broken
from jurymast.exchange.embedded.records import Status
from jurymast.exchange.embedded.server.control import Control as ExchangeDesk
from jurymast.policy.risk import ALLOWED
from jurymast.testing.clock import FakeClock

START: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
STEPS_PER_CYCLE: Final = 6
LAID_OUT_PRICE: Final = CENT
"""Entries that a day lays out rest at the least price, where nobody meets them."""


class Died(BaseException):
    """The bot's process ends here, wherever it stands. Not an Exception: nothing in the bot may catch it."""


@dataclass(slots=True)
class Stage:
    """A bot under trouble, and what was seen of it."""

    directory: Path
    seed: int
    adjust: Callable[[Config], Config] = lambda config: config
    watch: Callable[[Event], None] = lambda _: None
    clock: FakeClock = field(default_factory=lambda: FakeClock(START))
    cycle_secs: float = CYCLE_SECS
    dies_at: Callable[[Event], bool] = lambda _: False
    looks: list[Look] = field(default_factory=list)
    events: list[tuple[float, Event]] = field(default_factory=list)
    trouble_at: float | None = None
    over_at: float | None = None
    _equity: Micros = 0
    _risk: Micros = 0
    _intents: Counter[str] = field(default_factory=Counter)
    _answering: ProviderName | None = None
    _next_cycle_at: float = 0.0
    _laid_out: int = 0
    _struck: dict[str, str] = field(default_factory=dict)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _bot: Bot | None = None
    _desk: ControlDesk | None = None

    # The bot's lives

    async def open(self) -> None:
        """Start the bot, as after any end: journal, reconciliation, cycle."""
        config = self.adjust(_config(self.directory, self.seed))
        self._bot = await self._stack.enter_async_context(
            build(config, clock=self.clock, watch=self._note, concurrency_max=1, ticking=False)
        )
        self._desk = ControlDesk(self._bot)
        self._next_cycle_at = self.clock.monotonic()
        for provider, fault in self._struck.items():  # the emulators have died with the bot
            await self.strike(provider, fault)

    async def close(self) -> None:
        self._bot = self._desk = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def die(self) -> None:
        """End without an orderly end, and start again. What the journal had not made durable is as it is."""
        self.dies_at = lambda _: False
        await self.close()
        await self.open()

    @property
    def bot(self) -> Bot:
        assert self._bot is not None  # noqa: S101 (narrowing: open() comes first)
        return self._bot

    @property
    def house(self) -> EmbeddedExchange:
        house = self.bot.venue.house
        assert house is not None  # noqa: S101 (narrowing: a day's exchange is embedded)
        return house

    @property
    def exchange_desk(self) -> ExchangeDesk:
        server = self.bot.venue.server
        assert server is not None  # noqa: S101 (narrowing: as above)
        return server.control

    # What happens

    def trouble(self) -> None:
        """From now on it counts."""
        self.trouble_at = self.clock.monotonic()
        self._equity = self.bot.cycle.equity

    def over(self) -> None:
        """The trouble has ended; what follows is the way back."""
        self.over_at = self.clock.monotonic()

    async def strike(self, provider: str, fault: str) -> None:
        """Break an emulated provider, or ``all``."""
        assert self.bot.fleet is not None  # noqa: S101 (narrowing: a day always emulates)
        self._struck[provider] = fault
        await self.bot.fleet.set_fault(provider, fault)

    async def heal(self) -> None:
        """Every provider is well again."""
        assert self.bot.fleet is not None  # noqa: S101 (narrowing: as above)
        self._struck.clear()
        await self.bot.fleet.clear_faults("all")

    async def lay_out(self, count: int) -> None:
        """Let so many entries rest, through the gateway, far from where anybody trades."""
        bot = self.bot
        snapshots = [each for each in await bot.exchange.list_snapshots() if each.book.two_sided]
        expires_at = await bot.exchange.now() + timedelta(days=1)
        for number in range(count):
            market = snapshots[number % len(snapshots)].market
            self._laid_out += 1
            intent = OrderIntent(
                client_order_id=f"jm-drill-{self._laid_out:06d}",
                decision_id=f"drill-{self._laid_out:06d}",
                ticker=market.ticker,
                event_ticker=market.event_ticker,
                purpose=Purpose.ENTRY,
                side=Side.YES,
                action=Action.BUY,
                count=CONTRACT,
                limit_price=LAID_OUT_PRICE,
                time_in_force=TimeInForce.GOOD_TILL_CANCELED,
                reason="laid out by the drill",
                expires_at=expires_at,
            )
            await bot.gateway.submit(intent, ALLOWED)
        await bot.cycle.square()

    async def run(self, secs: float, *, until: Condition | None = None, cycle_secs: float = 0.0) -> None:
        """Let so much time pass, or stop as soon as ``until`` holds at a look."""
        self.cycle_secs = cycle_secs or CYCLE_SECS
        end = self.clock.monotonic() + secs
        while (now := self.clock.monotonic()) < end:
            self.clock.advance(min(self.cycle_secs / STEPS_PER_CYCLE, end - now))
            try:
                await self._step()
            except Died:
                await self.die()
            self.looks.append(self._look())
            if until is not None and until(self.looks[-1]):
                return

    async def _step(self) -> None:
        bot, desk = self.bot, self._desk
        assert desk is not None  # noqa: S101 (narrowing: open() makes both)
        self.house.tick()
        self.exchange_desk.lapse()
        await bot.fallback.check_recovery()
        await desk.look()
        if self.clock.monotonic() >= self._next_cycle_at:
            self._next_cycle_at = self.clock.monotonic() + self.cycle_secs
            await bot.cycle.run_once()

    # What is seen

    def _look(self) -> Look:
        bot = self.bot
        return Look(
            at=self.clock.monotonic(),
            mode=bot.fallback.mode,
            state=bot.cycle.state,
            resting=len(self._resting()),
            first=bot.fallback.get_best_provider(),
            answering=self._answering,
            risk_taken=self._risk,
        )

    def _resting(self) -> list[str]:
        orders = self.house.engine.state.orders.values()
        owner = self.house.member.number
        return [
            order.client_order_id
            for order in orders
            if order.owner == owner and order.status is Status.RESTING
        ]

    def _note(self, event: Event) -> None:
        self.events.append((self.clock.monotonic(), event))
        match event:
            case DecisionMade(decision=decision):
                self._answering = decision.provider if decision.cached is None else None
            case DecisionAbstained():
                self._answering = None
            case OrderIntended(intent=intent):
                self._intents[intent.client_order_id] += 1
                if intent.purpose is Purpose.ENTRY:
                    self._risk += notional(intent.limit_price, intent.count)
            case _:
                pass
        self.watch(event)
        if self.dies_at(event):
            raise Died

    async def seen(self) -> Seen:
        """Everything, with a last comparison of the books."""
        bot, house = self.bot, self.house
        await bot.cycle.square(closing=True)
        owner = house.member.number
        placed = Counter(
            order.client_order_id for order in house.engine.state.orders.values() if order.owner == owner
        )
        doubled = sum(placed[each] != 1 or self._intents[each] != 1 for each in placed)
        return Seen(
            looks=self.looks,
            events=self.events,
            trouble_at=self.trouble_at or 0.0,
            over_at=self.over_at if self.over_at is not None else self.clock.monotonic(),
            equity=self._equity or CASH_USD * USD,
            books=(*_differences(bot, house), *broken(house.engine)),
            doubled=doubled,
        )


def _differences(bot: Bot, house: EmbeddedExchange) -> list[str]:
    ours = {position.ticker: position.count for position in bot.portfolio.positions.values()}
    theirs = {ticker: stake.count for ticker, stake in house.member.stakes.items() if stake.count}
    found = [] if ours == theirs else [f"positions: {len(ours)} here, {len(theirs)} there, or other counts"]
    cash = house.member.available(0)
    if bot.portfolio.cash != cash:
        found.append(f"cash: {bot.portfolio.cash} here, {cash} there")
    return found


def _config(directory: Path, seed: int) -> Config:
    """Policies as in real use; the exchange's clock runs faster."""
    return staged(directory, seed, speed=20.0, failover=FailoverSection(hedge_secs_min=0.5))
