"""How sick a route has been, and how many answers in a row prove it well.

Coming back is a sequential test, as falling out is. From the first failure of a suspicion on, failures and
answers are counted, and with them it is known about which share of requests the route fails (Beta, from
Jeffreys' prior). It is proven well when as many answers in a row as have come since its last failure would
surprise of a route that sick: less likely than ``WELL_AT``. After a total outage two or three are such a
surprise, of a route that fails four times in ten eight, of one that fails one time in seven twenty. Two in a
row for all of them, as breakers ask for, let the second back in 36 times of a hundred and the third 73.

The record stays while the route is used again, so that a relapse knows more than the first fall did, and is
forgotten when the answers in a row have become a great surprise (``FORGOTTEN_AT``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

PRIOR: Final = 0.5
"""Failures, and answers, that every record begins with."""
WELL_AT: Final = 0.05
FORGOTTEN_AT: Final = 0.001
PROOF_MAX: Final = 20
"""No proof takes more answers in a row."""
COUNTED_MAX: Final = 32
"""Requests that a record holds; while there are more, all of them count half."""
_RECORDS_KNOWN: Final = 4_096


@dataclass(frozen=True, slots=True)
class Illness:
    """Failures and answers from the first failure to the last, and answers in a row since."""

    failures: int = 0
    answers: int = 0
    run: int = 0

    @property
    def needed(self) -> int:
        """Answers in a row that prove it well. None after no failure of its own."""
        return min(surprising(self.failures, self.answers, WELL_AT), PROOF_MAX)

    @property
    def forgotten(self) -> bool:
        """Whether it has been well for so long that the record says nothing any more."""
        return self.run >= surprising(self.failures, self.answers, FORGOTTEN_AT)

    def failed(self) -> Illness:
        failures, answers = self.failures + 1, self.answers + self.run
        while failures + answers > COUNTED_MAX:
            failures, answers = (failures + 1) // 2, answers // 2
        return Illness(failures, answers)

    def answered(self) -> Illness:
        return Illness(self.failures, self.answers, min(self.run + 1, COUNTED_MAX))


NEVER_ILL: Final = Illness()


@lru_cache(maxsize=_RECORDS_KNOWN)
def surprising(failures: int, answers: int, chance_max: float) -> int:
    """The least number of answers in a row with at most this chance, after such a record."""
    if not failures:
        return 0
    chance, run = 1.0, 0
    while chance > chance_max and run < COUNTED_MAX:
        chance *= (PRIOR + answers + run) / (2 * PRIOR + failures + answers + run)
        run += 1
    return run
