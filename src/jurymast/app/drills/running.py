"""Plays game days, one after the other, each in a directory that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jurymast.app.drills.days import Day, is_back
from jurymast.app.drills.grading import Check, Seen, grade
from jurymast.app.drills.stage import Stage
from jurymast.domain.events import Event


@dataclass(frozen=True, slots=True)
class Outcome:
    """A day that was played."""

    day: Day
    seed: int
    checks: list[Check]
    seen: Seen

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """As one JSON object; seconds are virtual."""
        return {
            "simulated": True,
            "drill": self.day.name,
            "story": self.day.story,
            "seed": self.seed,
            "passed": self.passed,
            "checks": [check._asdict() for check in self.checks],
        }


async def play(day: Day, seed: int, *, watch: Callable[[Event], None] = lambda _: None) -> Outcome:
    """Play a day from a fresh start to its end."""
    with tempfile.TemporaryDirectory(prefix="jurymast-drill-") as directory:
        stage = Stage(Path(directory), seed, adjust=day.adjust, watch=watch)
        try:
            await stage.open()
            await day.play(stage)
            seen = await stage.seen()
        finally:
            await stage.close()
    checks = grade(seen, day.limits, signs=day.signs, safe=day.safe, back=is_back)
    return Outcome(day, seed, [*checks, *day.also(seen)], seen)
