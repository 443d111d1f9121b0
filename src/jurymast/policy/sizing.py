"""From a forecast to a size: fee-aware fractional Kelly with estimation error, under caps.

For each side: a = ask + fee per contract, p = our probability of that side, d = p - a. The stake is
``lambda * d / (1 - a) * d^2 / (d^2 + s^2)`` of equity (Kelly 1956; shrinkage by estimation error after
Baker and McHale 2013), with lambda a quarter times the mode's size multiple and s our standard error, to
which opinions that differ add. Then the least of all caps, the share of it that whoever stands in for another
has earned, rounded down to whole contracts. Less than one is no trade.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from jurymast.domain.decision import Decision, Weight
from jurymast.domain.market import MarketSnapshot, Side
from jurymast.domain.money import CONTRACT, PAYOUT, Centi, Micros, format_cents
from jurymast.domain.portfolio import Exposure
from jurymast.domain.probability import from_price
from jurymast.domain.provider import Tier
from jurymast.policy import fees
from jurymast.policy.cached import faded
from jurymast.policy.emergency import BASIS, ModeRules
from jurymast.policy.quality import (
    Belief,
    blend,
    differing,
    meant,
    share_of,
    spread_error,
    weight_of,
)
from jurymast.policy.screening import visible_depth

KELLY_SHARE = 0.25
ERROR_MIN = 0.03
"""Least standard error of our probability: nobody knows a market to better than three cents."""
DEPTH_SHARE = 10
"""At most one part in this many of the visible depth."""


@dataclass(frozen=True, slots=True)
class Sized:
    """An entry worth making, with the numbers that made it."""

    side: Side
    count: Centi
    limit_price: Micros
    belief: Belief
    edge: Micros
    capped_by: str
    cell: str = ""
    """Of the mode table, when the limit is one of its."""
    weighed: str = ""
    """What the opinion behind it counted for, and why."""

    @property
    def detail(self) -> str:
        ours = self.belief.probability if self.side is Side.YES else 1 - self.belief.probability
        return (
            f"{self.side} at {format_cents(self.limit_price)}, we believe {ours:.1%}, "
            f"edge {self.edge / 10_000:.1f}c after costs, {self.weighed}, size by {self.capped_by}{self.cell}"
        )


@dataclass(frozen=True, slots=True)
class Declined:
    """No entry: the gate that said no, in closed words, and the numbers it looked at."""

    gate: str
    reason: str
    detail: str


def belief_of(decision: Decision, snapshot: MarketSnapshot, rules: ModeRules) -> Belief:
    """Our probability of YES: the market's, moved by the weighted opinion of whoever answered, or by what is
    left of it when it is a cached one."""
    weight = weight_of(decision)
    if decision.cached is not None:
        belief = faded(decision, snapshot, weight.lower)
    else:
        opinion = meant(decision)
        belief = blend(
            from_price(snapshot.book.mid),
            opinion.probability,
            opinion.low,
            opinion.high,
            weight.used if rules.mean_weight else weight.lower,
        )
    return Belief(belief.probability, math.hypot(belief.error, spread_error(decision)))


def size(
    decision: Decision, snapshot: MarketSnapshot, exposure: Exposure, rules: ModeRules
) -> Sized | Declined:
    """The entry this forecast deserves now, or why none."""
    if not rules.entries:
        return Declined("mode", "entries_stopped", f"no entries in mode {rules.mode} {rules.at('entries')}")
    weight, share = weight_of(decision), share_of(decision)
    if decision.tier is Tier.SMALL:
        return Declined(
            "quality", "may_not_open_risk", f"{decision.route} is a small model: it may only veto"
        )
    if weight.used == 0:
        return Declined("quality", "worth_nothing", f"{decision.served_model} has weight {weight}")
    if not snapshot.book.two_sided:
        return Declined("market", "one_sided_book", "no bid or no ask: there is no price to compare with")
    if differ := differing(decision, from_price(snapshot.book.mid)):
        return Declined("quality", "opinions_differ", differ)
    belief = belief_of(decision, snapshot, rules)
    side, price, edge = best_edge(belief, snapshot)
    held = exposure.positions.get(snapshot.ticker)
    if held is not None and held.side is not side:
        return Declined("position", "opposite_side", f"holds {held.side}, edge is on {side}")
    if (declined := _edge_gate(side, price, edge, belief, snapshot, rules, weight)) is not None:
        return declined
    all_in = price + fees.fee_per_contract(price)
    error = max(belief.error, ERROR_MIN)
    d, a = edge / PAYOUT, all_in / PAYOUT
    kelly = KELLY_SHARE * rules.size_multiple * d / (1 - a) * d**2 / (d**2 + error**2)
    caps = _caps(snapshot, side, exposure, rules, all_in, cached=decision.cached is not None)
    caps["kelly"] = int(kelly * exposure.equity)
    capped_by = min(caps, key=lambda name: caps[name])
    cell = f" {rules.at(_CELLS[capped_by])}" if capped_by in _CELLS else f" [{rules.mode}]"
    stake = int(max(caps[capped_by], 0) * share)
    contracts = stake // all_in
    if contracts < 1:
        detail = (
            f"{capped_by} allows ${stake / PAYOUT:.2f}, a contract is ${a:.2f}{cell}; {_weighed(decision)}"
        )
        return Declined("size", "too_small", detail)
    return Sized(side, contracts * CONTRACT, price, belief, edge, capped_by, cell, _weighed(decision))


def _weighed(decision: Decision) -> str:
    """What the opinion counted for, and where that comes from."""
    told = f"weight {weight_of(decision)}"
    if (share := share_of(decision)) < 1.0:
        told += f", {share:.0%} of the size as it stands in for weight {decision.instead_of}"
    if decision.beside:
        told += f", beside {', '.join(f'{each.model} {each.probability_pct} %' for each in decision.beside)}"
    return told


def best_edge(belief: Belief, snapshot: MarketSnapshot) -> tuple[Side, Micros, Micros]:
    """The better side of a two-sided book, its price, and the edge there after costs."""
    return max((_edge(side, belief, snapshot) for side in Side), key=lambda candidate: candidate[2])


def needed_edge(price: Micros, snapshot: MarketSnapshot, rules: ModeRules) -> Micros:
    """The least edge after costs that a mode enters for."""
    round_trip = snapshot.book.spread + 2 * fees.fee_per_contract(price)
    return max(rules.min_edge, round(rules.min_edge_round_trips * round_trip))


def _edge(side: Side, belief: Belief, snapshot: MarketSnapshot) -> tuple[Side, Micros, Micros]:
    price = snapshot.book.offers(side)[0].price
    probability = belief.probability if side is Side.YES else 1 - belief.probability
    return side, price, round(probability * PAYOUT) - price - fees.fee_per_contract(price)


def _edge_gate(
    side: Side,
    price: Micros,
    edge: Micros,
    belief: Belief,
    snapshot: MarketSnapshot,
    rules: ModeRules,
    weight: Weight,
) -> Declined | None:
    needed = needed_edge(price, snapshot, rules)
    ours = belief.probability if side is Side.YES else 1 - belief.probability
    if edge < needed:
        detail = (
            f"{edge / 10_000:.1f}c after costs on {side}, needs {needed / 10_000:.1f}c "
            f"(market {from_price(snapshot.book.mid):.1%} yes, we believe {belief.probability:.1%}, "
            f"weight {weight}) "
            + rules.at("min_edge" if needed == rules.min_edge else "min_edge_round_trips")
        )
        return Declined("edge", "edge_too_small", detail)
    error = max(belief.error, ERROR_MIN)
    confidence = 0.5 * (1 + math.erf(edge / PAYOUT / error / math.sqrt(2)))
    if confidence < rules.min_confidence:
        detail = (
            f"P(edge > 0) {confidence:.0%}, needs {rules.min_confidence:.0%} (we believe {ours:.1%}) "
            + rules.at("min_confidence")
        )
        return Declined("edge", "too_uncertain", detail)
    return None


def _caps(
    snapshot: MarketSnapshot,
    side: Side,
    exposure: Exposure,
    rules: ModeRules,
    all_in: Micros,
    *,
    cached: bool,
) -> dict[str, Micros]:
    """What each limit still leaves, in micro-dollars."""
    market, event = snapshot.ticker, snapshot.market.event_ticker
    depth = visible_depth(snapshot.book.offers(side)) // DEPTH_SHARE
    used = {
        "market cap": exposure.by_market.get(market, 0),
        "event cap": exposure.by_event.get(event, 0),
        "gross cap": exposure.gross,
        "hourly new risk": exposure.new_risk_hour,
        "daily new risk": exposure.new_risk_day,
    }
    if cached:
        used |= {"hourly cached risk": exposure.cached_hour, "daily cached risk": exposure.cached_day}
    caps = {
        name: exposure.equity * getattr(rules, _CELLS[name]) // BASIS - spent for name, spent in used.items()
    }
    return caps | {"cash": exposure.cash, "visible depth": depth * all_in // CONTRACT}


_CELLS: Final = {
    "kelly": "size_multiple",
    "market cap": "market_cap_bp",
    "event cap": "event_cap_bp",
    "gross cap": "gross_cap_bp",
    "hourly new risk": "new_risk_hour_bp",
    "daily new risk": "new_risk_day_bp",
    "hourly cached risk": "cached_hour_bp",
    "daily cached risk": "cached_day_bp",
}
"""Columns of the mode table by the limits they set."""
