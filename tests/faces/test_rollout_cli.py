"""``jurymast rollout`` and ``jurymast config show``, as a person types them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jurymast.app.clock import SystemClock
from jurymast.app.rollout import RolloutFile
from jurymast.domain.events import RolloutChanged, RolloutCompared
from jurymast.domain.market import Side
from jurymast.domain.rollout import Comparison, Decider, Phase, Rollout, Verdict
from jurymast.faces.cli.main import cli
from jurymast.journal.sqlite import SqliteJournal


def jurymast(*words: str, data_dir: Path) -> Result:
    return CliRunner().invoke(cli, [*words, "--data-dir", str(data_dir)])


async def compared(data_dir: Path, count: int, ours: Side = Side.YES, theirs: Side = Side.YES) -> None:
    journal = SqliteJournal.open(data_dir / "journal.db", clock=SystemClock())
    now = datetime.now(UTC)
    row = Comparison(
        "M", 600_000, Phase.SHADOW, Decider.THEIRS, Verdict(ours, 1.0, 900), Verdict(theirs, 2.0)
    )
    changed = RolloutChanged(
        at=now, old=Phase.FULL, new=Phase.SHADOW, share_pct=0, reason="begun", by_hand=True
    )
    await journal.append(
        changed, *(RolloutCompared(at=now, ticker="M", comparison=row) for _ in range(count))
    )
    await journal.close()


def begun(data_dir: Path, *, days: float) -> None:
    since = datetime.now(UTC) - timedelta(days=days)
    RolloutFile(data_dir).change(lambda _: Rollout(Phase.SHADOW, 0, since, "begun"))


class TestRollout:
    async def test_on_is_refused_without_evidence(self, tmp_path: Path) -> None:
        """It says what is missing, changes nothing, and goes on by force only with a reason."""
        begun(tmp_path, days=0)
        refused = jurymast("rollout", "advance", data_dir=tmp_path)
        assert refused.exit_code == 2
        assert "0 markets compared" in refused.output
        bare = jurymast("rollout", "advance", "--force", data_dir=tmp_path)
        assert bare.exit_code == 2
        assert "needs --reason" in bare.output
        assert RolloutFile(tmp_path).state().phase is Phase.SHADOW
        done = jurymast("rollout", "advance", "--force", "--reason", "paper account", data_dir=tmp_path)
        assert done.exit_code == 0
        state = RolloutFile(tmp_path).state()
        assert (state.phase, state.share_pct, state.reason) == (Phase.GRADUAL, 10, "paper account")

    async def test_on_evidence_it_goes_on(self, tmp_path: Path) -> None:
        """Sixty comparisons over two days that agree are enough."""
        begun(tmp_path, days=2)
        await compared(tmp_path, 60)
        done = jurymast("rollout", "advance", data_dir=tmp_path)
        assert done.exit_code == 0, done.output
        assert RolloutFile(tmp_path).state().phase is Phase.GRADUAL

    async def test_a_regression_holds_it_up(self, tmp_path: Path) -> None:
        """However many, comparisons that contradict are none for going on."""
        begun(tmp_path, days=2)
        await compared(tmp_path, 60, Side.YES, Side.NO)
        refused = jurymast("rollout", "advance", data_dir=tmp_path)
        assert refused.exit_code == 2
        assert "opposite sides" in refused.output

    async def test_status_and_report_say_what_is(self, tmp_path: Path) -> None:
        """The phase, what is missing, the steps so far; agreement, latency and cost."""
        begun(tmp_path, days=2)
        await compared(tmp_path, 30)
        facts = json.loads(jurymast("rollout", "status", "--json", data_dir=tmp_path).output)
        assert (facts["phase"], facts["compared"]) == ("shadow", 30)
        assert facts["missing"] == ["30 markets compared in this phase, 50 are needed"]
        assert facts["steps"][0]["reason"] == "begun"
        assert "SHADOW" in jurymast("rollout", "status", data_dir=tmp_path).output
        report = json.loads(jurymast("rollout", "report", "--json", data_dir=tmp_path).output)
        assert (report["count"], report["agreement"]) == (30, 1.0)
        assert (report["ours_secs"], report["theirs_secs"]) == (1.0, 2.0)
        assert (report["ours_cost"], report["theirs_cost"]) == (0.0009, None)
        text = jurymast("rollout", "report", data_dir=tmp_path).output
        assert "100% of 30" in text
        assert "theirs unknown" in text

    def test_back_needs_nothing(self, tmp_path: Path) -> None:
        """One step or several, with no evidence and no bot; on by going back is a wrong usage."""
        assert jurymast("rollout", "back", "--to", "shadow", data_dir=tmp_path).exit_code == 0
        assert RolloutFile(tmp_path).state().phase is Phase.SHADOW
        wrong = jurymast("rollout", "back", "--to", "tuned", data_dir=tmp_path)
        assert wrong.exit_code == 2
        assert "not behind" in wrong.output

    @pytest.mark.parametrize(("share", "code"), [("50", 0), ("5", 2)])
    async def test_a_share_only_grows(self, share: str, code: int, tmp_path: Path) -> None:
        """In GRADUAL ``--share`` takes more of the markets; less is a step back."""
        since = datetime.now(UTC) - timedelta(days=2)
        RolloutFile(tmp_path).change(lambda _: Rollout(Phase.GRADUAL, 10, since, "on"))
        await compared(tmp_path, 60)
        done = jurymast("rollout", "advance", "--share", share, data_dir=tmp_path)
        assert done.exit_code == code, done.output
        state = RolloutFile(tmp_path).state()
        assert (state.phase, state.share_pct) == (Phase.GRADUAL, 50 if code == 0 else 10)


class TestConfigShow:
    def test_it_names_the_source_of_each_setting(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One line a setting; ``--changed`` leaves the defaults out; no secret is shown."""
        monkeypatch.setenv("JURYMAST_BOT__SEED", "5")
        monkeypatch.setenv("SOME_KEY", "very-secret")
        file = tmp_path / "bot.toml"
        file.write_text('[providers.xai]\napi_key = { env = "SOME_KEY" }\n')
        done = jurymast("config", "show", "--changed", "--config", str(file), data_dir=tmp_path)
        assert done.exit_code == 0, done.output
        lines = done.output.splitlines()
        assert any(
            line.startswith("bot.seed") and "[environment: JURYMAST_BOT__SEED]" in line for line in lines
        )
        assert any(line.startswith("providers.xai.api_key") and str(file) in line for line in lines)
        assert "very-secret" not in done.output
        rows = json.loads(
            jurymast("config", "show", "--json", "--config", str(file), data_dir=tmp_path).output
        )
        assert {"path", "value", "unit", "source"} == set(rows[0])
