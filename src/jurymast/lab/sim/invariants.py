"""What must hold at every step, whatever the providers do. A breach is recorded, never raised.

answer       every decision ends by its deadline with an answer or a reason
sends        at most three for one decision, each accounted for; none to a latched or isolated route
surrender    no decision gives up while a well route is untried and time is left
work         hedges and retries stay within their allowances, probes within PROBES_PER_ROUTE a minute;
             an hour's sends within 1.2 times its decisions and what openings explain
money        spent, uncertain and held stay within the day's limit; probes may exceed it by one of each route
liveness     a first choice that has been well for two longest open times is in use
recovery     NORMAL at most fifteen minutes after the last trouble, restart or act of an operator, or the slow
             probe that may take a latched route back; SUSPENDED at most twice as long, and counted anew from
             its end
modes        no rise while four changes of course lie within the hour (a fall that goes on is one), so never
             more than five: the last a fall, which nothing may hold up; MODE_CHANGES_MAX steps in all
truth        what facts say was so before is what they said last
bounds       evidence, openings, waits and limits stay within their bounds
idle         nothing is left under way when everything has ended
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from jurymast.domain.provider import Route
from jurymast.domain.status import EmergencyMode, RouteState
from jurymast.lab.sim.tally import VIOLATIONS_MAX, Violation
from jurymast.policy.detector import DOUBLINGS_MAX, EVIDENCE_MAX, DetectorSettings
from jurymast.policy.facts import ModeMoved, RouteMoved
from jurymast.policy.failover import Failover
from jurymast.policy.health import HOLD_SECS_MAX, JITTER
from jurymast.policy.ladder import turns
from jurymast.policy.ledger import Account
from jurymast.policy.limits import HEDGE_EARNED, HEDGE_TOKENS, RETRY_EARNED, RETRY_FLOOR, RETRY_TOKENS
from jurymast.policy.record import Record

PROBES_PER_ROUTE: Final = 8
"""A minute: the shortest waits between probes of a sick route, and two in a row of one that comes back."""
AMPLIFICATION_MAX: Final = 1.2
SENDS_PER_OPENING: Final = 8.0
"""Failed over before a route that turns sick is opened, and while one that comes back is on probation."""
IN_FLIGHT_SECS: Final = 30.0
"""What is under way when a fault begins fails too: as much as comes in this time."""
RECOVERY_SECS: Final = 900.0
CHANGES_PER_HOUR: Final = 4
MODE_CHANGES_MAX: Final = 13
"""In an hour: at most four rises of a step, each fallen again, and the five steps from top to bottom."""
SLACK_SECS: Final = 1e-6
_OUT: Final = frozenset({RouteState.LATCHED, RouteState.ISOLATED})


@dataclass(slots=True)
class Minute:
    """Work of the running minute or hour, in counts."""

    began_at: float = 0.0
    decisions: int = 0
    sends: int = 0
    hedges: int = 0
    retries: int = 0
    openings: int = 0


@dataclass(slots=True)
class Rules:
    """Watches one seed. ``command`` shows a breach again."""

    seed: int
    command: str
    sends_max: int
    per_minute: float
    violations: list[Violation] = field(default_factory=list)
    minute: Minute = field(default_factory=Minute)
    hour: Minute = field(default_factory=Minute)
    probed: deque[float] = field(default_factory=deque)
    """When routes were probed in the last minute."""
    states: dict[Route, RouteState] = field(default_factory=dict)
    mode: EmergencyMode = EmergencyMode.NORMAL
    mode_changes: deque[tuple[float, EmergencyMode, EmergencyMode]] = field(
        default_factory=lambda: deque(maxlen=2 * MODE_CHANGES_MAX)
    )
    moved_at: float = -math.inf
    """When health of a route last changed, or somebody intervened."""

    def breach(self, rule: str, now: float, detail: str) -> None:
        """Record a breach."""
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(rule, self.seed, round(now, 3), detail, self.command))

    def restarted(self, core: Failover, now: float) -> None:
        """A new core took over: what facts must continue from."""
        self.states = {route: record.health.state for route, record in core.health.records.items()}
        self.mode = core.ladder.mode
        self.moved_at = now

    # Work

    def work_done(self, now: float, routes: int) -> None:
        """Close the minute, and the hour, that are over."""
        minute, hour = self.minute, self.hour
        self._check_minute(minute, now)
        hour.decisions += minute.decisions
        hour.sends += minute.sends
        hour.openings += minute.openings
        self.minute = Minute(now)
        if now - hour.began_at >= 3_600.0:
            openings = hour.openings + routes
            allowed = AMPLIFICATION_MAX * hour.decisions + HEDGE_TOKENS + RETRY_TOKENS
            allowed += openings * (SENDS_PER_OPENING + self.per_minute / 60.0 * IN_FLIGHT_SECS)
            if hour.sends > allowed:
                self.breach("work", now, f"{hour.sends} sends for {hour.decisions} decisions in an hour")
            self.hour = Minute(now)

    def probe(self, now: float, routes: int) -> None:
        """A probe leaves: of any sixty seconds, not of a minute that ends with the next decision."""
        self.probed.append(now)
        while self.probed[0] <= now - 60.0:
            self.probed.popleft()
        if len(self.probed) > PROBES_PER_ROUTE * routes:
            self.breach("work", now, f"{len(self.probed)} probes of {routes} routes within a minute")

    def _check_minute(self, minute: Minute, now: float) -> None:
        hedges = HEDGE_TOKENS + HEDGE_EARNED * minute.decisions + 1.0
        retries = RETRY_TOKENS - RETRY_FLOOR + RETRY_EARNED * minute.sends + 1.0
        if minute.hedges > hedges or minute.retries > retries:
            self.breach("work", now, f"{minute.hedges} hedges, {minute.retries} retries within a minute")

    # Sends and money

    def sent(self, record: Record, now: float, sends: int) -> None:
        """A request leaves for a route."""
        if record.health.state in _OUT:
            self.breach("sends", now, f"sent to {record.route}, which is {record.health.state}")
        if sends > self.sends_max:
            self.breach("sends", now, f"send {sends} of one decision")

    def paid(self, budget: Account, limit: int, now: float) -> None:
        taken = budget.spent + budget.uncertain + budget.held
        if taken > limit or budget.held < 0:
            self.breach("money", now, f"{taken} spent, uncertain and held of {limit}")

    # What the core says changed

    def route_moved(self, fact: RouteMoved, now: float) -> None:
        if self.states.get(fact.route) is not fact.old:
            self.breach("truth", now, f"{fact.route} was {self.states.get(fact.route)}, not {fact.old}")
        self.states[fact.route] = fact.new
        self.moved_at = now
        if fact.new is RouteState.OPEN:
            self.minute.openings += 1

    def mode_moved(self, fact: ModeMoved, now: float) -> None:
        if self.mode is not fact.old:
            self.breach("truth", now, f"the mode was {self.mode}, not {fact.old}")
        self.mode = fact.new
        if fact.old is EmergencyMode.SUSPENDED:
            self.moved_at = now
        before = sum(now - at < 3_600.0 for at in turns(self.mode_changes))
        self.mode_changes.append((now, fact.old, fact.new))
        after = sum(now - at < 3_600.0 for at in turns(self.mode_changes))
        steps = sum(now - at < 3_600.0 for at, _, _ in self.mode_changes)
        rises = fact.new.severity < fact.old.severity
        too_many = after > CHANGES_PER_HOUR + 1 or steps > MODE_CHANGES_MAX
        if (rises and before >= CHANGES_PER_HOUR) or too_many:
            detail = f"{fact.old} to {fact.new}, {after} changes of course and {steps} steps within an hour"
            self.breach("modes", now, detail)

    # States

    def bounded(self, record: Record, detector: DetectorSettings, now: float) -> None:
        """Every number of a route is within its bounds."""
        health = record.health
        if not (0.0 <= health.evidence <= EVIDENCE_MAX and 0 <= health.openings <= DOUBLINGS_MAX):
            self.breach(
                "bounds", now, f"{record.route}: evidence {health.evidence}, {health.openings} openings"
            )
        waits = health.next_probe_at - now if health.state is RouteState.OPEN else 0.0
        if (
            waits > detector.open_secs_max * (1 + JITTER) + 1.0
            or health.held_until - now > HOLD_SECS_MAX + 1.0
        ):
            self.breach("bounds", now, f"{record.route}: waits {waits:.0f} s, held until {health.held_until}")
        if not 1.0 <= record.concurrency.allowed <= record.concurrency.most:
            self.breach("bounds", now, f"{record.route}: {record.concurrency.allowed} at once")

    def idle(self, core: Failover, now: float) -> None:
        """Nothing is under way any more."""
        for record in core.health.records.values():
            if record.in_flight:
                self.breach("idle", now, f"{record.route}: {len(record.in_flight)} under way")
            self.bounded(record, core.settings.detector, now)
            if record.health.state is not self.states.get(record.route):
                self.breach("truth", now, f"{record.route} became {record.health.state} without a fact")
        if core.ladder.mode is not self.mode:
            self.breach("truth", now, f"the mode became {core.ladder.mode} without a fact")

    def recovered(self, core: Failover, now: float, trouble_at: float) -> None:
        """Not NORMAL, though the last trouble was at ``trouble_at``."""
        healths = [record.health for record in core.health.records.values()]
        isolated = any(health.state is RouteState.ISOLATED for health in healths)
        if isolated or core.ladder.manual is not EmergencyMode.NORMAL:
            self.moved_at = now
        asked_at = max((h.next_probe_at for h in healths if h.state is RouteState.LATCHED), default=-math.inf)
        last = max(trouble_at, self.moved_at, core.ladder.held_until, asked_at)
        suspended = core.ladder.mode is EmergencyMode.SUSPENDED
        if now - last > RECOVERY_SECS * (2 if suspended else 1):
            self.breach("recovery", now, f"{core.ladder.mode} {now - last:.0f} s after the last trouble")
