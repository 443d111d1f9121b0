"""One question, one answer: markets that ask the very same are asked about once.

The same question is sometimes listed twice. Title, rules, close and evidence being equal, a model would read
the same text but for the ticker, and is blind to the price: what it has just said of one is what it says of
the other. While one of them is being asked the others wait, and an answer stays good for ``REUSE_SECS_MAX``.
So

  - only a fresh answer of the route that is asked first is reused: a stand-in's is worth less, and a market
    that is asked about *again* is asked because something may have changed;
  - only while both trade at about the same price: a market that has moved may know something;
  - it is not put on record: one outcome proves a thing once;
  - it is no younger than the answer that it is: what limits the age of a forecast counts from there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from jurymast.domain.decision import Decision, Rung
from jurymast.domain.market import EvidenceItem, MarketSnapshot
from jurymast.domain.money import CENT, Micros
from jurymast.domain.value import value
from jurymast.intelligence.emergency import decision_id
from jurymast.ports import Clock

REUSE_SECS_MAX: Final = 60.0
REUSE_MOVE_MAX: Final[Micros] = 3 * CENT
"""Between the price that an answer was given at and that of its twin."""
WAIT_SHARE: Final = 0.5
"""Of its deadline a question may wait for the answer to its twin."""
ANSWERS_KEPT: Final = 256

Key: TypeAlias = tuple[str, tuple[EvidenceItem, ...]]
"""What makes two questions the same: title, rules and close as a hash, and the evidence."""


@value
class _Kept:
    decision: Decision
    at: float
    evidence: tuple[EvidenceItem, ...]


@dataclass(slots=True)
class _Asked:
    evidence: tuple[EvidenceItem, ...]
    end: asyncio.Future[None] | None = None
    """What those who wait for it wait for."""


class Twins:
    """Answers of the last minutes by what was asked, and what is being asked now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By the hash alone, for hashing evidence takes longer than comparing it; the last evidence counts.
        self._kept: dict[str, _Kept] = {}
        self._asking: dict[str, _Asked] = {}

    async def answer(self, key: Key, snapshot: MarketSnapshot, deadline_secs: float) -> Decision | None:
        """A fresh answer to the same question about another market, waited for if it is on its way."""
        if self._asked(key) is not None:
            try:
                async with asyncio.timeout(deadline_secs * WAIT_SHARE):
                    while (asked := self._asked(key)) is not None:
                        await asyncio.shield(_end_of(asked))
                        if (found := self._fresh(key, snapshot)) is not None:
                            return found
            except TimeoutError:
                return None
        return self._fresh(key, snapshot)

    def begin(self, key: Key) -> bool:
        """The question is being asked from now on; False when somebody else is asking it already, or the same
        with other evidence."""
        if key[0] in self._asking:
            return False
        self._asking[key[0]] = _Asked(key[1])
        return True

    def end(self, key: Key) -> None:
        """It has come to its end: who waits for it goes on."""
        asked = self._asking.pop(key[0])
        if asked.end is not None:
            asked.end.set_result(None)

    def _asked(self, key: Key) -> _Asked | None:
        """Who is asking this very question now."""
        asked = self._asking.get(key[0])
        return asked if asked is not None and asked.evidence == key[1] else None

    def keep(self, key: Key, decision: Decision) -> None:
        """An answer has come; one that stands in for a better one is of no use to others."""
        self._kept.pop(key[0], None)
        if decision.rung is not Rung.PRIMARY or decision.instead_of is not None or not decision.market_price:
            return
        self._kept[key[0]] = _Kept(decision, self._clock.monotonic(), key[1])
        if len(self._kept) > ANSWERS_KEPT:
            del self._kept[next(iter(self._kept))]

    def _fresh(self, key: Key, snapshot: MarketSnapshot) -> Decision | None:
        kept = self._kept.get(key[0])
        if kept is None or kept.decision.ticker == snapshot.ticker or kept.evidence != key[1]:
            return None
        if not snapshot.book.two_sided:
            return None
        if self._clock.monotonic() - kept.at > REUSE_SECS_MAX:
            del self._kept[key[0]]
            return None
        near = abs(snapshot.book.mid - kept.decision.market_price) <= REUSE_MOVE_MAX
        return reused(kept.decision, snapshot) if near else None


def _end_of(asked: _Asked) -> asyncio.Future[None]:
    if asked.end is None:
        asked.end = asyncio.get_running_loop().create_future()
    return asked.end


def reused(answer: Decision, snapshot: MarketSnapshot) -> Decision:
    """An answer as that of another market with the same question; nothing is paid for it again."""
    return replace(
        answer,
        decision_id=decision_id(snapshot),
        ticker=snapshot.ticker,
        rung=Rung.REUSED,
        cost=0,
        market_price=snapshot.book.mid,
        as_of=snapshot.as_of,
        reason=f"reused: {answer.route} answered the same about {answer.ticker} ({answer.decision_id})",
        attempts=(),
        spread=snapshot.book.spread,
        volume_24h=snapshot.volume_24h,
    )
