"""What an earlier run leaves to the next: a restart is no evidence, and no way around a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from jurymast.domain.decision import Decision
from jurymast.domain.money import Micros
from jurymast.domain.provider import Route
from jurymast.domain.status import EmergencyMode
from jurymast.policy.detector import RouteHealth


@dataclass(frozen=True, slots=True)
class Earlier:
    """State to go on from. Times are on the monotonic clock of the new run."""

    mode: EmergencyMode = EmergencyMode.NORMAL
    mode_changes: tuple[float, ...] = ()
    """When the mode changed its course, oldest first: flaps count on."""
    healths: Mapping[Route, RouteHealth] = field(default_factory=dict)
    spent: Micros = 0
    """Of this UTC day's AI money, where no budget file knows better."""
    size_share: float = 1.0
    """How far size had come back after the last loss of judgement."""
    opinions: tuple[Decision, ...] = ()
    """What providers have said of markets lately."""


NOTHING_EARLIER: Final = Earlier()
