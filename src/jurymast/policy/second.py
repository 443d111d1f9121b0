"""When another opinion is worth its price, and whether a trade is large enough to ask the question backwards.

    worth = bankroll * (s1^2 - s2^2) / (2 a (1 - a)) * P(trade)

in money: what a Kelly bettor with standard error s1 at price a gains in growth when a second model brings it
to s2 = s1 * sqrt((1 + rho) / 2), where there is a trade at all. So it is bought where the edge is near what
the mode asks for, and never where the screen has said no already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jurymast.domain.decision import Decision
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import PAYOUT, USD, Micros
from jurymast.domain.portfolio import Exposure
from jurymast.domain.provider import Tier
from jurymast.policy import fees
from jurymast.policy.emergency import ModeRules
from jurymast.policy.quality import CORRELATION, weight_of
from jurymast.policy.sizing import ERROR_MIN, Sized, belief_of, best_edge, needed_edge, size


@dataclass(frozen=True, slots=True)
class SecondSettings:
    """Whether other opinions are bought. ``bankroll`` is the money that they are weighed against.

    ``negate_from`` is the stake, on such a bankroll, from which the negated question is asked as well.
    """

    second: bool = False
    negate: bool = False
    bankroll: Micros = 2_000 * USD
    negate_from: Micros = 20 * USD
    secs_min: float = 2.0
    """Left of the decision's deadline, without which nobody is asked."""


def worth(decision: Decision, snapshot: MarketSnapshot, rules: ModeRules, settings: SecondSettings) -> Micros:
    """What a second opinion is expected to be worth, in micro-dollars; 0 where no trade can come of it."""
    if not _tradable(decision, snapshot, rules):
        return 0
    belief = belief_of(decision, snapshot, rules)
    _, price, edge = best_edge(belief, snapshot)
    error = max(belief.error, ERROR_MIN)
    all_in = (price + fees.fee_per_contract(price)) / PAYOUT
    if not 0.0 < all_in < 1.0:
        return 0
    short = (edge - needed_edge(price, snapshot, rules)) / PAYOUT / error
    likely = 0.5 * (1 + math.erf(short / math.sqrt(2)))
    narrowed = error**2 * (1 - CORRELATION) / 2
    return int(settings.bankroll * narrowed / (2 * all_in * (1 - all_in)) * likely)


def worth_negating(
    decision: Decision, snapshot: MarketSnapshot, rules: ModeRules, settings: SecondSettings
) -> bool:
    """Whether the trade that would come of it is large enough to ask the question backwards."""
    if not _tradable(decision, snapshot, rules):
        return False
    alone = Exposure(
        equity=settings.bankroll, cash=settings.bankroll, positions={}, by_market={}, by_event={}
    )
    entry = size(decision, snapshot, alone, rules)
    return isinstance(entry, Sized) and entry.count * entry.limit_price // 100 >= settings.negate_from


def _tradable(decision: Decision, snapshot: MarketSnapshot, rules: ModeRules) -> bool:
    worthless = decision.tier is Tier.SMALL or weight_of(decision).used == 0.0
    return rules.entries and snapshot.book.two_sided and decision.cached is None and not worthless
