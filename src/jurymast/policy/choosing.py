"""Whom a decision asks next: in order of rank, unless something of this very moment speaks against it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from jurymast.domain.provider import ProviderName
from jurymast.domain.status import RouteState
from jurymast.policy.record import Record
from jurymast.policy.routing import RouteOrder, Skipped
from jurymast.policy.walk import Walk

SENDS_PER_PROVIDER: Final = 2
"""Sends to one provider in one decision while others are left."""
_HELD, _SICK, _ELSEWHERE, _SPENT, _SILENT, _FULL = 64, 32, 16, 8, 4, 2
"""What speaks against a route, the heavier the worse: it is rate limited, sick, behind an edge that failed,
its provider had its share, it is silent, it is full."""
_WORSE_THAN_ALL = 128


def choose(walk: Walk, now: float, *, last: bool, hedge: bool = False) -> Record | None:
    """The next route to ask, None when nobody is left.

    The ``last`` send of a decision goes to another edge than those before it where it can. A ``hedge`` goes
    to a route without any doubt only.
    """
    best, least = None, _WORSE_THAN_ALL
    for record in walk.untried:
        if record.out or (walk.given_up and _access(record) in walk.given_up):
            continue
        penalty = _penalty(walk, record, now, last=last)
        if hedge and (record.health.state is not RouteState.HEALTHY or penalty & ~_ELSEWHERE):
            continue
        if penalty < least:
            best, least = record, penalty
            if not penalty:
                break
    if best is not None and best.route.instance:
        return _least_busy(walk, best, least, now, last=last)
    return best


def in_order(ranked: Sequence[Record], first: ProviderName | None) -> list[Record]:
    """Routes as ranked, those of ``first`` before its equals: what speaks against one counts all the same."""
    if first is None:
        return list(ranked)
    return sorted(ranked, key=lambda record: record.route.provider is not first)


def note_skipped(walk: Walk, skipped: Iterable[Skipped], order: RouteOrder | None) -> None:
    """Say of each route that is not asked why, be it for this question's own reason."""
    reasons = {each.route: each.reason for each in skipped}
    if order is not None:
        reasons |= order.refused
    for route, reason in reasons.items():
        walk.skip(route, reason)


def leave_out_small(walk: Walk, tokens: int) -> None:
    """Leave out models that a prompt won't fit; when it fits none, their servers are the judges."""
    fitting = [record for record in walk.untried if record.spec.holds(tokens)]
    if not fitting:
        return
    for record in walk.untried:
        if record not in fitting:
            walk.skip(record.route, f"holds {record.spec.context_tokens} tokens, some {tokens} are needed")
    walk.untried = fitting


def _penalty(walk: Walk, record: Record, now: float, *, last: bool) -> int:
    health = record.health
    penalty = 0 if health.usable else _SICK
    if health.held_until > now:
        penalty += _HELD
    if record.in_flight:
        penalty += _FULL * record.full + _SILENT * record.silent(now)
    asked = walk.asked
    if record.edge.suspect or (last and all(before.edge is record.edge for before in asked)):
        penalty += _ELSEWHERE
    if (
        asked
        and sum(before.route.provider is record.route.provider for before in asked) >= SENDS_PER_PROVIDER
    ):
        penalty += _SPENT
    return penalty


def _least_busy(walk: Walk, best: Record, least: int, now: float, *, last: bool) -> Record:
    """Among equal instances of one provider's model, the one with the least work for its weight."""
    equals = [
        record
        for record in walk.untried
        if record.route.provider is best.route.provider
        and record.route.model == best.route.model
        and not record.out
        and _access(record) not in walk.given_up
        and _penalty(walk, record, now, last=last) == least
    ]
    return min(equals, key=lambda record: (len(record.in_flight) / record.spec.weight, record.served))


def _access(record: Record) -> tuple[str, str]:
    return record.route.provider, record.route.instance
