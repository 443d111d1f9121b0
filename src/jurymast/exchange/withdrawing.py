"""Carries a withdrawal out at an exchange: the requests, the waits, the looks. What comes next is decided
in :mod:`jurymast.policy.withdrawal`; nothing here raises for what an exchange refuses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from jurymast.domain.errors import ExchangeError
from jurymast.domain.order import Order
from jurymast.policy import withdrawal as rules
from jurymast.policy.withdrawal import Step, Withdrawal
from jurymast.ports import Clock, Exchange


async def nobody(_: Withdrawal) -> None:
    """Tells nobody."""


def always() -> bool:
    """No order is ever under way for one who never sends any."""
    return True


@dataclass(slots=True)
class Withdrawing:
    """One withdrawal, begun by whoever makes ``state``. ``ours`` tells our orders from other hands',
    ``quiet`` whether none is on its way.

    ``ended`` collects orders as cancels have left them; what a group or a cancel-all took is not among them.
    """

    exchange: Exchange
    clock: Clock
    state: Withdrawal
    ours: Callable[[Order], bool]
    quiet: Callable[[], bool] = always
    delayed: Callable[[Withdrawal], Awaitable[None]] = nobody
    ended: list[Order] = field(default_factory=list)
    _resting: Sequence[Order] = ()

    async def run(self, secs_max: float) -> Withdrawal:
        """Work until nothing rests, or until ``secs_max`` are over; the state says which, and goes on from
        there when this is called again."""
        clock = self.clock
        until = clock.monotonic() + secs_max
        while not self.state.done and (now := clock.monotonic()) < until:
            if rules.report_due(self.state, now):
                self.state = rules.reported(self.state)
                await self.delayed(self.state)
            if wait := self.state.wait_secs(now):
                await clock.sleep(wait)
            self.state = await self._take(self.state)
        return self.state

    async def _take(self, state: Withdrawal) -> Withdrawal:
        try:
            match state.step:
                case Step.LOOK:
                    return await self._look(state)
                case Step.PULL_GROUPS:
                    await self.exchange.pull_groups(self._resting)
                case Step.SWEEP:
                    await self.exchange.cancel_all()
                case _:
                    await self._cancel_each()
        except ExchangeError as error:
            return rules.refused(state, str(error), self.clock.monotonic())
        return rules.did(state, self.clock.monotonic())

    async def _look(self, state: Withdrawal) -> Withdrawal:
        quiet = self.quiet()
        found = await self.exchange.list_open_orders()
        self._resting = [order for order in found if state.everything or self.ours(order)]
        mine = frozenset(order.order_id for order in self._resting if self.ours(order))
        others = len(found) - len(mine)
        now = self.clock.monotonic()
        return rules.looked(state, mine, others, now, quiet=quiet and self.quiet())

    async def _cancel_each(self) -> None:
        """Ask for each, and only then raise the first refusal: one that fails keeps none of the others."""
        failure: ExchangeError | None = None
        for order in self._resting:
            try:
                self.ended.append(await self.exchange.cancel_order(order))
            except ExchangeError as error:
                failure = failure or error
        if failure is not None:
            raise failure
