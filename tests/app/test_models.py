"""The life of models in a whole bot: listed or not, renamed, ending, swapped, changed in secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jurymast.app.canary import CanaryKeeper, canary_questions, canary_requests
from jurymast.app.config import BotSection, Config, LabSection
from jurymast.app.doctor import Health, examine
from jurymast.app.models import ModelKeeper
from jurymast.app.models_config import ModelsSection
from jurymast.app.settings import load_settings
from jurymast.app.wiring import Bot, build
from jurymast.domain.errors import ConfigError
from jurymast.domain.events import (
    CanaryFinished,
    CycleFinished,
    DecisionMade,
    Event,
    ModelNoticed,
    ModelsListed,
    ModelSwapped,
    OrderIntended,
    TradeDeclined,
)
from jurymast.domain.money import USD
from jurymast.domain.order import Purpose
from jurymast.domain.provider import ModelNotice, ProviderName, Route
from jurymast.domain.status import EmergencyMode, RouteState
from jurymast.exchange.questions import load_bundle
from jurymast.faces.cli.reading import status, status_text
from jurymast.policy.canary import QUESTIONS
from jurymast.testing.clock import FakeClock

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
START = Config().exchange.start
CYCLE_SECS = 30.0
CYCLES = 8
OFTEN_DAYS = 0.001
"""A minute and a half between canaries: the markets of a week do not fit into a test."""


def config_in(directory: Path, **sections: Any) -> Config:
    base = Config()
    return replace(
        base,
        bot=BotSection(data_dir=str(directory)),
        lab=LabSection(emulate=True, control_port=0, latency_scale=0.0),
        failover=replace(base.failover, budget_usd_per_day=100.0, shadow_secs=0.0, shadow_free_secs=0.0),
        models=ModelsSection(canary_days=OFTEN_DAYS),
        **sections,
    )


@asynccontextmanager
async def running(config: Config, start: datetime = START) -> AsyncIterator[tuple[Bot, list[Event]]]:
    events: list[Event] = []
    clock = FakeClock(start)
    async with build(config, clock=clock, watch=events.append, concurrency_max=1, ticking=False) as bot:
        yield bot, events


async def cycles(bot: Bot, how_many: int = 1) -> None:
    for _ in range(how_many):
        await bot.cycle.run_once()
        pass_time(bot)


def pass_time(bot: Bot, secs: float = CYCLE_SECS) -> None:
    assert isinstance(bot.clock, FakeClock)
    bot.clock.advance(secs)


async def fault(bot: Bot, provider: str, word: str, model: str | None = None) -> None:
    assert bot.fleet is not None
    await bot.fleet.set_fault(provider, word, model=model)


def of(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def notices(events: list[Event], *kinds: ModelNotice) -> list[tuple[str, ModelNotice]]:
    return [(e.model, e.notice) for e in of(events, ModelNoticed) if not kinds or e.notice in kinds]


def state_of(bot: Bot, route: Route) -> RouteState:
    return bot.fallback.core.health.records[route].health.state


class TestLists:
    async def test_what_is_listed_is_left_alone(self, tmp_path: Path) -> None:
        """A look at lists that have every model changes nothing and is told once for each provider."""
        async with running(config_in(tmp_path)) as (bot, events):
            keeper = ModelKeeper(bot)
            await keeper.look()
            await keeper.look()
            assert all(report.state is RouteState.HEALTHY for report in bot.client.get_system_status().routes)
        assert [event.provider for event in of(events, ModelsListed)] == [*ProviderName, *ProviderName]
        assert all(event.listed and not event.missing for event in of(events, ModelsListed))
        assert notices(events) == []

    async def test_a_missing_model_is_skipped_with_its_reason_and_comes_back(self, tmp_path: Path) -> None:
        """Nobody asks for a model that its vendor does not list; listed again it is probed, not trusted."""
        route = Route(XAI, "grok-4.3")
        async with running(config_in(tmp_path)) as (bot, events):
            keeper = ModelKeeper(bot)
            await fault(bot, "xai", "unlisted")
            await keeper.look()
            assert state_of(bot, route) is RouteState.LATCHED
            await cycles(bot, 2)
            decisions = of(events, DecisionMade)
            assert decisions
            for event in decisions:
                skipped = {a.route: a.detail for a in event.decision.attempts if a.outcome == "skipped"}
                assert "model not listed" in skipped[route]
                assert event.decision.route.provider is OPENAI
            assert bot.fleet is not None
            assert bot.fleet.ledger(XAI).requests == 0
            await bot.fleet.clear_faults()
            await keeper.look()
            assert bot.fleet.ledger(XAI).requests == 1, "the probe"
            assert state_of(bot, route) is RouteState.SUSPECT
        assert notices(events) == [("grok-4.3", ModelNotice.UNLISTED)]

    async def test_what_answers_stays_whatever_the_list_says(self, tmp_path: Path) -> None:
        """A list may be wrong: a model that has just answered is told of, and kept."""
        async with running(config_in(tmp_path)) as (bot, events):
            await cycles(bot, 1)
            await fault(bot, "xai", "unlisted")
            await ModelKeeper(bot).look()
            assert state_of(bot, Route(XAI, "grok-4.3")) is RouteState.HEALTHY
        assert notices(events) == [("grok-4.3", ModelNotice.UNLISTED)]

    @pytest.mark.parametrize("word", ["refuse", "reset", "500", "auth", "html"])
    async def test_a_list_that_cannot_be_had_says_nothing(self, tmp_path: Path, word: str) -> None:
        """Offline, the bot starts and keeps its models; why nothing was told is on record."""
        async with running(config_in(tmp_path)) as (bot, events):
            await fault(bot, "all", word)
            await ModelKeeper(bot).look()
            routes = bot.client.get_system_status().routes
            assert all(report.state is RouteState.HEALTHY for report in routes)
        listed = of(events, ModelsListed)
        assert len(listed) == 4
        assert all(event.failure and not event.missing for event in listed)
        assert notices(events) == []

    async def test_a_role_without_models_is_not_started_and_exits_go_on(self, tmp_path: Path) -> None:
        """When no list has a model that may open risk, it is said, nothing is entered, and the bot runs."""
        async with running(config_in(tmp_path)) as (bot, events):
            for provider in (XAI, OPENAI, ANTHROPIC):
                await fault(bot, provider, "unlisted")
            await ModelKeeper(bot).look()
            await cycles(bot, 3)
            assert bot.fleet is not None
            assert [bot.fleet.ledger(name).requests for name in (XAI, OPENAI, ANTHROPIC)] == [0, 0, 0]
        (told,) = (e for e in of(events, ModelNoticed) if e.notice is ModelNotice.ROLE_EMPTY)
        assert told.model == "strong"
        assert "no new risk is taken" in told.detail
        assert not of(events, OrderIntended)
        assert len(of(events, CycleFinished)) == 3

    async def test_an_end_is_told_once(self, tmp_path: Path) -> None:
        """The vendor's own date, as an event and in status; xAI and Ollama state none."""
        today = datetime.now(UTC)  # the emulators' own: their dates are real
        async with running(config_in(tmp_path), today) as (bot, events):
            await fault(bot, "all", "retiring")
            keeper = ModelKeeper(bot)
            await keeper.look()
            await keeper.look()
        assert notices(events) == [
            ("gpt-6.1-terra", ModelNotice.RETIRES),
            ("claude-sonnet-5-5", ModelNotice.RETIRES),
        ]
        assert [len(event.ends or {}) for event in of(events, ModelsListed)][:4] == [0, 1, 1, 0]

    async def test_a_model_gone_at_run_time_is_latched_and_the_next_answers(self, tmp_path: Path) -> None:
        """A 404 takes out this id alone, tells so, and the provider's next one is asked."""
        base = Config().providers
        providers = replace(base, xai=replace(base.xai, models=("grok-4.7", "grok-4.3")))
        async with running(config_in(tmp_path, providers=providers)) as (bot, events):
            await fault(bot, "xai", "model_gone", model="grok-4.7")
            await cycles(bot, 1)
            assert state_of(bot, Route(XAI, "grok-4.7")) is RouteState.LATCHED
            assert state_of(bot, Route(XAI, "grok-4.3")) is RouteState.HEALTHY
        last = of(events, DecisionMade)[-1].decision
        assert str(last.route) == "xai/grok-4.3"


class TestNames:
    LEGACY = """
    [lab]
    emulate = true
    control_port = 0
    latency_scale = 0.0
    [providers.xai]
    models = ["grok-4", "grok-3"]
    [providers.openai]
    models = ["gpt-4", "gpt-3.5-turbo"]
    [providers.anthropic]
    models = ["claude-3-opus", "claude-3-sonnet"]
    [providers.local]
    models = ["llama-2", "mistral"]
    """

    async def test_names_of_old_configurations_work_and_are_told(self, tmp_path: Path) -> None:
        """Each is replaced by the table, in sight: an event, a line of status, a warning of the doctor."""
        config = load_settings(Config, self.LEGACY, source="bot.toml", environ={})
        config = replace(config, bot=BotSection(data_dir=str(tmp_path)))
        async with running(config) as (bot, events):
            routes = [str(route) for route in bot.fallback.core.health.records]
            await bot.recorder.record(started(bot))
            await ModelKeeper(bot).look()
            await cycles(bot, 1)
        assert sorted(routes) == [
            "anthropic/claude-opus-5-5",
            "anthropic/claude-sonnet-5-5",
            "local/llama2:latest",
            "local/mistral:latest",
            "openai/gpt-6-luna",
            "openai/gpt-6.1-sol",
            "xai/grok-4.3",
        ]
        told = dict.fromkeys(model for model, _ in notices(events, ModelNotice.ALIAS))
        assert list(told) == [
            "grok-4", "grok-3", "gpt-4", "gpt-3.5-turbo", "claude-3-opus", "claude-3-sonnet", "llama-2",
            "mistral",
        ]  # fmt: skip
        assert of(events, DecisionMade)[0].decision.served_model == "grok-4.3", "its record starts anew"
        facts = status(tmp_path)
        assert sum("is used instead" in line for line in facts["models"]) == 8
        assert "gpt-6.1-sol is used instead" in status_text(facts)
        rows = {check.name: check for check in await examine(config, clock=FakeClock(START))}
        assert {rows[name].health for name in ProviderName} == {Health.WARN}

    def test_an_operator_price_completes_or_replaces_the_table(self) -> None:
        """Partly for a model that ships, wholly for a new one, the long context included."""
        text = """
        [prices."grok-4.3"]
        input_usd = 1.0
        cached_usd = 0.1
        long_input_usd = 3.0
        [prices."our-tune"]
        provider = "openai"
        tier = "mid"
        input_usd = 7.5
        output_usd = 30
        long_above_tokens = 1000
        long_input_usd = 15
        long_output_usd = 60
        retires_on = "2027-01-31"
        """
        catalogue = load_settings(Config, text, source="bot.toml", environ={}).catalogue
        grok, tune = catalogue.price("grok-4.3"), catalogue.price("our-tune")
        assert (grok.input, grok.cached_input, grok.output) == (USD, USD // 10, 5 * USD // 2)
        assert grok.long is not None
        assert (grok.long.above, grok.long.input, grok.long.output) == (199_999, 3 * USD, 5 * USD)
        assert tune.long is not None
        assert (tune.input, tune.output, tune.long.input) == (15 * USD // 2, 30 * USD, 15 * USD)
        assert str(tune.retires_on) == "2027-01-31"

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ('[prices."x"]\ninput_usd = 1', "needs provider, tier, output"),
            ('[prices."grok-4.3"]\ncached_usd = 9', "out of order"),
            ('[prices."claude-opus-5-5"]\nlong_input_usd = 9', "needs long_above, long_output"),
            ('[prices."grok-4.3"]\nretires_on = "soon"', "soon"),
            ('[prices."grok-4.3"]\ninput_usd = -1', "out of bounds"),
        ],
    )
    def test_a_price_that_is_none_stops_the_start(self, text: str, problem: str) -> None:
        """An unfinished price would limit nothing."""
        with pytest.raises(ConfigError, match=problem):
            load_settings(Config, text, source="bot.toml", environ={})


def started(bot: Bot) -> Event:
    from jurymast.domain.events import RunStarted

    return RunStarted(at=bot.clock.utc_now(), version="0", pid=1, seed=0, exchange="embedded")


class TestSwaps:
    async def test_a_silent_swap_cuts_size_within_one_decision(self, tmp_path: Path) -> None:
        """Two bots in one world: in one, from some moment on, another model answers than was asked. Up to
        that moment they trade alike; from its first answer on that one enters nothing."""
        async with running(config_in(tmp_path / "one")) as (calm, as_ever):
            await cycles(calm, CYCLES)
        async with running(config_in(tmp_path / "other")) as (bot, events):
            await cycles(bot, 3)
            seen = len(events)
            await fault(bot, "all", "swapped_model")
            await cycles(bot, CYCLES - 3)
            assert bot.fallback.mode is EmergencyMode.CONSERVATIVE
        before, after = events[:seen], events[seen:]
        assert sizes(before) == sizes(as_ever)[: len(sizes(before))] != []
        later = sizes(as_ever)[len(sizes(before)) :]
        assert later, "without a swap there were entries in that time"
        assert sizes(after) == []
        first = of(after, DecisionMade)[0]
        assert first.decision.mode is EmergencyMode.CONSERVATIVE, "the very first answer knows of it"
        assert "may_not_open_risk" in {event.reason for event in of(after, TradeDeclined)}
        swaps = of(after, ModelSwapped)
        assert [(str(e.route), e.before, e.served) for e in swaps] == [
            ("xai/grok-4.3", "grok-4.3", "unlisted-model-0")
        ], "once, not with every answer"

    async def test_the_end_of_a_swap_is_told_too(self, tmp_path: Path) -> None:
        """The asked model answers again: an event, and the mode climbs as after any doubt."""
        async with running(config_in(tmp_path)) as (bot, events):
            await fault(bot, "xai", "swapped_model")
            await cycles(bot, 1)
            assert bot.fleet is not None
            await bot.fleet.clear_faults()
            pass_time(bot, 900.0)
            await cycles(bot, 1)
        assert [(e.before, e.served) for e in of(events, ModelSwapped)] == [
            ("grok-4.3", "unlisted-model-0"),
            ("unlisted-model-0", "grok-4.3"),
        ]


def sizes(events: list[Event]) -> list[tuple[str | None, int]]:
    """Entries in order: what, and how many contracts."""
    return [
        (event.ticker, event.intent.count)
        for event in of(events, OrderIntended)
        if event.intent.purpose is Purpose.ENTRY
    ]


class TestCanary:
    def test_the_questions_are_fixed_and_blind(self) -> None:
        """The same twenty for all, by the hash of their ticker; no price and no outcome is in them."""
        questions = canary_questions()
        assert len(questions) == len(canary_requests()) == QUESTIONS
        assert questions[0].ticker == min((question.ticker for question in load_bundle()), key=_hash)
        for question, (request, _) in zip(questions, canary_requests(), strict=True):
            text = " ".join(message.content for message in request.messages)
            assert question.ticker in text
            assert f"{question.crowd_probability:.2f}" not in text.replace(question.background[:1_500], "")

    async def test_a_change_under_the_same_name_cuts_size_within_one_decision(self, tmp_path: Path) -> None:
        """Nothing on the wire tells of it: only the answers to questions that never change. The model's next
        answer already counts less, and after it has answered alike once more it counts in full again."""
        async with running(config_in(tmp_path / "one")) as (calm, as_ever):
            await cycles(calm, CYCLES)
        async with running(config_in(tmp_path / "other")) as (bot, events):
            keeper = CanaryKeeper(bot)
            await keeper.look()
            assert [run.shift for run in of(events, CanaryFinished)] == [None] * 3, "the first is the base"
            await cycles(bot, 3)
            seen = len(events)
            await fault(bot, "all", "shifted")
            await keeper.look()
            runs = of(events[seen:], CanaryFinished)
            assert {run.served for run in runs if run.changed} == {
                "grok-4.3", "gpt-6.1-terra", "claude-sonnet-5-5",
            }  # fmt: skip
            assert bot.fleet is not None
            await bot.fleet.clear_faults()  # the answers are the same again as in the other bot
            await cycles(bot, CYCLES - 3)
            assert bot.fallback.mode is EmergencyMode.CONSERVATIVE
            assert "moved by" in bot.client.get_system_status().mode_reason
        before, after = events[:seen], events[seen:]
        assert sizes(before) == sizes(as_ever)[: len(sizes(before))] != []
        whole, cut = dict(sizes(as_ever)[len(sizes(before)) :]), dict(sizes(after))
        assert whole
        assert all(cut.get(ticker, 0) < count for ticker, count in whole.items() if ticker in asked(after))
        assert of(after, DecisionMade)[0].decision.mode is EmergencyMode.CONSERVATIVE

    async def test_the_base_outlives_the_process_and_trust_comes_back(self, tmp_path: Path) -> None:
        """A restart neither forgets the base nor the doubt; answers alike once more end the doubt."""
        config = config_in(tmp_path)
        async with running(config) as (bot, _):
            await CanaryKeeper(bot).look()
            pass_time(bot, 100.0)
            await fault(bot, "xai", "shifted")
            await CanaryKeeper(bot).look()
        async with running(config) as (bot, events):
            pass_time(bot, 200.0)
            await fault(bot, "xai", "shifted")
            keeper = CanaryKeeper(bot)
            await cycles(bot, 1)
            assert "moved by" in bot.client.get_system_status().mode_reason
            await keeper.look()
            runs = {str(run.route): run for run in of(events, CanaryFinished)}
            assert (runs["xai/grok-4.3"].shift, runs["xai/grok-4.3"].changed) == (0.0, False)
            pass_time(bot, 1_000.0)
            await cycles(bot, 2)
            assert "moved by" not in bot.client.get_system_status().mode_reason

    async def test_it_waits_for_money_and_health_and_asks_no_small_model(self, tmp_path: Path) -> None:
        """Below half of the day's money nothing is asked; a failing provider's run is given up early."""
        config = config_in(tmp_path)
        config = replace(config, failover=replace(config.failover, budget_usd_per_day=0.05))
        async with running(config) as (bot, events):
            await CanaryKeeper(bot).look()
            assert bot.fleet is not None
            asked_for = sum(bot.fleet.ledger(name).requests for name in ProviderName)
            assert 0 < asked_for < QUESTIONS
            assert bot.fleet.ledger(LOCAL).requests == 0
        assert all("money" in run.detail and not run.answers for run in of(events, CanaryFinished))
        async with running(config_in(tmp_path / "sick")) as (bot, events):
            await fault(bot, "xai", "500")
            keeper = CanaryKeeper(bot)
            await keeper.look()
            await keeper.look()
            assert bot.fleet is not None
            assert bot.fleet.ledger(XAI).requests == 6
        (run,) = (run for run in of(events, CanaryFinished) if run.route.provider is XAI)
        assert run.detail
        assert not run.changed

    async def test_its_cost_is_booked_to_the_micro_dollar(self, tmp_path: Path) -> None:
        """What canaries cost is in the budget, in the events, and equals the bill."""
        async with running(config_in(tmp_path)) as (bot, events):
            await CanaryKeeper(bot).look()
            assert bot.fleet is not None
            bills = [bot.fleet.ledger(name).bill for name in (XAI, OPENAI, ANTHROPIC)]
            assert bot.fallback.providers.get_total_cost() == sum(bills)
        assert [run.cost for run in of(events, CanaryFinished)] == bills


def asked(events: list[Event]) -> set[str | None]:
    return {event.ticker for event in of(events, DecisionMade)}


def _hash(ticker: str) -> str:
    import hashlib

    return hashlib.sha256(ticker.encode()).hexdigest()
