"""What portfolio reads show: the present, or what it was some seconds ago.

On the real exchange reads lag behind fills by about a second, and a bot that trusts them counts twice.
With a lag, a copy of the portfolio is kept for every change and the newest one that is old enough is
shown; without, reads look at the state itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Final

from jurymast.exchange.embedded.accounts import Account
from jurymast.exchange.embedded.exchange import USER, EmbeddedExchange
from jurymast.exchange.embedded.records import SECOND_US, Event, Fill, Order, Payout
from jurymast.ports import Clock

FRAMES_MAX: Final = 2_000
LAG_SECS_MAX: Final = 600.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A portfolio as it was at one instant of exchange time, up to which it is known."""

    at_us: int
    accounts: tuple[Account, ...]
    orders: Sequence[Order]
    fills: Sequence[Fill]
    payouts: Sequence[Payout]


class PortfolioView:
    """The member's portfolio with an adjustable lag."""

    def __init__(self, exchange: EmbeddedExchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock
        self._lag_secs = 0.0
        self._frames: deque[tuple[float, Frame]] = deque(maxlen=FRAMES_MAX)
        exchange.listen(self._changed)

    @property
    def lag_secs(self) -> float:
        return self._lag_secs

    def set_lag(self, secs: float) -> None:
        """Show what was ``secs`` ago from now on. Raises ValueError outside 0 to 600."""
        if not 0.0 <= secs <= LAG_SECS_MAX:
            raise ValueError(f"a read lag of {secs} s is not in 0..{LAG_SECS_MAX:g}")
        self._lag_secs = secs
        self._frames.clear()
        if secs:
            self._frames.append((self._clock.monotonic(), _copied(self._present())))

    def frame(self) -> Frame:
        """What a read shows now."""
        if not self._lag_secs:
            return self._present()
        until = self._clock.monotonic() - self._lag_secs
        while len(self._frames) > 1 and self._frames[1][0] <= until:
            self._frames.popleft()
        frame = self._frames[0][1]
        seen_us = self._exchange.now_us() - int(self._lag_secs * SECOND_US * self._exchange.speed)
        return replace(frame, at_us=max(frame.at_us, seen_us))

    def _changed(self, _: Sequence[Event]) -> None:
        if self._lag_secs:
            self._frames.append((self._clock.monotonic(), _copied(self._present())))

    def _present(self) -> Frame:
        state = self._exchange.engine.state
        mine = tuple(account for account in state.accounts if account.user == USER)
        owners = {account.number for account in mine}
        orders = [order for order in state.orders.values() if order.owner in owners]
        return Frame(self._exchange.now_us(), mine, orders, state.fills, state.payouts)


def _copied(frame: Frame) -> Frame:
    """The frame as it will still be when the state has moved on."""
    accounts = []
    for account in frame.accounts:
        kept = copy(account)
        kept.cash, kept.held = list(account.cash), list(account.held)
        kept.stakes = {ticker: copy(stake) for ticker, stake in account.stakes.items()}
        accounts.append(kept)
    orders = [copy(order) for order in frame.orders]
    return Frame(frame.at_us, tuple(accounts), orders, list(frame.fills), list(frame.payouts))
