"""The one door to the exchange: nothing else places or cancels orders.

The life of an order
  1. The halt latch is looked at: while its file exists nothing is sent, whatever the program thinks.
  2. The risk verdict must be there.
  3. The intent is written to the journal and is durable before anything leaves.
  4. It is sent once. The client order id comes from the decision, so a second send can't be a second order.
  5. The answer is journalled. No answer: the exchange is asked for that id, a few times; never sent again.
  6. Still unknown: the market is left alone until reconciliation has found out.
"""

from __future__ import annotations

import hashlib
from collections import deque
from datetime import datetime
from pathlib import Path

from jurymast.domain.errors import ExchangeError, OrderRejected
from jurymast.domain.events import OrderChanged, OrderIntended, OrderRefused, OrderUnresolved
from jurymast.domain.order import Action, Order, OrderIntent, Purpose
from jurymast.policy.risk import RiskReason, Verdict
from jurymast.ports import Clock, Exchange
from jurymast.trading.portfolio import Portfolio
from jurymast.trading.recorder import Recorder

RESOLVE_TRIES = 3
RESOLVE_WAIT_SECS = 0.2
RATE_WINDOW_SECS = 60.0


class Gateway:
    """Sends orders. ``halt_file`` is the latch: while it exists only cancels go out."""

    def __init__(
        self,
        exchange: Exchange,
        recorder: Recorder,
        portfolio: Portfolio,
        *,
        clock: Clock,
        halt_file: Path | None = None,
    ) -> None:
        self._exchange = exchange
        self._record = recorder.record
        self._portfolio = portfolio
        self._clock = clock
        self._halt_file = halt_file
        self._sent_at: deque[float] = deque()

    @property
    def halted(self) -> bool:
        return self._halt_file is not None and self._halt_file.exists()

    @property
    def orders_last_minute(self) -> int:
        now = self._clock.monotonic()
        while self._sent_at and now - self._sent_at[0] > RATE_WINDOW_SECS:
            self._sent_at.popleft()
        return len(self._sent_at)

    async def submit(self, intent: OrderIntent, verdict: Verdict) -> Order | None:
        """Send an allowed intent once; the order, or None when there is none or its fate is unknown.

        Raises ValueError for an intent whose verdict is not an allowance (a bug of the caller).
        """
        if not verdict.allowed:
            raise ValueError(f"{intent.client_order_id} was refused: {verdict.reason}")
        if self.halted:
            await self._record(self._refused(intent, RiskReason.TRADING_HALTED, "the halt latch is set"))
            return None
        if intent.client_order_id in self._portfolio.open_intents:
            return None
        await self._record(OrderIntended(at=self._clock.utc_now(), intent=intent, **_thread(intent)))
        self._sent_at.append(self._clock.monotonic())
        try:
            order = await self._exchange.place_order(intent)
        except OrderRejected as rejected:
            if rejected.code != "order_already_exists":
                await self._record(self._refused(intent, rejected.code, str(rejected)))
                return None
            return await self._resolve(intent, "the exchange has this id already")
        except ExchangeError as unknown:
            return await self._resolve(intent, str(unknown))
        await self._changed(order, intent)
        return order

    async def cancel(self, intent: OrderIntent, order: Order, reason: str) -> None:
        """Cancel what remains of an order. If the exchange does not say, reconciliation will."""
        try:
            ended = await self._exchange.cancel_order(order)
        except ExchangeError as error:
            await self._record(self._unresolved(intent, f"cancel ({reason}): {error}"))
            return
        await self._changed(ended, intent)

    async def extend(self, intent: OrderIntent, order: Order, expires_at: datetime) -> None:
        """Let a resting order live until ``expires_at``. Without an answer it lives shorter or as long as
        was meant; reconciliation takes over what the exchange says."""
        try:
            extended = await self._exchange.extend_order(order, expires_at)
        except ExchangeError:
            return
        await self._changed(extended, intent)

    async def cancel_entries(self, reason: str) -> int:
        """Cancel every resting entry; how many were tried."""
        resting = [
            (intent, self._portfolio.orders[client_order_id])
            for client_order_id, intent in list(self._portfolio.open_intents.items())
            if intent.action is Action.BUY and client_order_id in self._portfolio.orders
        ]
        for intent, order in resting:
            await self.cancel(intent, order, reason)
        return len(resting)

    async def resolve_open(self) -> None:
        """Ask the exchange about every intent that it has not acknowledged yet (after a crash)."""
        for client_order_id, intent in list(self._portfolio.open_intents.items()):
            if client_order_id not in self._portfolio.orders:
                await self._resolve(intent, "not acknowledged before the restart")

    async def refresh(self, order: Order) -> None:
        """Take over what the exchange says now about one of our open orders."""
        intent = self._portfolio.open_intents.get(order.client_order_id)
        if intent is None:
            return
        if order.client_order_id in self._portfolio.unresolved or (
            self._portfolio.orders.get(order.client_order_id) != order
        ):
            await self._changed(order, intent)

    async def _resolve(self, intent: OrderIntent, cause: str) -> Order | None:
        detail = cause
        for attempt in range(RESOLVE_TRIES):
            if attempt:
                await self._clock.sleep(RESOLVE_WAIT_SECS * 2**attempt)
            try:
                order = await self._exchange.find_order(intent.client_order_id)
            except ExchangeError as error:
                detail = f"{cause}; asking for it: {error}"
                continue
            if order is None:
                await self._record(self._refused(intent, "never_arrived", cause))
                return None
            await self._changed(order, intent)
            return order
        await self._record(self._unresolved(intent, detail))
        return None

    async def _changed(self, order: Order, intent: OrderIntent) -> None:
        await self._record(OrderChanged(at=self._clock.utc_now(), order=order, **_thread(intent)))

    def _unresolved(self, intent: OrderIntent, detail: str) -> OrderUnresolved:
        return OrderUnresolved(
            at=self._clock.utc_now(),
            client_order_id=intent.client_order_id,
            detail=detail,
            **_thread(intent),
        )

    def _refused(self, intent: OrderIntent, code: str, detail: str) -> OrderRefused:
        return OrderRefused(
            at=self._clock.utc_now(),
            client_order_id=intent.client_order_id,
            code=code,
            detail=detail,
            **_thread(intent),
        )


def client_order_id(decision_id: str, ticker: str, purpose: Purpose) -> str:
    """The one id of the one order that a decision may become. At most 64 of Kalshi's characters."""
    text = f"{decision_id}|{ticker}|{purpose}"
    return f"jm-{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"


def _thread(intent: OrderIntent) -> dict[str, str]:
    return {"decision_id": intent.decision_id, "ticker": intent.ticker}
