"""The phase of a move, latched in a file that outlives everybody."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path

from jurymast.app.config import Config
from jurymast.app.provenance import HostSetting, HostSettings, host_settings, keep_host_settings, sourced
from jurymast.app.rollout import RolloutFile
from jurymast.app.settings import load_settings
from jurymast.domain.rollout import Phase, Rollout

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def count_up(directory: Path, times: int, both: Barrier) -> None:
    file = RolloutFile(directory)
    both.wait()
    for _ in range(times):
        file.change(lambda old: replace(old, share_pct=old.share_pct + 1))


class TestFile:
    def test_without_it_nothing_is_moved(self, tmp_path: Path) -> None:
        """No file is FULL: ours decides, as where no other client ever was."""
        file = RolloutFile(tmp_path / "data")
        assert file.state().phase is Phase.FULL
        assert not file.begun

    def test_a_change_is_seen_by_who_reads_already(self, tmp_path: Path) -> None:
        """A reader looks at the file each time; a serial says that it has changed."""
        reader, writer = RolloutFile(tmp_path), RolloutFile(tmp_path)
        assert reader.state().serial == 0
        kept = writer.change(lambda _: Rollout(Phase.SHADOW, 0, NOW, "new here"))
        assert reader.state() == kept
        assert kept.serial == 1

    def test_what_can_not_be_read_lets_theirs_decide(self, tmp_path: Path) -> None:
        """A damaged file is SHADOW with its reason, and a change mends it."""
        file = RolloutFile(tmp_path)
        file.change(lambda _: Rollout(Phase.FULL, 100, NOW))
        for damage in (b"{", b'{"phase": "sideways"}', b"\xff\xfe", b" " * 100_000):
            file.path.write_bytes(damage)
            state = file.state()
            assert state.phase is Phase.SHADOW
            assert "can't be read" in state.reason
        file.change(lambda _: Rollout(Phase.TUNED))
        assert file.state().phase is Phase.TUNED

    def test_writers_take_turns(self, tmp_path: Path) -> None:
        """Two processes that change it at once lose no change."""
        file = RolloutFile(tmp_path)
        file.change(lambda _: Rollout(Phase.GRADUAL, 0))
        spawn = multiprocessing.get_context("spawn")
        both = spawn.Barrier(2)
        writers = [spawn.Process(target=count_up, args=(tmp_path, 60, both)) for _ in range(2)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert file.state().share_pct == 120
        assert file.state().serial == 121


class TestProvenance:
    def test_each_setting_says_where_it_comes_from(self) -> None:
        """Environment before file, file before host, host before default; secrets are never shown."""
        text = '[bot]\nseed = 3\ncycle_secs = 9.0\n[providers.xai]\napi_key = { env = "K" }\n'
        environ = {"JURYMAST_BOT__SEED": "4", "K": "very-secret"}
        config = load_settings(Config, text, source="bot.toml", environ=environ)
        host = HostSettings(
            "",
            (
                HostSetting("bot.cycle_secs", "1", "theirs"),
                HostSetting("failover.budget_usd_per_day", "15.0", "get_ai_daily_limit()"),
            ),
        )
        rows = {row.path: row for row in sourced(config, text, "bot.toml", environ, host)}
        assert (rows["bot.seed"].value, rows["bot.seed"].source) == ("4", "environment: JURYMAST_BOT__SEED")
        assert (rows["bot.cycle_secs"].value, rows["bot.cycle_secs"].source) == ("9.0", "bot.toml")
        budget = rows["failover.budget_usd_per_day"]
        assert (budget.value, budget.source) == ("15.0", "host: get_ai_daily_limit()")
        assert rows["providers.xai.api_key"].source == "bot.toml"
        assert rows["trading.concurrency"].source == "default"
        assert not any("very-secret" in str(row) for row in rows.values())

    def test_what_a_host_has_given_is_kept_beside_the_journal(self, tmp_path: Path) -> None:
        """Written whole, read back, and None where no host ever ran or the file is damaged."""
        assert host_settings(tmp_path) is None
        given = HostSettings("jurymast.toml", (HostSetting("a.b", "1", "THEIRS"),))
        keep_host_settings(tmp_path / "data", given)
        assert host_settings(tmp_path / "data") == given
        (tmp_path / "data" / "host-settings.json").write_text("{")
        assert host_settings(tmp_path / "data") is None
