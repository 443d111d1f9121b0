"""What a run does, in the order in which it happens: the same marks are the same story."""

from __future__ import annotations

import struct
from enum import IntEnum, unique
from hashlib import blake2b


@unique
class What(IntEnum):
    """Kinds of marks. The numbers are part of every trace hash."""

    ANSWERED = 1
    """A question, by the place that answered."""
    ABSTAINED = 2
    CANCELLED = 3
    PROBED = 4
    ROUTE_MOVED = 5
    MODE_MOVED = 6
    ACTIVE_MOVED = 7


class Marks:
    """Hashes what happens."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    @property
    def trace_hash(self) -> str:
        return self._hash.hexdigest()

    def mark(self, now: float, what: What, where: int) -> None:
        """Something happened at ``now`` on the core's clock; ``where`` says to what."""
        self._hash.update(struct.pack("<dBB", now, what, where))
