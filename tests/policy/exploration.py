"""Every state that a route's detector and the mode ladder can reach together, breadth first.

Time goes in ticks, all settings are whole ticks, and a state is kept relative to its own now, so that the
ladder's part is exact. Evidence is kept to a quarter, which only merges states that differ by less. For each
transition the rules of both machines are checked, and for each state that good weather alone leads back to
NORMAL. Four worlds are finite and small enough to visit whole: a route that is all there is, with everything
that can befall it and no memory of how sick it was; a route among others, with that memory, shortened to
``MEMORY`` requests; a fleet that comes and goes as it likes under a ladder that hands reach into; and a route
that comes and goes while opinions, books, money and people send the mode anywhere, KILLED included.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from jurymast.domain.status import EmergencyMode, RouteState
from jurymast.policy import detector, illness, ladder
from jurymast.policy.detector import DetectorSettings, RouteHealth, Sign
from jurymast.policy.judges import Thinking, Trading, judged
from jurymast.policy.ladder import Capacity, Ladder, LadderSettings

TICK_SECS: Final = 300.0
STATES_MAX: Final = 100_000
MEMORY: Final = 4
GOOD_STEPS_MAX: Final = 200
EVIDENCE_GRAIN: Final = 4
DETECTOR: Final = DetectorSettings(
    open_secs=TICK_SECS, open_secs_max=2 * TICK_SECS, latch_probe_secs=2 * TICK_SECS,
    confirm_secs=TICK_SECS, proof_secs=TICK_SECS,
)  # fmt: skip
LADDER: Final = LadderSettings(
    thin_secs=TICK_SECS,
    suspend_after_secs=2 * TICK_SECS,
    dwell_secs=TICK_SECS,
    successes_to_rise=2,
    failed_decisions_max=2,
    flap_changes=3,
    flap_window_secs=2 * TICK_SECS,
    flap_hold_secs=2 * TICK_SECS,
    blind_dwell_secs=TICK_SECS,
    cached_secs_max=TICK_SECS,
    suspended_dwell_secs=TICK_SECS,
    suspended_successes=2,
)
_WORTH: Final = {
    RouteState.HEALTHY: 0,
    RouteState.SUSPECT: 1,
    RouteState.HALF_OPEN: 2,
    RouteState.OPEN: 3,
    RouteState.LATCHED: 4,
}


@dataclass(frozen=True, slots=True)
class Joint:
    """The route, the ladder, and who else is there. All times relative to now."""

    health: RouteHealth
    ladder: Ladder
    able: int = 1
    small: bool = True

    @property
    def capacity(self) -> Capacity:
        return Capacity(able=self.able + self.health.usable, small=int(self.small))


@dataclass(slots=True)
class Exploration:
    """What was found. ``breaches`` name the rule, the state and the event."""

    states: int = 0
    transitions: int = 0
    breaches: list[str] = field(default_factory=list)


Move = Callable[[Joint], Joint]


def explore(start: Joint, names: frozenset[str], breaches_max: int = 20) -> Exploration:
    """Visit every state reachable by these moves once. More than STATES_MAX are a breach: incomplete."""
    found = Exploration()
    moves = {name: move for name, move in MOVES.items() if name in names}
    seen, waiting = {start}, deque([start])
    good: dict[Joint, bool] = {}
    while waiting and len(found.breaches) < breaches_max:
        joint = waiting.popleft()
        found.states += 1
        if not _recovers(joint, good):
            found.breaches.append(f"no way back in good weather from {joint}")
        for name, move in moves.items():
            after = _stepped(move(joint))
            found.transitions += 1
            found.breaches += [
                f"{rule}: {name} from {joint} to {after}" for rule in _broken(name, joint, after)
            ]
            after = _merged(after)
            if after not in seen:
                seen.add(after)
                waiting.append(after)
        if len(seen) > STATES_MAX:
            found.breaches.append(f"more than {STATES_MAX} states: the exploration is incomplete")
    return found


def _sign(sign: Sign, weight: float = 1.0) -> Move:
    def move(joint: Joint) -> Joint:
        health = detector.observe(joint.health, sign, 0.0, DETECTOR, weight=weight, reason="")
        moved = joint.ladder
        if sign is Sign.SUCCESS or sign is Sign.PROBE_OK:
            moved = ladder.answered(moved)
        return replace(joint, health=health, ladder=moved)

    return move


def _unanswered(joint: Joint) -> Joint:
    return replace(joint, ladder=ladder.unanswered(joint.ladder))


def _tick(joint: Joint) -> Joint:
    """A tick goes by: everything that was ahead comes nearer, everything past goes farther."""
    health, moved = joint.health, joint.ladder
    health = replace(health, next_probe_at=health.next_probe_at - TICK_SECS)
    moved = replace(
        moved,
        entered_at=moved.entered_at - TICK_SECS,
        thin_since=None if moved.thin_since is None else moved.thin_since - TICK_SECS,
        dark_since=None if moved.dark_since is None else moved.dark_since - TICK_SECS,
        blind_since=None if moved.blind_since is None else moved.blind_since - TICK_SECS,
        changes=tuple(at - TICK_SECS for at in moved.changes),
        held_until=moved.held_until - TICK_SECS,
    )
    return replace(joint, health=detector.tick(health, 0.0), ladder=moved)


def _thought(**changes: float) -> Move:
    return lambda joint: replace(
        joint, ladder=ladder.told(joint.ladder, replace(joint.ladder.thinking, **changes))
    )


def _traded(trading: Trading) -> Move:
    return lambda joint: replace(joint, ladder=ladder.told(joint.ladder, trading))


def _lifted(joint: Joint) -> Joint:
    return replace(joint, ladder=ladder.lift(joint.ladder, "checked", 0.0, LADDER))


MOVES: Final[dict[str, Move]] = {
    "success": _sign(Sign.SUCCESS),
    "failure": _sign(Sign.FAILURE),
    "weak failure": _sign(Sign.FAILURE, 0.3),
    "latch": _sign(Sign.LATCH),
    "probe ok": _sign(Sign.PROBE_OK),
    "probe failed": _sign(Sign.PROBE_FAILED),
    "isolate": lambda joint: replace(joint, health=detector.isolate(joint.health, "")),
    "restore": lambda joint: replace(joint, health=detector.restore(joint.health, 0.0, "")),
    "unanswered": _unanswered,
    "tick": _tick,
    "able": lambda joint: replace(joint, able=int(not joint.able)),
    "fleet": lambda joint: replace(joint, able=0 if joint.able else 2),
    "small": lambda joint: replace(joint, small=not joint.small),
    "force": lambda joint: replace(joint, ladder=ladder.force(joint.ladder, EmergencyMode.MINIMAL, "")),
    "release": lambda joint: replace(joint, ladder=ladder.release(joint.ladder)),
    "opinions": _thought(cached=1),
    "no opinions": _thought(cached=0),
    "books squared": _traded(Trading(reconciled=True)),
    "books differ": _traded(Trading(mismatch="differ")),
    "doubled": _traded(Trading(doubled="doubled")),
    "lift": _lifted,
}


ROUTE_ALONE: Final = frozenset(
    {"success", "failure", "weak failure", "latch", "probe ok", "probe failed"}
    | {"isolate", "restore", "unanswered", "tick"}
)
JUDGED: Final = frozenset(
    {"success", "tick", "fleet", "opinions", "no opinions", "books squared", "books differ"}
    | {"doubled", "lift"}
)
ROUTE_AMONG_OTHERS: Final = ROUTE_ALONE - {"unanswered"}
FLEET_AND_HANDS: Final = frozenset(
    {"success", "latch", "unanswered", "tick", "able", "small", "force", "release"}
)


def _stepped(joint: Joint) -> Joint:
    return replace(joint, ladder=ladder.step(joint.ladder, joint.capacity, 0.0, LADDER))


def _merged(joint: Joint) -> Joint:
    """Forget what can make no difference any more: reasons, evidence beyond a quarter, times long past."""
    health, moved = joint.health, joint.ladder
    health = replace(
        health,
        # Of a route that is out, evidence says nothing: it comes back with that of its probation.
        evidence=math.floor(health.evidence * EVIDENCE_GRAIN) / EVIDENCE_GRAIN if health.usable else 0.0,
        openings=min(health.openings, 2),
        illness=_merged_illness(health.illness),
        next_probe_at=max(health.next_probe_at, 0.0),
        reason="answers" if health.reason == "answers" else "",
    )
    moved = replace(
        moved,
        reason="",
        entered_at=max(moved.entered_at, -LADDER.dwell_secs),
        successes=min(moved.successes, LADDER.successes_to_rise),
        failures_in_row=min(moved.failures_in_row, LADDER.failed_decisions_max),
        thin_since=_not_before(moved.thin_since, LADDER.thin_secs),
        dark_since=_not_before(moved.dark_since, LADDER.suspend_after_secs),
        blind_since=_not_before(moved.blind_since, LADDER.cached_secs_max),
        reconciled=moved.reconciled and moved.mode is EmergencyMode.SUSPENDED,
        ramp_secs=math.inf,  # of no consequence to the mode
        changes=tuple(at for at in moved.changes if at > -LADDER.flap_window_secs),
        held_until=max(moved.held_until, 0.0),
        manual_reason="",
    )
    return replace(joint, health=health, ladder=moved)


def _merged_illness(record: illness.Illness) -> illness.Illness:
    """Answers in a row beyond those that make it forgotten change nothing more."""
    most = illness.surprising(record.failures, record.answers, illness.FORGOTTEN_AT)
    return replace(record, run=min(record.run, most)) if record.failures else record


def _not_before(at: float | None, secs: float) -> float | None:
    return None if at is None else max(at, -secs)


def _recovers(joint: Joint, known: dict[Joint, bool]) -> bool:
    """Whether answers, probes, time and nothing else lead to NORMAL. An isolated route may stay out."""
    path: list[Joint] = []
    result = False
    for _ in range(GOOD_STEPS_MAX):
        if joint in known:
            result = known[joint]
            break
        path.append(joint)
        if joint.ladder.mode is EmergencyMode.NORMAL and joint.health.state in {
            RouteState.HEALTHY,
            RouteState.ISOLATED,
        }:
            result = True
            break
        joint = _good(joint)
    known.update(dict.fromkeys(path, result))
    return result


def _good(joint: Joint) -> Joint:
    joint = _lifted(replace(joint, able=max(joint.able, 1), ladder=ladder.release(joint.ladder)))
    moved = ladder.told(joint.ladder, Thinking())
    joint = replace(joint, ladder=ladder.told(moved, Trading(reconciled=True)) if moved.trading else moved)
    if joint.health.usable:
        joint = MOVES["success"](joint)
    elif joint.health.state is not RouteState.ISOLATED and joint.health.next_probe_at <= 0.0:
        joint = MOVES["probe ok"](joint)
    if joint.health.state is RouteState.ISOLATED:
        joint = replace(joint, small=True, ladder=ladder.answered(joint.ladder))
        joint = replace(joint, health=detector.restore(joint.health, 0.0, ""))
    return _merged(_stepped(_tick(joint)))


def _broken(name: str, before: Joint, after: Joint) -> Iterator[str]:
    """Rules that a transition breaks."""
    yield from _broken_by_route(name, before.health, after.health)
    old, new, capacity = before.ladder, after.ladder, after.capacity
    rise = old.mode.severity - new.mode.severity
    if new.mode.severity < ladder.RISES[old.mode].severity:
        yield "modes rise one rung at a time"
    yield from _broken_by_evidence(new, capacity)
    if rise > 0:
        at = 0.0 if name != "tick" else -TICK_SECS
        if name == "lift":
            if old.mode is not EmergencyMode.KILLED:
                yield "a lift ends KILLED and nothing else"
            return
        if old.mode is EmergencyMode.KILLED:
            yield "KILLED waits for a person"
        if old.entered_at + at > -LADDER.dwell_in(old.mode):
            yield "no rise before the dwell is over"
        squared = old.reconciled or name == "books squared" or old.trading is None
        if old.mode is EmergencyMode.SUSPENDED and not squared:
            yield "SUSPENDED waits for squared books"
        if old.successes + (new is not old and name in _ANSWERS) < LADDER.answers_in(old.mode):
            yield "no rise without answers"
        if old.held_until + at > 0.0:
            yield "no rise while held after flapping"
    if len(new.changes) > LADDER.flap_changes:
        yield "changes remembered are bounded"
    if ladder.step(new, capacity, 0.0, LADDER).mode is not new.mode:
        yield "one look settles the mode"


def _broken_by_evidence(new: Ladder, capacity: Capacity) -> Iterator[str]:
    """Floors that the mode has fallen through."""
    blind = EmergencyMode.CACHED if new.thinking.cached else EmergencyMode.MINIMAL
    if not capacity.total and new.mode.severity < blind.severity:
        yield "nobody left is CACHED or MINIMAL at once"
    if new.failures_in_row >= LADDER.failed_decisions_max and new.mode.severity < blind.severity:
        yield "questions in a row without an answer are CACHED or MINIMAL at once"
    if not capacity.able and new.mode.severity < EmergencyMode.CONSERVATIVE.severity:
        yield "only small models left is CONSERVATIVE at once"
    if new.mode.severity < new.manual.severity:
        yield "a demand by hand holds"
    if new.mode.severity < judged(new.thinking, new.trading, LADDER.judges).mode.severity:
        yield "no judge is overruled"


def _broken_by_route(name: str, old: RouteHealth, new: RouteHealth) -> Iterator[str]:
    if old.state is RouteState.ISOLATED and new.state is not RouteState.ISOLATED and name != "restore":
        yield "an isolated route waits for a hand"
    elif RouteState.ISOLATED not in {old.state, new.state}:
        if name in _ANSWERS and _WORTH[new.state] > _WORTH[old.state]:
            yield "an answer never makes a route worse"
        if "fail" in name and _WORTH[new.state] < _WORTH[old.state] and old.state is not RouteState.LATCHED:
            yield "a failure never makes a route better"
        if name == "latch" and new.state is not RouteState.LATCHED:
            yield "what time does not mend latches"
        if old.state is RouteState.LATCHED and new.state is not RouteState.LATCHED and name not in _UNLATCHES:
            yield "a latch waits for an answer or a hand"
    if not 0.0 <= new.evidence <= detector.EVIDENCE_MAX:
        yield "evidence is bounded"
    if not new.usable and new.state is not RouteState.ISOLATED and new.next_probe_at > DETECTOR.open_secs_max:
        yield "a sick route is asked again within the longest wait"
    if new.state is RouteState.HALF_OPEN and new.next_probe_at > DETECTOR.proof_secs:
        yield "a half-open route is soon due a probe"
    if new.illness.failures + new.illness.answers > illness.COUNTED_MAX:
        yield "the record of an illness is bounded"


_ANSWERS: Final = frozenset({"success", "probe ok"})
_UNLATCHES: Final = _ANSWERS | {"restore", "isolate"}
