"""The learned router: it finds the better route by paired scores, forgets, and gambles with no decision."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from policy_world import NOW, Bench, spec_of

from jurymast.domain.decision import ForecastRecord, Weight
from jurymast.domain.events import ForecastNoted, ForecastScored, OpinionStopped
from jurymast.domain.money import PAYOUT, USD
from jurymast.domain.probability import logit, sigmoid
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.domain.status import RouteState
from jurymast.policy.failover import FailoverSettings
from jurymast.policy.learned import LearnedWeights, curiosity
from jurymast.policy.records import ForecastRecords
from jurymast.policy.routing import RouteOrder
from jurymast.policy.value import Standing, order_of, placed

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName


def taught(
    records: ForecastRecords, model: str, weight: float, events: int, *, seed: int, category: str = "world"
) -> None:
    """So many resolved forecasts of a model whose best weight against the market is ``weight``."""
    chance = random.Random(f"{model} {category} {seed}")
    noise = 1.5
    for number in range(events):
        market = chance.uniform(0.2, 0.8)
        yes = chance.random() < market
        said = logit(market) + weight * noise**2 / 2 * (1 if yes else -1) + chance.gauss(0.0, noise)
        percent = min(max(round(sigmoid(said) * 100), 1), 99)
        ticker = f"{category}-{seed}-{number}"
        record = ForecastRecord(
            ticker, ticker, category, XAI, model, Tier.STRONG, percent, round(market * PAYOUT), 0.0,
            percent / 100, NOW, NOW + timedelta(days=1),
        )  # fmt: skip
        records.apply(ForecastNoted(at=NOW, record=record))
        records.apply(ForecastScored(at=NOW, record=record, yes=yes))


def order(records: ForecastRecords, category: str = "") -> RouteOrder:
    learned = LearnedWeights(records)
    specs = [spec_of(name, tier=Tier.STRONG) for name in (XAI, OPENAI)]
    names = {XAI: "first", OPENAI: "second"}
    standings = [Standing(s, learned.weight(names[s.route.provider], s.tier, category), 4_000) for s in specs]
    return order_of(placed(standings, 2_000 * USD, 0.0))


def test_it_recovers_the_better_route() -> None:
    """In ten SIMULATED worlds the one that knows something is put before the one that knows nothing."""
    for seed in range(10):
        records = ForecastRecords()
        taught(records, "first", 0.0, 400, seed=seed)
        taught(records, "second", 0.35, 400, seed=seed)
        first = order(records).first
        assert first is not None
        assert first.provider is OPENAI, seed


def test_without_any_record_priority_decides() -> None:
    """The prior is the tier's: equal tiers and prices stay as the operator has put them."""
    first = order(ForecastRecords()).first
    assert first is not None
    assert first.provider is XAI


def test_it_knows_categories_apart() -> None:
    """A model that knows one field is worth more there than elsewhere."""
    records = ForecastRecords()
    taught(records, "m", 0.5, 200, seed=1, category="science")
    taught(records, "m", 0.0, 200, seed=1, category="sports")
    learned = LearnedWeights(records)
    science, sports = (learned.weight("m", Tier.STRONG, each) for each in ("Science", "sports"))
    assert science.mean > sports.mean


def test_the_old_counts_less() -> None:
    """The same outcomes, the good ones first or last: what a model has shown lately decides."""
    means = []
    for weights in ((0.6, 0.0), (0.0, 0.6)):
        records = ForecastRecords()
        for weight in weights:
            taught(records, "m", weight, 400, seed=1 if weight else 2)
        means.append(LearnedWeights(records).weight("m", Tier.STRONG).mean)
    assert means[0] + 0.02 < means[1]


def test_a_small_model_and_a_stopped_one_learn_no_weight() -> None:
    """Whatever their record says."""
    records = ForecastRecords()
    taught(records, "m", 0.6, 100, seed=1)
    assert LearnedWeights(records).weight("m", Tier.SMALL) == Weight(0.0, 0.0)
    records.apply(OpinionStopped(at=NOW, model="m", evidence=30.0, reason="harm"))
    assert LearnedWeights(records).weight("m", Tier.STRONG).used == 0.0


def test_the_same_records_teach_the_same_after_a_restart() -> None:
    """What is learned is a fold over the journal: another process that reads it knows as much."""
    one, other = ForecastRecords(), ForecastRecords()
    for records in (one, other):
        taught(records, "m", 0.3, 50, seed=4)
    assert LearnedWeights(one).weight("m", Tier.STRONG) == LearnedWeights(other).weight("m", Tier.STRONG)


@given(
    drawn=st.dictionaries(
        st.sampled_from([Route(name, "m0") for name in ProviderName]),
        st.tuples(st.floats(0.0, 0.5), st.floats(0.0, 0.2), st.floats(-4, 4), st.booleans()),
    )
)
def test_curiosity_is_for_one_route_at_most(
    drawn: dict[Route, tuple[float, float, float, bool]],
) -> None:
    """Within one patience, and never for one that can't count."""
    weights = {r: Weight(m, sd, stopped="harm" if bad else "") for r, (m, sd, _, bad) in drawn.items()}
    found = curiosity(weights, {r: z for r, (_, _, z, _) in drawn.items()})
    assert len(found) <= 1
    assert all(share == 1.0 and weights[r].sd > 0 and not weights[r].stopped for r, share in found.items())


def _shadows(curious: ProviderName | None) -> list[ProviderName]:
    """Who was asked in shadow in six hours of a question a minute, answered by the first."""
    bench = Bench(
        *(spec_of(name) for name in (XAI, OPENAI, ANTHROPIC)), settings=FailoverSettings(shadow_secs=3_600.0)
    )
    if curious is not None:
        bench.core.health.reorder(RouteOrder(curiosity={Route(curious, "m0"): 1.0}))
    asked: list[ProviderName] = []
    for _ in range(6 * 60):
        bench.answers(1)
        if (record := bench.core.shadow(bench.now)) is not None:
            asked.append(record.route.provider)
            bench.core.shadowed(record, bench.now, 1.0, 0, None)
    return asked


def test_exploration_adds_no_shadow_question() -> None:
    """Curiosity says who goes first among those that are due; none becomes due by it, none is starved."""
    plain, curious = _shadows(None), _shadows(ANTHROPIC)
    assert len(curious) == len(plain) > 0
    assert plain[0] is OPENAI
    assert curious[0] is ANTHROPIC
    assert set(curious) == {OPENAI, ANTHROPIC}


def test_it_never_asks_a_sick_route_for_its_value() -> None:
    """The route put first by all that was learned is passed over while it is down, in its category too."""
    bench = Bench(*(spec_of(name) for name in (XAI, OPENAI)))
    best = RouteOrder({Route(OPENAI, "m0"): 0, Route(XAI, "m0"): 1})
    bench.core.health.reorder(best)
    assert bench.asked(bench.answer(bench.ask())) == [OPENAI]
    bench.outage(OPENAI)
    assert bench.state(OPENAI) is RouteState.OPEN
    assert bench.asked(bench.answer(bench.ask())) == [XAI]
    walk = bench.core.begin(bench.now, 60.0, order=replace(best, curiosity={}))
    assert bench.asked(walk) == [XAI]
