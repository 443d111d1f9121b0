"""Moving from another decision maker to this one: phases, and what the two said of one market."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from jurymast.domain.market import Side
from jurymast.domain.money import Micros
from jurymast.domain.word import Word


class Phase(Word):
    """How far the move has come, in order."""

    SHADOW = "shadow"
    """Theirs decides; ours is asked beside it."""
    GRADUAL = "gradual"
    """Ours decides a share of the markets."""
    TUNED = "tuned"
    """Ours decides; theirs is asked beside it for a sample."""
    FULL = "full"
    """Ours decides alone."""


class Decider(Word):
    """Who decides a market."""

    OURS = "ours"
    THEIRS = "theirs"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one of the two said: the side it would buy, or None to leave the market alone.

    ``error`` is why there was no answer at all; ``cost`` is absent where nobody knows it.
    """

    side: Side | None = None
    secs: float = 0.0
    cost: Micros | None = None
    error: str = ""
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both verdicts of one market. ``price`` is YES's when it was asked about."""

    ticker: str
    price: Micros
    phase: Phase
    decided_by: Decider
    ours: Verdict
    theirs: Verdict


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where the move stands. ``share_pct`` counts in GRADUAL only. ``serial`` grows with every change."""

    phase: Phase = Phase.FULL
    share_pct: int = 100
    since: datetime | None = None
    reason: str = ""
    by_hand: bool = True
    serial: int = 0
