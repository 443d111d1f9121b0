"""A bot's trading rooms on an embedded exchange, over its wire; prices and opinions are set by tests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import question_world
from jurymast.app.control import ControlFile
from jurymast.domain.decision import (
    Abstain,
    AbstainReason,
    Decision,
    EvidenceQuality,
    Forecast,
    ResolutionRisk,
    Rung,
)
from jurymast.domain.errors import ExchangeUnavailable
from jurymast.domain.events import Event
from jurymast.domain.market import Book, EvidenceItem, Level, MarketSnapshot, Side
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, Centi, Micros, usd
from jurymast.domain.order import (
    Action,
    Order,
    OrderIntent,
    OrderStatus,
    Purpose,
    TimeInForce,
)
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode, ProviderStatus, SystemStatus
from jurymast.exchange.embedded import records
from jurymast.exchange.embedded.catalogue import as_datetime
from jurymast.exchange.embedded.commands import Cancel, Place
from jurymast.exchange.embedded.exchange import EmbeddedExchange, Rules
from jurymast.exchange.embedded.execution import Execution
from jurymast.exchange.embedded.records import Lifetime
from jurymast.exchange.embedded.server.keys import KeyRing
from jurymast.exchange.embedded.server.limits import UNLIMITED
from jurymast.exchange.embedded.server.server import ExchangeServer
from jurymast.exchange.embedded.server.site import WireSettings
from jurymast.exchange.embedded.server.wire import fill_id, order_id
from jurymast.exchange.kalshi.account import book_side, yes_price
from jurymast.exchange.kalshi.exchange import KalshiExchange, KalshiSettings
from jurymast.exchange.kalshi.hosts import Credentials, Environment, embedded
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.pace import Pace
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.signing import Signer, generate_pem
from jurymast.exchange.questions import BundledEvidence, Question
from jurymast.intelligence.emergency import decision_id
from jurymast.policy.emergency import TABLE
from jurymast.policy.judges import Trading
from jurymast.ports import Clock, Journal
from jurymast.testing.clock import FakeClock
from jurymast.testing.journal import MemoryJournal
from jurymast.trading.cycle import Judge, TradingCycle
from jurymast.trading.gateway import Gateway
from jurymast.trading.portfolio import BOOK_EVENTS, Portfolio
from jurymast.trading.reconcile import Reconciler
from jurymast.trading.recorder import Recorder
from jurymast.trading.settings import CycleSettings
from order_world import order_intent

START = question_world.START
PAYS_AFTER = timedelta(seconds=360)
"""From a market's end to its payout."""
CASH = usd(10_000)
PEM = generate_pem()
KEY_ID = "play"
ROUTE = Route(ProviderName.XAI, "grok-4.7")
DEEP = 2_000
LOTS = 4
E = TypeVar("E", bound=Event)


def question(ticker: str = "Q-1", **changes: Any) -> Question:
    """A market that was listed a day before START, in an event of its own."""
    ours = {"listed_at": START - timedelta(days=1), "event_ticker": f"EV-{ticker}"}
    return question_world.question(ticker, **(ours | changes))


def entry(ticker: str = "Q-1", **changes: Any) -> OrderIntent:
    """An order for ten YES contracts at up to 50c that rests, with an id of its own."""
    resting = {"limit_price": 50 * CENT, "time_in_force": TimeInForce.GOOD_TILL_CANCELED}
    return order_intent(ticker, **(resting | changes))


def exit_of(ticker: str = "Q-1", **changes: Any) -> OrderIntent:
    """An exit from ten YES contracts at any price."""
    leaving = {"purpose": Purpose.EXIT, "action": Action.SELL, "limit_price": CENT}
    at_once = {"time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL}
    return entry(ticker, **(leaving | at_once | changes))


class Prices:
    """Books that stand where they are put; everything behind them is the exchange's own."""

    def __init__(self) -> None:
        self.bids: dict[str, int] = {}
        self.spreads: dict[str, int] = {}
        self.best_lots: dict[str, int] = {}
        self.moved: Callable[[], None] = lambda: None

    def put(self, ticker: str, bid: int, *, spread: int = 1, best: int = DEEP) -> None:
        """Best bid and spread in cents, contracts at the best levels."""
        self.bids[ticker], self.spreads[ticker], self.best_lots[ticker] = bid, spread, best
        self.moved()

    def book(self, of: Question, _: int) -> Book:
        bid, spread = self.bids.get(of.ticker, 49), self.spreads.get(of.ticker, 1)
        sizes = [self.best_lots.get(of.ticker, DEEP)] + [DEEP] * (LOTS - 1)
        bids = [Level((bid - i) * CENT, n * CONTRACT) for i, n in enumerate(sizes) if bid - i >= 1]
        asks = [
            Level((bid + spread + i) * CENT, n * CONTRACT)
            for i, n in enumerate(sizes)
            if bid + spread + i <= 99
        ]
        return Book(tuple(bids), tuple(asks))

    def volume_24h(self, _: Question, __: datetime) -> Centi:
        return 50_000 * CONTRACT


def _nobody(*_: object) -> None:
    """Takes nothing."""


class House:
    """An embedded exchange on a loopback port, and its own books, looked at where they are kept.

    Nobody in the crowd takes: prices move when they are put, or when the house ticks.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        clock: FakeClock,
        prices: Prices | None = None,
        *,
        start: datetime = START,
        seed: int = 7,
    ) -> None:
        self.exchange = EmbeddedExchange(
            questions, clock=clock, start=start, seed=seed, cash=CASH, rules=Rules(near=0)
        )
        self.exchange.crowd.take = _nobody
        if prices is not None:
            self.exchange.crowd._books = prices
            prices.moved = self.exchange.tick
        keys = KeyRing()
        keys.add(KEY_ID, PEM)
        settings = WireSettings(tier=UNLIMITED, hold_secs=0.0)
        self.server = ExchangeServer(self.exchange, clock=clock, keys=keys, settings=settings, ticking=False)
        self.questions = tuple(questions)
        self.lost_orders: list[str] = []
        """Faults that strike the next orders, one each."""
        self.outages = 0
        """Calls that the next so many times find nobody."""
        self._clock = clock
        self._clients: list[KalshiExchange] = []
        self._serving = False
        HOUSES.append(self)

    async def connect(self) -> KalshiExchange:
        """A client of its own for one life of the bot."""
        if not self._serving:
            await self.server.__aenter__()
            self._serving = True
        credentials = Credentials(Environment.EMBEDDED, Signer(KEY_ID, PEM))
        rest = KalshiRest(KalshiHttp(embedded(self.server.port), credentials, clock=self._clock))
        await rest.learn_limits()
        pace = Pace(1.0, self._clock.utc_now(), self.exchange.now())
        settings = KalshiSettings(arrival_secs=1.0, group_limit=100_000 * CONTRACT)
        client = KalshiExchange(rest, clock=self._clock, settings=settings, pace=pace)
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        if self._serving:
            await self.server.__aexit__(None, None, None)
        self.exchange.close()

    def lose_orders(self, *faults: str) -> None:
        """Let the next orders go wrong: ``accept_then_timeout`` or ``reject_then_timeout``, one each."""
        self.lost_orders += faults

    def go_away(self, times: int = 1) -> None:
        """Let the next calls find nobody; orders are sent all the same."""
        self.outages += times

    def mend(self) -> None:
        self.outages, self.lost_orders = 0, []

    def tick(self) -> None:
        """Let the crowd put its prices on the book."""
        self.exchange.tick()

    # The exchange's own books

    @property
    def cash(self) -> Micros:
        """What is available."""
        return self.exchange.member.available(0)

    def orders(self) -> list[records.Order]:
        """Every order of the member that was ever taken, oldest first."""
        orders = self.exchange.engine.state.orders
        return [orders[number] for number in sorted(orders) if orders[number].owner == self._owner]

    def open_orders(self) -> list[Order]:
        self.exchange.refresh()
        return [order_of(each) for each in self.orders() if each.status is records.Status.RESTING]

    def fills(self) -> list[records.Fill]:
        """Every execution of the member, oldest first."""
        return [fill for fill in self.exchange.engine.state.fills if fill.owner == self._owner]

    def positions(self) -> dict[str, Centi]:
        """What is held, by ticker."""
        self.exchange.refresh()
        return {ticker: stake.count for ticker, stake in self.exchange.member.stakes.items() if stake.count}

    def set_position(self, ticker: str, count: Centi, cost: Micros) -> None:
        """Change what is held without a fill to show for it."""
        self.exchange.engine.floor.market(ticker)
        stake = self.exchange.member.stake(ticker)
        stake.count, stake.cost = count, cost

    def add_cash(self, amount: Micros) -> None:
        self.exchange.member.cash[0] += amount

    def place(self, intent: OrderIntent) -> Order:
        """An order of the owner's, behind the bot's back."""
        done = self.exchange.execute(
            Place(
                self._owner,
                intent.ticker,
                book_side(intent.side, intent.action).value == "bid",
                yes_price(intent.side, intent.limit_price),
                intent.count,
                lifetime=Lifetime(intent.time_in_force.value),
                client_order_id=intent.client_order_id,
            )
        )
        assert isinstance(done, Execution)
        return order_of(done.order)

    def cancel(self, order: Order) -> None:
        """A cancel of the owner's."""
        found = next(each for each in self.orders() if each.client_order_id == order.client_order_id)
        self.exchange.execute(Cancel(self._owner, found.number))

    @property
    def _owner(self) -> int:
        return self.exchange.member.number


HOUSES: list[House] = []
"""Opened in this test; closed behind it."""


def order_of(order: records.Order) -> Order:
    """An order of the engine in the domain's words, as a purchase."""
    side = Side.YES if order.bid else Side.NO
    return Order(
        order_id=order_id(order.number),
        client_order_id=order.client_order_id,
        ticker=order.ticker,
        side=side,
        action=Action.BUY,
        limit_price=order.price if order.bid else PAYOUT - order.price,
        count=order.initial,
        filled=order.filled,
        status=OrderStatus(order.status.value),
        created_at=as_datetime(order.created_us),
        expires_at=None if order.expires_us is None else as_datetime(order.expires_us),
    )


class Line:
    """The line to the exchange, tapped: calls are counted, and a test may act before or after each."""

    speed = 1.0
    clock_skew_secs = 0.0

    def __init__(self, house: House) -> None:
        self.calls: Counter[str] = Counter()
        self.before: dict[str, Callable[..., Awaitable[None]]] = {}
        self.after: dict[str, Callable[..., Awaitable[None]]] = {}
        self._house = house
        self._client: KalshiExchange | None = None

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any) -> Any:
            self.calls[name] += 1
            client = self._client = self._client or await self._house.connect()
            if name in self.before:
                await self.before[name](*arguments)
            if name == "place_order":
                await self._lose(client)
            elif self._house.outages:
                self._house.outages -= 1
                raise ExchangeUnavailable("the SIMULATED exchange was told to be unavailable")
            answer = await getattr(client, name)(*arguments)
            if name in self.after:
                await self.after[name](answer)
            return answer

        return call

    async def _lose(self, client: KalshiExchange) -> None:
        """Let the fault strike the order and not the group that it needs."""
        await client._group(0)
        if self._house.lost_orders:
            self._house.server.control.set_fault(self._house.lost_orders.pop(0), times=1)


class ScriptedJudge:
    """The AI layer as the cycle sees it: opinions by ticker, a mode that is set by hand."""

    def __init__(self, clock: Clock) -> None:
        self.mode = EmergencyMode.NORMAL
        self.size_share = 1.0
        self.reports: list[Trading] = []
        self.kept: dict[str, Decision] = {}
        self.views: dict[str, int] = {}
        self.asked: list[str] = []
        self.most_at_once = 0
        self.thinking_secs = 0.0
        self.while_thinking: Callable[[MarketSnapshot], None] = lambda _: None
        self._at_once = 0
        self._clock = clock

    def view_of(self, snapshot: MarketSnapshot) -> int | None:
        """Probability of YES in percent, None to abstain."""
        return self.views.get(snapshot.ticker)

    async def get_trading_decision(
        self, snapshot: MarketSnapshot, evidence: tuple[EvidenceItem, ...] = (), *, deadline_secs: float
    ) -> Decision | Abstain:
        self.asked.append(snapshot.ticker)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await asyncio.sleep(0)
        self._at_once -= 1
        self.while_thinking(snapshot)
        view = self.view_of(snapshot)
        common: dict[str, Any] = {
            "decision_id": decision_id(snapshot),
            "ticker": snapshot.ticker,
            "mode": self.mode,
            "cost": 0,
            "secs": self.thinking_secs,
            "market_price": snapshot.book.mid,
            "as_of": snapshot.as_of,
            "decided_at": self._clock.utc_now(),
            "simulated": True,
        }
        if view is None:
            return Abstain(reason=AbstainReason.MODEL_ABSTAINED, detail="no view", **common)
        low, high = max(view - 2, 1), min(view + 2, 99)
        strong, clear = EvidenceQuality.STRONG, ResolutionRisk.LOW
        return Decision(
            forecast=Forecast(view, low, high, 50, strong, clear, (), ""),
            rung=Rung.PRIMARY,
            route=ROUTE,
            tier=Tier.STRONG,
            served_model=ROUTE.model,
            reason="scripted",
            **common,
        )

    def note_trading(self, trading: Trading, now: datetime | None = None) -> None:
        self.reports.append(trading)

    def recall(self, snapshot: MarketSnapshot) -> Decision | None:
        return self.kept.get(snapshot.ticker)

    def get_system_status(self) -> SystemStatus:
        healthy = {ProviderName.XAI: ProviderStatus.HEALTHY}
        return SystemStatus(self.mode, "scripted", healthy, (), ROUTE, 0)


@dataclass
class Desk:
    """One life of the trading rooms. The exchange, the journal and the clock outlive it."""

    house: House
    prices: Prices
    clock: FakeClock
    journal: Journal
    judge: Any
    line: Line
    portfolio: Portfolio
    gateway: Gateway
    reconciler: Reconciler
    cycle: TradingCycle
    told: list[Event] = field(default_factory=list)

    def tell(self, kind: type[E]) -> list[E]:
        """What this life has recorded of one kind."""
        return [event for event in self.told if isinstance(event, kind)]

    def buy(self, ticker: str, contracts: int, **changes: Any) -> None:
        """Buy at the exchange behind the bot's back, as its owner may."""
        limits = {"limit_price": 99 * CENT, "time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL}
        self.house.place(entry(ticker, count=contracts * CONTRACT, **(limits | changes)))


def desk(
    *questions: Question,
    house: House | None = None,
    prices: Prices | None = None,
    clock: FakeClock | None = None,
    journal: Journal | None = None,
    judge: Judge | None = None,
    settings: CycleSettings | None = None,
    **parts: Any,
) -> Desk:
    """Build the rooms; what outlives a restart may be handed in from the life before."""
    questions = questions or (question(),)
    clock = clock or FakeClock(START)
    journal = journal or MemoryJournal()
    prices = prices or Prices()
    house = house or House(questions, clock, prices)
    judge = judge or ScriptedJudge(clock)
    told: list[Event] = []
    portfolio = Portfolio()
    portfolio.replay(recorded.event for recorded in journal.read(BOOK_EVENTS))
    recorder = Recorder(journal, portfolio, told.append)
    line = Line(house)
    exchange: Any = line
    latch = parts.get("halt_file")
    control = None if latch is None else ControlFile(latch.parent, clock)
    gateway = Gateway(
        exchange, recorder, portfolio, clock=clock, control=control, table=parts.get("table", TABLE)
    )
    reconciler = Reconciler(exchange, recorder, portfolio, gateway, clock=clock)
    cycle = TradingCycle(
        exchange=exchange,
        judge=judge,
        evidence=BundledEvidence(questions),
        recorder=recorder,
        portfolio=portfolio,
        gateway=gateway,
        reconciler=reconciler,
        clock=clock,
        settings=settings,
    )
    return Desk(house, prices, clock, journal, judge, line, portfolio, gateway, reconciler, cycle, told)


def restarted(before: Desk, *, journal: Journal | None = None, **parts: Any) -> Desk:
    """The next life of a desk whose process died: the same exchange, clock and journal, empty memory."""
    return desk(
        *before.house.questions,
        house=before.house,
        prices=before.prices,
        clock=before.clock,
        journal=journal or before.journal,
        **parts,
    )


def books_differ(lab: Desk) -> list[str]:
    """Where the bot's books and the exchange's differ, to the micro-dollar; empty when they agree."""
    ours, house = lab.portfolio, lab.house
    fills, resting = house.fills(), house.open_orders()
    pairs: Iterator[tuple[str, object, object]] = iter(
        [
            ("cash", ours.cash, house.cash),
            ("positions", {p.ticker: p.count for p in ours.positions.values()}, house.positions()),
            ("open orders", *[sorted(map(_standing, each)) for each in (ours.orders.values(), resting)]),
            ("open intents", sorted(ours.open_intents), sorted(ours.orders)),
            ("fills", ours.fills_seen, len(fills)),
            ("fees", ours.fees_paid, sum(fill.fee for fill in fills)),
            ("last fill", ours.last_fill_id, fill_id(fills[-1].number) if fills else None),
        ]
    )
    return [f"{name}: ours {mine}, exchange {theirs}" for name, mine, theirs in pairs if mine != theirs]


def _standing(order: Order) -> tuple[object, ...]:
    """What of an order is money. Times are told to the millisecond by some answers."""
    return (order.client_order_id, order.ticker, order.side, order.limit_price, order.count, order.filled)


def orders_at(house: House) -> list[tuple[str, str]]:
    """Every order the exchange ever took: client order id and status."""
    return [(order.client_order_id, order.status.value) for order in house.orders()]


def equity_at(lab: Desk, snapshots: dict[str, MarketSnapshot]) -> Micros:
    """What the account is worth by the exchange's own figures: positions at the bid, collateral in full."""
    total = lab.house.cash
    for order in lab.house.open_orders():
        total += order.limit_price * order.remaining // CONTRACT
    for ticker, count in lab.house.positions().items():
        side = Side.YES if count > 0 else Side.NO
        bids = snapshots[ticker].book.takers(side) if ticker in snapshots else ()
        total += (bids[0].price if bids else 0) * abs(count) // CONTRACT
    return total
