"""AI money for requests: a hold when it fits, a place in the line when it soon may, a refusal otherwise.

Waiting is fair: who came first is served first, and nobody who needs the same account overtakes. It ends with
the asker's patience. Holds come back here at once; those of other processes are looked for now and then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jurymast.domain.events import BudgetCrossed
from jurymast.domain.money import Micros
from jurymast.policy.ledger import Account, Cap, Hold, Ledger, Outcome, Payer, Refused, Scope, Window
from jurymast.policy.pacer import Pace, at_ease
from jurymast.ports import Books, Clock

LINE_MAX: Final = 1_000
"""Requests that may wait at once; more are refused."""
LOOK_SECS: Final = 0.1
"""How often the first in the line looks whether somebody else has given money back, or a window has ended."""
WARNED_MAX: Final = 1_000


class BudgetSpentError(Exception):
    """AI money does not cover the worst case of this request; nothing was sent. ``refused`` says which."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.detail)
        self.refused = refused


class MemoryBooks:
    """``ports.Books`` of one process, forgotten with it."""

    unusable = ""

    def __init__(self, caps: Iterable[Cap], clock: Clock, spent: Micros = 0) -> None:
        self._ledger = Ledger(caps, clock.utc_now(), spent)
        self._clock = clock
        self.caps = self._ledger.caps

    async def reserve(self, payer: Payer, worst: Micros | None) -> Outcome:
        return self._ledger.reserve(payer, worst, self._clock.utc_now())

    def settle(self, hold: Hold, cost: Micros, uncertain: Micros = 0) -> None:
        self._ledger.settle(hold, cost, uncertain, self._clock.utc_now())

    def judged(self, payer: Payer, worst: Micros | None) -> Refused | None:
        return self._ledger.judged(payer, worst, self._clock.utc_now())

    def accounts(self) -> list[Account]:
        return self._ledger.accounts(self._clock.utc_now())

    async def close(self) -> None:
        """Nothing is left to do."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """One request in the line. ``refused`` is why it still stands there."""

    payer: Payer
    worst: Micros | None
    refused: Refused
    answer: asyncio.Future[Outcome]


class Purse:
    """Gives holds out of ``books``. ``emit`` is told of soft caps that are used up."""

    def __init__(
        self,
        books: Books,
        *,
        clock: Clock,
        pace: Pace | None = None,
        strategy: str = "",
        emit: Callable[[BudgetCrossed], None] = lambda _: None,
    ) -> None:
        self.books = books
        self.pace = pace or Pace()
        self.strategy = strategy
        self._clock = clock
        self._emit = emit
        self._line: deque[_Waiter] = deque()
        self._server: asyncio.Task[None] | None = None
        self._released = asyncio.Event()
        self._warned: dict[tuple[Cap, str], datetime] = {}

    @property
    def day(self) -> Account:
        """The day's budget in all, as last known."""
        return self.books.accounts()[0]

    @property
    def used_share(self) -> float:
        """Of the hard caps on a whole day or month, the share that is used of the fullest."""
        return max(
            account.used_share
            for account in self.books.accounts()
            if account.cap.hard
            and account.cap.scope is Scope.ALL
            and account.cap.window in {Window.DAY, Window.MONTH}
        )

    async def reserve(self, payer: Payer, worst: Micros | None, wait_secs: float = 0.0) -> Hold:
        """Hold the worst case of a request, waiting up to ``wait_secs`` for others to give theirs back.

        Raises BudgetSpentError, and then nothing is held.
        """
        if worst == 0:
            return Hold(0, payer, 0, self._clock.utc_now())
        outcome: Outcome
        if self._line and (earlier := self._before(payer, self._line)) is not None:
            outcome = earlier.refused
        else:
            outcome = await self.books.reserve(payer, worst)
        if isinstance(outcome, Refused) and outcome.waits and wait_secs > 0 and len(self._line) < LINE_MAX:
            outcome = await self._wait(_Waiter(payer, worst, outcome, asyncio.Future()), wait_secs)
        if isinstance(outcome, Refused):
            raise BudgetSpentError(outcome)
        if outcome.crossed:
            self._warn(outcome.crossed)
        return outcome

    def settle(self, hold: Hold, cost: Micros, uncertain: Micros = 0) -> None:
        """Book the bill of a request and give the rest of its hold to whoever waits."""
        self.books.settle(hold, cost, uncertain)
        if self._line:
            self._released.set()

    def affords(self, payer: Payer, worst: Micros | None) -> bool:
        """Whether a request would be given a hold now, as far as is known."""
        return worst == 0 or (self._before(payer, self._line) or self.books.judged(payer, worst)) is None

    def at_ease(self, payer: Payer, worst: Micros) -> bool:
        """Whether an optional request is no concern: nobody waits, it fits, and the day goes by plan."""
        if worst == 0:
            return True
        return self.affords(payer, worst) and at_ease(self.pace, self.day, worst, self._clock.utc_now())

    async def close(self) -> None:
        if self._server is not None:
            self._server.cancel()
            with suppress(asyncio.CancelledError):
                await self._server
        await self.books.close()

    @staticmethod
    def _before(payer: Payer, line: Iterable[_Waiter]) -> _Waiter | None:
        """Somebody earlier in the line who waits for an account that ``payer`` needs too."""
        for waiter in line:
            account = waiter.refused.account
            if account is None or account.cap.name_of(payer) == account.name:
                return waiter
        return None

    async def _wait(self, waiter: _Waiter, wait_secs: float) -> Outcome:
        self._line.append(waiter)
        if self._server is None:
            self._server = asyncio.create_task(self._serve())
        try:
            async with asyncio.timeout(wait_secs):
                return await waiter.answer
        except BaseException as error:
            answer = waiter.answer
            if answer.done() and not answer.cancelled() and isinstance(hold := answer.result(), Hold):
                self.settle(hold, 0)  # it came in the moment in which we left
            if isinstance(error, TimeoutError):
                return waiter.refused
            raise
        finally:
            if waiter in self._line:
                self._line.remove(waiter)
                self._released.set()

    async def _serve(self) -> None:
        """Serve the line in order, again after each release, until it is empty."""
        try:
            while self._line:
                self._released.clear()
                await self._serve_once()
                if self._line:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_SECS):
                            await self._released.wait()
        finally:
            self._server = None

    async def _serve_once(self) -> None:
        passed: list[_Waiter] = []
        for waiter in list(self._line):
            if waiter.answer.done():
                continue
            if self._before(waiter.payer, passed) is not None:
                passed.append(waiter)
                continue
            outcome = await self.books.reserve(waiter.payer, waiter.worst)
            if isinstance(outcome, Refused) and outcome.waits:
                waiter.refused = outcome
                passed.append(waiter)
            elif waiter.answer.done():  # it left meanwhile
                if isinstance(outcome, Hold):
                    self.settle(outcome, 0)
            else:
                self._line.remove(waiter)
                waiter.answer.set_result(outcome)

    def _warn(self, crossed: Iterable[Account]) -> None:
        for account in crossed:
            key = account.cap, account.name
            if self._warned.get(key) != account.start:
                if len(self._warned) >= WARNED_MAX:
                    self._warned.clear()
                self._warned[key] = account.start
                self._emit(
                    BudgetCrossed(
                        at=self._clock.utc_now(), cap=str(account), limit=account.limit, spent=account.spent
                    )
                )
