"""Every command that the pages show is one that works: it is run here, or its options are read.

What serves, takes long or asks the world has tests of its own that run it; here only its options are checked.
"""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from jurymast.faces.cli.main import cli

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
ELSEWHERE: Final = frozenset(
    {
        "alerts test", "demo", "drill", "exchange serve", "gateway", "init", "lab serve", "record", "run",
        "score", "sim", "telegram", "watch", "watchdog", "web", "year",
    }
)  # fmt: skip
"""Run by tests of their own: they serve, take long, ask the world or people."""
UNHEARD: Final = frozenset({"lab fault", "lab clear", "lab faults", "exchange fault", "exchange mend"})
"""They talk to a running laboratory; without one they say so."""
NAMED: Final = {
    "PROVIDER": "xai", "FROM": "xai", "TO": "openai", "NAME": "conservative", "ID": "all", "FAULT": "pause",
    "FILE": "some.file", "TICKER": "--last", "...": "because", "N": "3", "X": "provider",
}  # fmt: skip
CODES: Final = {
    "rollout *": {0, 2},  # nothing is being moved over here
    "flatten *": {0, 2},  # no bot runs that could sell
    "halt": {0, 1},  # no bot runs that could prove that nothing rests
    "score --journal": {0, 2},  # no forecast has resolved yet
    "resume": {2},  # a page that names it alone says that it needs a reason
    "why": {2},  # and that this one needs a market, or --last
    "mode NAME --override": {2},  # and that this one needs a reason and an end
}
"""Exit codes that are right here though they are not 0, by line."""
LATCHES: Final = ("HALT", "control.json")


def shown() -> list[str]:
    """Command lines as they stand in the pages, without what follows them in words."""
    found: dict[str, None] = {}
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [line for block in blocks for line in block.splitlines()]
        lines += re.findall(r"^ {4,}(\S.*)$", text, re.MULTILINE)
        lines += [code for code in re.findall(r"`([^`\n]+)`", text) if "jurymast " in code]
        for line in lines:
            code = re.split(r"\s{2,}|\s#", line.strip())[0]
            match = re.match(r"(?:.*&& )?(?:uv run )?jurymast ([a-z][^|>&;]*)$", code)
            if match:
                found[match.group(1).strip()] = None
    return sorted(found)


def words(line: str) -> list[str]:
    return [NAMED.get(word, word) for word in shlex.split(line)]


def nobodys_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def name_of(arguments: list[str]) -> str:
    """The command without its options."""
    group = arguments[0] in {"lab", "exchange", "rollout", "config", "alerts"}
    return " ".join(arguments[: 2 if group else 1])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which a bot has run, with a configuration."""
    directory = tmp_path_factory.mktemp("place")
    (directory / "bot.toml").write_text(
        "[bot]\ncycle_secs = 0.1\n[lab]\nemulate = true\ncontrol_port = 0\n[web]\nport = 0\n"
    )
    (directory / "some.file").write_text("")
    options = ("--config", "bot.toml", "--cycles", "2", "--no-weather")
    subprocess.run(
        [sys.executable, "-m", "jurymast", "run", *options], cwd=directory, check=True, capture_output=True
    )
    return directory


def test_the_pages_show_commands() -> None:
    """What is looked for is found: this test would be blind otherwise."""
    lines = shown()
    assert len(lines) > 60
    assert {"why --last", "doctor --config bot.toml --spend", "demo --fast"} <= set(lines)


@pytest.mark.parametrize("line", shown())
def test_a_command_of_the_pages(line: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does what it should in a directory where a bot has run, or its options are those of the program."""
    monkeypatch.chdir(place)
    for latch in LATCHES:  # what the last one has demanded is over
        (place / "jurymast-data" / latch).unlink(missing_ok=True)
    arguments = words(line)
    name = name_of(arguments)
    if name in ELSEWHERE:
        done = CliRunner().invoke(cli, [*arguments, "--help"])
        assert done.exit_code == 0, done.output
        return
    if name in UNHEARD:
        done = CliRunner().invoke(cli, [*arguments, "--control", f"http://127.0.0.1:{nobodys_port()}"])
        assert "no fault control answers" in str(done.exception)
        return
    done = CliRunner().invoke(cli, arguments, input="y\n")
    code = getattr(done.exception, "exit_code", done.exit_code)
    expected = CODES.get(line) or CODES.get(line.split(maxsplit=1)[0] + " *") or {0}
    assert code in expected, f"{done.output}{done.exception}"
