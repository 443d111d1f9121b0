"""The one door to the exchange: nothing else places or cancels orders.

The life of an order
  1. What people demand is looked at: a halt lets nothing out, a pause no entry, whatever the program thinks.
     Entries also wait while resting orders are taken back, and for a minute after a cancel-all.
  2. The risk verdict must be there.
  3. The intent is written to the journal and is durable before anything leaves.
  4. It is sent once. The client order id comes from the decision, so a second send can't be a second order.
  5. The answer is journalled. No answer: the exchange is asked for that id, a few times; never sent again.
  6. Still unknown: the market is left alone until reconciliation has found out.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from jurymast.domain.errors import ExchangeError, JournalUnwritable, OrderRejected
from jurymast.domain.events import (
    EntriesWithdrawn,
    OrderChanged,
    OrderIntended,
    OrderRefused,
    OrderUnresolved,
    WithdrawalDelayed,
)
from jurymast.domain.order import Order, OrderIntent, Purpose, TimeInForce
from jurymast.domain.status import EmergencyMode
from jurymast.exchange.withdrawing import Withdrawing
from jurymast.policy.demands import NONE, BarReason, Demands, bar
from jurymast.policy.emergency import TABLE, ModeRules
from jurymast.policy.risk import Verdict
from jurymast.policy.withdrawal import SWEPT_SECS, Withdrawal, begin
from jurymast.ports import Clock, ControlSource, Exchange
from jurymast.trading.portfolio import Portfolio
from jurymast.trading.recorder import Recorder

RESOLVE_TRIES = 3
RESOLVE_WAIT_SECS = 0.2
RATE_WINDOW_SECS = 60.0
WITHDRAW_SECS_MAX: Final = 20.0
"""One go at taking resting orders back; what is left then is taken up again."""
ID_PREFIX: Final = "jm-"
"""Begins every client order id of ours, whichever life of the bot made it."""


class Gateway:
    """Sends orders. ``control`` is asked before each of them."""

    def __init__(
        self,
        exchange: Exchange,
        recorder: Recorder,
        portfolio: Portfolio,
        *,
        clock: Clock,
        control: ControlSource | None = None,
        table: Mapping[EmergencyMode, ModeRules] = TABLE,
    ) -> None:
        self._exchange = exchange
        self._record = recorder.record
        self._portfolio = portfolio
        self._clock = clock
        self._control = control
        self._table = table
        self._sent_at: deque[float] = deque()
        self._under_way = 0
        self._turn = asyncio.Lock()
        self._withdrawing = False
        self._cool_until = float("-inf")
        self._clear_of: bool | None = None
        self._unfinished: Withdrawal | None = None

    @property
    def demands(self) -> Demands:
        """What people demand now."""
        return NONE if self._control is None else self._control.demands()

    @property
    def takes_entries(self) -> bool:
        """Whether an entry would get through the door now."""
        return self._barred(adds_risk=True) is None

    def proven_clear(self, *, everything: bool) -> bool:
        """Whether it was proven that none of ours rests (of anybody's: ``everything``), and no order that
        may rest was sent since."""
        return self._clear_of is not None and (self._clear_of or not everything)

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
        if await self._stopped(intent) or intent.client_order_id in self._portfolio.open_intents:
            return None
        self._under_way += 1
        try:
            await self._record(OrderIntended(at=self._clock.utc_now(), intent=intent, **_thread(intent)))
            if await self._stopped(intent):  # since it was written down
                return None
            return await self._send(intent)
        finally:
            self._under_way -= 1

    async def _stopped(self, intent: OrderIntent) -> bool:
        """Whether the door is shut for it, with the refusal on record."""
        barred = self._barred(adds_risk=intent.purpose is Purpose.ENTRY)
        if barred is not None:
            await self._record(self._refused(intent, *barred))
        return barred is not None

    async def _send(self, intent: OrderIntent) -> Order | None:
        self._sent_at.append(self._clock.monotonic())
        if intent.time_in_force is TimeInForce.GOOD_TILL_CANCELED:
            self._clear_of = None
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

    async def extend(self, intent: OrderIntent, order: Order, expires_at: datetime) -> None:
        """Let a resting order live until ``expires_at``. Without an answer it lives shorter or as long as
        was meant; reconciliation takes over what the exchange says."""
        if not self.takes_entries:
            return
        try:
            extended = await self._exchange.extend_order(order, expires_at)
        except ExchangeError:
            return
        await self._changed(extended, intent)

    async def withdraw(self, reason: str, *, everything: bool = False) -> bool:
        """Take back every resting order of ours (``everything``: of the account), and prove it.

        Entries are blocked first, then orders are cancelled, then the list is read empty twice, then it is
        told. False when that took longer than ``WITHDRAW_SECS_MAX``: call again. Raises JournalUnwritable,
        but only after the orders are gone.
        """
        async with self._turn:
            self._withdrawing = True
            try:
                return await self._withdraw(reason, everything=everything)
            finally:
                self._withdrawing = False

    async def _withdraw(self, reason: str, *, everything: bool) -> bool:
        now, resting = self._clock.monotonic(), self._portfolio.orders.values()
        state = self._unfinished
        if state is None or state.everything is not everything:
            known = frozenset(order.order_id for order in resting)
            state = begin(now, everything=everything, known=known)
        work = Withdrawing(
            self._exchange,
            self._clock,
            state,
            ours=self._is_ours,
            quiet=lambda: self._under_way == 0,
            delayed=lambda state: self._still_at_it(reason, state),
        )
        end = await work.run(WITHDRAW_SECS_MAX)
        self._unfinished = None if end.done else end
        if end.swept_at is not None:
            self._cool_until = end.swept_at + SWEPT_SECS * max(1.0, 1.0 / self._exchange.speed)
        if end.done:
            self._clear_of = everything
            await self._told(reason, end)
        await self._take_over(work.ended)
        return end.done

    async def _take_over(self, ended: list[Order]) -> None:
        """Book what was cancelled, and ask about the rest that our books still show as resting."""
        for order in ended:
            await self.refresh(order)
        try:
            for client_order_id in list(self._portfolio.orders):
                if (order_now := await self._exchange.find_order(client_order_id)) is not None:
                    await self.refresh(order_now)
        except ExchangeError:
            return  # reconciliation asks again

    def _is_ours(self, order: Order) -> bool:
        known = order.client_order_id in self._portfolio.open_intents
        return known or order.client_order_id.startswith(ID_PREFIX)

    def _barred(self, *, adds_risk: bool) -> tuple[BarReason, str] | None:
        demands = self.demands
        takes_entries = self._table[demands.mode_floor].entries
        barred = bar(demands, adds_risk=adds_risk, mode_takes_entries=takes_entries)
        if barred is not None or not adds_risk:
            return barred
        if self._withdrawing:
            return BarReason.WITHDRAWING, "resting orders are being taken back"
        if (left := self._cool_until - self._clock.monotonic()) > 0:
            return BarReason.COOLING_OFF, f"the exchange may kill new orders for {left:.0f} s more"
        return None

    async def _told(self, reason: str, end: Withdrawal) -> None:
        now = self._clock.monotonic()
        await self._record(
            EntriesWithdrawn(
                at=self._clock.utc_now(), reason=reason, count=len(end.taken), tries=end.tries,
                secs=round(now - end.started_at, 3), everything=end.everything,
            )
        )  # fmt: skip

    async def _still_at_it(self, reason: str, state: Withdrawal) -> None:
        now = self._clock.monotonic()
        delayed = WithdrawalDelayed(
            at=self._clock.utc_now(), reason=reason, left=state.left, tries=state.tries,
            secs=round(now - state.started_at, 3), detail=state.trouble or "not proven yet",
        )  # fmt: skip
        with suppress(JournalUnwritable):  # orders first; the journal's failure is raised when they are gone
            await self._record(delayed)

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
        if order.status.open:
            self._clear_of = None
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
    return f"{ID_PREFIX}{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"


def _thread(intent: OrderIntent) -> dict[str, str]:
    return {"decision_id": intent.decision_id, "ticker": intent.ticker}
