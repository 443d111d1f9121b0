"""What each policy believes of a question, stakes on it and pays for it.

| policy | probability | stake |
|---|---|---|
| market price | the crowd's | none |
| MODEL as it is | what the model says | as if it were certain: weight 1 |
| MODEL weighted | market and model by the model's learned weight | the bot's |
| failover naive | what whoever answers says | weight 1 |
| failover weighted | market and whoever answers, by weight | the bot's, with the share of a stand-in |
| failover by tier | the same without any record: the tier's prior | the same |
| first and a second | both models by record, and the market | the bot's, none where they differ |
| ensemble | all of them, by record, and the market | the same |
| emergency rules | nobody answers: the first model's opinion of an hour ago | the row of CACHED |

Each model is out for a share of the questions, drawn by itself for each. Weights and calibration are learned
on the half of the events that a question is not in. The stake is the bot's own rule of size with its screen
and fees, on $10,000 for each question by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import blake2b
from typing import Final

from jurymast.domain.decision import CachedFrom, Decision, ForecastRecord, Opinion, Weight
from jurymast.domain.market import Side
from jurymast.domain.money import CONTRACT, PAYOUT, USD, Micros
from jurymast.domain.portfolio import Exposure
from jurymast.domain.provider import Tier
from jurymast.domain.status import EmergencyMode
from jurymast.lab.emulators.chance import uniform
from jurymast.lab.score.models import CHAIN, Asked, Said, decision_on
from jurymast.policy import fees
from jurymast.policy.calibration import Line
from jurymast.policy.emergency import TABLE, ModeRules
from jurymast.policy.quality import TIER_WEIGHTS
from jurymast.policy.records import fitted, outcome_of
from jurymast.policy.screening import screen
from jurymast.policy.sizing import Sized, belief_of, size

EQUITY: Final[Micros] = 10_000 * USD
CERTAIN: Final = Weight(1.0, 0.0)
HORIZON_SECS: Final = 10 * 365 * 86_400.0
CACHED_SECS: Final = 3_600.0
HALF_LIFE_SECS: Final = 6 * 3_600.0
FOLDS: Final = 2
NAIVE: Final = "failover naive"
WEIGHTED: Final = "failover weighted"


@dataclass(frozen=True, slots=True)
class Result:
    """One policy on one question. Micro-dollars; ``profit`` after fees, before the cost of asking."""

    probability: float
    profit: Micros
    staked: Micros
    cost: Micros


@dataclass(frozen=True, slots=True)
class Pair:
    """Naive and weighted failover of one question, when it was answered as ``case`` says."""

    case: str
    naive: Result
    weighted: Result


@dataclass(frozen=True, slots=True)
class Learned:
    """A model's weight and calibration, from the other half of the events."""

    weight: Weight
    whole: Line
    lines: Mapping[str, Line]

    def of(self, category: str) -> Weight:
        line = self.lines.get(category, self.whole)
        return replace(self.weight, shift=line.shift, slope=line.slope)


def fold_of(event: str) -> int:
    """Which half an event is in: a hash of its name, whatever the questions and the seed."""
    return blake2b(event.encode(), digest_size=1).digest()[0] % FOLDS


def learn(asked: Sequence[Asked]) -> dict[int, tuple[Learned, ...]]:
    """For each half what the other one teaches, by place in the chain."""
    return {
        fold: tuple(
            _learned([each for each in asked if fold_of(each.question.event_ticker) != fold], place)
            for place in range(len(CHAIN))
        )
        for fold in range(FOLDS)
    }


def _learned(asked: Sequence[Asked], place: int) -> Learned:
    records = [(record_of(each, each.said[place]), each.yes) for each in asked]
    scored = [(record, outcome_of(record, yes)) for record, yes in records]
    tier = asked[0].said[place].tier if asked else Tier.SMALL
    prior = TIER_WEIGHTS[tier]
    weight, whole, lines = fitted(scored, prior)
    return Learned(prior if tier is Tier.SMALL else weight, whole, lines)


def record_of(asked: Asked, said: Said) -> ForecastRecord:
    """What is put on record of one model's forecast."""
    question = asked.question
    return ForecastRecord(
        ticker=question.ticker,
        event_ticker=question.event_ticker,
        category=question.category,
        provider=said.route.provider,
        model=said.route.model,
        tier=said.tier,
        probability_pct=said.forecast.probability_pct,
        market_price=asked.snapshot.book.mid,
        weight=0.0,
        calibrated=said.forecast.probability,
        as_of=question.listed_at,
        closes_at=question.close_time,
        simulated=True,
    )


def results_of(asked: Asked, learned: Sequence[Learned], seed: int, out: float) -> dict[str, Result]:
    """Every policy on one question."""
    weights = _weights(asked, learned)
    answering = answering_of(asked, seed, out)
    found = {"market price": nobody(asked)}
    for place, said in enumerate(asked.said):
        found[f"{said.route.model} as it is"] = _as_it_is(asked, said)
        if said.tier is not Tier.SMALL:
            found[f"{said.route.model} weighted"] = weighed(asked, said, weights[place], None)
    found[NAIVE] = _naive(asked, answering)
    found[WEIGHTED] = _failover(asked, answering, weights)
    found["failover by tier"] = _failover(asked, answering, [TIER_WEIGHTS[each.tier] for each in asked.said])
    found["first and a second"] = _together(asked, weights, 2)
    found["ensemble"] = _together(asked, weights, len(CHAIN))
    found["emergency rules"] = _emergency(asked, weights[0])
    return found


def pairs_of(asked: Asked, learned: Sequence[Learned], seed: int, out: float) -> list[Pair]:
    """Naive beside weighted: as the outages had it, and if one model alone had been left."""
    weights = _weights(asked, learned)
    answering = answering_of(asked, seed, out)
    who = "nobody" if answering is None else "first choice" if answering == 0 else "stand-in"
    cases = [(f"{who} answered", answering)]
    cases += [(f"only {said.route.model} left", place) for place, said in enumerate(asked.said) if place]
    return [Pair(case, _naive(asked, place), _failover(asked, place, weights)) for case, place in cases]


def answering_of(asked: Asked, seed: int, out: float) -> int | None:
    """The first of the chain that is not out for this question."""
    places = range(len(CHAIN))
    return next((at for at in places if uniform(seed, "out", at, asked.question.ticker) >= out), None)


def _weights(asked: Asked, learned: Sequence[Learned]) -> list[Weight]:
    return [each.of(asked.question.category) for each in learned]


def _naive(asked: Asked, answering: int | None) -> Result:
    return nobody(asked) if answering is None else _as_it_is(asked, asked.said[answering])


def nobody(asked: Asked) -> Result:
    """Nobody has answered: the market is believed, and nothing is staked."""
    return Result(asked.market, 0, 0, 0)


def _failover(asked: Asked, answering: int | None, weights: Sequence[Weight]) -> Result:
    if answering is None:
        return nobody(asked)
    said, weight = asked.said[answering], weights[answering]
    return weighed(asked, said, weight, weights[0] if answering else None)


def _as_it_is(asked: Asked, said: Said) -> Result:
    decision = decision_on(asked, said, weight=CERTAIN, tier=Tier.STRONG)
    return _played(asked, decision, TABLE[EmergencyMode.NORMAL])


def weighed(asked: Asked, said: Said, weight: Weight, instead_of: Weight | None) -> Result:
    """The bot's own way, with whoever answered."""
    decision = decision_on(asked, said, weight=weight, instead_of=instead_of)
    return _played(asked, decision, TABLE[EmergencyMode.NORMAL])


def _together(asked: Asked, weights: Sequence[Weight], count: int) -> Result:
    """The first of the chain with the opinions of those behind it."""
    first, *others = asked.said[:count]
    beside = tuple(
        Opinion(said.route, said.route.model, said.tier, said.forecast.probability_pct, weight)
        for said, weight in zip(others, weights[1:count], strict=True)
    )
    decision = replace(decision_on(asked, first, weight=weights[0]), beside=beside)
    result = _played(asked, decision, TABLE[EmergencyMode.NORMAL])
    return replace(result, cost=sum(said.cost for said in asked.said[:count]))


def _emergency(asked: Asked, weight: Weight) -> Result:
    share = 2.0 ** (-CACHED_SECS / HALF_LIFE_SECS)
    then = asked.snapshot.as_of - timedelta(seconds=CACHED_SECS)
    cached = CachedFrom("", then, asked.snapshot.book.mid, CACHED_SECS, HALF_LIFE_SECS, share)
    decision = replace(decision_on(asked, asked.said[0], weight=weight), cached=cached, cost=0)
    return _played(asked, decision, TABLE[EmergencyMode.CACHED])


def _played(asked: Asked, decision: Decision, rules: ModeRules) -> Result:
    """Believe, stake and be paid as the bot would be, on this question alone."""
    belief = belief_of(decision, asked.snapshot, rules)
    alone = Exposure(equity=EQUITY, cash=EQUITY, positions={}, by_market={}, by_event={})
    entry = None
    if screen(asked.snapshot, rules, HORIZON_SECS) is None:
        entry = size(decision, asked.snapshot, alone, rules)
    if not isinstance(entry, Sized):
        return Result(belief.probability, 0, 0, decision.cost)
    contracts = entry.count // CONTRACT
    staked = contracts * (entry.limit_price + fees.fee_per_contract(entry.limit_price))
    won = (entry.side is Side.YES) == asked.yes
    return Result(belief.probability, contracts * PAYOUT * won - staked, staked, decision.cost)
