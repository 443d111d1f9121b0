"""Who decides a market while one decision maker is replaced by another, and when the move steps back.

  SHADOW --> GRADUAL --> TUNED --> FULL      on, one step, by a person on evidence (or on a stated reason)
  SHADOW <-- GRADUAL <-- TUNED <-- FULL      back, by a person at any time, or by the rule below by itself

Rules
  - In GRADUAL ours decides a market when its category and value are allowed and its hash falls into the
    share. The hash is of the ticker alone: a market keeps its decider, a larger share only adds markets.
  - Evidence is what was compared since the phase began, the last ``window`` of it.
  - A step on needs ``compared_min`` comparisons over ``secs_min`` and no regression.
  - A regression is looked for from ``count_min`` comparisons on: ours fails more often than
    ``error_share_max`` and than theirs; takes ``slower_max`` times as long at the 95th percentile and more
    than ``secs_floor``; buys the other side in more than ``opposite_share_max`` of the answers; costs
    ``dearer_max`` times as much and more than ``cost_floor``. Each is one step back, and it stays there until
    a person goes on.
  - Where theirs can't be measured (no cost known), nothing is concluded from it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from jurymast.domain.market import Side
from jurymast.domain.money import Micros, format_usd
from jurymast.domain.rollout import Comparison, Decider, Phase, Rollout, Verdict

HASH_SPACE = 10_000
PHASES = tuple(Phase)
SAMPLE_SALT = "beside|"
"""Who is compared is drawn apart from who decides: both kinds of market are."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When the move may go on, and when it goes back. Shares from 0 to 1, times in seconds."""

    window: int = 200
    count_min: int = 20
    error_share_max: float = 0.10
    opposite_share_max: float = 0.15
    slower_max: float = 3.0
    secs_floor: float = 10.0
    dearer_max: float = 3.0
    cost_floor: Micros = 50_000
    compared_min: int = 50
    secs_min: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Scope:
    """Which markets may be ours in GRADUAL. No categories means all, no value means any."""

    categories: frozenset[str] = frozenset()
    value_max: Micros = 0
    beside_pct: int = 10
    """Share of the markets in which TUNED still asks theirs."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What comparisons add up to. Seconds are 95th percentiles, costs means, None where unknown."""

    count: int = 0
    both: int = 0
    agreed: int = 0
    opposite: int = 0
    ours_errors: int = 0
    theirs_errors: int = 0
    ours_secs: float | None = None
    theirs_secs: float | None = None
    ours_cost: Micros | None = None
    theirs_cost: Micros | None = None


def decider(rollout: Rollout, scope: Scope, *, ticker: str, category: str, value: Micros) -> Decider:
    """Who decides this market. ``value`` is what may be put at risk on it, in micro-dollars."""
    if rollout.phase is Phase.SHADOW:
        return Decider.THEIRS
    if rollout.phase is not Phase.GRADUAL:
        return Decider.OURS
    named = not scope.categories or category.strip().lower() in scope.categories
    small = not scope.value_max or value <= scope.value_max
    drawn = _drawn(ticker) < rollout.share_pct * HASH_SPACE // 100
    return Decider.OURS if named and small and drawn else Decider.THEIRS


def compares(rollout: Rollout, scope: Scope, ticker: str) -> bool:
    """Whether the other one is asked beside the one that decides."""
    if rollout.phase is Phase.FULL:
        return False
    sample = rollout.phase is not Phase.TUNED
    return sample or _drawn(SAMPLE_SALT + ticker) < scope.beside_pct * HASH_SPACE // 100


def _drawn(text: str) -> int:
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % HASH_SPACE


def tally(comparisons: Sequence[Comparison]) -> Tally:
    """Add up. A market that both leave alone is agreement; an error is neither."""
    both = [each for each in comparisons if not each.ours.error and not each.theirs.error]
    return Tally(
        count=len(comparisons),
        both=len(both),
        agreed=sum(each.ours.side is each.theirs.side for each in both),
        opposite=sum(_opposite(each) for each in both),
        ours_errors=sum(bool(each.ours.error) for each in comparisons),
        theirs_errors=sum(bool(each.theirs.error) for each in comparisons),
        ours_secs=_p95(each.ours.secs for each in comparisons),
        theirs_secs=_p95(each.theirs.secs for each in comparisons),
        ours_cost=_mean(each.ours.cost for each in comparisons),
        theirs_cost=_mean(each.theirs.cost for each in comparisons),
    )


def regression(found: Tally, limits: Limits) -> str | None:
    """Why the move should step back, or None."""
    if found.count < limits.count_min:
        return None
    return (
        _errors(found, limits)
        or _slowness(found, limits)
        or _opposition(found, limits)
        or _cost(found, limits)
    )


def _errors(found: Tally, limits: Limits) -> str | None:
    share = found.ours_errors / found.count
    if share > limits.error_share_max and found.ours_errors > found.theirs_errors:
        return (
            f"ours had no answer in {share:.0%} of {found.count} markets, at most "
            f"{limits.error_share_max:.0%} may be; theirs in {found.theirs_errors / found.count:.0%}"
        )
    return None


def _slowness(found: Tally, limits: Limits) -> str | None:
    ours, theirs = found.ours_secs, found.theirs_secs
    if ours is None or theirs is None or ours <= max(limits.secs_floor, limits.slower_max * theirs):
        return None
    return f"ours takes {ours:.1f} s at the 95th percentile, theirs {theirs:.1f} s"


def _opposition(found: Tally, limits: Limits) -> str | None:
    if found.both < limits.count_min or found.opposite <= limits.opposite_share_max * found.both:
        return None
    return (
        f"the two would buy opposite sides in {found.opposite} of {found.both} markets, "
        f"at most {limits.opposite_share_max:.0%} may be"
    )


def _cost(found: Tally, limits: Limits) -> str | None:
    ours, theirs = found.ours_cost, found.theirs_cost
    if ours is None or theirs is None or ours <= max(limits.cost_floor, limits.dearer_max * theirs):
        return None
    return f"ours costs {format_usd(ours, places=4)} a market, theirs {format_usd(theirs, places=4)}"


def lacking(rollout: Rollout, found: Tally, limits: Limits, now: datetime) -> tuple[str, ...]:
    """What is missing for the next step, empty when nothing is."""
    missing = []
    if rollout.phase is Phase.FULL:
        return ("the move is complete: there is no further phase",)
    if found.count < limits.compared_min:
        missing.append(f"{found.count} markets compared in this phase, {limits.compared_min} are needed")
    age_secs = 0.0 if rollout.since is None else (now - rollout.since).total_seconds()
    if age_secs < limits.secs_min:
        missing.append(f"{age_secs / 3_600:.1f} h in this phase, {limits.secs_min / 3_600:g} h are needed")
    if (bad := regression(found, limits)) is not None:
        missing.append(bad)
    return tuple(missing)


def stepped_on(rollout: Rollout, *, share_pct: int, reason: str, now: datetime) -> Rollout:
    """The next phase. ``share_pct`` is what GRADUAL begins with. Raises ValueError after the last."""
    if rollout.phase is Phase.FULL:
        raise ValueError("the move is complete: there is no further phase")
    phase = PHASES[PHASES.index(rollout.phase) + 1]
    share = share_pct if phase is Phase.GRADUAL else 100
    return replace(rollout, phase=phase, share_pct=share, reason=reason, since=now, by_hand=True)


def stepped_back(
    rollout: Rollout, *, to: Phase | None = None, reason: str, now: datetime, by_hand: bool, share_pct: int
) -> Rollout:
    """The phase before, or ``to`` as far as that is a step back; SHADOW stays SHADOW. Raises ValueError for
    a phase that is not behind."""
    place = PHASES.index(rollout.phase)
    wanted = max(place - 1, 0) if to is None else PHASES.index(to)
    if to is not None and wanted >= place:
        raise ValueError(f"{to} is not behind {rollout.phase}: on leads `rollout advance`")
    phase = PHASES[wanted]
    share = share_pct if phase is Phase.GRADUAL else 0 if phase is Phase.SHADOW else 100
    return replace(rollout, phase=phase, share_pct=share, reason=reason, since=now, by_hand=by_hand)


@dataclass(frozen=True, slots=True)
class Marks:
    """Bets marked to the last price seen of their markets: how many, and their mean in micro-dollars
    a contract before costs. No outcome: what the market thought later."""

    bets: int = 0
    mean: Micros = 0


def marks(comparisons: Iterable[Comparison]) -> tuple[Marks, Marks]:
    """Ours and theirs. ``comparisons`` in order of time; a market seen once tells nothing and is left out."""
    seen: dict[str, list[Comparison]] = {}
    for each in comparisons:
        seen.setdefault(each.ticker, []).append(each)
    ours: list[int] = []
    theirs: list[int] = []
    for course in seen.values():
        last = course[-1].price
        for each in course[:-1]:
            for verdict, marked in ((each.ours, ours), (each.theirs, theirs)):
                if (gain := _gain(verdict, each.price, last)) is not None:
                    marked.append(gain)
    return _marks(ours), _marks(theirs)


def _marks(gains: Sequence[int]) -> Marks:
    return Marks(len(gains), round(sum(gains) / len(gains))) if gains else Marks()


def _gain(verdict: Verdict, then: Micros, last: Micros) -> Micros | None:
    if verdict.error or verdict.side is None:
        return None
    return last - then if verdict.side is Side.YES else then - last


def _opposite(each: Comparison) -> bool:
    ours, theirs = each.ours.side, each.theirs.side
    return ours is not None and theirs is not None and ours is not theirs


def _p95(values: Iterable[float]) -> float | None:
    ordered = sorted(values)
    return ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else None


def _mean(values: Iterable[Micros | None]) -> Micros | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known)) if known else None
