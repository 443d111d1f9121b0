"""The failover core: from a question to an answer or a reason, through whatever the providers do.

It has no I/O, no clock and no dice of its own: every method takes ``now`` (monotonic seconds), changes the
state, and leaves commands on the walk and facts in ``facts``. The asyncio shell and the simulator drive
the same object.

The walk of one decision
  1. Routes are ranked by health, then priority or value; each that is left out has its reason.
  2. The first is asked, within a time learned from its own answers and with the next one's time kept back.
  3. Overdue, it gets a rival: the same question goes to the next healthy route (a hedge), as far as the
     hedge allowance reaches. The first valid answer wins, the other is given up and stays paid for.
  4. Failed, it is evidence, and the next is asked. Never more than ``sends_max`` sends, never more than two
     to one provider while others are left, and the last goes to another edge than all before it.
  5. The same route is asked again only when it failed fast, time may mend it and nobody else is left.
  6. A refusal of content is not shopped around; a request that two call malformed is not offered to more.
  7. When every route is rate limited for longer than the deadline, nothing is sent.
  8. An answer that is passed on while it comes binds the walk: its rivals go, and its failure is the end.
  9. Nobody answered: a reason with every cause. No exception leaves this room.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from jurymast.domain.decision import AbstainReason
from jurymast.domain.money import Micros
from jurymast.domain.provider import Failure, FailureKind, ProviderName, Route, Tier, Usage
from jurymast.domain.status import EmergencyMode, RouteState
from jurymast.policy import ladder as ladders
from jurymast.policy.choosing import choose, in_order, leave_out_small, note_skipped
from jurymast.policy.deadline import FLOOR_SHARE, LAST_FACTOR, WorkSettings, attempt_timeout, last_timeout
from jurymast.policy.detector import DetectorSettings
from jurymast.policy.facts import ActiveMoved, Fact, ModeMoved, ShareMoved
from jurymast.policy.failures import TREATMENTS, FailureScope
from jurymast.policy.health import Dice, FleetHealth
from jurymast.policy.judges import Thinking, Trading
from jurymast.policy.ladder import Capacity, Ladder, LadderSettings
from jurymast.policy.limits import (
    HEDGE_EARNED,
    HEDGE_TOKENS,
    RETRY_EARNED,
    RETRY_FLOOR,
    RETRY_TOKENS,
    Allowance,
)
from jurymast.policy.record import Record, Sent
from jurymast.policy.restart import NOTHING_EARLIER, Earlier
from jurymast.policy.routing import RouteOrder, RouteSpec
from jurymast.policy.shadows import Shadows
from jurymast.policy.walk import Cancel, Ended, Quote, Send, Walk

PRIOR_SHARE: Final = 0.25
"""Before any answer a route is expected to take this share of the longest attempt."""
HEDGE_SHARE_MAX: Final = 0.75
"""An attempt is overdue by this share of its time-out at the latest."""
REFUSALS_MAX: Final = 2
RETRY_SECS: Final = 0.5
"""Most that a fast failure is waited out before the same route is asked again."""
WORRIED_HASTE: Final = 10
"""While questions go unanswered idle routes are probed so many times more often: who is left?"""


@dataclass(frozen=True, slots=True)
class FailoverSettings:
    """All bounds of failover. Times in seconds.

    A route that has had no real question for ``shadow_secs`` (a small, free model for ``shadow_free_secs``)
    gets one in shadow, beside the one that decides; 0 means never.
    """

    work: WorkSettings = field(default_factory=WorkSettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    ladder: LadderSettings = field(default_factory=LadderSettings)
    probe_timeout_secs: float = 15.0
    probe_idle_secs: float = 300.0
    shadow_secs: float = 3_600.0
    shadow_free_secs: float = 300.0


class Failover:
    """Health, routing, modes and the walks of all decisions. ``facts`` collects what changed."""

    def __init__(
        self,
        specs: Iterable[RouteSpec],
        *,
        settings: FailoverSettings,
        now: float,
        dice: Dice,
        earlier: Earlier = NOTHING_EARLIER,
    ) -> None:
        self.settings = settings
        self.facts: list[Fact] = []
        self.health = FleetHealth(
            specs,
            tell=self.facts.append,
            settings=settings.detector,
            prior_secs=settings.work.attempt_secs_max * PRIOR_SHARE,
            dice=dice,
            healths=earlier.healths,
        )
        self.ladder = ladders.revive(earlier, now, settings.ladder)
        self.size_share = ladders.share_of(self.ladder, settings.ladder)
        self.active: Route | None = None
        self.retries = Allowance(RETRY_TOKENS, RETRY_EARNED, RETRY_FLOOR)
        self.hedges = Allowance(HEDGE_TOKENS, HEDGE_EARNED)
        contexts = (record.spec.context_tokens for record in self.health.records.values())
        self.holds_least = min((context for context in contexts if context is not None), default=math.inf)
        self._dice = dice
        self._shadows = Shadows(now)
        self._attempts = 0
        self._ever_active = False
        self._unanswered_at = -math.inf
        self._calm_ladder: Ladder | None = None
        self._calm_capacity: Capacity | None = None

    # One decision

    def begin(
        self,
        now: float,
        deadline_secs: float,
        *,
        prompt_class: int = 0,
        tokens: int = 0,
        quote: Quote | None = None,
        first: ProviderName | None = None,
        order: RouteOrder | None = None,
    ) -> Walk:
        """Start a decision that must end by ``now + deadline_secs``. ``tokens`` is about what prompt and
        answer take, ``quote`` prices an attempt given up, ``order`` is that of this question where it has one
        of its own, ``first`` goes before its equals while well."""
        skipped, ranked = self.health.plan(now).skipped, self.health.ranked(now, order)
        walk = Walk(now, now + deadline_secs, prompt_class, untried=in_order(ranked, first))
        if quote is not None:
            walk.quote = quote
        if skipped or order is not None:
            note_skipped(walk, skipped, order)
        if tokens > self.holds_least:
            leave_out_small(walk, tokens)
        self.hedges.earn()
        self._advance(walk, now)
        return walk

    def answered(
        self, walk: Walk, attempt: int, now: float, *, cost: Micros = 0,
        first_token_secs: float | None = None, usage: Usage | None = None,
    ) -> None:  # fmt: skip
        """A validated answer came. The walk ends with it."""
        sent = walk.in_flight.pop(attempt)
        record = sent.record
        secs = max(0.0, now - sent.at)
        self.health.answered(record, attempt, now, secs, walk.prompt_class, first_token_secs)
        self.retries.earn()
        walk.answered(sent, secs, cost, usage)
        self._climb()
        self.ladder = ladders.decided(self.ladder, now, self.settings.ladder)
        if record.route != self.active and (self.active is None or record is self.health.first(now)):
            self._answered_by(record.route, next((a.detail for a in walk.attempts if a.failure), ""))
        self._end(walk, now, Ended(None, record=record))

    def failed(self, walk: Walk, attempt: int, now: float, failure: Failure, *, cost: Micros = 0) -> None:
        """An attempt came to nothing, or to an answer that is none."""
        sent = walk.in_flight.pop(attempt)
        record, secs = sent.record, max(0.0, now - sent.at)
        route = record.route
        walk.failed(sent, secs, failure, cost)
        self.health.failed(record, attempt, now, failure, secs, walk.prompt_class)
        if route == self.active:
            self._look_who_answers(route, now)
        if walk.committed:
            self._nobody(walk, now)
            return
        treatment = TREATMENTS[failure.kind]
        if not treatment.fail_over:
            self._end(walk, now, Ended(AbstainReason.CONTENT_FILTER, str(failure)))
            return
        if treatment.scope is not FailureScope.MODEL and treatment.scope is not FailureScope.REQUEST:
            walk.given_up.add((route.provider, route.instance))
        if failure.kind is FailureKind.BAD_REQUEST:
            walk.refusals += 1
            walk.given_up.add((route.provider, route.instance))
        if any(now < other.overdue_at for other in walk.in_flight.values()):
            self.step(now)  # another is under way and in good time
        elif walk.refusals >= REFUSALS_MAX:
            self._nobody(walk, now)
        elif walk.in_flight or not self._retry_later(walk, record, failure, secs, now):
            self._advance(walk, now)

    def commit(self, walk: Walk, attempt: int, now: float) -> None:
        """What ``attempt`` says is being passed on as it comes: nobody else can answer any more."""
        walk.committed = walk.in_flight[attempt].hedged = True
        self._give_up(walk, now, but=attempt)
        self._set_alarm(walk)

    def unaffordable(self, walk: Walk, attempt: int, now: float, detail: str) -> None:
        """An attempt was not sent: its worst case did not fit the budget."""
        sent = walk.in_flight.pop(attempt)
        self.health.withdrawn(sent.record, attempt)
        walk.asked.remove(sent.record)
        walk.over_budget = True
        walk.skip(sent.record.route, detail)
        if not walk.in_flight:
            self._advance(walk, now)

    def wake(self, walk: Walk, now: float) -> None:
        """Time has come to ``walk.wake_at``: hedge what is overdue, retry, or give up."""
        if walk.ended is not None:
            return
        if now >= walk.ends_at:
            self._nobody(walk, now)
            return
        if walk.retry is not None and now >= walk.retry[0]:
            _, record, more_output = walk.retry
            walk.retry = None
            if record.out or not self._send(walk, record, now, more_output=more_output):
                self._advance(walk, now)
                return
        for sent in list(walk.in_flight.values()):
            if not sent.hedged and now >= sent.overdue_at:
                sent.hedged = True
                self._hedge(walk, now)
        self._set_alarm(walk)

    def abandoned(self, walk: Walk, now: float) -> None:
        """The caller left. What was overdue by then is charged to its route all the same."""
        if walk.ended is None:
            self._end(walk, now, Ended(AbstainReason.ALL_PROVIDERS_FAILED, "given up by the caller"))

    # Between decisions

    @property
    def idle_secs(self) -> float:
        """How long a healthy route may go unasked before it is probed."""
        unanswered = self.ladder.mode.severity >= EmergencyMode.MINIMAL.severity
        worried = self.ladder.failures_in_row > 0 or unanswered
        return self.settings.probe_idle_secs / (WORRIED_HASTE if worried else 1)

    def probe_timeout(self, route: Route) -> float:
        """A slow model is not sick, and one that a server has to load first is slower still."""
        record, longest_secs = self.health.records[route], self.settings.work.attempt_secs_max
        if record.spec.tier is Tier.SMALL:
            return max(self.settings.probe_timeout_secs, longest_secs * LAST_FACTOR)
        return max(self.settings.probe_timeout_secs, min(record.latency(0).q99_secs, longest_secs))

    def due_probes(self, now: float) -> list[Route]:
        """Routes that are worth a probe now. Call it every second or so: it also lets time pass."""
        due = [record.route for record in self.health.due(now, self.idle_secs)]
        self.step(now)
        return due

    def probed(self, route: Route, now: float, failure: Failure | None) -> None:
        """What a probe came to; ``failure`` None when it was answered."""
        if failure is None:
            self._climb()
        self.health.probed(self.health.records[route], now, failure)
        self.step(now)

    def shadow(self, now: float) -> Record | None:
        """A usable route that is due a real question in shadow; it counts as asked."""
        return self._shadows.next(self.health, self.settings, now)

    def shadowed(self, record: Record, now: float, secs: float, size: int, failure: Failure | None) -> None:
        """What a shadow question of prompt class ``size`` came to after ``secs``: evidence like any other."""
        if failure is None:
            self.health.answered(record, 0, now, secs, size, None)
        else:
            self.health.failed(record, 0, now, failure, secs, size)
        self.step(now)

    def force_mode(self, mode: EmergencyMode, reason: str, now: float, until: float = math.inf) -> None:
        """Demand at least ``mode`` by hand. Never makes anything riskier."""
        self.ladder = ladders.force(self.ladder, mode, reason, until)
        self.step(now)

    def release_mode(self, now: float) -> None:
        """Take the demand back; the way up is climbed on evidence, as ever."""
        self.ladder = ladders.release(self.ladder)
        self.step(now)

    def lift(self, reason: str, now: float) -> None:
        """A person ends KILLED, into SUSPENDED. Raises ValueError without a reason."""
        old, self.ladder = self.ladder, ladders.lift(self.ladder, reason, now, self.settings.ladder)
        if self.ladder is not old:
            self.facts.append(ModeMoved(old.mode, self.ladder.mode, self.ladder.reason))
        self.step(now)

    def told(self, evidence: Thinking | Trading, now: float) -> None:
        """Hear what the AI layer says of its means, or the trading rooms of books, orders and data."""
        self.ladder = ladders.told(self.ladder, evidence)
        self.step(now)

    def fail_over(self, source: ProviderName, target: ProviderName, reason: str) -> bool:
        """Ask ``target`` first from now on, if it can be used; says whether it can."""
        usable = [record for record in self.health.of(target) if record.health.usable]
        if not usable or source is target:
            return False
        self.health.prefer(target)
        self._answered_by(usable[0].route, reason)
        return True

    def step(self, now: float) -> None:
        """Let the mode follow the evidence."""
        capacity = self.health.capacity(now)
        if capacity is self._calm_capacity and self.ladder is self._calm_ladder:
            return  # nothing has changed since it was last found that nothing calls for a change
        if self.active is not None:
            if capacity.total:
                self._look_who_answers(self.active, now)
            else:
                self._answered_by(None, "no provider is believed to answer")
        old = self.ladder
        self.ladder = ladders.step(old, capacity, now, self.settings.ladder)
        if self.ladder.mode is not old.mode:
            self.facts.append(ModeMoved(old.mode, self.ladder.mode, self.ladder.reason))
        elif self.ladder is old and ladders.calm(old):
            self._calm_ladder, self._calm_capacity = old, capacity
        share = ladders.share_of(self.ladder, self.settings.ladder)
        if share != self.size_share:
            reason = "questions are answered again" if share > self.size_share else str(self.ladder.mode)
            self.facts.append(ShareMoved(self.size_share, share, reason))
            self.size_share = share

    def _climb(self) -> None:
        """Count a validated answer, as long as counting it can change anything."""
        ladder = self.ladder
        if ladder.failures_in_row or ladder.successes < self.settings.ladder.answers_in(ladder.mode):
            self.ladder = ladders.answered(ladder)

    # How a walk goes on

    def _advance(self, walk: Walk, now: float) -> None:
        """Ask the next route, or end the walk when none is left."""
        while len(walk.asked) < self.settings.work.sends_max:
            record = self._choose(walk, now)
            if record is None:
                break
            if record.health.held_until > now:
                if self._wait_for(walk, record, now):
                    return
            elif self._send(walk, record, now):
                break
        if walk.in_flight:
            self._set_alarm(walk)
        else:
            self._nobody(walk, now)

    def _wait_for(self, walk: Walk, record: Record, now: float) -> bool:
        """Nobody is left but a rate-limited route: whether the end of its limit can be waited for."""
        walk.untried.remove(record)
        wait_secs = record.health.held_until - now
        if walk.in_flight or record.health.held_until + self.settings.work.attempt_secs_min > walk.ends_at:
            reason = f"rate limited for {wait_secs:.0f} s more"
            walk.skip(record.route, reason)
            return False
        walk.retry = (record.health.held_until, record, False)
        self._set_alarm(walk)
        return True

    def _choose(self, walk: Walk, now: float, *, hedge: bool = False) -> Record | None:
        last = len(walk.asked) == self.settings.work.sends_max - 1
        return choose(walk, now, last=last, hedge=hedge)

    def _send(
        self, walk: Walk, record: Record, now: float, *, hedge: bool = False, more_output: bool = False
    ) -> bool:
        """Command one send; False when there is no time left for it."""
        work = self.settings.work
        if record in walk.untried:
            walk.untried.remove(record)
        latency = record.latency(walk.prompt_class)
        later = self._choose(walk, now) if walk.untried and len(walk.asked) + 1 < work.sends_max else None
        if later is None or later.sick:  # nobody able is left after it
            timeout_secs = last_timeout(walk.ends_at - now, work)
        else:
            reserve_secs = later.latency(walk.prompt_class).q95_secs
            timeout_secs = attempt_timeout(walk.ends_at - now, latency.q99_secs, reserve_secs, work)
        if timeout_secs is None:
            walk.skip(record.route, "no time left")
            return False
        trusted = record.health.state is RouteState.HEALTHY and latency.known
        usual_secs = latency.q99_secs if trusted else latency.q95_secs
        overdue_secs = min(max(usual_secs, work.hedge_secs_min), timeout_secs * HEDGE_SHARE_MAX)
        self._attempts += 1
        sent = walk.in_flight[self._attempts] = Sent(record, now, now + overdue_secs, latency, hedge)
        self.health.sent(self._attempts, sent, now)
        walk.asked.append(record)
        first_token_secs = record.first_token_limit(timeout_secs, work.attempt_secs_max * FLOOR_SHARE)
        walk.commands.append(Send(self._attempts, record.route, timeout_secs, first_token_secs, more_output))
        return True

    def _hedge(self, walk: Walk, now: float) -> None:
        """Send the same question to the next healthy route, if one is left and the allowance reaches."""
        if len(walk.asked) >= self.settings.work.sends_max:
            return
        record = self._choose(walk, now, hedge=True)
        if record is not None and self.hedges.spend():
            self._send(walk, record, now, hedge=True)

    def _retry_later(self, walk: Walk, record: Record, failure: Failure, secs: float, now: float) -> bool:
        """Whether the same route is to be asked again: only as the last way left, and only once."""
        work = self.settings.work
        longer = failure.kind is FailureKind.TRUNCATED
        worth = longer or (TREATMENTS[failure.kind].retry_here and secs < work.fast_failure_secs)
        if walk.retried or not worth or not record.health.usable or len(walk.asked) >= work.sends_max:
            return False
        if self._choose(walk, now) is not None:
            return False
        if failure.kind is FailureKind.RATE_LIMITED:
            wait_secs = max(0.0, record.health.held_until - now)
        else:
            wait_secs = 0.0 if longer else RETRY_SECS * self._dice()
        if now + wait_secs + work.attempt_secs_min > walk.ends_at or not self.retries.spend():
            return False
        walk.retried = True
        walk.retry = (now + wait_secs, record, longer)
        self._set_alarm(walk)
        return True

    def _nobody(self, walk: Walk, now: float) -> None:
        tried = bool(walk.asked)
        if walk.over_budget and not tried:
            reason = AbstainReason.AI_BUDGET_SPENT
        else:
            reason = AbstainReason.ALL_PROVIDERS_FAILED if tried else AbstainReason.NO_ROUTE
        # Questions that failed together are one failure; those that nobody was asked are none.
        if tried and walk.began_at >= self._unanswered_at:
            self.ladder = ladders.unanswered(self.ladder)
            self._unanswered_at = now
        if tried:
            self._answered_by(None, walk.causes)
        self._end(walk, now, Ended(reason))
        walk.ended = Ended(reason, walk.causes)

    def _end(self, walk: Walk, now: float, ended: Ended) -> None:
        """Give up what is still under way and close the walk."""
        self._give_up(walk, now)
        walk.retry, walk.wake_at, walk.ended = None, math.inf, ended
        self.step(now)

    def _give_up(self, walk: Walk, now: float, but: int | None = None) -> None:
        """Wait no longer for what is under way, ``but`` for one."""
        for attempt in [one for one in walk.in_flight if one != but]:
            sent = walk.in_flight.pop(attempt)
            walk.commands.append(Cancel(attempt))
            if walk.give_up(sent, now):
                self.health.overdue(sent.record, attempt, now, now - sent.at)
            else:
                self.health.withdrawn(sent.record, attempt)

    def _set_alarm(self, walk: Walk) -> None:
        wake_at = walk.ends_at if walk.retry is None else walk.retry[0]
        for sent in walk.in_flight.values():
            if not sent.hedged and sent.overdue_at < wake_at:
                wake_at = sent.overdue_at
        walk.wake_at = wake_at

    # Who answers: the one that would be asked first and has answered. A route that is beaten by a hedge, is
    # full or fails once keeps the first place; one that comes back has it with its first answer.

    def _answered_by(self, route: Route | None, reason: str) -> None:
        if route == self.active:
            return
        old, self.active = self.active, route
        if not self._ever_active:
            self._ever_active = True
            if route is not None:
                return  # the first answer of a run is no failover
        if not reason:
            health = self.health.records[old].health if old else None
            reason = f"{old} is {health.state}" if health and not health.usable else "it answers again"
        self.facts.append(ActiveMoved(old, route, reason))

    def _look_who_answers(self, active: Route, now: float) -> None:
        """One that is known to be sick does not answer first any more: who would be asked now does."""
        record, first = self.health.records[active], self.health.first(now)
        if record.sick and first is not None and first.health.usable:
            self._answered_by(first.route, f"{active} is {record.health.state}: {record.health.reason}")
