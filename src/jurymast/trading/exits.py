"""Exits as orders, and selling everything when a person says so.

Every exit is immediate-or-cancel and reduce-only: it can't rest, and it can't open the other side.
"""

from __future__ import annotations

import hashlib

from jurymast.domain.errors import ExchangeError
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.order import Action, OrderIntent, Position, Purpose, TimeInForce
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.policy import liquidation, risk
from jurymast.policy.emergency import TABLE
from jurymast.policy.exits import ExitPlan
from jurymast.policy.liquidation import LiquidationSettings, Sale, Unsold
from jurymast.ports import Clock, Exchange
from jurymast.trading.gateway import Gateway, client_order_id
from jurymast.trading.portfolio import Portfolio
from jurymast.trading.reconcile import Reconciler


def exit_intent(position: Position, snapshot: MarketSnapshot, plan: ExitPlan) -> OrderIntent:
    """The order that carries out a plan to leave."""
    text = f"exit|{snapshot.ticker}|{plan.reason}|{snapshot.as_of.isoformat()}"
    exit_id = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return OrderIntent(
        client_order_id=client_order_id(exit_id, snapshot.ticker, Purpose.EXIT),
        decision_id=exit_id,
        ticker=snapshot.ticker,
        event_ticker=snapshot.market.event_ticker,
        purpose=Purpose.EXIT,
        side=position.side,
        action=Action.SELL,
        count=plan.count,
        limit_price=plan.limit_price,
        time_in_force=TimeInForce.IMMEDIATE_OR_CANCEL,
        reason=f"{plan.reason}: {plan.detail}",
    )


class Liquidator:
    """Sells every position in bounded slices. Needs no model, no budget, and no cycle."""

    def __init__(
        self,
        exchange: Exchange,
        portfolio: Portfolio,
        gateway: Gateway,
        reconciler: Reconciler,
        *,
        clock: Clock,
        settings: LiquidationSettings | None = None,
    ) -> None:
        self._exchange = exchange
        self._portfolio = portfolio
        self._gateway = gateway
        self._reconciler = reconciler
        self._clock = clock
        self._settings = settings or LiquidationSettings()

    async def preview(self) -> tuple[list[Sale], list[Unsold]]:
        """The next slices and what they leave, by the books as they are now. Sends nothing."""
        return liquidation.flatten(
            list(self._portfolio.positions.values()), await self._snapshots(), self._settings
        )

    async def sell(self) -> int:
        """Send one slice of every position that has a buyer; how many were sent. Raises JournalUnwritable."""
        snapshots = await self._snapshots()
        positions = dict(self._portfolio.positions)
        sales, _ = liquidation.flatten(positions.values(), snapshots, self._settings)
        sent = 0
        for sale in sales:
            snapshot = snapshots[sale.ticker]
            intent = exit_intent(positions[sale.ticker], snapshot, sale.plan)
            exposure = self._portfolio.exposure(0, snapshot.as_of)
            verdict = risk.check(
                intent, snapshot, exposure, TABLE[EmergencyMode.MINIMAL], TradingState.REDUCING,
                risk.RiskSettings(), orders_last_minute=self._gateway.orders_last_minute,
            )  # fmt: skip
            if verdict.allowed and sale.ticker not in exposure.busy:
                sent += await self._gateway.submit(intent, verdict) is not None
        if sent:
            try:
                await self._reconciler.after_order()
            except ExchangeError:
                return sent  # the next cycle reconciles
        return sent

    async def _snapshots(self) -> dict[str, MarketSnapshot]:
        """The whole book of every market where something is held; one that can't be read is left out."""
        found = {}
        for ticker in list(self._portfolio.positions):
            try:
                found[ticker] = await self._exchange.get_snapshot(ticker)
            except ExchangeError:
                continue
        return found
