"""Whatever is traded, killed and settled, the exchange's books add up to the micro-dollar."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from paper_kit import START, buy, exchange, question, sell

from jurymast.domain.errors import OrderRejected
from jurymast.domain.market import Side
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, usd
from jurymast.domain.order import Action, Fill, Order, OrderStatus, TimeInForce
from jurymast.exchange.paper import PaperExchange
from jurymast.testing.clock import FakeClock

CASH = usd(200)
LIFE = timedelta(days=2)
T = TypeVar("T")

QUESTIONS = tuple(
    question(
        f"Q-{n}",
        crowd_probability=prior,
        outcome=outcome,
        resolves_at=START + LIFE * (n + 1) / 4,
        close_time=START + LIFE,
    )
    for n, (prior, outcome) in enumerate([(0.5, True), (0.3, False), (0.9, True), (0.02, False)])
)
tickers = st.sampled_from([q.ticker for q in QUESTIONS])
counts = st.one_of(st.integers(1, 50), st.integers(1, 20).map(lambda n: n * CONTRACT))
cents = st.one_of(st.integers(1, 99), st.sampled_from([1, 99]))

REFUSALS = {
    "insufficient_balance",
    "market_closed",
    "no_position",
    "fill_or_kill_insufficient_resting_volume",
}


def two_accounts(fills: list[Fill], paid: int, held: dict[str, int]) -> int:
    """Cash after these fills if YES and NO were kept apart and pairs redeemed for $1 in the end.

    A sale moves no contracts here that netting would not: what remains must be what is ``held``.
    """
    cash = CASH + paid
    owned: dict[str, dict[Side, int]] = {}
    for fill in fills:
        sides = owned.setdefault(fill.ticker, {Side.YES: 0, Side.NO: 0})
        buying = fill.action is Action.BUY
        sides[fill.side] += fill.count if buying else -fill.count
        value = Fraction(fill.price * fill.count, CONTRACT)
        cash += int(-value if buying else value) - fill.fee
        assert value.denominator == 1
    for ticker, sides in owned.items():
        net = sides[Side.YES] - sides[Side.NO]
        assert net == held.get(ticker, 0), "fills and holdings differ"
        pairs = sides[Side.NO] if net >= 0 else sides[Side.YES]
        cash += pairs * PAYOUT // CONTRACT
    return cash


def mean_cost(fills: list[Fill]) -> Fraction:
    """Exact average cost, fees included, of what the fills of one market leave."""
    count, cost = 0, Fraction(0)
    for fill in fills:
        long = (fill.side is Side.YES) == (fill.action is Action.BUY)
        signed = fill.count if long else -fill.count
        closing = min(abs(count), fill.count) if count * signed < 0 else 0
        opening = fill.count - closing
        if closing:
            cost -= cost * closing / abs(count)
        cost += Fraction(fill.price * opening, CONTRACT) + Fraction(fill.fee * opening, fill.count)
        count += signed
    return cost


class Accounts(RuleBasedStateMachine):
    """A trader who does anything at any time, on an exchange that is killed now and then."""

    @initialize(seed=st.integers(0, 50))
    def begin(self, seed: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.seed = seed
        self.orders: list[Order] = []
        self.seen: list[Fill] = []
        self.refusals: set[str] = set()
        self.paper = self.opened()

    def opened(self) -> PaperExchange:
        database = Path(self.folder.name) / "exchange.db"
        return exchange(QUESTIONS, self.clock, database, seed=self.seed, cash=CASH)

    def ask(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    @rule(
        ticker=tickers,
        side=st.sampled_from(Side),
        action=st.sampled_from(Action),
        limit=cents,
        count=counts,
        how=st.sampled_from(TimeInForce),
    )
    def place(
        self, ticker: str, side: Side, action: Action, limit: int, count: int, how: TimeInForce
    ) -> None:
        make = buy if action is Action.BUY else sell
        intent = make(ticker, side=side, limit_price=limit * CENT, count=count, time_in_force=how)
        held = self.held().get(ticker, 0)
        try:
            order = self.ask(self.paper.place_order(intent))
        except OrderRejected as refusal:
            self.refusals.add(refusal.code)
            return
        self.orders.append(order)
        if action is Action.SELL:
            assert order.filled <= (held if side is Side.YES else -held)

    @rule(secs=st.sampled_from([1, 59, 60, 600, 3_600, 20_000]))
    def wait(self, secs: int) -> None:
        self.clock.advance(secs)

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = self.ask(self.paper.cancel_order(data.draw(st.sampled_from(self.orders))))
        assert order.status in {OrderStatus.CANCELED, OrderStatus.EXECUTED}

    @rule()
    def kill_and_reopen(self) -> None:
        """Let go of the file without a word, as a killed process does."""
        self.paper._file.close()
        self.paper = self.opened()

    def held(self) -> dict[str, int]:
        return {position.ticker: position.count for position in self.ask(self.paper.list_positions())}

    @invariant()
    def refusals_have_their_reasons(self) -> None:
        """Well-formed orders are refused for want of cash, contracts, liquidity or an open market only."""
        assert self.refusals <= REFUSALS

    @invariant()
    def cash_adds_up(self) -> None:
        """Cash, collateral, fees and payouts account for every micro-dollar of the beginning."""
        settlements = self.ask(self.paper.list_settlements())
        held = self.held() | {settlement.ticker: settlement.count for settlement in settlements}
        resting = self.ask(self.paper.list_open_orders())
        collateral = sum(
            order.limit_price * order.remaining // CONTRACT for order in resting if order.action is Action.BUY
        )
        cash = self.ask(self.paper.get_balance()).cash
        paid = sum(settlement.revenue for settlement in settlements)
        assert cash >= 0
        assert cash + collateral == two_accounts(self.ask(self.paper.list_fills()), paid, held)

    @invariant()
    def positions_are_carried_at_cost(self) -> None:
        """A position costs what its contracts did on average, fees included, to a rounding a fill."""
        fills = self.ask(self.paper.list_fills())
        for position in self.ask(self.paper.list_positions()):
            own = [fill for fill in fills if fill.ticker == position.ticker]
            assert abs(position.cost - mean_cost(own)) <= len(own)
            assert position.cost >= 0

    @invariant()
    def fills_belong_to_orders(self) -> None:
        """Fills only ever grow, add up to their order, stay within its limit and have one id each."""
        fills = self.ask(self.paper.list_fills())
        assert fills[: len(self.seen)] == self.seen
        self.seen = list(fills)
        assert len({fill.fill_id for fill in fills}) == len(fills)
        for placed in self.orders:
            order = self.ask(self.paper.find_order(placed.client_order_id))
            assert order is not None
            own = [fill for fill in fills if fill.order_id == order.order_id]
            assert sum(fill.count for fill in own) == order.filled <= order.count
            assert (order.status is OrderStatus.EXECUTED) == (order.filled == order.count)
            buying = order.action is Action.BUY
            limit = order.limit_price
            assert all(fill.price <= limit if buying else fill.price >= limit for fill in own)

    def teardown(self) -> None:
        """Let every market resolve: what is left is cash, and it is the beginning and the results."""
        if not hasattr(self, "paper"):
            return
        self.clock.advance(LIFE.total_seconds())
        assert self.held() == {}
        assert self.ask(self.paper.list_open_orders()) == []
        self.cash_adds_up()
        self.ask(self.paper.close())
        self.runner.close()
        self.folder.cleanup()


TestAccounts = Accounts.TestCase
TestAccounts.__doc__ = "No sequence of orders, waits, cancels, kills and settlements unbalances the books."
TestAccounts.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


async def script(seed: int) -> list[object]:
    """A fixed day of trading; everything that was seen."""
    clock = FakeClock()
    paper = exchange(QUESTIONS, clock, seed=seed, cash=CASH)
    seen: list[object] = []
    for number in range(60):
        clock.advance(1_234)
        intent = buy(
            f"Q-{number % 4}",
            client_order_id=f"script-{number}",
            side=Side.YES if number % 3 else Side.NO,
            limit_price=(number * 37 % 99 + 1) * CENT,
            count=CONTRACT,
            time_in_force=TimeInForce.GOOD_TILL_CANCELED,
        )
        try:
            seen.append(await paper.place_order(intent))
        except OrderRejected as refusal:
            seen.append(refusal.code)
        seen.append(await paper.list_snapshots())
    seen += [await paper.list_fills(), await paper.list_settlements(), await paper.get_balance()]
    await paper.close()
    return seen


async def test_one_seed_and_one_set_of_calls_make_one_history() -> None:
    """The same calls at the same times see the same books, orders, fills and payouts; another seed not."""
    first = await script(3)
    assert first == await script(3)
    assert first != await script(4)
