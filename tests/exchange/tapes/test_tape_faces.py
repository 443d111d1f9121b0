"""Tapes from the outside: the command that makes them, and the bot that trades on one."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from tape_world import START_US, Script, T

from jurymast.app.clock import SystemClock
from jurymast.app.config import Config
from jurymast.app.exchange import open_exchange
from jurymast.app.settings import load_settings
from jurymast.domain.errors import ConfigError
from jurymast.exchange.tapes.reel import load_tape
from jurymast.faces.cli.main import cli


def test_a_recording_is_made_into_a_tape(tmp_path: Path) -> None:
    """`record --from` says how many rows the tape has, for people and for programs."""
    rows = [
        {"received_ms": START_US // 1_000, "frame": frame}
        for _, frame in Script().book(0, [(40, 5)], []).rows
    ]
    source = tmp_path / "frames.json"
    source.write_text(json.dumps({"frames": rows}))
    for name, more in (("a.tape", []), ("b.tape", ["--json"])):
        out = tmp_path / name
        done = CliRunner().invoke(cli, ["record", "--from", str(source), "--out", str(out), *more])
        assert done.exit_code == 0, done.output
        assert "3" in done.output
        assert set(load_tape(out).reels) == {T}
    assert json.loads(done.output)["rows"] == 3


def test_nothing_is_recorded_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a host without its key is told what to give, and there is no tape."""
    monkeypatch.chdir(tmp_path)
    for host in ("embedded", "demo", "production"):
        done = CliRunner().invoke(cli, ["record", "--host", host, "--out", "x.tape"], standalone_mode=False)
        assert isinstance(done.exception, ConfigError)
        assert f"no key of {host}" in str(done.exception)
    assert not (tmp_path / "x.tape").exists()


async def test_the_bot_trades_on_a_tape(tmp_path: Path) -> None:
    """With `tape` in the settings the bot's exchange lists the recorded markets, in the tape's time."""
    path = Script().book(0, [(40, 5)], [(55, 7)]).change(600, "yes", 41, 1).written(tmp_path / "t.tape")
    text = f'[bot]\ndata_dir = "{tmp_path}"\n[exchange]\ntape = "{path}"\nspeed = 1.0\n'
    config = load_settings(Config, text, source="test", environ={})
    async with AsyncExitStack() as stack:
        venue = await open_exchange(config, (), clock=SystemClock(), environ={}, stack=stack)
        (snapshot,) = await venue.exchange.list_snapshots()
        assert [question.ticker for question in venue.questions] == [T]
        assert (snapshot.ticker, snapshot.book.bids[0].price) == (T, 400_000)
        assert abs(snapshot.as_of.timestamp() - START_US / 1e6) < 60.0


@pytest.mark.parametrize("other", ['url = "http://127.0.0.1:1"', 'questions = "q"', 'host = "demo"'])
def test_a_tape_has_its_own_markets(other: str) -> None:
    """A tape beside another exchange or other questions is a mistake and refused."""
    with pytest.raises(ConfigError, match="tape"):
        load_settings(Config, f'[exchange]\ntape = "t"\n{other}\n', source="test", environ={})
