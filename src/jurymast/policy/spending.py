"""What AI money was spent on, folded from the journal.

Of every request that was sent: who was asked, for which market and rung, and for what purpose. Its cost is
known when the vendor has told it; otherwise it is our estimate, with what may be billed beyond that as
uncertain. The vendor's bill is not less than what is known, and not more than all three together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from jurymast.domain.decision import Attempt
from jurymast.domain.events import (
    CanaryFinished,
    DecisionAbstained,
    DecisionMade,
    Event,
    OrderIntended,
    ProbeSent,
    SecondOpinionGiven,
    ShadowAnswered,
    TextCompleted,
)
from jurymast.domain.money import Micros
from jurymast.domain.provider import Route
from jurymast.domain.word import Word

KINDS: Final = (
    DecisionMade,
    DecisionAbstained,
    TextCompleted,
    ProbeSent,
    ShadowAnswered,
    SecondOpinionGiven,
    CanaryFinished,
    OrderIntended,
)
"""Events that tell of spending, or of what came of it."""


class Purpose(Word):
    """What a request was sent for, or what became of it."""

    DECISION = "decision"
    TEXT = "text"
    FAILED = "failed"
    HEDGE_LOSER = "hedge_loser"
    PROBE = "probe"
    SHADOW = "shadow"
    SECOND_OPINION = "second_opinion"
    CANARY = "canary"


_BESIDE: Final[dict[type[Event], Purpose]] = {
    ProbeSent: Purpose.PROBE,
    ShadowAnswered: Purpose.SHADOW,
    SecondOpinionGiven: Purpose.SECOND_OPINION,
}
"""Of requests beside the decisions."""


@dataclass(frozen=True, slots=True)
class Charge:
    """One request that was sent. ``known`` is the vendor's word, ``estimated`` ours; never both."""

    at: datetime
    route: Route
    purpose: Purpose
    known: Micros
    estimated: Micros
    uncertain: Micros
    market: str = ""
    rung: str = ""
    asker: str = ""


DIMENSIONS: Final[dict[str, Callable[[Charge], str]]] = {
    "provider": lambda charge: charge.route.provider.value,
    "model": lambda charge: str(charge.route),
    "market": lambda charge: charge.market or "(none)",
    "rung": lambda charge: charge.rung or "(none)",
    "purpose": lambda charge: charge.purpose.value,
    "client": lambda charge: charge.asker or "(this bot)",
    "day": lambda charge: charge.at.date().isoformat(),
}
"""What spending can be told by."""


@dataclass(slots=True)
class Total:
    """Charges added up, in micro-dollars."""

    requests: int = 0
    known: Micros = 0
    estimated: Micros = 0
    uncertain: Micros = 0

    @property
    def cost(self) -> Micros:
        return self.known + self.estimated

    def add(self, charge: Charge) -> None:
        self.requests += 1
        self.known += charge.known
        self.estimated += charge.estimated
        self.uncertain += charge.uncertain


@dataclass(slots=True)
class Spending:
    """A stretch of the journal, folded. ``decisions`` are forecasts, ``used`` those that led to an order."""

    by: str
    total: Total = field(default_factory=Total)
    purposes: dict[str, Total] = field(default_factory=dict)
    groups: dict[str, Total] = field(default_factory=dict)
    decisions: int = 0
    used: int = 0

    @property
    def per_decision(self) -> Micros | None:
        """All that was spent, over the forecasts it brought, rounded up."""
        return -(-self.total.cost // self.decisions) if self.decisions else None

    @property
    def per_used_decision(self) -> Micros | None:
        return -(-self.total.cost // self.used) if self.used else None


def _attempts(
    at: datetime, attempts: Iterable[Attempt], answered: Purpose, market: str, rung: str, asker: str = ""
) -> Iterator[Charge]:
    """By what became of each: any that neither answered nor failed was given up, as another answered or time
    ran out."""
    purposes = {"answered": answered, "failed": Purpose.FAILED}
    for attempt in attempts:
        if attempt.sent:
            cost, ours = attempt.cost, attempt.estimated
            yield Charge(
                at=at,
                route=attempt.route,
                purpose=purposes.get(attempt.outcome, Purpose.HEDGE_LOSER),
                known=0 if ours else cost,
                estimated=cost if ours else 0,
                uncertain=attempt.uncertain,
                market=market,
                rung=rung,
                asker=asker,
            )


def charges(event: Event) -> Iterator[Charge]:
    """The requests that an event tells of."""
    match event:
        case DecisionMade(decision=source) | DecisionAbstained(abstain=source):
            yield from _attempts(
                event.at, source.attempts, Purpose.DECISION, source.ticker, source.rung.value
            )
        case TextCompleted():
            market = event.ticker or ""
            yield from _attempts(event.at, event.attempts, Purpose.TEXT, market, "", event.asker)
        case ProbeSent() | ShadowAnswered() | SecondOpinionGiven():
            yield Charge(
                at=event.at,
                route=event.route,
                purpose=_BESIDE[type(event)],
                known=0 if event.estimated else event.cost,
                estimated=event.cost if event.estimated else 0,
                uncertain=0,
                market=event.ticker or "",
            )
        case CanaryFinished():  # its questions together
            yield Charge(event.at, event.route, Purpose.CANARY, event.cost, 0, 0)
        case _:
            pass


def spending(events: Iterable[Event], by: str) -> Spending:
    """Fold events in order. ``by`` is one of :data:`DIMENSIONS`. Raises KeyError for another."""
    key, folded = DIMENSIONS[by], Spending(by)
    made: set[str] = set()
    for event in events:
        if isinstance(event, DecisionMade):
            folded.decisions += 1
            made.add(event.decision.decision_id)
        elif isinstance(event, OrderIntended) and event.decision_id in made:
            made.discard(event.decision_id or "")
            folded.used += 1
        for charge in charges(event):
            folded.total.add(charge)
            folded.purposes.setdefault(charge.purpose.value, Total()).add(charge)
            folded.groups.setdefault(key(charge), Total()).add(charge)
    return folded
