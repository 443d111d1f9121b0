"""The core's other shell: carries its commands out in a simulated world, on a heap instead of a loop.

Everything that the asyncio shell does is done here at the same moments: requests reserve their worst case
and are settled by the bill, alarms ring at ``wake_at``, probes are looked for on whole seconds, idle routes
are asked in shadow. A second in which the core would find nothing to do is not looked at.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from random import Random
from typing import Final

from jurymast.domain.decision import AbstainReason, Rung
from jurymast.domain.money import Micros
from jurymast.domain.provider import Route, Tier
from jurymast.domain.status import EmergencyMode, RouteState
from jurymast.lab.sim.invariants import SLACK_SECS, Rules
from jurymast.lab.sim.liveness import surrendered, unused
from jurymast.lab.sim.marks import Marks, What
from jurymast.lab.sim.places import Place
from jurymast.lab.sim.tally import Part, Tally
from jurymast.lab.sim.ticket import Ticket
from jurymast.lab.sim.till import Till
from jurymast.lab.sim.watch import Watches
from jurymast.lab.sim.world import Outcome, World
from jurymast.policy.detector import revive
from jurymast.policy.emergency import TABLE
from jurymast.policy.facts import ActiveMoved, ModeMoved, RouteMoved
from jurymast.policy.failover import Failover, FailoverSettings
from jurymast.policy.ladder import calm
from jurymast.policy.record import Record
from jurymast.policy.restart import NOTHING_EARLIER, Earlier
from jurymast.policy.walk import Send

DEADLINE_SECS: Final = 60.0
FLAP_SECS: Final = 900.0

Event = Callable[[float], None]


class Shell(Marks):
    """Drives one core through a world. ``now`` is the core's clock."""

    def __init__(
        self,
        world: World,
        random: Random,
        rules: Rules,
        tally: Tally,
        *,
        settings: FailoverSettings,
        budget_per_day: Micros,
        every_second: bool = False,
    ) -> None:
        super().__init__()
        self.world, self.rules, self.tally, self.settings = world, rules, tally, settings
        self.now = 0.0
        self.part = tally.settling
        self._part_since = 0.0
        self.tickets: dict[int, Ticket] = {}
        self.trouble_at = -math.inf
        """When anything was last struck by harm, or interfered with."""
        self.stopped = False
        self._random = random
        self._every_second = every_second
        self._heap: list[tuple[float, int, Event]] = []
        self._serial = 0
        self._decisions = 0
        self._place = {place.route: place for place in world.places}
        self.till = Till(budget_per_day, world, rules)
        self._probing: set[int] = set()
        """By place."""
        self._shadows = 0
        self._tick_at = math.inf
        self._opened_at: dict[Route, float] = {}
        self._watches = Watches(world, tally)
        self.core = self._new_core(NOTHING_EARLIER)
        self._plan_tick()

    # The heap

    def at(self, when: float, event: Event) -> None:
        """Let ``event`` happen at a time, after all that was arranged for the same time before."""
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, event))

    def step(self) -> None:
        """Let the next event happen."""
        self.now, _, event = heapq.heappop(self._heap)
        event(self.now)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not (self.tickets or self._probing or self._shadows)

    @property
    def settled(self) -> bool:
        """Whether every route can be used and the mode is NORMAL."""
        return calm(self.core.ladder) and all(record.health.usable for record in self._records)

    def counts_for(self, part: Part) -> None:
        """From now on everything is counted for this part of the time."""
        self.part.secs += self.now - self._part_since
        self.part, self._part_since = part, self.now

    # Decisions

    def decide(self, now: float) -> None:
        """A question comes up."""
        part = self.part
        part.decisions += 1
        rules = self.rules
        if now - rules.minute.began_at >= 60.0:
            rules.work_done(now, len(self.world.places))
        rules.minute.decisions += 1
        core = self.core
        if core.ladder.mode is not EmergencyMode.NORMAL:
            rules.recovered(core, now, self._trouble_at(now))
            if not TABLE[core.ladder.mode].ask_ai:
                if core.ladder.manual is EmergencyMode.NORMAL:
                    part.abstained[AbstainReason.EMERGENCY_MODE] += 1
                else:
                    part.decisions -= 1
                    part.by_hand += 1
                return
        self._decisions += 1
        walk = core.begin(now, DEADLINE_SECS, quote=lambda route, secs: self._place[route].given_up(secs))
        ticket = Ticket(walk, part, self._decisions)
        self.tickets[ticket.serial] = ticket
        commands = walk.commands
        if commands and isinstance(first := commands[0], Send):
            self._watches.began(first.route, now)
            if first.route is not self._first:
                money = self.till.today(now).left
                since = max(self.trouble_at, self._started_at, self.till.renewed_at)
                idle = unused(core, self.world, first.route, now, since=since, money=money)
                if idle is not None:
                    rules.breach("liveness", now, idle)
            if (
                len(commands) == 1
                and not core.facts
                and (outcome := self._start(ticket, first, now)) is not None
            ):
                commands.clear()
                done_at = now + outcome.secs
                if done_at < self._heap[0][0] and done_at < walk.wake_at:
                    self.now = done_at  # nothing can come between: the heap is spared
                    self._done(ticket, first.attempt, done_at)
                    return
                self._later(ticket, first.attempt, done_at)
        self._go_on(ticket, now)

    def _go_on(self, ticket: Ticket, now: float) -> None:
        """Carry out what the core wants done now."""
        walk = ticket.walk
        while walk.commands:
            for command in walk.take():
                if not isinstance(command, Send):
                    self._cancel(ticket, command.attempt, now)
                elif (outcome := self._start(ticket, command, now)) is None:
                    self.core.unaffordable(walk, command.attempt, now, "SIMULATED budget")
                else:
                    self._later(ticket, command.attempt, now + outcome.secs)
        if self.core.facts:
            self._report(now)
            self._look_at(now)
        if walk.ended is not None:
            self._ended(ticket, now)
        elif walk.wake_at != ticket.alarm_at:
            ticket.alarm_at = walk.wake_at
            if walk.wake_at > walk.ends_at + SLACK_SECS:
                self.rules.breach(
                    "answer", now, f"sleeps {walk.wake_at - walk.ends_at} s beyond its deadline"
                )
            self.at(max(now, walk.wake_at), lambda at: self._alarm(ticket, at))

    def _later(self, ticket: Ticket, attempt: int, done_at: float) -> None:
        self.at(done_at, lambda at: self._done(ticket, attempt, at))

    def _cancel(self, ticket: Ticket, attempt: int, now: float) -> None:
        """Given up after it was sent: what came of it is estimated, the rest is kept back."""
        place, outcome, sent_at = ticket.outcomes.pop(attempt)
        cost, uncertain = place.given_up(now - sent_at)
        self.till.settle(place.worst, cost, self.now, uncertain)
        ticket.part.gave_up(cost, uncertain, self.world.bill(place, outcome, now - sent_at))
        if any(tried.outcome == "overdue" and tried.route == place.route for tried in ticket.walk.attempts):
            self.trouble_at = now
        self._look_again(place)
        self.mark(now, What.CANCELLED, place.index)

    def _alarm(self, ticket: Ticket, now: float) -> None:
        if ticket.serial in self.tickets and ticket.alarm_at <= now:
            ticket.alarm_at = math.inf
            self.core.wake(ticket.walk, now)
            self._go_on(ticket, now)

    def _start(self, ticket: Ticket, send: Send, now: float) -> Outcome | None:
        """Send one request; None when its worst case is more than is left of the day's money."""
        walk, attempt = ticket.walk, send.attempt
        sent = walk.in_flight[attempt]
        place = self._place_of[id(sent.record)]
        if not self.till.reserve(place.worst, now):
            return None
        ticket.sends += 1
        rules, part = self.rules, ticket.part
        rules.sent(sent.record, now, ticket.sends)
        part.sends += 1
        rules.minute.sends += 1
        if ticket.sends > 1:
            if sent.hedge:
                part.hedges += 1
                rules.minute.hedges += 1
            elif walk.asked.count(sent.record) > 1:
                part.retries += 1
                rules.minute.retries += 1
        outcome = self.world.ask(place, now, send.timeout_secs, send.first_token_secs)
        part.wasted += outcome.struck
        ticket.outcomes[attempt] = (place, outcome, now)
        return outcome

    def _done(self, ticket: Ticket, attempt: int, now: float) -> None:
        found = ticket.outcomes.pop(attempt, None)
        if found is None or ticket.serial not in self.tickets:
            return  # given up meanwhile
        place, outcome, _ = found
        self.till.settle(place.worst, cost := outcome.cost, self.now)
        ticket.part.cost += cost
        core, walk, failure = self.core, ticket.walk, outcome.failure
        if failure is None:
            core.answered(walk, attempt, now, cost=cost, first_token_secs=outcome.first_token_secs)
            ticket.last_failed = False
            self._look_again(place)
        else:
            self.trouble_at = now
            ticket.last_failed = True
            core.failed(walk, attempt, now, failure, cost=cost)
            self.rules.bounded(self._records[place.index], self.settings.detector, now)
            self._plan_tick()
        self._go_on(ticket, now)

    def _ended(self, ticket: Ticket, now: float) -> None:
        del self.tickets[ticket.serial]
        walk, ended, part = ticket.walk, ticket.walk.ended, ticket.part
        assert ended is not None  # noqa: S101 (narrowing: asked only of a walk that has ended)
        secs = now - walk.began_at
        if now > walk.ends_at + SLACK_SECS:
            self.rules.breach("answer", now, f"took {secs} s of {DEADLINE_SECS}")
        if ticket.outcomes or walk.in_flight:
            self.rules.breach("idle", now, "ended with requests under way")
        if sum(attempt.sent for attempt in walk.attempts) != ticket.sends:
            self.rules.breach("sends", now, f"{ticket.sends} sends, told as {walk.attempts}")
        if ended.record is not None:
            if ended.reason is not None or ticket.last_failed:
                self.rules.breach("answer", now, "a failure was taken for an answer")
            place = self._place_of[id(ended.record)]
            part.answered[self._rung(place)] += 1
            part.latency.add(secs)
            self.mark(now, What.ANSWERED, place.index)
            self._shadow(now)
            return
        self._abstained(ticket, now)

    def _abstained(self, ticket: Ticket, now: float) -> None:
        walk, ended = ticket.walk, ticket.walk.ended
        if ended is None or ended.reason is None or not ended.detail:
            self.rules.breach("answer", now, "neither an answer nor a reason")
            return
        ticket.part.abstained[ended.reason] += 1
        self.mark(now, What.ABSTAINED, 0)
        if (
            ended.reason is not AbstainReason.ALL_PROVIDERS_FAILED
            or len(walk.asked) >= self.settings.work.sends_max
        ):
            return
        left = surrendered(walk, now, self.settings.work.attempt_secs_min)
        if left is not None:
            self.rules.breach("surrender", now, left)

    # Beside the decisions

    def _shadow(self, now: float) -> None:
        record = self.core.shadow(now)
        if record is None:
            return
        place = self._place[record.route]
        if not self.till.reserve_at_ease(place.worst, now):
            return
        part, core = self.part, self.core
        part.shadows += 1
        outcome = self.world.ask(place, now, self.settings.work.attempt_secs_max, None)
        self._shadows += 1
        self.at(now + outcome.secs, lambda at: self._shadowed(core, record, place, outcome, part, at))

    def _shadowed(
        self, core: Failover, record: Record, place: Place, outcome: Outcome, part: Part, now: float
    ) -> None:
        self._shadows -= 1
        self.till.settle(place.worst, outcome.cost, self.now)
        part.cost += outcome.cost
        part.shadow_cost += outcome.cost
        if core is self.core:
            if outcome.failure is not None:
                self.trouble_at = now
            core.shadowed(record, now, outcome.secs, 0, outcome.failure)
            self._after(now)

    def _tick(self, now: float) -> None:
        if now != self._tick_at:
            return
        self._tick_at = math.inf
        budget = self.till.today(now)
        for route in self.core.due_probes(now):
            place = self._place[route]
            if place.index not in self._probing and place.probe <= max(budget.left, 0):
                self._probe(place, now)
        self._after(now)

    def _probe(self, place: Place, now: float) -> None:
        core, part, route = self.core, self.part, place.route
        if self._records[place.index].health.state is RouteState.ISOLATED:
            self.rules.breach("sends", now, f"probes {route}, which is isolated")
        self._probing.add(place.index)
        part.probes += 1
        self.rules.probe(now, len(self.world.places))
        outcome = self.world.probe(place, now, core.probe_timeout(route))
        self.at(now + outcome.secs, lambda at: self._probed(core, place, outcome, part, at))

    def _probed(self, core: Failover, place: Place, outcome: Outcome, part: Part, now: float) -> None:
        if core is self.core:
            self._probing.discard(place.index)
        cost = min(outcome.cost, place.probe)
        self.till.book(cost, now)
        part.cost += cost
        part.probe_cost += cost
        if core is not self.core:
            return
        if outcome.failure is not None:
            self.trouble_at = now
        core.probed(place.route, now, outcome.failure)
        record = self._records[place.index]
        self.rules.bounded(record, self.settings.detector, now)
        self.mark(now, What.PROBED, place.index * 2 + (outcome.failure is None))
        if core.facts or self._every_second:
            self._after(now)
        else:
            self._look_at(self._due_of(place.index, record, core.idle_secs))

    def _after(self, now: float) -> None:
        """Something beside a decision has changed the core."""
        if self.core.facts:
            self._report(now)
            self._look_at(now)
        self._plan_tick()

    def _plan_tick(self) -> None:
        """Arrange the next look for probes: on the next whole second at which there is one to find."""
        self._look_at(self.now if self._every_second else self._next_due())

    def _look_at(self, due: float) -> None:
        """Look on the first whole second from ``due`` on, unless one earlier is arranged."""
        if due >= self._tick_at > self.now:
            return
        self._tick_at = math.inf
        if due < math.inf:
            self._tick_at = max(math.ceil(max(due, self.now)), math.floor(self.now) + 1.0)
            self.at(self._tick_at, self._tick)

    def _look_again(self, place: Place) -> None:
        """What has just come in about a route may call for a probe sooner."""
        health = self._records[place.index].health
        if health.next_probe_at < self._tick_at:
            self._look_at(max(health.next_probe_at, health.held_until))

    def _next_due(self) -> float:
        """When the core would next find something to do by itself."""
        core, now, settings = self.core, self.now, self.settings
        ladder, idle_secs, due = core.ladder, core.idle_secs, math.inf
        for index, record in enumerate(self._records):
            due = min(due, self._due_of(index, record, idle_secs))
        if not calm(ladder):
            rises_at = ladder.entered_at + settings.ladder.dwell_in(ladder.mode)
            waits = [rises_at, ladder.held_until, ladder.manual_until]
            thin, dark = ladder.thin_since, ladder.dark_since
            waits += [] if thin is None else [thin + settings.ladder.thin_secs]
            waits += [] if dark is None else [dark + settings.ladder.suspend_after_secs]
            due = min(due, *(max(at, now) if at > now - 1.0 else math.inf for at in waits))
        return due

    def _due_of(self, index: int, record: Record, idle_secs: float) -> float:
        health = record.health
        at = health.next_probe_at
        if health.usable:
            idle_at = record.last_seen_at + idle_secs
            at = min(at, idle_at)
        elif health.state is RouteState.ISOLATED:
            return math.inf
        if at < self._tick_at and index in self._probing:
            return math.inf
        return at if at > health.held_until else health.held_until

    # Interference

    def interfered(self, now: float) -> None:
        """Somebody acted on the core by hand."""
        self.trouble_at = self.rules.moved_at = now
        self._after(now)

    def restart(self, now: float) -> None:
        """The process dies and starts anew: health and mode survive, decisions under way are lost."""
        for ticket in self.tickets.values():
            for place, _, _ in ticket.outcomes.values():
                self.till.settle(place.worst, place.worst, self.now)
            ticket.part.decisions -= 1
        self.tally.restarts += 1
        self.tally.lost_to_restarts += len(self.tickets)
        self.tickets.clear()
        healths = {
            route: revive(record.health.state, record.health.reason, now, self.settings.detector)
            for route, record in self.core.health.records.items()
            if record.health.state is not RouteState.HEALTHY
        }
        self._probing.clear()
        ladder = self.core.ladder
        self.core = self._new_core(Earlier(ladder.mode, ladder.changes, healths))
        self.interfered(now)

    def _new_core(self, earlier: Earlier) -> Failover:
        core = Failover(
            [place.spec for place in self.world.places],
            settings=self.settings,
            now=self.now,
            dice=self._random.random,
            earlier=earlier,
        )
        self._place_of = {id(record): self._place[route] for route, record in core.health.records.items()}
        self._records = tuple(core.health.records.values())
        self._first = self._records[0].route
        self._started_at = self.now
        self.rules.restarted(core, self.now)
        return core

    # Records

    def _rung(self, place: Place) -> Rung:
        if place.spec.tier is Tier.SMALL:
            return Rung.LOCAL
        return Rung.PRIMARY if place.spec.priority == 1 else Rung.FAILOVER

    def _report(self, now: float) -> None:
        """What the core has found out since the last time."""
        facts, self.core.facts[:] = list(self.core.facts), []
        for fact in facts:
            if isinstance(fact, RouteMoved):
                self.rules.route_moved(fact, now)
                self._route_moved(fact, now)
            elif isinstance(fact, ModeMoved):
                self.rules.mode_moved(fact, now)
                self.tally.mode_changes += 1
                self.mark(now, What.MODE_MOVED, fact.new.severity)
            elif isinstance(fact, ActiveMoved):
                self.mark(now, What.ACTIVE_MOVED, self._place[fact.new].index if fact.new else 255)

    def _route_moved(self, fact: RouteMoved, now: float) -> None:
        place = self._place[fact.route]
        self.mark(now, What.ROUTE_MOVED, place.index * 8 + list(RouteState).index(fact.new))
        if fact.new is not RouteState.OPEN:
            return
        if fact.old is RouteState.HEALTHY or fact.old is RouteState.SUSPECT:
            self.tally.flaps += now - self._opened_at.get(fact.route, -math.inf) < FLAP_SECS
            self.part.false_opens += self.world.well_secs(place, now) > DEADLINE_SECS
            self._opened_at[fact.route] = now

    def _trouble_at(self, now: float) -> float:
        """When anything was last wrong with any route."""
        last = max(now - self.world.well_secs(place, now) for place in self.world.places)
        return max(last, self.trouble_at, self._started_at)
