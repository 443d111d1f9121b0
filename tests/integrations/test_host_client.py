"""The host's client over emulated providers: made without a loop, asked from several, and never without an
answer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest
from adapter_world import CLIENT_SECS, MARKET, PORTFOLIO, heartbeat, market, world
from src.clients.openai_client import OpenAIClient
from src.clients.xai_client import FROM_MEMORY, XAIClient
from src.intelligence.enhanced_client import EnhancedAIClient, EnhancedConfig
from src.intelligence.fallback_manager import (
    EmergencyDecision,
    EmergencyMode,
    FallbackManager,
    HealthCheckResult,
    ProviderConfig,
    ProviderStatus,
)
from src.intelligence.provider_manager import AIRequest, ProviderManager
from src.jurymast_adapter import settings
from src.jurymast_adapter.layer import Layer
from src.jurymast_adapter.types import TradingDecision

from conftest import ROOT
from jurymast.domain.events import DecisionMade, ModeChanged, ProbeSent, TextCompleted
from jurymast.domain.provider import ProviderName

MESSAGES = [{"role": "user", "content": "Answer in JSON, please."}]


class TestWithoutALoop:
    def test_everything_is_made_without_a_loop_or_a_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Constructors open no connection and need no loop, whatever they are given."""
        monkeypatch.setattr("socket.socket.connect", Mock(side_effect=AssertionError("a connection")))
        for db in (None, Mock(), MagicMock()):
            for config in (None, EnhancedConfig(), MagicMock()):
                client = EnhancedAIClient(db, Mock(), config)
                assert client.fallback_manager is not None
        XAIClient(api_key="k", db_manager=Mock(), kalshi_client=Mock())
        OpenAIClient()
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()

    async def test_loops_may_come_one_after_the_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One client, made outside, answers in three loops in turn, and its health goes with it."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            asked = [market(f"M-{n}") for n in range(3)]
            found = await asyncio.to_thread(
                lambda: [asyncio.run(client.get_trading_decision(data, PORTFOLIO)) for data in asked]
            )
            assert [decision.action for decision in found if decision] == ["BUY"] * 3
            assert await here.until(lambda: len(here.events(DecisionMade)) == 3)

    async def test_loops_may_run_side_by_side(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two loops in two threads share one layer."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()

            def ask(ticker: str) -> Any:
                return asyncio.run(client.get_trading_decision(market(ticker), PORTFOLIO))

            found = await asyncio.gather(*(asyncio.to_thread(ask, f"M-{n}") for n in range(4)))
            assert {decision.action for decision in found} == {"BUY"}

    def test_a_program_ends_although_it_never_closed_anything(self, tmp_path: Path) -> None:
        """The layer's thread holds nobody up at the end of the process."""
        program = (
            "import asyncio, sys; sys.path.insert(0, sys.argv[1])\n"
            "from src.intelligence.enhanced_client import EnhancedAIClient\n"
            "found = asyncio.run(EnhancedAIClient().get_trading_decision("
            "{'title': 'x', 'yes_price': 60, 'days_to_expiry': 3}, {}))\n"
            "print(found.action, found.reasoning)\n"
        )
        adapter = str(ROOT / "integrations" / "kalshi-ai-trading-bot")
        done = subprocess.run(
            [sys.executable, "-c", program, adapter],
            cwd=tmp_path,
            env={
                "PATH": "",
                "XAI_API_KEY": "k",
                "JURYMAST_PROVIDERS__XAI__BASE_URL": "http://127.0.0.1:9/v1",
            },
            capture_output=True,
            text=True,
            timeout=CLIENT_SECS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("SKIP [EMERGENCY] all_providers_failed"), done.stdout + done.stderr


class TestKeys:
    @pytest.mark.parametrize("name", [ProviderName.XAI, ProviderName.OPENAI])
    async def test_any_one_key_is_enough(
        self, name: ProviderName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without xAI's key OpenAI decides, and the other way round."""
        async with world(tmp_path, monkeypatch, providers=(name,)) as here:
            client = here.client()
            assert list(client.providers) == [name.value]
            decision = await client.get_trading_decision(MARKET, PORTFOLIO)
        assert decision is not None
        assert decision.action == "BUY"
        assert f"[{name.upper()}]" in str(decision.reasoning)

    async def test_without_any_key_nothing_is_traded_and_it_says_why(self, tmp_path: Path) -> None:
        """No key is a SKIP with its reason, a None for texts, and an honest status."""
        layer = Layer(lambda: settings.load({"JURYMAST_BOT__DATA_DIR": str(tmp_path / "data")}))
        client = EnhancedAIClient(layer=layer)
        decision = await client.get_trading_decision(MARKET, PORTFOLIO)
        assert decision is not None
        assert decision.action == "SKIP"
        assert "no provider can be asked" in str(decision.reasoning)
        assert await client.get_completion("x") is None
        status = await client.get_system_status()
        assert (status["mode"], status["decided_by"]) == ("emergency", "emergency")
        assert "no provider can be asked" in status["layer_failure"]
        assert await client.xai_client._make_completion_request(MESSAGES) == (None, 0.0)
        with pytest.raises(RuntimeError, match="nobody has answered"):
            await client.openai_client._make_completion_request(MESSAGES)

    async def test_a_mistake_in_our_own_settings_is_said_not_raised(self, tmp_path: Path) -> None:
        """An unknown key stops the layer, not the host."""
        wrong = {"JURYMAST_BOT__SEEED": "1", "XAI_API_KEY": "k", "JURYMAST_BOT__DATA_DIR": str(tmp_path)}
        client = EnhancedAIClient(layer=Layer(lambda: settings.load(wrong)))
        decision = await client.get_trading_decision(MARKET, PORTFOLIO)
        assert decision is not None
        assert "seeed" in str(decision.reasoning)


class TestDecisions:
    async def test_code_decides_side_and_price(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A belief above the price is a BUY of YES up to the ask; confidence is our probability of that
        side."""
        async with world(tmp_path, monkeypatch) as here:
            decision = await here.client().get_trading_decision(MARKET, PORTFOLIO)
        assert decision is not None
        assert (decision.action, decision.side, decision.limit_price) == ("BUY", "YES", 61)
        assert 0.6 < decision.confidence < 0.97, "the market's price counts as well as the model's belief"
        assert decision.position_size_pct is not None
        assert 0 < decision.position_size_pct <= 2

    async def test_dollars_and_cents_get_the_same_decision(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One caller's 0.60 is another's 60."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            dollars = await client.get_trading_decision(MARKET, PORTFOLIO)
            cents = await client.get_trading_decision({**MARKET, "yes_price": 60, "no_price": 40}, PORTFOLIO)
        assert dollars is not None
        assert cents is not None
        assert (dollars.side, dollars.limit_price, dollars.confidence) == (
            cents.side,
            cents.limit_price,
            cents.confidence,
        )

    async def test_an_ambiguous_price_is_not_traded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A price of 1 alone is a SKIP that says so, and nobody is asked."""
        async with world(tmp_path, monkeypatch) as here:
            decision = await here.client().get_trading_decision(
                {"title": "x", "yes_price": 1, "days_to_expiry": 2}, PORTFOLIO
            )
        assert decision is not None
        assert decision.action == "SKIP"
        assert "a dollar or a cent" in str(decision.reasoning)

    async def test_the_manager_of_the_moment_is_asked(self) -> None:
        """A caller that puts its own manager in place is heard, with the provider's name in capitals."""
        client = EnhancedAIClient(config=MagicMock(enable_fallback=True))
        client.fallback_manager = AsyncMock()
        client.fallback_manager.get_fallback_decision.return_value = {
            "action": "BUY",
            "side": "YES",
            "confidence": 0.9,
            "provider": "openai",
        }
        decision = await client.get_trading_decision({"title": "test"}, {"balance": 1000, "ml_context": {}})
        assert decision == TradingDecision("BUY", "YES", 0.9, None, "[OPENAI] no reason was given")

    @pytest.mark.parametrize("answer", [None, 7, {"action": "BUY_NO", "side": "YES"}])
    async def test_a_manager_that_talks_nonsense_is_a_skip(self, answer: Any) -> None:
        """None, a number, a contradiction: never None, never a BUY."""
        client = EnhancedAIClient()
        client.fallback_manager = AsyncMock()
        client.fallback_manager.get_fallback_decision.return_value = answer
        decision = await client.get_trading_decision(MARKET, PORTFOLIO)
        assert decision is not None
        assert (decision.action, decision.confidence) == ("SKIP", 0.0)

    @pytest.mark.parametrize("data", [None, 7, {}, {"title": None}, {"title": "x", "yes_price": MagicMock()}])
    async def test_no_market_breaks_it(
        self, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever is handed in as a market, a SKIP comes back."""
        async with world(tmp_path, monkeypatch) as here:
            decision = await here.client().get_trading_decision(data, PORTFOLIO)
        assert decision is not None
        assert decision.action == "SKIP"

    async def test_ensembles_are_the_same_decision(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They go through us, and a consensus that is not reached is a SKIP."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            plain = await client.get_advanced_ensemble_decision(MARKET, PORTFOLIO, trade_value=50.0)
            high = await client.get_ensemble_decision(MARKET, PORTFOLIO, min_consensus_confidence=0.95)
            facade = await client.xai_client.get_ensemble_decision(MARKET, PORTFOLIO)
        assert [plain.action, high.action, facade.action] == ["BUY", "SKIP", "BUY"]

    async def test_the_openai_client_has_its_own_decision(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another class, with a size in percent."""
        async with world(tmp_path, monkeypatch) as here:
            found = await OpenAIClient(layer=here.layer).get_trading_decision(MARKET, PORTFOLIO, "")
        assert (found.action, found.max_price) == ("BUY", 0.61)
        assert found.position_size_pct > 0


class TestFailures:
    @pytest.mark.parametrize(
        "fault", ["500", "empty", "refuse", "hang", "auth", "429", "html", "wrong_schema"]
    )
    async def test_when_xai_fails_openai_decides(
        self, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever it dies of, the answer is a real one of the other, and the status tells."""
        fast = {"JURYMAST_FAILOVER__ATTEMPT_SECS_MAX": "2.0", "JURYMAST_FAILOVER__ATTEMPT_SECS_MIN": "0.1"}
        async with world(tmp_path, monkeypatch, **fast) as here:
            await here.fleet.set_fault("xai", fault)
            client = here.client()
            with heartbeat() as gaps:
                decision = await client.get_trading_decision(MARKET, PORTFOLIO)
            assert decision is not None
            assert decision.action == "BUY"
            assert "[OPENAI]" in str(decision.reasoning)
            assert max(gaps) < 1.0, "the host's loop was held up"
            status = await client.get_system_status()
            assert status["decided_because"] == "openai answered"
            if fault in {"500", "refuse", "auth"}:
                await here.until(lambda: client.fallback_manager.provider_status["xai"] in BAD)
                status = await client.get_system_status()
                assert status["mode"] == "degraded"
                assert status["healthy_providers"] == 1

    async def test_when_all_fail_it_is_a_skip_and_an_emergency(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody answers: SKIP with every cause, never None, which the host would take for consent."""
        async with world(tmp_path, monkeypatch) as here:
            await here.fleet.set_fault("all", "500")
            client = here.client()
            for ticker in ("M-1", "M-2", "M-3"):
                decision = await client.get_trading_decision(market(ticker), PORTFOLIO)
                assert decision is not None
                assert (decision.action, decision.confidence) == ("SKIP", 0.0)
                assert "[EMERGENCY]" in str(decision.reasoning)
            await here.until(lambda: set(client.fallback_manager.provider_status.values()) <= BAD)
            status = await client.get_system_status()
            assert (status["mode"], status["healthy_providers"], status["degradation_level"]) == (
                "emergency",
                0,
                1.0,
            )
            assert status["decided_by"] == "emergency"
            await here.fleet.clear_faults()
            assert await client.check_recovery()

    async def test_a_decision_keeps_its_deadline(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Everybody hangs: the answer comes in time, and the loop has gone on meanwhile."""
        short = {
            "JURYMAST_TRADING__DECISION_DEADLINE_SECS": "2.0",
            "JURYMAST_FAILOVER__ATTEMPT_SECS_MIN": "0.1",
        }
        async with world(tmp_path, monkeypatch, **short) as here:
            await here.fleet.set_fault("all", "hang")
            client = here.client()
            with heartbeat() as gaps:
                asking = client.get_trading_decision(MARKET, PORTFOLIO)
                decision = await asyncio.wait_for(asking, CLIENT_SECS)
            assert decision is not None
            assert decision.action == "SKIP"
            assert len(gaps) > 20, "the loop stood still"

    async def test_a_caller_may_give_a_question_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A time limit of the host ends the asking too, and the next question is answered."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            await client.get_trading_decision(market("M-0"), PORTFOLIO)
            await here.fleet.set_fault("all", "hang")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.get_trading_decision(MARKET, PORTFOLIO)
            await here.fleet.clear_faults()
            decision = await client.get_trading_decision(market("M-2"), PORTFOLIO)
            assert decision is not None
            assert decision.action == "BUY"

    async def test_a_plain_429_disables_nothing_until_midnight(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rate limited is held back for seconds; no flag says that the day is over."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            await here.fleet.set_fault("xai", "429", retry_after="1")
            await client.get_trading_decision(MARKET, PORTFOLIO)
            assert client.xai_client.is_api_exhausted is False
            assert client.daily_tracker.is_exhausted is False
            await here.fleet.clear_faults()

            async def xai_is_asked_again() -> bool:
                before = here.fleet.ledger(ProviderName.XAI).requests
                await client.get_completion("x")
                return here.fleet.ledger(ProviderName.XAI).requests > before

            ends = time.monotonic() + CLIENT_SECS
            while not await xai_is_asked_again():
                assert time.monotonic() < ends
                await asyncio.sleep(0.2)


BAD = {ProviderStatus.UNHEALTHY, ProviderStatus.DEGRADED}


class TestTexts:
    async def test_the_dual_engine_can_not_go_past_us(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It unwraps ``.xai_client`` and asks that: with xAI dead the forecaster still gets its text."""
        async with world(tmp_path, monkeypatch) as here:
            await here.fleet.set_fault("xai", "500")
            client = here.client()
            unwrapped = getattr(client, "xai_client", client)
            text, cost = await unwrapped._make_completion_request(
                messages=MESSAGES, temperature=0.2, max_tokens=2_000
            )
            assert text
            assert cost > 0

    async def test_the_critic_is_another_than_the_forecaster(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both well, the forecaster asks xAI and the critic OpenAI; OpenAI dead, the critic is heard all the
        same."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            await client.xai_client._make_completion_request(messages=MESSAGES)
            await client.openai_client._make_completion_request(messages=MESSAGES)
            await here.fleet.set_fault("openai", "500")
            await client.openai_client._make_completion_request(messages=MESSAGES)
            await here.until(lambda: len(here.events(TextCompleted)) == 3)
            answered = [event.route.provider.value for event in here.events(TextCompleted)]
        assert answered == ["xai", "openai", "xai"]

    async def test_an_answer_without_the_json_that_was_asked_for_is_another_providers_turn(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Prose where JSON was asked for fails over; prose where prose was asked for is an answer."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            assert await client.get_completion("Say it in JSON")
            monkeypatch.setattr("jurymast.lab.emulators.answers.PLAIN_ANSWER", "Certainly! I would say yes.")
            assert await client.get_completion("Say it in JSON") is None
            assert await client.get_completion("Say it in words") == "Certainly! I would say yes."

    async def test_what_a_model_remembers_is_no_news(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``search`` says where its text comes from, keeps its length, and has words when nobody answers."""
        async with world(tmp_path, monkeypatch) as here:
            monkeypatch.setattr("jurymast.lab.emulators.answers.PLAIN_ANSWER", "word " * 200)
            client = here.client()
            found = await client.xai_client.search("Will it rain?", max_length=50)
            assert found.startswith(FROM_MEMORY)
            assert len(found) <= len(FROM_MEMORY) + 51
            await here.fleet.set_fault("all", "500")
            assert (await client.xai_client.search("Will it rain?")).startswith("No news")

    async def test_a_request_of_the_host_has_an_answer_of_the_host(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``make_request`` prefers whom it is told to, counts tokens and money, and raises when nobody
        answers."""
        async with world(tmp_path, monkeypatch) as here:
            manager = here.client().provider_manager
            assert manager is not None
            assert await manager.initialize_all_providers() == {"xai": True, "openai": True}
            found = await manager.make_request(AIRequest(MESSAGES), preferred_provider="openai")
            assert (found.provider, found.finish_reason) == ("openai", "stop")
            assert found.tokens_used > 0
            assert found.cost_usd > 0
            stats = manager.get_provider_stats()["openai"]
            assert stats["successful_requests"] >= 1
            assert (await manager.list_all_models())["xai"] == ["grok-4.7"]
            await here.fleet.set_fault("all", "500")
            with pytest.raises(Exception, match="All providers failed"):
                await manager.make_request(AIRequest(MESSAGES))

    def test_a_fifth_provider_is_a_mistake(self) -> None:
        """A name outside of the four is refused at once."""
        with pytest.raises(ValueError, match="nobody"):
            ProviderManager({"nobody": ProviderConfig("nobody", "u", "k", [], 1, 1.0, 1)})


class TestMoney:
    async def test_every_question_is_on_record_with_its_cost(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the tracker says is what the journal says: decisions, texts and probes, failures included."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            await client.get_trading_decision(MARKET, PORTFOLIO)
            await client.get_completion("x")
            await here.fleet.set_fault("xai", "500")
            await client.get_trading_decision(market("M-2"), PORTFOLIO)
            await here.until(lambda: len(here.events(ProbeSent)) >= 2)

            def on_record() -> float:
                rows = [*here.events(TextCompleted), *(event.decision for event in here.events(DecisionMade))]
                attempts = [attempt for row in rows for attempt in row.attempts]
                probes = sum(event.cost for event in here.events(ProbeSent))
                return (probes + sum(a.cost + a.uncertain for a in attempts)) / 1e6

            await here.until(lambda: client.daily_tracker.total_cost == pytest.approx(on_record(), abs=1e-9))
            assert on_record() > 0.03, "the failures of xAI may be billed in full"

    async def test_a_spent_budget_is_said_and_no_old_client_is_a_way_around_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With nothing left it is a SKIP, the host's brake is told, and the old client is not asked."""
        old = Old()
        async with world(tmp_path, monkeypatch, JURYMAST_FAILOVER__BUDGET_USD_PER_DAY="0.0") as here:
            client = here.client(legacy=old)
            decision = await client.get_trading_decision(MARKET, PORTFOLIO)
            assert decision is not None
            assert decision.action == "SKIP"
            assert "ai_budget_spent" in str(decision.reasoning)
            assert client.daily_tracker.is_exhausted
            assert not await client.xai_client._check_daily_limits()
        assert old.asked == 0


class Old:
    """A host's old client: says what it is told to, and counts."""

    def __init__(self, answer: Any = None, secs: float = 0.0) -> None:
        self.answer = answer
        self.secs = secs
        self.asked = 0
        self.total_cost = 0.0

    async def get_trading_decision(self, market_data: Any, portfolio_data: Any, *more: Any) -> Any:
        self.asked += 1
        self.total_cost += 0.002
        await asyncio.sleep(self.secs)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class TestOldClient:
    async def test_it_is_the_second_step_and_only_that(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While somebody answers it is not asked; when nobody does it decides, and the status says so and
        why."""
        old = Old(TradingDecision("BUY", "NO", 0.7, 40, "old words"))
        soon = {  # the ladder's own waits are minutes where the start's probes have failed as well
            "JURYMAST_FAILOVER__OPEN_SECS": "0.2",
            "JURYMAST_LADDER__DWELL_SECS": "0.5",
            "JURYMAST_LADDER__BLIND_DWELL_SECS": "0.5",
            "JURYMAST_LADDER__SUCCESSES_TO_RISE": "1",
        }
        async with world(tmp_path, monkeypatch, **soon) as here:
            client = here.client(legacy=old)
            await client.get_trading_decision(MARKET, PORTFOLIO)
            assert old.asked == 0
            await here.fleet.set_fault("all", "500")
            decision = await client.get_trading_decision(market("M-2"), PORTFOLIO)
            assert decision is not None
            assert (decision.action, decision.side, old.asked) == ("BUY", "NO", 1)
            assert "[LEGACY]" in str(decision.reasoning)
            status = await client.get_system_status()
            assert status["decided_by"] == "legacy"
            assert "all_providers_failed" in status["decided_because"]
            await here.fleet.clear_faults()
            ends = time.monotonic() + CLIENT_SECS
            while (await client.get_system_status())["decided_by"] != "enhanced":
                assert time.monotonic() < ends, "it does not come back by itself"
                await asyncio.sleep(0.2)
                await client.get_trading_decision(market("M-3"), PORTFOLIO)

    @pytest.mark.parametrize(
        ("answer", "word"),
        [
            (None, "no decision"),
            (ValueError("boom"), "boom"),
            ({"action": "BUY", "side": "YES", "confidence": 85}, "confidence 85"),
            (TradingDecision("SELL", "YES", 0.7), "SELL"),
        ],
    )
    async def test_what_it_says_is_read_as_strictly(
        self, answer: Any, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing, an exception or nonsense from the old client is a SKIP with both reasons."""
        async with world(tmp_path, monkeypatch) as here:
            await here.fleet.set_fault("all", "500")
            decision = await here.client(legacy=Old(answer)).get_trading_decision(MARKET, PORTFOLIO)
        assert decision is not None
        assert decision.action == "SKIP"
        assert word in str(decision.reasoning)
        assert "all_providers_failed" in str(decision.reasoning)

    async def test_an_old_client_that_hangs_keeps_the_deadline(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The whole flow has one deadline."""
        async with world(tmp_path, monkeypatch, JURYMAST_TRADING__DECISION_DEADLINE_SECS="2.0") as here:
            await here.fleet.set_fault("all", "500")
            client = here.client(legacy=Old(secs=600.0))
            decision = await asyncio.wait_for(client.get_trading_decision(MARKET, PORTFOLIO), CLIENT_SECS)
        assert decision is not None
        assert "took longer" in str(decision.reasoning)

    async def test_there_is_time_left_for_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where an old client may have to answer, ours does not use up the whole time on silence."""
        short = {
            "JURYMAST_TRADING__DECISION_DEADLINE_SECS": "3.0",
            "JURYMAST_FAILOVER__ATTEMPT_SECS_MIN": "0.1",
        }
        async with world(tmp_path, monkeypatch, **short) as here:
            await here.fleet.set_fault("all", "hang")
            client = here.client(legacy=Old(TradingDecision("BUY", "NO", 0.7, 40, "old words")))
            decision = await client.get_trading_decision(MARKET, PORTFOLIO)
        assert decision is not None
        assert (decision.action, decision.side) == ("BUY", "NO")

    async def test_one_that_can_not_be_awaited_is_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A mock in the place of ``.xai_client`` breaks nothing."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            client.xai_client = Mock()
            await here.fleet.set_fault("all", "500")
            decision = await client.get_trading_decision(MARKET, PORTFOLIO)
            await client.close()
        assert decision is not None
        assert "can be awaited" in str(decision.reasoning)

    async def test_switched_off_the_old_client_decides_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``enable_multi_provider=False`` asks nobody of ours, and the status says legacy."""
        old = Old(TradingDecision("BUY", "YES", 0.8, 61, "old words"))
        async with world(tmp_path, monkeypatch) as here:
            client = here.client(config=EnhancedConfig(enable_multi_provider=False), legacy=old)
            decision = await client.get_trading_decision(MARKET, PORTFOLIO)
            assert decision is not None
            assert decision.action == "BUY"
            status = await client.get_system_status()
            assert (status["mode"], status["multi_provider"]) == ("legacy", False)
            assert here.fleet.ledger(ProviderName.XAI).requests == 0


class TestHealth:
    def manager(self, db: Any = None) -> FallbackManager:
        names = ("xai", "openai", "anthropic", "local")
        configs = {
            name: ProviderConfig(name, f"http://{name}.invalid/v1", "key", ["m"], rank, 30.0, 3)
            for rank, name in enumerate(names, start=1)
        }
        return FallbackManager(db or Mock(), configs)

    async def test_one_explicit_check_decides_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One of four well: degraded by three quarters, and the well one is the best."""
        manager = self.manager()
        check = AsyncMock(side_effect=lambda name: HealthCheckResult(name, name == "openai", "said so", 1.0))
        monkeypatch.setattr(manager, "_check_provider_health_internal", check)
        for name in manager.providers:
            await manager.check_provider_health(name)
        status = await manager.get_system_status()
        assert (status.mode, status.healthy_providers, status.total_providers) == ("degraded", 1, 4)
        assert status.degradation_level == 0.75
        best = await manager.get_best_provider()
        assert best is not None
        assert best.name == "openai"
        assert [each.name for each in await manager.get_available_providers()] == ["openai"]
        assert not (await manager.check_provider_health("nobody")).is_healthy

    async def test_an_emergency_of_the_host_stops_entries_and_ends(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In it nobody is asked and nothing is bought, not by the old client either; after it all is
        normal."""
        old = Old(TradingDecision("BUY", "YES", 0.9, 61, "old"))
        async with world(tmp_path, monkeypatch) as here:
            client = here.client(legacy=old)
            await client.get_trading_decision(market("M-0"), PORTFOLIO)
            before = here.fleet.ledger(ProviderName.XAI).requests
            await client.enable_emergency_mode("drill", 30)
            status = await client.get_system_status()
            assert (status["mode"], status["emergency_mode_active"]) == ("emergency", True)
            decision = await client.get_trading_decision(market("M-1"), PORTFOLIO)
            assert decision is not None
            assert decision.action == "SKIP"
            assert "[EMERGENCY]" in str(decision.reasoning)
            assert old.asked == 0
            asked = here.fleet.ledger(ProviderName.XAI).requests - before
            assert asked <= 1, "at most the probe of the start"
            await client._check_system_health()
            assert await client.check_recovery()
            status = await client.get_system_status()
            assert (status["mode"], status["healthy_providers"]) == ("normal", 2)
            decision = await client.get_trading_decision(market("M-2"), PORTFOLIO)
            assert decision is not None
            assert decision.action == "BUY"

    async def test_an_emergency_decision_without_a_layer_is_a_skip(self) -> None:
        """Nothing was asked yet, nobody is: SKIP with EMERGENCY in its reason, by position and by name."""
        manager = self.manager()
        found = await manager.get_emergency_decision(
            {"title": "T", "yes_price": 60, "volume": 1000}, {"balance": 1000}
        )
        assert isinstance(found, EmergencyDecision)
        assert found.action == "SKIP"
        assert "EMERGENCY" in found.reasoning
        assert EmergencyMode("minimal") is EmergencyMode.MINIMAL

    async def test_a_fading_opinion_may_still_count_in_an_outage(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When all are dead, a market that was just judged is judged by that, said to be cached."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            await client.get_trading_decision(MARKET, PORTFOLIO)
            await here.fleet.set_fault("all", "500")
            found = await here.manager(client).get_emergency_decision(MARKET, PORTFOLIO)
        assert found.is_cached
        assert "cached" in found.reasoning

    async def test_failovers_are_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By hand to one that is well, never to one that is not, and those that come by themselves."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            manager = here.manager(client)
            assert await manager.initiate_failover("xai", "openai", "by hand")
            assert manager.current_primary_provider == "openai"
            assert manager.get_failover_history()[-1].reason == "by hand"
            await here.fleet.set_fault("xai", "500")
            assert not await manager.initiate_failover("openai", "xai", "back")
            assert not await manager.initiate_failover("openai", "nobody", "back")


class TestRecords:
    async def test_a_second_process_goes_on_without_a_journal(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The journal has one writer: whoever comes second decides all the same and says that it keeps
        none."""
        async with world(tmp_path, monkeypatch) as here:
            await here.client().get_trading_decision(MARKET, PORTFOLIO)
            second = Layer(lambda: settings.load(here.environ))
            try:
                client = EnhancedAIClient(layer=second)
                decision = await client.get_trading_decision(market("M-2"), PORTFOLIO)
                assert decision is not None
                assert decision.action == "BUY"
                assert "keeps no journal" in (await client.get_system_status())["record"]
            finally:
                await second.close()

    async def test_a_restart_goes_on_where_the_journal_ended(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Closed and asked again, the day's money is still spent."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            await client.get_trading_decision(MARKET, PORTFOLIO)
            await client.get_completion("x")
            await here.until(lambda: len(here.events(ProbeSent)) >= 2)
            spent = await here.until(lambda: client.daily_tracker.total_cost)
            await client.close()
            assert here.layer.client is None
            await client.get_trading_decision(market("M-2"), PORTFOLIO)
            assert await here.until(lambda: client.daily_tracker.total_cost > spent)

    async def test_closing_tells_who_still_waits(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A question under way when the layer closes is a SKIP that says so, at once."""
        async with world(tmp_path, monkeypatch) as here:
            client = here.client()
            await client.get_trading_decision(MARKET, PORTFOLIO)
            await here.fleet.set_fault("all", "hang")
            before = here.fleet.ledger(ProviderName.XAI).requests
            asking = asyncio.create_task(client.get_trading_decision(market("M-2"), PORTFOLIO))
            await here.until(lambda: here.fleet.ledger(ProviderName.XAI).requests > before)
            await here.layer.close()
            decision = await asyncio.wait_for(asking, CLIENT_SECS)
        assert decision is not None
        assert decision.action == "SKIP"
        assert "closed" in str(decision.reasoning)

    async def test_people_stop_it_with_the_same_commands(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``jurymast halt``, ``mode`` and ``isolate`` count in the host as well, for the old client too."""
        old = Old(TradingDecision("BUY", "YES", 0.9, 61, "old"))

        def jurymast(*words: str) -> None:
            command = [sys.executable, "-m", "jurymast", *words, "--data-dir", str(here.data_dir)]
            subprocess.run(command, check=True, capture_output=True)

        async with world(tmp_path, monkeypatch) as here:
            client = here.client(legacy=old)
            await client.get_trading_decision(MARKET, PORTFOLIO)
            await asyncio.to_thread(jurymast, "halt", "--no-wait")
            decision = await client.get_trading_decision(market("M-2"), PORTFOLIO)
            assert decision is not None
            assert decision.action == "SKIP"
            assert "trading_halted" in str(decision.reasoning)
            assert old.asked == 0
            await asyncio.to_thread(jurymast, "resume", "--reason", "seen to")
            await asyncio.to_thread(jurymast, "isolate", "xai")
            await here.until(
                lambda: client.fallback_manager.provider_status["xai"] is ProviderStatus.UNHEALTHY
            )
            decision = await client.get_trading_decision(market("M-3"), PORTFOLIO)
            assert "[OPENAI]" in str(decision and decision.reasoning)
            await asyncio.to_thread(jurymast, "mode", "minimal")
            await here.until(lambda: here.events(ModeChanged))
            decision = await client.get_trading_decision(market("M-4"), PORTFOLIO)
            assert decision is not None
            assert decision.action == "SKIP"
