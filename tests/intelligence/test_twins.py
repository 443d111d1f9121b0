"""The same question listed twice is asked once, and nothing is lost by it. Providers are emulated."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from jurymast.domain.decision import Abstain, Decision, Rung
from jurymast.domain.events import DecisionMade, ForecastNoted
from jurymast.domain.market import Book, EvidenceItem, Level, MarketSnapshot
from jurymast.domain.money import CENT
from jurymast.domain.provider import ProviderName
from jurymast.intelligence.twins import REUSE_MOVE_MAX, REUSE_SECS_MAX
from jurymast.lab.rig import Rig, rig

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName


def twin_of(snapshot: MarketSnapshot, **changed: str) -> MarketSnapshot:
    """The same question under another ticker, of another event."""
    market = replace(snapshot.market, **{"ticker": "TWIN-1", "event_ticker": "TWIN", **changed})
    return replace(snapshot, market=market)


def moved(snapshot: MarketSnapshot, by: int) -> MarketSnapshot:
    book = snapshot.book
    bids, asks = ([Level(each.price + by, each.count) for each in side] for side in (book.bids, book.asks))
    return replace(snapshot, book=Book(tuple(bids), tuple(asks)))


async def decided(lab: Rig, snapshot: MarketSnapshot, *evidence: EvidenceItem) -> Decision | Abstain:
    return await lab.client.get_trading_decision(snapshot, evidence, deadline_secs=10.0)


def requests(lab: Rig) -> int:
    return sum(stats.requests for stats in lab.fallback.providers.stats.values())


def central(lab: Rig) -> MarketSnapshot:
    """A market with room to move on both sides."""
    return next(s for s in map(lab.snapshot, range(50)) if 20 * CENT < s.book.mid < 80 * CENT)


async def test_the_answer_to_the_same_question_is_used_again() -> None:
    """One request: the second decision says whose answer it is, costs nothing, and stands for itself."""
    async with rig() as lab:
        first = await decided(lab, central(lab))
        lab.clock.advance(5.0)
        second = await decided(lab, twin_of(central(lab)))
        told = [event for event in lab.events if isinstance(event, DecisionMade)]
        assert isinstance(first, Decision)
        assert isinstance(second, Decision)
        assert requests(lab) == 1
        assert (second.ticker, second.rung, second.cost) == ("TWIN-1", Rung.REUSED, 0)
        assert second.decision_id != first.decision_id
        assert (second.forecast, second.weight) == (first.forecast, first.weight)
        assert first.ticker in second.reason
        assert first.decision_id in second.reason
        assert second.age_secs(lab.clock.utc_now()) == 5.0, "it is as old as the answer"
        assert [event.decision for event in told] == [first, second]
        assert told[1].at == lab.clock.utc_now()
        assert len([event for event in lab.events if isinstance(event, ForecastNoted)]) == 1


async def test_two_that_come_at_once_are_one_request() -> None:
    """The second waits for the answer to the first."""
    async with rig() as lab:
        snapshot = central(lab)
        answers = await asyncio.gather(
            decided(lab, snapshot), *(decided(lab, twin_of(snapshot, ticker=f"T{n}")) for n in range(5))
        )
        assert requests(lab) == 1
        rungs = [each.rung for each in answers]
        assert rungs == [Rung.PRIMARY] + [Rung.REUSED] * 5


async def test_the_market_itself_is_asked_about_again() -> None:
    """Who asks the same market twice wants to know whether anything has changed."""
    async with rig() as lab:
        for _ in range(2):
            await decided(lab, central(lab))
        assert requests(lab) == 2


@pytest.mark.parametrize("other", ["title", "rules", "close", "evidence", "price", "time"])
async def test_what_is_not_the_same_is_asked(other: str) -> None:
    """Another text, close or evidence, a price that has moved, an answer too old: each is a question."""
    async with rig() as lab:
        snapshot = central(lab)
        await decided(lab, snapshot)
        twin, evidence = twin_of(snapshot), ()
        match other:
            case "title" | "rules":
                twin = twin_of(snapshot, **{other: "Something else?"})
            case "close":
                market = replace(twin.market, close_time=twin.market.close_time.replace(microsecond=1))
                twin = replace(twin, market=market)
            case "evidence":
                evidence = (EvidenceItem("s1", "News", "It rained.", snapshot.as_of),)
            case "price":
                twin = moved(twin, REUSE_MOVE_MAX + CENT)
            case _:
                lab.clock.advance(REUSE_SECS_MAX + 1.0)
        answer = await decided(lab, twin, *evidence)
        assert answer.rung is Rung.PRIMARY
        assert requests(lab) == 2


async def test_a_stand_in_s_answer_is_not_handed_on() -> None:
    """The first choice is back: its opinion is worth more than one of the time when it was out."""
    async with rig(providers=[XAI, OPENAI]) as lab:
        await lab.fleet.set_fault(XAI, "503")
        first = await decided(lab, central(lab))
        await lab.fleet.clear_faults(XAI)
        second = await decided(lab, twin_of(central(lab)))
        assert first.rung is Rung.FAILOVER
        assert second.rung is not Rung.REUSED


async def test_when_the_first_comes_to_nothing_the_others_ask_for_themselves() -> None:
    """Waiting for a twin never costs a question its own attempt."""
    async with rig(providers=[XAI]) as lab:
        await lab.fleet.set_fault(XAI, "invalid_json")
        snapshot = central(lab)
        answers = await asyncio.gather(decided(lab, snapshot), decided(lab, twin_of(snapshot)))
        assert all(isinstance(each, Abstain) for each in answers)
        assert requests(lab) >= 2
        await lab.fleet.clear_faults(XAI)
        assert isinstance(await decided(lab, twin_of(snapshot)), Decision)
