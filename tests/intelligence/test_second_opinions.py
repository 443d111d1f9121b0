"""Second opinions and negated questions over real wires: bought, told, and never in the way."""

from __future__ import annotations

import pytest

from jurymast.domain.decision import Decision
from jurymast.domain.events import DecisionMade, ForecastNoted, SecondOpinionGiven
from jurymast.domain.market import Book, Level, Market, MarketSnapshot
from jurymast.domain.money import CENT, CONTRACT, USD
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.lab.rig import MODELS, Rig, rig
from jurymast.policy.second import SecondSettings
from jurymast.policy.spending import spending

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
BOTH = SecondSettings(second=True, negate=True, negate_from=0, bankroll=10**6 * USD)


def far_away(lab: Rig) -> MarketSnapshot:
    """A market priced far from what models believe, so that every opinion is one to trade on."""
    for index in range(200):
        snapshot = lab.snapshot(index)
        if lab.questions[index].crowd_probability > 0.9:
            market: Market = snapshot.market
            lot = 5_000 * CONTRACT
            book = Book((Level(24 * CENT, lot),), (Level(25 * CENT, lot),))
            return MarketSnapshot(market, snapshot.status, book, snapshot.volume_24h, snapshot.as_of)
    raise AssertionError("the bundle has such questions")


async def decided(lab: Rig) -> Decision:
    answer = await lab.client.get_trading_decision(far_away(lab), (), deadline_secs=10.0)
    assert isinstance(answer, Decision), answer
    return answer


def given(lab: Rig) -> list[SecondOpinionGiven]:
    return [event for event in lab.events if isinstance(event, SecondOpinionGiven)]


async def test_nobody_else_is_asked_by_default() -> None:
    """One question, one answer, one bill."""
    async with rig() as lab:
        answer = await decided(lab)
        assert (answer.beside, answer.negated_pct, given(lab)) == ((), None, [])


async def test_another_provider_and_the_negation_are_asked() -> None:
    """Both stand in the decision with who said them, and what they cost in the journal."""
    async with rig(second=BOTH, providers=[XAI, OPENAI, LOCAL]) as lab:
        answer = await decided(lab)
        (other,) = answer.beside
        assert other.route.provider is OPENAI
        assert other.model == MODELS[OPENAI][0]
        assert answer.negated_pct == pytest.approx(100 - answer.forecast.probability_pct, abs=2)
        second, negation = sorted(given(lab), key=lambda event: event.negated)
        assert (second.probability_pct, second.decision_id) == (other.probability_pct, answer.decision_id)
        assert second.worth > second.cost > 0
        assert negation.route == answer.route
        made = [event for event in lab.events if isinstance(event, DecisionMade)]
        assert made[-1].decision == answer
        noted = {event.record.model: event.record for event in lab.events if isinstance(event, ForecastNoted)}
        assert noted[other.model].shadow
        assert not noted[answer.served_model].shadow


async def test_after_a_cheap_model_the_one_that_counts_most_is_asked() -> None:
    """A cascade: not the next in the order, which counts no more than the first, but the strong one."""
    clouds = (XAI, OPENAI, ANTHROPIC)
    async with rig(second=SecondSettings(second=True)) as lab:
        tiers = [lab.fallback.providers.tier(Route(name, MODELS[name][0])) for name in clouds]
        assert tiers == [Tier.MID, Tier.MID, Tier.STRONG]
        (other,) = (await decided(lab)).beside
        assert other.route.provider is ANTHROPIC


async def test_what_is_not_worth_its_price_is_not_bought() -> None:
    """On a dollar no answer can win what it costs: the cheap one is all that is paid for."""
    async with rig(second=SecondSettings(second=True, bankroll=USD)) as lab:
        assert (await decided(lab)).beside == ()
        assert given(lab) == []


async def test_what_they_cost_is_told_for_what_it_was() -> None:
    """Folded from the journal, the spend is what the providers were paid, the second opinions by name."""
    async with rig(second=BOTH) as lab:
        await decided(lab)
        told = spending(lab.events, "provider")
        assert told.total.cost == lab.fallback.providers.get_total_cost()
        assert told.purposes["second_opinion"].cost == sum(event.cost for event in given(lab)) > 0


async def test_a_second_opinion_that_fails_leaves_the_decision_as_it_was() -> None:
    """The other provider breaks while it is asked: the first answer stands, with the reason told."""
    async with rig(second=BOTH, providers=[XAI, OPENAI]) as lab:
        await lab.fleet.set_fault(OPENAI, "503")
        answer = await decided(lab)
        assert answer.provider is XAI
        assert answer.beside == ()
        (second,) = (event for event in given(lab) if not event.negated)
        assert second.probability_pct is None
        assert "overloaded" in second.detail or "503" in second.detail


async def test_a_small_model_is_no_second_opinion() -> None:
    """It can't open risk, so it is not paid in time for saying yes."""
    async with rig(second=BOTH, providers=[XAI, LOCAL]) as lab:
        answer = await decided(lab)
        assert answer.beside == ()


async def test_no_second_opinion_is_bought_without_money_to_spare() -> None:
    """With less than half of the day's money left nothing optional is asked."""
    async with rig(second=BOTH, providers=[XAI, OPENAI], budget_per_day=round(0.02 * USD)) as lab:
        await decided(lab)
        assert [event for event in given(lab) if event.route.provider is OPENAI] == []


async def test_a_shadow_is_heard_by_the_next_decision_on_its_market() -> None:
    """What another model said of the same market lately stands beside the next answer."""
    async with rig(providers=[XAI, OPENAI]) as lab:
        first = await decided(lab)
        snapshot = far_away(lab)
        route = next(spec.route for spec in lab.fallback.providers.specs() if spec.route.provider is OPENAI)
        tier = lab.fallback.providers.tier(route)
        heard = lab.client.weighing.opinion(route, route.model, tier, 41, "other")
        lab.client.weighing.keep_shadow(snapshot.ticker, lab.clock.monotonic(), heard)
        lab.clock.advance(60.0)
        second = await decided(lab)
        assert (first.beside, second.beside) == ((), (heard,))
        lab.clock.advance(3_600.0)
        assert (await decided(lab)).beside == ()
