"""Who is asked first, by setting: in the order of the operator, or of what routes are worth. Emulated."""

from __future__ import annotations

from jurymast.domain.decision import Decision, ForecastRecord, Rung
from jurymast.domain.events import Event, FailedOver, ForecastNoted, ForecastScored, RoutesRanked
from jurymast.domain.money import PAYOUT, USD
from jurymast.domain.provider import ProviderName, Tier
from jurymast.domain.status import RouteState
from jurymast.intelligence.ordering import RoutingSettings
from jurymast.journal.codec import decode, encode
from jurymast.lab.rig import MODELS, Rig, rig
from jurymast.policy.records import ForecastRecords
from jurymast.policy.value import RankBy
from jurymast.testing.clock import START

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName


def shown(model: str, tier: Tier, *, dated: str = "") -> ForecastRecords:
    """The record of a model that has been right where the market was not, 200 times."""
    records = ForecastRecords()
    for number in range(200):
        yes = number % 2 == 0
        record = ForecastRecord(
            f"T{number}", f"E{number}", "world", OPENAI, model + dated, tier, 70 if yes else 30, PAYOUT // 2,
            0.1, 0.5, START, START, simulated=True,
        )  # fmt: skip
        records.apply(ForecastNoted(at=START, record=record))
        records.apply(ForecastScored(at=START, record=record, yes=yes))
    return records


def ranked(lab: Rig) -> list[RoutesRanked]:
    return [event for event in lab.events if isinstance(event, RoutesRanked)]


async def test_by_default_priority_decides_and_says_so_once() -> None:
    """However good the record of another: the operator's order, told with the first question."""
    async with rig(records=shown(MODELS[OPENAI][0], Tier.MID)) as lab:
        for _ in range(3):
            answer = await lab.ask()
            lab.clock.advance(120.0)
        assert isinstance(answer, Decision)
        assert answer.provider is XAI
        (told,) = ranked(lab)
        assert [(each.route.provider, each.reason) for each in told.order] == [
            (XAI, "priority 1"), (OPENAI, "priority 2"), (ANTHROPIC, "priority 3"), (LOCAL, "priority 4"),
        ]  # fmt: skip


async def test_by_value_a_model_that_has_shown_more_is_asked_first() -> None:
    """It is the first choice then, with its whole size; its terms are told; a dated id is the same one."""
    for by in (RankBy.VALUE, RankBy.LEARNED):
        records = shown(MODELS[OPENAI][0], Tier.MID, dated="-2026-10-01")
        async with rig(records=records, routing=RoutingSettings(by)) as lab:
            answer = await lab.ask()
            assert isinstance(answer, Decision)
            assert (answer.provider, answer.rung, answer.instead_of) == (OPENAI, Rung.PRIMARY, None)
            told = ranked(lab)[0]
            assert told.by == by
            assert told.order[0].route.provider is OPENAI
            assert "growth" in told.order[0].reason
            assert "small" in told.order[-1].reason
            assert lab.fallback.get_best_provider() is OPENAI


async def test_the_best_by_value_is_passed_over_while_it_is_sick() -> None:
    """And has its place again when it answers; who stands in for it says so."""
    records = shown(MODELS[OPENAI][0], Tier.MID)
    async with rig(records=records, routing=RoutingSettings(RankBy.VALUE)) as lab:
        await lab.ask()
        await lab.fleet.set_fault(OPENAI, "503")
        during = [await lab.ask() for _ in range(4)]
        states = {r.route.provider: r.state for r in lab.fallback.get_system_status().routes}
        await lab.fleet.clear_faults(OPENAI)
        await lab.pass_time(600.0)
        after = await lab.ask()
        assert states[OPENAI] is not RouteState.HEALTHY
        assert isinstance(during[-1], Decision)
        assert during[-1].provider is not OPENAI
        assert during[-1].rung is Rung.FAILOVER
        assert during[-1].instead_of is not None
        assert isinstance(after, Decision)
        assert (after.provider, after.rung) == (OPENAI, Rung.PRIMARY)
        moves = [event for event in lab.events if isinstance(event, FailedOver)]
        assert moves[-1].to_route is not None
        assert moves[-1].to_route.provider is OPENAI


async def test_a_person_s_choice_stands_before_value() -> None:
    """``failover`` by hand puts a provider first, whatever it is worth."""
    records = shown(MODELS[OPENAI][0], Tier.MID)
    async with rig(records=records, routing=RoutingSettings(RankBy.VALUE)) as lab:
        await lab.ask()
        assert await lab.fallback.initiate_failover(OPENAI, XAI, "by hand")
        answer = await lab.ask()
        assert isinstance(answer, Decision)
        assert answer.provider is XAI


async def test_with_the_money_gone_only_the_free_one_answers() -> None:
    """Order by value changes nothing about what may be spent."""
    async with rig(routing=RoutingSettings(RankBy.VALUE), budget_per_day=0) as lab:
        answer = await lab.ask()
        assert isinstance(answer, Decision)
        assert (answer.provider, answer.cost) == (LOCAL, 0)


async def test_the_order_is_written_when_it_changes_and_read_back() -> None:
    """Not with each look; the event survives the journal."""
    records = shown(MODELS[OPENAI][0], Tier.MID)
    async with rig(records=records, routing=RoutingSettings(RankBy.VALUE, 2_000 * USD, 1.0)) as lab:
        for _ in range(5):
            await lab.ask()
            lab.clock.advance(10.0)
        told: list[Event] = [*ranked(lab)]
        assert len(told) <= 2
        kind, body = encode(told[0])
        assert decode(kind, body) == told[0]
