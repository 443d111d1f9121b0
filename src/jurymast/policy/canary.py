"""Does a model still think as it did? The same questions again, and how far its answers have moved.

A vendor may change what stands behind a name and tell nobody. Each model that may open risk is put the same
questions now and then, off the decision path, and its answers are compared with those it gave first: the mean
distance in log-odds over the questions that it answered both times. Beyond a limit it is another model under
an old name, and is treated like one: what was learned of the old one says nothing of it, and size is cut
until it has answered alike once more. Then its new answers are the base.

Rules
  - The first answers are the base. They stay it while later ones are near: a slow drift adds up and is found.
  - A shift beyond the limit makes the new answers the base and the model *doubted*.
  - A doubted model is asked again after ``confirm_secs``; near its new base it is trusted again.
  - Fewer than COMMON_MIN questions in common say nothing, either way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias

from jurymast.domain.probability import logit

QUESTIONS: Final = 20
COMMON_MIN: Final = 15

Answers: TypeAlias = tuple[int | None, ...]
"""Percent for each question, in their order; None where no forecast came."""


DAY_SECS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """Times in seconds; an ``every_secs`` of 0 is never. ``shift_max`` is in log-odds."""

    every_secs: float = 7 * DAY_SECS
    confirm_secs: float = DAY_SECS
    shift_max: float = 0.5


@dataclass(frozen=True, slots=True)
class Canary:
    """One model, by the id that it answers under."""

    base: Answers = ()
    at: datetime | None = None
    doubted: str = ""
    """Why it is not trusted to be what it was; empty for nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one run says. ``shift`` is None when it says nothing."""

    shift: float | None
    changed: bool = False


NEW: Final = Canary()


def due(canary: Canary, now: datetime, settings: CanarySettings) -> bool:
    """Whether the model is to be asked."""
    if not settings.every_secs:
        return False
    wait_secs = settings.confirm_secs if canary.doubted else settings.every_secs
    return canary.at is None or (now - canary.at).total_seconds() >= wait_secs


def shift(base: Answers, answers: Answers) -> float | None:
    """Mean distance in log-odds over what was answered both times; None for too little of it."""
    both = [
        abs(logit(now / 100) - logit(then / 100))
        for then, now in zip(base, answers, strict=False)
        if then is not None and now is not None
    ]
    return sum(both) / len(both) if len(both) >= COMMON_MIN else None


def judge(canary: Canary, answers: Answers, settings: CanarySettings) -> Verdict:
    """Compare a run with the base."""
    moved = shift(canary.base, answers) if canary.base else None
    return Verdict(moved, moved is not None and moved > settings.shift_max)


def folded(canary: Canary, answers: Answers, verdict: Verdict, at: datetime) -> Canary:
    """The model after a run. What the journal holds of a run is enough to do this again."""
    if sum(answer is not None for answer in answers) < COMMON_MIN:
        return canary  # not a run: it is asked again soon
    if verdict.changed:
        return Canary(answers, at, f"its answers moved by {verdict.shift:.2f} in log-odds")
    if not canary.base:
        return Canary(answers, at)
    return replace(canary, at=at, doubted="" if verdict.shift is not None else canary.doubted)
