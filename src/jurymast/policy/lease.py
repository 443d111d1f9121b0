"""Holds in bulk: who asks again and again takes several worst cases out of the file at once.

A hold of its own for each request costs a transaction and two changes of thread. When requests of one payer
come close together, one hold is taken that is enough for several, and requests are held out of it in memory.

  1. What the file holds is never less than what is held and spent out of it: the caps hold as they did.
  2. A lease is at most ``LEASE_SHARE`` of what is left under the tightest hard cap, so that near a limit each
     request asks for itself, and what a kill costs is bounded by that share.
  3. It gives nothing out after ``LEASE_SECS``, and is settled in one bill when the last request is.
  4. A payer has one lease that gives; what does not fit in it asks for itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from jurymast.domain.money import Micros
from jurymast.policy.ledger import Hold, Payer

LEASE_SECS: Final = 1.0
LEASE_TIMES: Final = 128
"""Worst cases that one is made for, at most."""
LEASE_LEAST: Final = 4
"""And at least, or it is not worth while."""
LEASE_SHARE: Final = 0.02
BUSY_REQUESTS: Final = 16
BUSY_SECS: Final = 1.0
"""So many requests of a payer in such a time are close together."""
PAYERS_MAX: Final = 1_000


def size(worst: Micros, left: Micros) -> Micros:
    """Of a lease for requests of this worst case, ``left`` under the tightest cap; ``worst`` for none."""
    amount = min(worst * LEASE_TIMES, int(left * LEASE_SHARE))
    return amount if amount >= worst * LEASE_LEAST else worst


@dataclass(slots=True, eq=False)
class Lease:
    """One hold of the file, and what has become of it. Micro-dollars."""

    hold: Hold
    until: float
    held: Micros = 0
    spent: Micros = 0
    uncertain: Micros = 0
    under_way: int = 0

    @property
    def free(self) -> Micros:
        return self.hold.worst - self.held - self.spent - self.uncertain


@dataclass(frozen=True, slots=True)
class Bill:
    """What a hold came to, of one request or of a whole lease."""

    hold: Hold
    cost: Micros
    uncertain: Micros


@dataclass(slots=True)
class Leases:
    """All leases of one owner. Serials of holds out of them are below zero. ``now`` is monotonic seconds."""

    _giving: dict[Payer, Lease] = field(default_factory=dict)
    _by_serial: dict[int, Lease] = field(default_factory=dict)
    _asked: dict[Payer, deque[float]] = field(default_factory=dict)
    _serial: int = 0

    def __bool__(self) -> bool:
        return bool(self._giving)

    def busy(self, payer: Payer, now: float) -> bool:
        """A request of ``payer`` comes; whether they come close together."""
        if len(self._asked) >= PAYERS_MAX and payer not in self._asked:
            self._asked.clear()
        times = self._asked.setdefault(payer, deque(maxlen=BUSY_REQUESTS))
        times.append(now)
        return len(times) == BUSY_REQUESTS and now - times[0] <= BUSY_SECS

    def take(self, payer: Payer, worst: Micros, now: float) -> Hold | None:
        """A hold out of the payer's lease, if one gives and has room."""
        lease = self._giving.get(payer)
        if lease is None or now >= lease.until or lease.free < worst:
            return None
        return self._out_of(lease, worst)

    def begin(self, hold: Hold, worst: Micros, now: float) -> tuple[Hold, Bill | None]:
        """A hold in bulk has come: the first request's own out of it, and what an earlier lease came to."""
        before = self._giving.get(hold.payer)
        lease = self._giving[hold.payer] = Lease(hold, now + LEASE_SECS)
        return self._out_of(lease, worst), None if before is None else self._ended(before)

    def settle(self, hold: Hold, cost: Micros, uncertain: Micros, now: float) -> Bill | None:
        """A request out of a lease is over; what the lease came to, when it was its last."""
        lease = self._by_serial.pop(hold.serial)
        lease.held -= hold.worst
        lease.spent += cost
        lease.uncertain += uncertain
        lease.under_way -= 1
        if self._giving.get(lease.hold.payer) is lease and now < lease.until and lease.free > 0:
            return None
        return self._retired(lease)

    def expired(self, now: float) -> list[Bill]:
        """What leases came to that give no more and have no request under way."""
        over = [lease for lease in self._giving.values() if now >= lease.until]
        return [settled for lease in over if (settled := self._retired(lease)) is not None]

    def close(self) -> list[Bill]:
        """What all came to at the end. What is still under way stays kept back in full."""
        leases = {id(lease): lease for lease in (*self._giving.values(), *self._by_serial.values())}
        self._giving.clear()
        self._by_serial.clear()
        return [Bill(each.hold, each.spent, each.uncertain + each.held) for each in leases.values()]

    def _out_of(self, lease: Lease, worst: Micros) -> Hold:
        self._serial -= 1
        lease.held += worst
        lease.under_way += 1
        self._by_serial[self._serial] = lease
        return Hold(self._serial, lease.hold.payer, worst, lease.hold.at)

    def _retired(self, lease: Lease) -> Bill | None:
        if self._giving.get(lease.hold.payer) is lease:
            del self._giving[lease.hold.payer]
        return self._ended(lease)

    @staticmethod
    def _ended(lease: Lease) -> Bill | None:
        return None if lease.under_way else Bill(lease.hold, lease.spent, lease.uncertain)
