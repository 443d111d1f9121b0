"""What several providers stand behind: when two fail in the way of networks, suspect the way.

An edge (a content network, a cloud region, our own uplink) becomes suspect when two of its providers began
to fail in the way of networks within half a minute and nobody behind it has answered since: two outages of
their own seldom start together. Routes behind other edges are then preferred at once, long before each
route's own evidence would say so. Any answer from behind the edge clears it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from jurymast.domain.provider import ProviderName

TOGETHER_SECS: Final = 30.0
PROVIDERS_MIN: Final = 2


@dataclass(slots=True)
class Edge:
    """One shared piece of infrastructure. Times are monotonic seconds."""

    suspect: bool = False
    _suspect_at: float = -math.inf
    _began_at: dict[ProviderName, float] = field(default_factory=dict)
    _answered_at: float = -math.inf

    def failed(self, provider: ProviderName, now: float) -> bool:
        """A failure that may be the edge's; whether the edge has just become suspect."""
        self._began_at.setdefault(provider, now)
        together = sum(at > self._answered_at and now - at <= TOGETHER_SECS for at in self._began_at.values())
        if self.suspect or together < PROVIDERS_MIN:
            return False
        self.suspect, self._suspect_at = True, now
        return True

    def answered(self, provider: ProviderName, sent_at: float) -> bool:
        """Somebody behind it answered; whether the edge was suspect until now.

        A question from before the trouble began proves nothing about it: answers take seconds.
        """
        self._answered_at = max(self._answered_at, sent_at)
        if sent_at >= self._began_at.get(provider, -math.inf):
            self._began_at.pop(provider, None)
        if not self.suspect or sent_at < self._suspect_at:
            return False
        self.suspect = False
        return True
