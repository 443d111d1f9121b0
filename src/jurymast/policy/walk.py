"""One decision on its way through the routes: what was tried, what is under way, what is to be done.

A shell carries the commands out (a real one with sockets, a simulated one with dice) and reports back to
:class:`jurymast.policy.failover.Failover`, which alone changes a walk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from jurymast.domain.decision import AbstainReason, Attempt
from jurymast.domain.money import Micros
from jurymast.domain.provider import Failure, Route, Usage
from jurymast.domain.value import value
from jurymast.policy.record import Record, Sent


@value
class Send:
    """Ask ``route`` and report what became of ``attempt`` within ``timeout_secs``.

    ``first_token_secs`` bounds the silence before a stream's first token, None leaves it to the provider.
    ``more_output`` allows a longer answer: the last one was cut by its own limit.
    """

    attempt: int
    route: Route
    timeout_secs: float
    first_token_secs: float | None = None
    more_output: bool = False


@value
class Cancel:
    """Give ``attempt`` up; nothing about it is to be reported any more."""

    attempt: int


Command: TypeAlias = Send | Cancel


@value
class Ended:
    """How a walk ended: ``reason`` None when an attempt was answered."""

    reason: AbstainReason | None
    detail: str = ""
    record: Record | None = None


Quote: TypeAlias = Callable[[Route, float], tuple[Micros, Micros]]
"""What an attempt given up after so many seconds has cost as far as is known, and may cost beyond that."""


def _free(_route: Route, _secs: float) -> tuple[Micros, Micros]:
    return 0, 0


@dataclass(slots=True, eq=False)
class Walk:
    """State of one decision. ``wake_at`` is when time alone will change something."""

    began_at: float
    ends_at: float
    prompt_class: int
    quote: Quote = _free
    commands: list[Command] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    in_flight: dict[int, Sent] = field(default_factory=dict)
    untried: list[Record] = field(default_factory=list)
    given_up: set[tuple[str, str]] = field(default_factory=set)
    asked: list[Record] = field(default_factory=list)
    """Every route asked, once per send."""
    refusals: int = 0
    retried: bool = False
    retry: tuple[float, Record, bool] | None = None
    over_budget: bool = False
    committed: bool = False
    """An attempt's answer is being passed on as it comes."""
    wake_at: float = math.inf
    ended: Ended | None = None

    @property
    def cost(self) -> Micros:
        return sum(attempt.cost for attempt in self.attempts)

    @property
    def causes(self) -> str:
        """What has become of each attempt so far, in words."""
        known = [f"{attempt.route}: {attempt.detail}" for attempt in self.attempts]
        waited_for = [f"{sent.record.route}: {sent.waits_for}" for sent in self.in_flight.values()]
        return "; ".join(known + waited_for) or "no route was left to ask"

    def money_awaited(self, attempt: int) -> None:
        """An attempt can't leave yet. Until it does its route is neither slow, silent nor at work on it."""
        sent = self.in_flight[attempt]
        sent.record.in_flight.pop(attempt, None)
        sent.overdue_secs, sent.overdue_at = sent.overdue_at - sent.at, math.inf

    def money_came(self, attempt: int, now: float) -> None:
        """It leaves now."""
        sent = self.in_flight[attempt]
        if sent.overdue_secs is not None:
            sent.at, sent.overdue_at, sent.overdue_secs = now, now + sent.overdue_secs, None
            sent.record.in_flight[attempt] = sent

    def answered(self, sent: Sent, secs: float, cost: Micros, usage: Usage | None) -> None:
        """Note the attempt that was answered."""
        used, detail = usage or Usage(), "a hedge" if sent.hedge else ""
        attempt = Attempt(
            sent.record.route, "answered", detail, secs, cost, after_secs=self._after(sent),
            input_tokens=used.input, output_tokens=used.output,
        )  # fmt: skip
        self.attempts.append(attempt)

    def _after(self, sent: Sent) -> float:
        """When it left, from the beginning of the walk."""
        return max(0.0, sent.at - self.began_at)

    def failed(self, sent: Sent, secs: float, failure: Failure, cost: Micros) -> None:
        """Note an attempt that came to nothing. A failure without usage leaves its cost to our estimate."""
        estimated = cost > 0 and failure.usage is None
        route, told = sent.record.route, str(failure)
        attempt = Attempt(
            route, "failed", told, secs, cost, failure.kind, estimated=estimated, after_secs=self._after(sent)
        )
        self.attempts.append(attempt)

    def give_up(self, sent: Sent, now: float) -> bool:
        """Note an attempt that nobody waits for any more; says whether it was overdue."""
        route, secs = sent.record.route, now - sent.at
        if sent.overdue_secs is not None:
            self.attempts.append(Attempt(route, "cancelled", "waited for AI money", secs, sent=False))
            return False
        overdue = now >= sent.overdue_at
        outcome = "overdue" if overdue else "cancelled"
        detail = f"no answer in {secs:.1f} s, given up" if overdue else "no longer needed"
        cost, uncertain = self.quote(route, secs)
        estimated = cost > 0
        attempt = Attempt(
            route, outcome, detail, secs, cost, uncertain=uncertain, estimated=estimated,
            after_secs=self._after(sent),
        )  # fmt: skip
        self.attempts.append(attempt)
        return overdue

    def skip(self, route: Route, reason: str) -> None:
        """Note that a route is not asked, and why."""
        self.attempts.append(Attempt(route, "skipped", reason, sent=False))

    def take(self) -> list[Command]:
        """The commands not yet carried out."""
        taken, self.commands = self.commands, []
        return taken
