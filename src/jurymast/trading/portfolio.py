"""The bot's own books: a fold over the journal, kept true by the exchange.

Applying an event twice changes nothing, so a replay and a live feed may overlap. Where the exchange
says otherwise, the exchange wins: see :mod:`jurymast.trading.reconcile`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from jurymast.domain.events import (
    Event,
    OrderChanged,
    OrderFilled,
    OrderIntended,
    OrderRefused,
    OrderUnresolved,
    PositionSettled,
)
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import CONTRACT, Micros, notional
from jurymast.domain.order import (
    Action,
    Fill,
    Order,
    OrderIntent,
    OrderStatus,
    Position,
    Purpose,
)
from jurymast.domain.portfolio import Exposure
from jurymast.policy import fees

BOOK_EVENTS: tuple[type[Event], ...] = (
    OrderIntended,
    OrderChanged,
    OrderRefused,
    OrderUnresolved,
    OrderFilled,
    PositionSettled,
)
"""The kinds of event that make the books: all that a restart has to read."""
FILL_IDS_KEPT = 20_000
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Portfolio:
    """Orders, positions, cash and realised profit. Money in micro-dollars."""

    def __init__(self) -> None:
        self.cash: Micros = 0
        self.realized_pnl: Micros = 0
        self.fees_paid: Micros = 0
        self.positions: dict[str, Position] = {}
        self.open_intents: dict[str, OrderIntent] = {}
        """Intents whose order may still fill, by client order id."""
        self.orders: dict[str, Order] = {}
        """Orders the exchange has acknowledged for them, by client order id."""
        self.unresolved: set[str] = set()
        self.last_fill_id: str | None = None
        self.last_settled: str | None = None
        self.orders_placed = 0
        self.fills_seen = 0
        self._events: dict[str, str] = {}
        self._fill_ids: deque[str] = deque(maxlen=FILL_IDS_KEPT)
        self._fill_id_set: set[str] = set()
        self._new_risk: deque[tuple[datetime, Micros]] = deque()

    def apply(self, event: Event) -> None:
        """Fold one fact into the books. Facts that are not about orders change nothing."""
        match event:
            case OrderIntended(intent=intent):
                self.open_intents[intent.client_order_id] = intent
                self._events[intent.ticker] = intent.event_ticker
            case OrderChanged(order=order):
                self._order_changed(order)
            case OrderRefused(client_order_id=client_order_id):
                self._forget(client_order_id)
            case OrderUnresolved(client_order_id=client_order_id):
                self.unresolved.add(client_order_id)
            case OrderFilled(fill=fill):
                self._filled(fill)
            case PositionSettled(settlement=settlement, pnl=pnl):
                self.last_settled = settlement.ticker
                if self.positions.pop(settlement.ticker, None) is not None:
                    self.realized_pnl += pnl
            case _:
                pass

    def replay(self, events: Iterable[Event]) -> None:
        """Fold a whole journal."""
        for event in events:
            self.apply(event)

    def knows_fill(self, fill_id: str) -> bool:
        return fill_id in self._fill_id_set

    def event_of(self, ticker: str) -> str:
        """The event a market belongs to, as far as our orders have told."""
        return self._events.get(ticker, ticker)

    def correct(self, positions: Iterable[Position], cash: Micros) -> list[str]:
        """Take over the exchange's positions and cash; says what differed."""
        theirs = {position.ticker: position for position in positions}
        differences = []
        for ticker in sorted(theirs.keys() | self.positions.keys()):
            mine = self.positions[ticker].count if ticker in self.positions else 0
            exchange = theirs[ticker].count if ticker in theirs else 0
            if mine != exchange:
                differences.append(f"{ticker}: ours {mine / CONTRACT:g}, exchange {exchange / CONTRACT:g}")
                if ticker in theirs:
                    self.positions[ticker] = theirs[ticker]
                else:
                    del self.positions[ticker]
        self.cash = cash
        return differences

    def value(self, snapshots: Mapping[str, MarketSnapshot]) -> Micros:
        """Equity: cash, collateral of resting entries, positions at the price they could be sold at.

        A position without a bid counts as worthless: no default prices.
        """
        total = self.cash + sum(self._collateral(order) for order in self.orders.values())
        for position in self.positions.values():
            snapshot = snapshots.get(position.ticker)
            bids = snapshot.book.takers(position.side) if snapshot is not None else ()
            total += (bids[0].price if bids else 0) * position.size // CONTRACT
        return total

    def exposure(self, equity: Micros, now: datetime) -> Exposure:
        """What is held and at stake, for the rules. ``now`` is exchange time."""
        by_market: dict[str, Micros] = {p.ticker: p.max_loss for p in self.positions.values()}
        for client_order_id, intent in self.open_intents.items():
            if intent.purpose is Purpose.ENTRY:
                order = self.orders.get(client_order_id)
                at_stake = self._collateral(order) if order else notional(intent.limit_price, intent.count)
                by_market[intent.ticker] = by_market.get(intent.ticker, 0) + at_stake
        by_event: dict[str, Micros] = {}
        for ticker, at_stake in by_market.items():
            event = self.event_of(ticker)
            by_event[event] = by_event.get(event, 0) + at_stake
        while self._new_risk and now - self._new_risk[0][0] > DAY:
            self._new_risk.popleft()
        return Exposure(
            equity=equity,
            cash=self.cash,
            positions=dict(self.positions),
            by_market=by_market,
            by_event=by_event,
            new_risk_hour=sum(cost for at, cost in self._new_risk if now - at <= HOUR),
            new_risk_day=sum(cost for _, cost in self._new_risk),
            busy=frozenset(intent.ticker for intent in self.open_intents.values()),
        )

    def _order_changed(self, order: Order) -> None:
        if order.client_order_id not in self.open_intents:
            return
        self.unresolved.discard(order.client_order_id)
        if order.client_order_id not in self.orders:
            self.orders_placed += 1
        if order.status.open:
            self.orders[order.client_order_id] = order
        else:
            self._forget(order.client_order_id)

    def _forget(self, client_order_id: str) -> None:
        self.open_intents.pop(client_order_id, None)
        self.orders.pop(client_order_id, None)
        self.unresolved.discard(client_order_id)

    def _filled(self, fill: Fill) -> None:
        if fill.fill_id in self._fill_id_set:
            return
        if len(self._fill_ids) == FILL_IDS_KEPT:
            self._fill_id_set.discard(self._fill_ids[0])
        self._fill_ids.append(fill.fill_id)
        self._fill_id_set.add(fill.fill_id)
        self.last_fill_id = fill.fill_id
        self.fills_seen += 1
        self.fees_paid += fill.fee
        value = notional(fill.price, fill.count)
        if fill.action is Action.BUY:
            self._bought(fill, value + fill.fee)
        else:
            self._sold(fill, value - fill.fee)

    def _bought(self, fill: Fill, cost: Micros) -> None:
        signed = fill.count if fill.side.value == "yes" else -fill.count
        held = self.positions.get(fill.ticker)
        count = (held.count if held else 0) + signed
        self.positions[fill.ticker] = Position(
            fill.ticker, self.event_of(fill.ticker), count, (held.cost if held else 0) + cost
        )
        self._new_risk.append((fill.at, cost))

    def _sold(self, fill: Fill, revenue: Micros) -> None:
        held = self.positions.get(fill.ticker)
        if held is None or held.size == 0:
            return
        sold = min(fill.count, held.size)
        cost = held.cost * sold // held.size
        self.realized_pnl += revenue - cost
        left = held.size - sold
        if left == 0:
            del self.positions[fill.ticker]
            return
        sign = 1 if held.count > 0 else -1
        self.positions[fill.ticker] = Position(held.ticker, held.event_ticker, sign * left, held.cost - cost)

    @staticmethod
    def _collateral(order: Order) -> Micros:
        if order.action is not Action.BUY or order.status is not OrderStatus.RESTING:
            return 0
        return notional(order.limit_price + fees.fee_per_contract(order.limit_price), order.remaining)
