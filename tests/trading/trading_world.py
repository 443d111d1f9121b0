"""A bot's trading rooms on a real paper exchange, with prices and opinions that a test can set."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from jurymast.domain.decision import (
    Abstain,
    AbstainReason,
    Decision,
    EvidenceQuality,
    Forecast,
    ResolutionRisk,
    Rung,
)
from jurymast.domain.events import Event
from jurymast.domain.market import Book, EvidenceItem, Level, MarketSnapshot
from jurymast.domain.money import CENT, CONTRACT, Centi, Micros, usd
from jurymast.domain.order import Action, OrderIntent, Purpose, TimeInForce
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import EmergencyMode, ProviderStatus, SystemStatus
from jurymast.exchange.paper import PaperExchange
from jurymast.exchange.questions import BundledEvidence, Question
from jurymast.intelligence.enhanced_client import decision_id
from jurymast.ports import Clock, Journal
from jurymast.testing.clock import FakeClock
from jurymast.testing.journal import MemoryJournal
from jurymast.trading.cycle import CycleSettings, Judge, TradingCycle
from jurymast.trading.gateway import Gateway
from jurymast.trading.portfolio import BOOK_EVENTS, Portfolio
from jurymast.trading.reconcile import Reconciler
from jurymast.trading.recorder import Recorder
from order_world import order_intent

START = datetime(2025, 11, 3, tzinfo=UTC)
CASH = usd(10_000)
ROUTE = Route(ProviderName.XAI, "grok-4.7")
DEEP = 2_000
LOTS = 4
E = TypeVar("E", bound=Event)


def question(ticker: str = "Q-1", **changes: Any) -> Question:
    """A market that lives for thirty days from START and resolves YES."""
    fields: dict[str, Any] = {
        "ticker": ticker,
        "source": "polymarket",
        "source_id": ticker.lower(),
        "title": "Will it happen?",
        "background": "",
        "rules": "YES if it happens.",
        "url": "",
        "category": "world",
        "listed_at": START - timedelta(days=1),
        "close_time": START + timedelta(days=60),
        "resolves_at": START + timedelta(days=30),
        "crowd_probability": 0.5,
        "outcome": True,
        "event_ticker": f"EV-{ticker}",
    }
    return Question(**(fields | changes))


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

    def put(self, ticker: str, bid: int, *, spread: int = 1, best: int = DEEP) -> None:
        """Best bid and spread in cents, contracts at the best levels."""
        self.bids[ticker], self.spreads[ticker], self.best_lots[ticker] = bid, spread, best

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


class Line:
    """The line to the exchange, tapped: calls are counted, and a test may act before or after each."""

    def __init__(self, exchange: PaperExchange) -> None:
        self.calls: Counter[str] = Counter()
        self.before: dict[str, Callable[..., Awaitable[None]]] = {}
        self.after: dict[str, Callable[..., Awaitable[None]]] = {}
        self._exchange = exchange

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._exchange, name)

        async def call(*arguments: Any) -> Any:
            self.calls[name] += 1
            if name in self.before:
                await self.before[name](*arguments)
            answer = await method(*arguments)
            if name in self.after:
                await self.after[name](answer)
            return answer

        return call


class ScriptedJudge:
    """The AI layer as the cycle sees it: opinions by ticker, a mode that is set by hand."""

    def __init__(self, clock: Clock) -> None:
        self.mode = EmergencyMode.NORMAL
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

    def get_system_status(self) -> SystemStatus:
        healthy = {ProviderName.XAI: ProviderStatus.HEALTHY}
        return SystemStatus(self.mode, "scripted", healthy, (), ROUTE, 0)


@dataclass
class Desk:
    """One life of the trading rooms. The exchange, the journal and the clock outlive it."""

    paper: PaperExchange
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

    async def buy(self, ticker: str, contracts: int, **changes: Any) -> None:
        """Buy at the exchange behind the bot's back, as its owner may."""
        limits = {"limit_price": 99 * CENT, "time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL}
        await self.paper.place_order(entry(ticker, count=contracts * CONTRACT, **(limits | changes)))


def desk(
    *questions: Question,
    paper: PaperExchange | None = None,
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
    if paper is None:
        paper = PaperExchange(
            questions, database=":memory:", clock=clock, seed=7, start=START, speed=1.0, cash=CASH
        )
        paper._venue._books = prices
    judge = judge or ScriptedJudge(clock)
    told: list[Event] = []
    portfolio = Portfolio()
    portfolio.replay(recorded.event for recorded in journal.read(BOOK_EVENTS))
    recorder = Recorder(journal, portfolio, told.append)
    line = Line(paper)
    exchange: Any = line
    gateway = Gateway(exchange, recorder, portfolio, clock=clock, halt_file=parts.get("halt_file"))
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
    return Desk(paper, prices, clock, journal, judge, line, portfolio, gateway, reconciler, cycle, told)


def restarted(before: Desk, *, journal: Journal | None = None, **parts: Any) -> Desk:
    """The next life of a desk whose process died: the same exchange, clock and journal, empty memory."""
    return desk(
        *before.paper._venue.questions.values(),
        paper=before.paper,
        prices=before.prices,
        clock=before.clock,
        journal=journal or before.journal,
        **parts,
    )


async def books_differ(lab: Desk) -> list[str]:
    """Where the bot's books and the exchange's differ, to the micro-dollar; empty when they agree."""
    ours, paper = lab.portfolio, lab.paper
    fills = [fill.fill_id for fill in await paper.list_fills()]
    pairs: Iterator[tuple[str, object, object]] = iter(
        [
            ("cash", ours.cash, (await paper.get_balance()).cash),
            (
                "positions",
                {p.ticker: (p.count, p.cost) for p in ours.positions.values()},
                {p.ticker: (p.count, p.cost) for p in await paper.list_positions()},
            ),
            (
                "open orders",
                ours.orders,
                {order.client_order_id: order for order in await paper.list_open_orders()},
            ),
            ("open intents", sorted(ours.open_intents), sorted(ours.orders)),
            ("fills", ours.fills_seen, len(fills)),
            ("last fill", ours.last_fill_id, fills[-1] if fills else None),
        ]
    )
    return [f"{name}: ours {mine}, exchange {theirs}" for name, mine, theirs in pairs if mine != theirs]


def orders_at(paper: PaperExchange) -> list[tuple[str, str]]:
    """Every order the exchange ever took: client order id and status."""
    return [tuple(row) for row in paper._file.rows("SELECT client_order_id, status FROM orders ORDER BY seq")]


async def equity_at(lab: Desk, snapshots: dict[str, MarketSnapshot]) -> Micros:
    """What the account is worth by the exchange's own figures: positions at the bid, collateral in full."""
    total = (await lab.paper.get_balance()).cash
    for order in await lab.paper.list_open_orders():
        total += order.limit_price * order.remaining // CONTRACT
    for position in await lab.paper.list_positions():
        bids = snapshots[position.ticker].book.takers(position.side) if position.ticker in snapshots else ()
        total += (bids[0].price if bids else 0) * position.size // CONTRACT
    return total
