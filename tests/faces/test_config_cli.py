"""``jurymast config check``, ``diff`` and ``schema``, ``completion``, and the examples they are tried on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from jurymast.app.config import Config, embedded_toml
from jurymast.app.settings_schema import schema_of
from jurymast.policy.schema import problem_with

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
KEYS = ("XAI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_KEY_1", "OPENAI_KEY_2",
        "OPENAI_KEY_EU", "RESEARCH_KEY", "DESK_KEY", "KALSHI_DEMO_PRIVATE_KEY")  # fmt: skip


def run(*arguments: str, code: int = 0, keys: bool = True, **more: str) -> str:
    env = {name: value for name, value in os.environ.items() if name not in KEYS}
    env |= {**(dict.fromkeys(KEYS, "a-key") if keys else {}), **more}
    done = subprocess.run(
        [sys.executable, "-m", "jurymast", *arguments],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


class TestCheck:
    @pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
    def test_every_example_would_be_taken(self, example: Path) -> None:
        """With its keys set nothing is said against it, not even a note."""
        notes = json.loads(run("config", "check", str(example), "--json"))
        assert notes["ok"]
        known = [found["text"] for found in notes["found"]]
        assert all("only free models" in text for text in known), known

    def test_mistakes_come_with_their_line(self, tmp_path: Path) -> None:
        """All at once, exit code 2, nothing started."""
        file = tmp_path / "bot.toml"
        file.write_text("[failover]\nbudgt_usd_per_day = 3\nsends_max = 50\n")
        told = run("config", "check", str(file), code=2)
        assert "line 2: failover.budgt_usd_per_day: unknown key; did you mean budget_usd_per_day?" in told
        assert "line 3: failover.sends_max: 50 is out of bounds" in told
        assert list(tmp_path.iterdir()) == [file]

    @pytest.mark.parametrize(
        ("text", "said", "code"),
        [
            ('[providers.openai]\nmodels = ["gpt-99"]', "no price is known for gpt-99", 2),
            ("[providers.local]\nenabled = false", "no provider can be asked", 2),
            ('[gateway]\nenabled = true\nhost = "0.0.0.0"', "without a key", 2),
            ('[gateway]\nhost = "0.0.0.0"', "without a key", 0),
            ('[providers.xai]\nmodels = ["grok-4"]', "grok-4.3 is used instead", 0),
            ('[exchange]\nhost = "production"', "JURYMAST_LIVE", 0),
            ('[alerts.contacts.me]\nurl = { env = "UNSET" }', "its environment variable is not set", 0),
            ("", "providers.openai: has no key and is left out", 0),
        ],
    )
    def test_what_a_start_would_refuse_or_say(self, tmp_path: Path, text: str, said: str, code: int) -> None:
        """Beyond types and bounds; without any key set."""
        file = tmp_path / "bot.toml"
        file.write_text(text)
        assert said in run("config", "check", str(file), code=code, keys=False)


class TestDiff:
    def test_what_is_in_force_is_compared(self, tmp_path: Path) -> None:
        """Not how it is written: a default that is written out is no difference, an order neither."""
        one, other = tmp_path / "one.toml", tmp_path / "other.toml"
        one.write_text(
            '[failover]\nbudget_usd_per_day = 5.0\n[budget.caps.h]\nlimit_usd = 1.0\nwindow = "hour"\n'
        )
        other.write_text("[failover]\nsends_max = 2\n")
        assert json.loads(run("config", "diff", str(one), str(other), "--json")) == [
            {"path": "failover.sends_max", "before": "3", "after": "2"},
            *(
                {"path": f"budget.caps.h.{name}", "before": value, "after": None}
                for name, value in (
                    ("limit_usd", "1.0"), ("window", "hour"), ("scope", "all"), ("of", ""), ("hard", "true"),
                )
            ),
        ]  # fmt: skip
        assert run("config", "diff", str(one), str(one)) == "no difference\n"
        assert "sends_max" in run("config", "diff", str(other))

    def test_secrets_stay_secret(self, tmp_path: Path) -> None:
        """A key that is set is told as that."""
        file = tmp_path / "bot.toml"
        file.write_text('[providers.xai]\napi_key = { env = "XAI_API_KEY" }\n')
        told = run("config", "diff", str(file), XAI_API_KEY="very-secret")
        assert "providers.xai.api_key" in told
        assert "very-secret" not in told


class TestSchema:
    @pytest.mark.parametrize(
        "text",
        [embedded_toml(), *(path.read_text() for path in EXAMPLES)],
        ids=["embedded.toml", *(path.name for path in EXAMPLES)],
    )
    def test_our_own_files_conform(self, text: str) -> None:
        """The built-in configuration and the examples."""
        assert problem_with(tomllib.loads(text), schema_of(Config, "jurymast")) is None

    def test_it_knows_what_the_settings_know(self) -> None:
        """Unknown keys, types, choices, bounds, defaults of tables that have them, what must be set."""
        told: dict[str, Any] = json.loads(run("config", "schema"))
        assert told == schema_of(Config, "jurymast")
        for tree, said in (
            ({"failovr": {}}, "failovr is not asked for"),
            ({"failover": {"sends_max": "3"}}, "of type integer"),
            ({"exchange": {"host": "kalshi"}}, "none of the values"),
            ({"budget": {"caps": {"a": {}}}}, "has no 'limit_usd'"),
        ):
            assert said in (problem_with(tree, told) or "")
        sends = told["properties"]["failover"]["properties"]["sends_max"]
        assert (sends["minimum"], sends["maximum"], sends["default"]) == (1, 10, 3)
        xai = told["properties"]["providers"]["properties"]["xai"]
        assert "required" not in xai
        assert xai["properties"]["priority"]["default"] == 1


def test_names_complete_at_the_tab_key() -> None:
    """The script of each shell asks the program itself, which answers with commands and options."""
    for shell in ("bash", "zsh", "fish"):
        assert "_JURYMAST_COMPLETE" in run("completion", shell)
    words = {"COMP_WORDS": "jurymast config ", "COMP_CWORD": "2", "_JURYMAST_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("jurymast"))],
        env={**os.environ, **words}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert {"plain,check", "plain,diff", "plain,schema", "plain,show"} == set(done.stdout.split())
