"""Our books against the exchange's. The exchange wins, and what differed is said.

Order of work: intents without an acknowledgement are asked for by id; open orders are compared; fills
and payouts since the last known one are fetched; then positions and cash are taken over. After a
restart nothing else happens before this has succeeded once.

Fills are a set keyed by the exchange's id. An exchange that lists no positions at all while our books hold
some is not believed the first time: that is also what a broken or lagging reader says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jurymast.domain.errors import ExchangeError, ReconcileError
from jurymast.domain.events import OrderFilled, PositionSettled, Reconciled
from jurymast.domain.order import Position, Settlement
from jurymast.ports import Clock, Exchange
from jurymast.trading.gateway import Gateway
from jurymast.trading.portfolio import Portfolio
from jurymast.trading.recorder import Recorder

PAGE_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Progress:
    """What reconciliation found since the last time."""

    fills: int
    settlements: int
    differences: tuple[str, ...]

    def plus(self, later: Progress) -> Progress:
        """Both together."""
        return Progress(
            self.fills + later.fills,
            self.settlements + later.settlements,
            self.differences + later.differences,
        )


class Reconciler:
    """Keeps the portfolio equal to the exchange."""

    def __init__(
        self,
        exchange: Exchange,
        recorder: Recorder,
        portfolio: Portfolio,
        gateway: Gateway,
        *,
        clock: Clock,
    ) -> None:
        self._exchange = exchange
        self._record = recorder.record
        self._portfolio = portfolio
        self._gateway = gateway
        self._clock = clock
        self._emptied = False

    async def run_once(self, *, first: bool = False) -> Progress:
        """Square the books. Raises ReconcileError when the exchange can't be asked or makes no sense.

        The result is journalled when it is the first of a run or when something differed.
        """
        try:
            await self._gateway.resolve_open()
            await self._orders()
            fills, settlements = await self._fills(), await self._settlements()
            positions = await self._exchange.list_positions()
            if self._portfolio.differences(positions):
                # What traded or was paid between our reads is news, not a difference.
                fills += await self._fills()
                settlements += await self._settlements()
                positions = await self._exchange.list_positions()
            self._doubt_nothing(positions)
            balance = await self._exchange.get_balance()
        except ExchangeError as error:
            raise ReconcileError(
                f"the exchange could not be compared with our books: {error}. "
                "No entries are made until it can."
            ) from error
        differences = tuple(self._portfolio.correct(positions, balance.cash))
        if first or differences:
            await self._record(
                Reconciled(
                    at=self._clock.utc_now(),
                    orders=len(self._portfolio.open_intents),
                    positions=len(positions),
                    cash=balance.cash,
                    differences=differences,
                )
            )
        return Progress(fills, settlements, differences)

    def _doubt_nothing(self, positions: Sequence[Position]) -> None:
        """An empty list that nothing explains has to be said twice. Raises ReconcileError the first time."""
        emptied, self._emptied = self._emptied, bool(self._portfolio.positions) and not positions
        if self._emptied and not emptied:
            raise ReconcileError(
                f"the exchange lists no positions, our books hold {len(self._portfolio.positions)} and show "
                "neither sale nor payout. Nothing is concluded, and nothing entered, until it says so again."
            )

    async def after_order(self) -> int:
        """Take over fills and cash right after an order, so that the next one is sized on the truth."""
        fills = await self._fills()
        self._portfolio.cash = (await self._exchange.get_balance()).cash
        return fills

    async def _orders(self) -> None:
        theirs = {order.client_order_id: order for order in await self._exchange.list_open_orders()}
        for order in theirs.values():
            await self._gateway.refresh(order)
        for client_order_id in list(self._portfolio.orders):
            if client_order_id not in theirs:
                ended = await self._exchange.find_order(client_order_id)
                if ended is not None:
                    await self._gateway.refresh(ended)

    async def _fills(self) -> int:
        fills = await self._exchange.list_fills(self._portfolio.last_fill_id)
        fresh = [fill for fill in fills[:PAGE_MAX] if not self._portfolio.knows_fill(fill.fill_id)]
        for fill in map(self._portfolio.as_intended, fresh):
            await self._record(OrderFilled(at=self._clock.utc_now(), ticker=fill.ticker, fill=fill))
        return len(fresh)

    async def _settlements(self) -> int:
        settlements = await self._exchange.list_settlements(self._portfolio.last_settled)
        for settlement in settlements[:PAGE_MAX]:
            await self._record(
                PositionSettled(
                    at=self._clock.utc_now(),
                    ticker=settlement.ticker,
                    settlement=settlement,
                    pnl=self._pnl(settlement),
                )
            )
        return len(settlements)

    def _pnl(self, settlement: Settlement) -> int:
        held = self._portfolio.positions.get(settlement.ticker)
        return settlement.revenue - (held.cost if held is not None else 0)
