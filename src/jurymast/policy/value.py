"""What asking a route is worth: an order among healthy routes by money instead of by priority.

    U = bankroll * growth(w) - cost - P(late) * loss - shadow * cost        micro-dollars a question

  - *growth*: log growth that the share of Kelly which the bot bets is expected to earn on one question by the
    route's weight less one standard deviation. A model whose increments have the information S = E[d^2 v]
    (d in log-odds from the market, v = m(1 - m)) sees an edge of deviation e = w sqrt(S v); only what exceeds
    the friction f of a trade earns: (2k - k^2) E[(|x| - f)+^2] / 2v, x ~ N(0, e^2). Thorp 2006 for the growth
    of a share k of Kelly; S is what the record itself has told (the curvature of its fit), shrunk to a prior.
  - *cost*: the expected bill of an answer.
  - *P(late)*: share of answers that take longer than the longest attempt, by the route's own latency. *loss*:
    what a missed question costs at most, the growth of the best route.
  - *shadow*: price of a micro-dollar of the day's budget, above the one it costs. Dual ascent on
    "spent <= planned" adds its step times each overspending; its sum is how far the day is ahead of plan.

A small model's weight is none and its place is behind all others, whatever its value: it can't open risk. A
route whose price is not known is refused. Equal values leave it to priority. Health is not judged here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jurymast.domain.decision import Weight
from jurymast.domain.money import USD, Micros, format_usd
from jurymast.domain.provider import RankedRoute, Route, Tier
from jurymast.domain.word import Word
from jurymast.policy.ledger import Account
from jurymast.policy.pacer import Pace, planned_share
from jurymast.policy.quality import TIER_WEIGHTS
from jurymast.policy.routing import RouteOrder, RouteSpec
from jurymast.policy.sizing import KELLY_SHARE

MARKET_VARIANCE: Final = 0.08
"""m(1 - m) of a market at listing: mean of the 643 bundled questions."""
INFORMATION: Final = 0.6
"""E[d^2 v] of a question before there is a record: 0.50 to 0.74 of emulated models, SIMULATED."""
INFORMATION_EVENTS: Final = 20
"""Events that this prior counts for."""
SD_MIN: Final = 0.005
"""Of a weight: no record that is kept tells more of it."""
FRICTION: Final = 0.025
"""Probability that a trade gives away: 1.75 cents of fee at 50 cents and most of a cent of half-spread."""
SHADOW_STEP: Final = 20.0
"""Shadow price for each whole day's money that spending is ahead of plan: 1 at a twentieth."""
SHADOW_MAX: Final = 20.0


class RankBy(Word):
    """What orders routes of equal health. Closed list."""

    PRIORITY = "priority"
    VALUE = "value"
    LEARNED = "learned"


@dataclass(frozen=True, slots=True)
class Standing:
    """A route with what its value rests on. ``cost`` is the expected bill, None where no price is known."""

    spec: RouteSpec
    weight: Weight
    cost: Micros | None
    late_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Value:
    """The terms of a route's utility, micro-dollars a question; all but ``growth`` are subtracted."""

    growth: Micros
    cost: Micros
    late: Micros
    shadow: Micros

    @property
    def total(self) -> Micros:
        return self.growth - self.cost - self.late - self.shadow

    def __str__(self) -> str:
        terms = [f"growth {_cents(self.growth)}", f"cost {_cents(self.cost)}", f"late {_cents(self.late)}"]
        return f"value {_cents(self.total)} ({' - '.join([*terms, f'budget {_cents(self.shadow)}'])})"


def growth(weight: Weight, tier: Tier) -> float:
    """Expected log growth of one question by a model of this weight; 0 for a small or a stopped one."""
    if tier is Tier.SMALL or weight.lower <= 0.0:
        return 0.0
    edge = weight.lower * math.sqrt(information(weight, tier) * MARKET_VARIANCE)
    if edge <= 0.0:
        return 0.0
    score = FRICTION / edge
    beyond = 0.5 * math.erfc(score / math.sqrt(2.0))
    density = math.exp(-score * score / 2.0) / math.sqrt(2.0 * math.pi)
    square = (edge**2 + FRICTION**2) * beyond - FRICTION * edge * density
    return KELLY_SHARE * (2.0 - KELLY_SHARE) * max(0.0, square) / MARKET_VARIANCE


def information(weight: Weight, tier: Tier) -> float:
    """E[d^2 v] of a question by what a record has taken off the prior's uncertainty."""
    prior_sd = TIER_WEIGHTS[tier].sd
    if not weight.events or not prior_sd:
        return INFORMATION
    told = max(0.0, max(weight.sd, SD_MIN) ** -2 - prior_sd**-2)
    return (told + INFORMATION_EVENTS * INFORMATION) / (weight.events + INFORMATION_EVENTS)


def shadow_price(pace: Pace, day: Account, now: datetime) -> float:
    """What a micro-dollar of AI money is worth beyond itself: 0 while the day goes by its plan."""
    if day.limit <= 0:
        return SHADOW_MAX
    ahead = (day.taken + day.held) / day.limit - planned_share(pace, now)
    return min(max(0.0, SHADOW_STEP * ahead), SHADOW_MAX)


def values(standings: Sequence[Standing], bankroll: Micros, shadow: float) -> dict[Route, Value]:
    """What asking each route is worth. One whose price is not known has no value."""
    grown = {each.spec.route: int(bankroll * growth(each.weight, each.spec.tier)) for each in standings}
    loss = max(grown.values(), default=0)
    return {
        each.spec.route: Value(
            grown[each.spec.route], each.cost, int(each.late_share * loss), int(shadow * each.cost)
        )
        for each in standings
        if each.cost is not None
    }


def placed(standings: Sequence[Standing], bankroll: Micros, shadow: float) -> tuple[RankedRoute, ...]:
    """Every route in order of its value, small models behind all others, refused ones last."""
    worth = values(standings, bankroll, shadow)

    def place(each: Standing) -> tuple[bool, bool, int, int, int, Route]:
        spec, value = each.spec, worth.get(each.spec.route)
        total = 0 if value is None else value.total
        return (
            value is None, spec.tier is Tier.SMALL, -total, spec.priority, spec.model_rank, spec.route,
        )  # fmt: skip

    return tuple(_placed(each.spec, worth.get(each.spec.route)) for each in sorted(standings, key=place))


def _placed(spec: RouteSpec, value: Value | None) -> RankedRoute:
    if value is None:
        return RankedRoute(spec.route, "refused: its price is not known", refused=True)
    small = "small, so behind all others; " if spec.tier is Tier.SMALL else ""
    return RankedRoute(spec.route, f"{small}{value}")


def by_priority(specs: Iterable[RouteSpec]) -> tuple[RankedRoute, ...]:
    """Every route in the operator's own order."""
    ordered = sorted(specs, key=lambda spec: (spec.priority, spec.model_rank, spec.route))
    return tuple(RankedRoute(spec.route, f"priority {spec.priority}") for spec in ordered)


def order_of(ranked: Iterable[RankedRoute]) -> RouteOrder:
    """The same for the rules of routing."""
    ranked = tuple(ranked)
    return RouteOrder(
        places={each.route: place for place, each in enumerate(ranked) if not each.refused},
        refused={each.route: each.reason for each in ranked if each.refused},
    )


def _cents(amount: Micros) -> str:
    return f"{amount / USD * 100:.2f}c" if abs(amount) < USD else format_usd(amount)
