"""What judgement has left to think with: money, opinions, and how questions were answered lately."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Final

from jurymast.domain.provider import AIResponse, Route
from jurymast.intelligence.purse import Purse
from jurymast.policy.cached import Opinions
from jurymast.policy.judges import Thinking
from jurymast.policy.ledger import Refused, Scope, Window

OUTCOMES_KEPT: Final = 1_000
OUTCOMES_MIN: Final = 20
"""Questions without which a share of them says little."""
OUTCOME_SECS: Final = 300.0
"""How long a question counts."""


class Means:
    """Remembers what :class:`jurymast.policy.judges.Thinking` is made of. Times are monotonic seconds."""

    def __init__(self, opinions: Opinions, cached_age_secs_max: float) -> None:
        self.exchange_at: datetime | None = None
        """Exchange time as last told: opinions age by it."""
        self._opinions = opinions
        self._cached_age_secs_max = cached_age_secs_max
        self._unaffordable_until: datetime | None = None
        self.swapped = ""
        self._served: dict[Route, str] = {}
        self._doubted: dict[str, str] = {}
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=OUTCOMES_KEPT)

    def ended(self, now: float, *, answered: bool) -> None:
        """A question came to its end."""
        self._outcomes.append((now, answered))

    def answered_by(self, response: AIResponse, route: Route) -> str | None:
        """Who really answered; who did before when that was another, or another version."""
        served = response.served_model
        doubt = self._doubted.get(served, "")
        self.swapped = f"{served} serves {route}" if response.swapped else doubt
        before = self._served.get(route, response.requested_model if response.swapped else served)
        self._served[route] = served
        return before if before != served else None

    def doubt(self, served: str, why: str) -> None:
        """A model answers otherwise than before under the same name; without a ``why`` no longer."""
        self._doubted[served] = f"{served}: {why}" if why else ""

    def unaffordable(self, refused: Refused) -> None:
        """A question did not fit the money. Holds of others, a cap of a minute or an hour, and one of a
        single provider or market are not the end of means."""
        account = refused.account
        if account is None or refused.waits or account.cap.scope not in {Scope.ALL, Scope.STRATEGY}:
            return
        if account.cap.window in {Window.DAY, Window.MONTH}:
            self._unaffordable_until = refused.frees_at or account.ends

    def thinking(self, now: float, wall: datetime, purse: Purse) -> Thinking:
        """The evidence for the mode, at ``wall`` by the calendar."""
        cached = 0
        if self.exchange_at is not None:
            cached = self._opinions.usable(self.exchange_at, self._cached_age_secs_max)
        spent = self._unaffordable_until is not None and wall < self._unaffordable_until
        return Thinking(
            cached,
            1.0 if spent else purse.used_share,
            purse.books.unusable,
            self.swapped,
            self._unanswered_share(now),
        )

    def _unanswered_share(self, now: float) -> float:
        """Of the last minutes' questions, to a hundredth; 0 while they are too few."""
        while self._outcomes and self._outcomes[0][0] < now - OUTCOME_SECS:
            self._outcomes.popleft()
        asked = len(self._outcomes)
        missed = sum(not answered for _, answered in self._outcomes)
        return round(missed / asked, 2) if asked >= OUTCOMES_MIN else 0.0
