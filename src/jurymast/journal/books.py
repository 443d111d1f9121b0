"""AI money accounted for in one file, by several bots at once.

One thread owns the access to the file. It takes all that waits and does it in one transaction: bills first,
then reservations, in the order of the calls. A hold is in the file before its request leaves. The event loop
never waits for the disk, and whoever waits for a hold can leave: what was held for him is given back.
Requests that come close together, far from any limit, are held in bulk (:mod:`jurymast.policy.lease`).

It fails closed. A file that can't be used (locked by somebody for too long, damaged, no space) refuses what
costs money and says why; what is free never asks it. It is tried again with every request. Bills that could
not be booked are kept and booked later; until then their holds count in full.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from jurymast.domain.errors import JournalError
from jurymast.domain.money import Micros
from jurymast.journal.budget_file import BUSY_SECS, BudgetFile
from jurymast.policy.lease import LEASE_SECS, Bill, Leases
from jurymast.policy.ledger import Account, Cap, Hold, Outcome, Payer, Refused, Scope, judged, opened, rolled
from jurymast.ports import Clock

GATHER_SECS: Final = 0.005
"""How long a bill may wait for a question, to share its transaction."""
WAITING_MAX: Final = 10_000
"""Reservations and bills that may wait for the disk. More reservations are refused; a bill beyond it is
dropped, and its hold counts in full until it is a day old."""
LOOK_SECS: Final = 1.0
"""Age at which what is known of the accounts is read anew: others spend too."""
HICCUP_SECS: Final = 15.0
"""Trouble that is over sooner costs the requests that met it, not the mode."""
SWEEP_SECS: Final = 5.0
"""Between two looks for holds of the dead. So long a hold may be lost with the machine, not with us."""


@dataclass(slots=True)
class _Ask:
    payer: Payer
    worst: Micros | None
    bulk: bool = False
    answer: Future[Outcome] = field(default_factory=Future)


class SqliteBooks:
    """``ports.Books`` in the file at ``path``. Made by :meth:`open`; ``trouble`` says why it can't be used
    now, empty when it can."""

    def __init__(self, path: Path, caps: Iterable[Cap], clock: Clock, spent: Micros) -> None:
        self.path = path
        self.caps = tuple(caps)
        self.trouble = ""
        self._clock = clock
        self._spent = spent
        self._file: BudgetFile | None = None
        self._known: dict[tuple[Cap, str], Account] = {}
        self._asks: list[_Ask] = []
        self._bills: list[Bill] = []
        self._owed: list[Bill] = []
        """Bills that could not be booked; tried again with what comes next."""
        self._leases = Leases()
        self._leasing: set[Payer] = set()
        """Those for whom a hold in bulk is on its way."""
        self._look = True
        self._looked_at = self._swept_at = float("-inf")
        self._well_at = time.monotonic()
        self._closing = False
        self._changed = threading.Condition()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._work_until_closed, name="budget", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, caps: Iterable[Cap], *, clock: Clock, spent: Micros = 0) -> SqliteBooks:
        """Open the file, making it if there is none; a new one begins with ``spent`` for today.

        Never raises: while the file can't be used, all that costs money is refused.
        """
        books = cls(path, caps, clock, spent)
        books._opened.wait(BUSY_SECS)
        return books

    @property
    def unusable(self) -> str:
        lasting = time.monotonic() - self._well_at > HICCUP_SECS
        return f"{self.path}: {self.trouble}" if self.trouble and lasting else ""

    async def reserve(self, payer: Payer, worst: Micros | None) -> Outcome:
        ask = _Ask(payer, worst)
        with self._changed:
            if self._closing or len(self._asks) >= WAITING_MAX:
                return self._refused("it is closed" if self._closing else "too much waits for its disk")
            if worst and not self.trouble:
                now = time.monotonic()
                ask.bulk = self._leases.busy(payer, now) and payer not in self._leasing
                if (hold := self._leases.take(payer, worst, now)) is not None:
                    return hold
                if ask.bulk:
                    self._leasing.add(payer)
            ask.answer.set_running_or_notify_cancel()
            self._asks.append(ask)
            self._changed.notify()
        try:
            outcome = await asyncio.wrap_future(ask.answer)
        except asyncio.CancelledError:
            self._leasing.discard(payer)
            ask.answer.add_done_callback(self._give_back)
            raise
        return self._parted(ask, outcome) if ask.bulk else outcome

    def _parted(self, ask: _Ask, outcome: Outcome) -> Outcome:
        """What came of a question in bulk: the first hold out of it, where it was enough for several."""
        with self._changed:
            self._leasing.discard(ask.payer)
            if not isinstance(outcome, Hold) or outcome.worst == ask.worst or self._closing:
                return outcome
            hold, before = self._leases.begin(outcome, ask.worst or 0, time.monotonic())
            if before is not None:
                self._bills.append(before)
            return hold._replace(crossed=outcome.crossed)

    def settle(self, hold: Hold, cost: Micros, uncertain: Micros = 0) -> None:
        if not hold.serial and not cost and not uncertain:
            return
        with self._changed:
            bill: Bill | None = Bill(hold, cost, uncertain)
            if hold.serial < 0:  # out of a lease; at the end that is kept back in full
                if self._closing:
                    return
                bill = self._leases.settle(hold, cost, uncertain, time.monotonic())
            if bill is not None and len(self._bills) < WAITING_MAX:
                self._bills.append(bill)
                self._changed.notify()

    def judged(self, payer: Payer, worst: Micros | None) -> Refused | None:
        if worst == 0:
            return None
        if self.trouble:
            return self._refused(self.trouble)
        named = ((cap, cap.name_of(payer)) for cap in self.caps)
        accounts = [self._account(cap, name) for cap, name in named if name is not None]
        return judged(accounts, worst, self._clock.utc_now())

    def accounts(self) -> list[Account]:
        if time.monotonic() - self._looked_at > LOOK_SECS:
            with self._changed:
                self._look = True
                self._changed.notify()
        first = self._account(self.caps[0], self.caps[0].of)
        others = [
            self._account(cap, name)
            for cap, name in list(self._known)
            if cap is not first.cap and cap in self.caps
        ]
        return [first, *others]

    def tune(self, caps: Iterable[Cap]) -> None:
        """Limit by these from the next question on. What is spent and held counts as before."""
        with self._changed:
            self.caps = tuple(caps)
            self._look = True
            self._changed.notify()

    async def close(self) -> None:
        """Book what waits, then let go of the file."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _account(self, cap: Cap, name: str) -> Account:
        now = self._clock.utc_now()
        known = self._known.get((cap, name))
        return opened(cap, name, now) if known is None else rolled(known, now)

    def _give_back(self, answer: Future[Outcome]) -> None:
        if isinstance(hold := answer.result(), Hold):
            self.settle(hold, 0)

    def _refused(self, trouble: str) -> Refused:
        return Refused(f"AI money can't be accounted for, so none is spent: {self.path}: {trouble}")

    # In the thread

    def _work_until_closed(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._asks or self._bills or self._look or self._closing,
                    LEASE_SECS if self._leases else None,
                )
                # A bill waits for the next question: until it is booked its hold counts.
                self._changed.wait_for(lambda: self._asks or self._look or self._closing, GATHER_SECS)
                over = self._leases.close() if self._closing else self._leases.expired(time.monotonic())
                asks, self._asks = self._asks, []
                bills, self._bills = self._bills, []
                bills += over
                look, self._look = self._look, False
                last = self._closing and not asks
                if not (asks or bills or look or last):
                    continue
            self._work(asks, self._owed + bills, look)
            self._opened.set()
            if last:
                break
        if self._file is not None:
            self._file.close()

    def _work(self, asks: list[_Ask], bills: list[Bill], look: bool) -> None:
        outcomes: list[Outcome]
        try:
            outcomes = self._transact(asks, bills, look)
            self._owed = []
        except Exception as error:  # anything: a thread that dies silently would leave askers hanging
            self._failed(error)
            self._owed = bills[-WAITING_MAX:]
            outcomes = [self._refused(self.trouble) for _ in asks]
        for ask, outcome in zip(asks, outcomes, strict=True):
            ask.answer.set_result(outcome)

    def _transact(self, asks: list[_Ask], bills: list[Bill], look: bool) -> list[Outcome]:
        file = self._file
        if file is None:
            file = self._file = BudgetFile(self.path, self.caps, self._clock.utc_now(), self._spent)
        with file.transaction():
            file.tune(self.caps)
            now = self._clock.utc_now()  # read alone with the file: time goes one way for all of its owners
            for bill in bills:
                file.settle(bill.hold, bill.cost, bill.uncertain, now)
            if swept := time.monotonic() - self._swept_at >= SWEEP_SECS:
                file.sweep(now)
                self._swept_at = time.monotonic()
            outcomes = self._hold(file, asks, now) if asks or look else []
        if swept:
            with suppress(sqlite3.Error):  # what is committed is committed; a bad disk shows in the next one
                file.sync()
        self._well_at = time.monotonic()
        self._looked_at = self._well_at if asks or look else float("-inf")
        self.trouble = ""
        return outcomes

    def _hold(self, file: BudgetFile, asks: list[_Ask], now: datetime) -> list[Outcome]:
        """Serve in order, and read how the accounts stand then."""
        accounts = file.accounts(now)
        outcomes = [(file.lease if ask.bulk else file.hold)(accounts, ask.payer, ask.worst) for ask in asks]
        for cap in self.caps:
            if cap.of or cap.scope is Scope.ALL:
                accounts.get(cap, cap.of)
        for cap, name in self._known:
            if cap.scope is not Scope.MARKET and cap in self.caps:  # many, and each asked about seldom
                accounts.get(cap, name)
        self._known = accounts.known
        return outcomes

    def _failed(self, error: Exception) -> None:
        """Note why it can't be used."""
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            self.trouble = f"another process has kept its lock for more than {BUSY_SECS:.0f} s"
        else:
            self.trouble = (
                str(error) if isinstance(error, JournalError) else f"{type(error).__name__}: {error}"
            )
        self._looked_at = time.monotonic()
