"""Money and positions of one policy: the bot's own books, against cash that is counted apart from them.

Orders take what is displayed, at its price and Kalshi's fee, and nothing rests. Each profit is put down to
the modes in which its position was opened, by contracts, and to its event in the bundle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from jurymast.domain.events import OrderChanged, OrderFilled, OrderIntended, PositionSettled
from jurymast.domain.market import MarketSnapshot, Side
from jurymast.domain.money import CONTRACT, PAYOUT, Centi, Micros, notional
from jurymast.domain.order import Action, Fill, Order, OrderIntent, OrderStatus, Position, Settlement
from jurymast.domain.portfolio import Exposure
from jurymast.domain.status import EmergencyMode
from jurymast.policy import fees
from jurymast.trading.portfolio import Portfolio


@dataclass(slots=True)
class Earned:
    """Profit and loss, in micro-dollars, by where it came from. ``entries`` counts buys by mode."""

    by_mode: Counter[EmergencyMode] = field(default_factory=Counter)
    by_event: Counter[str] = field(default_factory=Counter)
    entries: Counter[EmergencyMode] = field(default_factory=Counter)
    exits: int = 0
    settled: int = 0


class Account:
    """Starts with ``cash`` micro-dollars and nothing else."""

    def __init__(self, cash: Micros) -> None:
        self.start = cash
        self.earned = Earned()
        self._book = Portfolio()
        self._book.cash = cash
        self._marks: dict[str, Micros] = {}
        self._marked: Micros = 0
        self._opened_in: dict[str, Counter[EmergencyMode]] = {}
        self._events: dict[str, str] = {}
        self._orders = 0

    @property
    def cash(self) -> Micros:
        return self._book.cash

    @property
    def equity(self) -> Micros:
        """Cash, and what the positions could be sold for when their markets were last looked at."""
        return self._book.cash + self._marked

    @property
    def held(self) -> Iterable[str]:
        return self._book.positions.keys()

    def position(self, ticker: str) -> Position | None:
        return self._book.positions.get(ticker)

    def exposure(self, now: datetime) -> Exposure:
        return self._book.exposure(self.equity, now)

    @property
    def imbalance(self) -> Micros:
        """By how much cash and positions differ from what was there and was earned; 0, or a defect."""
        cost = sum(position.cost for position in self._book.positions.values())
        return self._book.cash + cost - self.start - self._book.realized_pnl

    def mark(self, snapshot: MarketSnapshot) -> None:
        """Look at what a position is worth now. Without a bid it is worth nothing."""
        held = self._book.positions.get(snapshot.ticker)
        value = 0
        if held is not None:
            bids = snapshot.book.takers(held.side)
            value = bids[0].price * held.size // CONTRACT if bids else 0
        self._marked += value - self._marks.pop(snapshot.ticker, 0)
        if held is not None:
            self._marks[snapshot.ticker] = value

    def execute(
        self, intent: OrderIntent, snapshot: MarketSnapshot, mode: EmergencyMode, event: str
    ) -> Centi:
        """Take what is displayed within the limit; how much of it there was. The rest is cancelled."""
        self._orders += 1
        self._events[intent.ticker] = event
        earned_before = self._book.realized_pnl
        self._book.apply(OrderIntended(at=snapshot.as_of, intent=intent))
        buying = intent.action is Action.BUY
        levels = snapshot.book.offers(intent.side) if buying else snapshot.book.takers(intent.side)
        left, carried = intent.count, 0
        for level in levels:
            beyond = level.price > intent.limit_price if buying else level.price < intent.limit_price
            if not left or beyond:
                break
            count = min(left, level.count)
            left -= count
            flow = -notional(level.price, count) if buying else level.price * count // CONTRACT
            charge = fees.charge(level.price, count, flow, carried=carried)
            carried = charge.carried
            self._book.cash += flow - charge.fee
            self._fill(intent, snapshot, level.price, count, charge.fee, left)
        self._ended(intent, snapshot, left)
        filled = intent.count - left
        if filled and buying:
            self._opened_in.setdefault(intent.ticker, Counter())[mode] += filled
            self.earned.entries[mode] += 1
        elif filled:
            self.earned.exits += 1
            self._put_down(intent.ticker, self._book.realized_pnl - earned_before)
            if intent.ticker not in self._book.positions:
                del self._opened_in[intent.ticker]
        self.mark(snapshot)
        return filled

    def _fill(
        self,
        intent: OrderIntent,
        snapshot: MarketSnapshot,
        price: Micros,
        count: Centi,
        fee: Micros,
        left: Centi,
    ) -> None:
        name = f"{self._orders}"
        fill = Fill(
            fill_id=f"{name}.{left}",
            order_id=name,
            client_order_id=intent.client_order_id,
            ticker=intent.ticker,
            side=intent.side,
            action=intent.action,
            price=price,
            count=count,
            fee=fee,
            at=snapshot.as_of,
        )
        self._book.apply(OrderFilled(at=snapshot.as_of, fill=fill))

    def _ended(self, intent: OrderIntent, snapshot: MarketSnapshot, left: Centi) -> None:
        order = Order(
            order_id=f"{self._orders}",
            client_order_id=intent.client_order_id,
            ticker=intent.ticker,
            side=intent.side,
            action=intent.action,
            limit_price=intent.limit_price,
            count=intent.count,
            filled=intent.count - left,
            status=OrderStatus.CANCELED if left else OrderStatus.EXECUTED,
            created_at=snapshot.as_of,
        )
        self._book.apply(OrderChanged(at=snapshot.as_of, order=order))

    def settle(self, ticker: str, outcome: bool, at: datetime) -> None:
        """A question has resolved: what happened pays a dollar a contract, the other side nothing."""
        held = self._book.positions.get(ticker)
        if held is None:
            return
        result = Side.YES if outcome else Side.NO
        revenue = PAYOUT * held.size // CONTRACT if held.side is result else 0
        self._book.cash += revenue
        pnl = revenue - held.cost
        settlement = Settlement(ticker, result, held.count, revenue, at)
        self._book.apply(PositionSettled(at=at, ticker=ticker, settlement=settlement, pnl=pnl))
        self._put_down(ticker, pnl)
        self._marked -= self._marks.pop(ticker, 0)
        del self._opened_in[ticker]
        self.earned.settled += 1

    def close(self) -> None:
        """The year is over: what is still held is put down at what it could be sold for."""
        for ticker, position in self._book.positions.items():
            self._put_down(ticker, self._marks[ticker] - position.cost)

    def _put_down(self, ticker: str, pnl: Micros) -> None:
        """To the modes by contracts bought in them, to the last of them what does not divide."""
        self.earned.by_event[self._events[ticker]] += pnl
        shares = self._opened_in[ticker]
        whole, left = sum(shares.values()), pnl
        for mode, count in list(shares.items())[1:]:
            part = pnl * count // whole
            self.earned.by_mode[mode] += part
            left -= part
        self.earned.by_mode[next(iter(shares))] += left
