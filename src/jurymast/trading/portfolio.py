"""The bot's own books: a fold over the journal, kept true by the exchange.

Applying an event twice changes nothing, so a replay and a live feed may overlap. Where the exchange
says otherwise, the exchange wins: see :mod:`jurymast.trading.reconcile`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
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
from jurymast.domain.market import MarketSnapshot, Side
from jurymast.domain.money import CONTRACT, PAYOUT, Centi, Micros, notional
from jurymast.domain.order import (
    Action,
    Fill,
    Order,
    OrderIntent,
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
IDS_KEPT = 20_000
"""Fills, and orders that have ended, of which a repetition is recognised."""
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class _Seen:
    """The last ``IDS_KEPT`` ids."""

    def __init__(self) -> None:
        self._order: deque[str] = deque(maxlen=IDS_KEPT)
        self._ids: set[str] = set()

    def __contains__(self, seen_id: str) -> bool:
        return seen_id in self._ids

    def add(self, seen_id: str) -> None:
        if seen_id in self._ids:
            return
        if len(self._order) == IDS_KEPT:
            self._ids.discard(self._order[0])
        self._order.append(seen_id)
        self._ids.add(seen_id)


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
        self.last_refusal = ""
        """The exchange's word when it refused the last order; empty when it took it."""
        self.doubled = ""
        """An order of which there is more than was meant: a second one, a larger one, more filled."""
        self.orders_placed = 0
        self.fills_seen = 0
        self._events: dict[str, str] = {}
        self._fill_ids = _Seen()
        self._ended_ids = _Seen()
        self._new_risk: deque[tuple[datetime, Micros, bool]] = deque()
        self._cached_ids = _Seen()
        self._meant: dict[str, tuple[Side, Action]] = {}

    def apply(self, event: Event) -> None:
        """Fold one fact into the books. Facts that are not about orders change nothing."""
        match event:
            case OrderIntended(intent=intent):
                self._events[intent.ticker] = intent.event_ticker
                self._intended(intent)
                if intent.client_order_id not in self._ended_ids:
                    self.open_intents[intent.client_order_id] = intent
            case OrderChanged(order=order):
                self._order_changed(order)
            case OrderRefused(client_order_id=client_order_id, code=code):
                self.last_refusal = code
                self._forget(client_order_id)
            case OrderUnresolved(client_order_id=client_order_id):
                if client_order_id in self.open_intents:
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
        return fill_id in self._fill_ids

    def as_intended(self, fill: Fill) -> Fill:
        """The fill in the words of its intent: selling YES and buying NO are one thing at the exchange."""
        side, action = self._meant.get(fill.client_order_id, (fill.side, fill.action))
        if side is fill.side:
            return fill
        return replace(fill, side=side, action=action, price=PAYOUT - fill.price)

    def event_of(self, ticker: str) -> str:
        """The event a market belongs to, as far as our orders and the exchange have told."""
        return self._events.get(ticker, ticker)

    def differences(self, positions: Iterable[Position]) -> list[str]:
        """Where the exchange's positions and ours are not the same, by ticker."""
        theirs = {position.ticker: position.count for position in positions}
        ours = {position.ticker: position.count for position in self.positions.values()}
        counts = [(t, ours.get(t, 0), theirs.get(t, 0)) for t in sorted(theirs.keys() | ours.keys())]
        return [
            f"{ticker}: ours {mine / CONTRACT:g}, exchange {exchange / CONTRACT:g}"
            for ticker, mine, exchange in counts
            if mine != exchange
        ]

    def correct(self, positions: Sequence[Position], cash: Micros) -> list[str]:
        """Take over the exchange's positions and cash; says what differed."""
        differences = self.differences(positions)
        ours, self.positions = self.positions, {}
        for theirs in positions:
            mine = ours.get(theirs.ticker)
            self.positions[theirs.ticker] = mine if mine and mine.count == theirs.count else theirs
            self._events[theirs.ticker] = theirs.event_ticker
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
        pending: Micros = 0
        pending_cached: Micros = 0
        for client_order_id, intent in self.open_intents.items():
            if intent.purpose is Purpose.ENTRY:
                order = self.orders.get(client_order_id)
                at_stake = _all_in(intent.limit_price, order.remaining if order else intent.count)
                by_market[intent.ticker] = by_market.get(intent.ticker, 0) + at_stake
                pending += at_stake
                pending_cached += at_stake * intent.cached
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
            new_risk_hour=pending + sum(cost for at, cost, _ in self._new_risk if now - at <= HOUR),
            new_risk_day=pending + sum(cost for _, cost, _ in self._new_risk),
            cached_hour=pending_cached
            + sum(cost * cached for at, cost, cached in self._new_risk if now - at <= HOUR),
            cached_day=pending_cached + sum(cost * cached for _, cost, cached in self._new_risk),
            busy=frozenset(intent.ticker for intent in self.open_intents.values()),
        )

    def _intended(self, intent: OrderIntent) -> None:
        self._meant[intent.client_order_id] = (intent.side, intent.action)
        if intent.cached:
            self._cached_ids.add(intent.client_order_id)
        if len(self._meant) > IDS_KEPT:
            del self._meant[next(iter(self._meant))]

    def _order_changed(self, order: Order) -> None:
        if order.client_order_id not in self.open_intents:
            return
        self.unresolved.discard(order.client_order_id)
        self.last_refusal = ""
        known, meant = self.orders.get(order.client_order_id), self.open_intents[order.client_order_id]
        if max(order.count, order.filled) > meant.count or (known and known.order_id != order.order_id):
            self.doubled = order.client_order_id
        if known is None:
            self.orders_placed += 1
        if order.status.open:
            self.orders[order.client_order_id] = order
        else:
            self._ended_ids.add(order.client_order_id)
            self._forget(order.client_order_id)

    def _forget(self, client_order_id: str) -> None:
        self.open_intents.pop(client_order_id, None)
        self.orders.pop(client_order_id, None)
        self.unresolved.discard(client_order_id)

    def _filled(self, fill: Fill) -> None:
        if fill.fill_id in self._fill_ids:
            return
        self._fill_ids.add(fill.fill_id)
        self.last_fill_id = fill.fill_id
        self.fills_seen += 1
        self.fees_paid += fill.fee
        held = self.positions.get(fill.ticker)
        long = (fill.side is Side.YES) == (fill.action is Action.BUY)
        against = held is not None and held.side is (Side.NO if long else Side.YES)
        closing = min(held.size, fill.count) if held is not None and against else 0
        opening = fill.count - closing
        fee_opening = fill.fee * opening // fill.count
        if held is not None and closing:
            self._closed(held, fill, closing, fill.fee - fee_opening)
        if opening and fill.action is Action.BUY:
            self._opened(fill, opening, fee_opening)

    def _opened(self, fill: Fill, count: Centi, fee: Micros) -> None:
        cost = notional(fill.price, count) + fee
        held = self.positions.get(fill.ticker)
        signed = count if fill.side is Side.YES else -count
        self.positions[fill.ticker] = Position(
            fill.ticker,
            self.event_of(fill.ticker),
            signed + (held.count if held else 0),
            cost + (held.cost if held else 0),
        )
        self._new_risk.append((fill.at, cost, fill.client_order_id in self._cached_ids))

    def _closed(self, held: Position, fill: Fill, count: Centi, fee: Micros) -> None:
        """Take contracts off. Buying the other side makes pairs, which the exchange redeems at $1."""
        price = fill.price if fill.action is Action.SELL else PAYOUT - fill.price
        cost = held.cost * count // held.size
        self.realized_pnl += notional(price, count) - fee - cost
        left = held.size - count
        if left == 0:
            del self.positions[fill.ticker]
            return
        sign = 1 if held.count > 0 else -1
        self.positions[fill.ticker] = Position(held.ticker, held.event_ticker, sign * left, held.cost - cost)

    @staticmethod
    def _collateral(order: Order) -> Micros:
        return notional(order.limit_price, order.remaining) if order.action is Action.BUY else 0


def _all_in(price: Micros, count: Centi) -> Micros:
    return notional(price + fees.fee_per_contract(price), count)
