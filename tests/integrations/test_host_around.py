"""What stands around the adapter: the host's settings, its database, and the way in and out."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import types
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
from adapter_world import MARKET, PORTFOLIO, world
from src.jurymast_adapter import settings
from src.jurymast_adapter.host_db import FAILURES_MAX, HostDatabase
from src.jurymast_adapter.types import ProviderConfig

from conftest import ROOT
from jurymast.app.provenance import host_settings
from jurymast.app.rollout import RolloutFile
from jurymast.domain.errors import ConfigError
from jurymast.domain.provider import ProviderName
from jurymast.domain.rollout import Phase


class Host:
    """A stand-in of the host's settings object."""

    def __init__(self, **trading: Any) -> None:
        self.api = types.SimpleNamespace(
            xai_api_key="xai-host",
            openai_api_key="your_openai_api_key_here",
            openai_base_url="http://gate/v1",
        )
        self.trading = types.SimpleNamespace(
            xai_models=["grok-4", "grok-9-unheard-of"], ensemble_enable_local_models=False, **trading
        )

    def get_ai_daily_limit(self) -> float:
        return 15.0


class TestSettings:
    def load(self, monkeypatch: pytest.MonkeyPatch, host: Any, environ: dict[str, str]) -> settings.Setup:
        monkeypatch.setattr(settings, "host_settings", lambda: host)
        return settings.load(environ)

    def test_the_hosts_are_beneath_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What we set wins; what we leave open is the host's; placeholders and unknown models are nothing."""
        environ = {"JURYMAST_FAILOVER__BUDGET_USD_PER_DAY": "2.0", "ANTHROPIC_API_KEY": "ant"}
        setup = self.load(monkeypatch, Host(), environ)
        config = setup.config
        assert config.failover.budget_usd_per_day == 2.0
        assert config.providers.xai.api_key.value == "xai-host"
        assert not config.providers.openai.api_key, "the template's placeholder is no key"
        assert config.providers.openai.base_url == "http://gate/v1"
        assert config.providers.xai.models == ("grok-4.3",), (
            "by the name it has now; unpriced ones are left out"
        )
        assert not config.providers.local.enabled
        assert [each.name for each in setup.providers()] == [ProviderName.XAI, ProviderName.ANTHROPIC]
        assert any("grok-9-unheard-of" in notice for notice in setup.notices)
        taken = {row.path: row for row in setup.host.settings}
        assert taken["providers.xai.api_key"].value == "********"
        assert "failover.budget_usd_per_day" not in taken

    def test_our_file_wins_as_well(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key of ours in the file keeps the host's away, and only there."""
        file = tmp_path / "bot.toml"
        file.write_text('[providers.xai]\nmodels = ["grok-4.7"]\n')
        setup = self.load(monkeypatch, Host(), {"JURYMAST_CONFIG": str(file)})
        assert setup.config.providers.xai.models == ("grok-4.7",)
        assert setup.config.providers.xai.api_key.value == "xai-host"
        assert setup.config.failover.budget_usd_per_day == 15.0
        assert setup.host.config_file == str(file)

    @pytest.mark.parametrize("host", [None, MagicMock(), Mock(), object()])
    def test_no_host_or_a_mock_gives_nothing(self, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever stands in the host's place, the environment is read and nothing breaks."""
        setup = self.load(monkeypatch, host, {"XAI_API_KEY": "k"})
        assert setup.config.providers.xai.api_key.value == "k"
        assert [each.name for each in setup.providers()] == [ProviderName.XAI]

    def test_a_key_that_was_passed_in_counts_where_none_is_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``XAIClient(api_key=...)`` is heard."""
        monkeypatch.setattr(settings, "host_settings", lambda: None)
        setup = settings.load({}, {ProviderName.XAI: "passed"})
        assert setup.config.providers.xai.api_key.value == "passed"
        with pytest.raises(ConfigError, match="no provider"):
            settings.load({}).providers()

    def test_providers_of_a_caller_stand_for_themselves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Their names, addresses and order are kept; a fifth kind is a mistake."""
        setup = self.load(monkeypatch, None, {})
        mine = ProviderConfig("openai", "http://mine/v1", "k", ["gpt-4"], 7, 30.0, 3)
        (found,) = settings.handed_over({"openai": mine}, setup).providers()
        assert (found.base_url, found.priority, found.models) == ("http://mine/v1", 7, ("gpt-6.1-sol",))
        with pytest.raises(ValueError, match="nobody"):
            settings.handed_over({"nobody": mine}, setup)

    async def test_what_was_taken_is_left_for_config_show(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The running host's sources are in its data directory, without a secret."""
        async with world(tmp_path, monkeypatch) as here:
            await here.client().get_trading_decision(MARKET, PORTFOLIO)
            found = host_settings(here.data_dir)
        assert found is not None
        assert {row.source for row in found.settings} >= {"XAI_API_KEY", "OPENAI_API_KEY"}
        assert "xai-key" not in (here.data_dir / "host-settings.json").read_text()


@dataclass
class LLMQuery:
    """The host's row, by its field names."""

    timestamp: datetime
    strategy: str
    query_type: str
    market_id: str | None
    prompt: str
    response: str
    tokens_used: int | None = None
    cost_usd: float | None = None
    confidence_extracted: float | None = None
    decision_extracted: str | None = None
    id: int | None = None


@dataclass
class ModelHealth:
    """The host's row of a model."""

    model_name: str
    is_available: bool
    last_check_time: datetime
    consecutive_failures: int
    avg_response_time: float
    id: int | None = None


class Database:
    """A stand-in of the host's manager: coroutines that keep rows, or break."""

    def __init__(self, error: Exception | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.models: list[dict[str, Any]] = []
        self.calls = 0
        self._error = error

    async def log_llm_query(self, row: LLMQuery) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self._error is not None:
            raise self._error
        self.rows.append(asdict(row))

    async def update_model_health(self, row: ModelHealth) -> bool:
        self.models.append(asdict(row))
        return True


@pytest.fixture
def host_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("src.utils.database")
    module.LLMQuery, module.ModelHealth = LLMQuery, ModelHealth
    utils: Any = types.ModuleType("src.utils")
    utils.database = module
    monkeypatch.setitem(sys.modules, "src.utils", utils)
    monkeypatch.setitem(sys.modules, "src.utils.database", module)


@pytest.mark.usefixtures("host_tables")
class TestDatabase:
    async def test_decisions_texts_health_and_every_cost_are_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the host's tables add up to is what was spent."""
        db = Database()
        async with world(tmp_path, monkeypatch) as here:
            client = here.client(db)
            await client.get_trading_decision(MARKET, PORTFOLIO)
            await client.get_completion("x", strategy="market_making", query_type="assessment")
            await here.fleet.set_fault("xai", "500")
            for _ in range(3):
                await client.get_completion("x")
            await here.until(lambda: len([r for r in db.rows if r["query_type"] == "probe"]) >= 2)

            def told_usd() -> float:
                return sum(row["cost_usd"] for row in db.rows)

            await here.until(lambda: client.daily_tracker.total_cost == pytest.approx(told_usd(), abs=1e-9))
            await here.layer.close()
        kinds = {row["query_type"] for row in db.rows}
        assert {"trading_decision", "market_making: assessment", "probe", "failover"} <= kinds
        decided = next(row for row in db.rows if row["query_type"] == "trading_decision")
        assert (decided["market_id"], decided["strategy"]) == ("HAPPEN-1", "jurymast")
        assert decided["cost_usd"] > 0
        assert any(not row["is_available"] for row in db.models)

    @pytest.mark.parametrize("db", [Mock(), MagicMock(), object(), None])
    async def test_what_can_not_be_awaited_is_left_alone(
        self, db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No method of a mock is ever called, and nothing breaks."""
        async with world(tmp_path, monkeypatch) as here:
            decision = await here.client(db).get_trading_decision(MARKET, PORTFOLIO)
        assert decision is not None
        assert decision.action == "BUY"
        if isinstance(db, Mock):
            assert db.method_calls == []

    async def test_a_database_that_breaks_is_given_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is tried a bounded number of times; decisions go on all the while."""
        db = Database(OSError("disk full"))
        async with world(tmp_path, monkeypatch) as here:
            client = here.client(db)
            for _ in range(FAILURES_MAX + 10):
                assert await client.get_completion("x")
            await here.layer.close()
        assert db.calls == FAILURES_MAX
        assert HostDatabase(db).usable


class TestInstalling:
    def install(self, host: Path, *words: str) -> subprocess.CompletedProcess[str]:
        script = ROOT / "integrations" / "kalshi-ai-trading-bot" / "install.py"
        command = [sys.executable, str(script), str(host), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def host(self, tmp_path: Path) -> dict[str, str]:
        files = {
            "src/__init__.py": "",
            "src/clients/__init__.py": "",
            "src/clients/xai_client.py": "class XAIClient: ...\n",
            "src/clients/kalshi_client.py": "theirs = True\n",
            "src/intelligence/__init__.py": "",
            "src/intelligence/enhanced_client.py": "class EnhancedAIClient: ...\n",
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return files

    def files(self, host: Path) -> dict[str, str]:
        found = (path for path in host.rglob("*.py") if "__pycache__" not in path.parts)
        return {str(path.relative_to(host)): path.read_text() for path in found}

    def test_the_way_in_and_the_way_out(self, tmp_path: Path) -> None:
        """In: ours in place, theirs kept, SHADOW. Twice in changes nothing. Out: every file as it was."""
        before = self.host(tmp_path)
        done = self.install(tmp_path)
        assert done.returncode == 0, done.stderr
        assert RolloutFile(tmp_path / "jurymast-data").state().phase is Phase.SHADOW
        inside = self.files(tmp_path)
        assert inside["src/clients/xai_client_before_jurymast.py"] == before["src/clients/xai_client.py"]
        assert "Jurymast" in inside["src/clients/xai_client.py"]
        assert inside["src/clients/kalshi_client.py"] == before["src/clients/kalshi_client.py"]
        assert self.install(tmp_path, "--full").returncode == 0
        assert self.files(tmp_path) == inside
        assert RolloutFile(tmp_path / "jurymast-data").state().phase is Phase.FULL
        assert self.install(tmp_path, "--back").returncode == 0
        assert self.files(tmp_path) == before

    def test_what_is_no_host_is_left_alone(self, tmp_path: Path) -> None:
        """A directory without the bot in it is a wrong usage, and nothing is written."""
        done = self.install(tmp_path)
        assert done.returncode == 2
        assert "not the bot" in done.stderr
        assert not list(tmp_path.iterdir())
