"""The first configuration: what is there is used, keys stay secret, nothing is written over."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jurymast.app.config import Config
from jurymast.app.first_steps import (
    Choices,
    LocalServer,
    configuration,
    keep_key,
    keys_present,
    local_servers,
)
from jurymast.app.settings import load_settings
from jurymast.domain.errors import ConfigError
from jurymast.domain.provider import ProviderName
from jurymast.exchange.embedded.server.limits import TIERS
from jurymast.faces.cli.main import cli
from jurymast.lab.rig import rig

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName


def init(directory: Path, *options: str, typed: str = "", **environ: str) -> Result:
    nothing = dict.fromkeys(("XAI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"), "")
    arguments = ["init", "--config", str(directory / "bot.toml"), *options]
    return CliRunner().invoke(cli, arguments, input=typed, env=nothing | environ)


def read(text: str, **environ: str) -> Config:
    return load_settings(Config, text, source="test", environ=environ)


def test_keys_of_the_environment_are_named_and_not_copied(tmp_path: Path) -> None:
    """The file says where a key is; the key is not in it, nor on the screen."""
    done = init(tmp_path, "--yes", "--budget", "7.5", OPENAI_API_KEY="sk-very-secret")
    text = (tmp_path / "bot.toml").read_text()
    assert "sk-very-secret" not in text + done.output
    config = read(text, OPENAI_API_KEY="sk-very-secret")
    assert config.providers.openai.api_key.value == "sk-very-secret"
    assert not config.providers.xai.api_key
    assert config.failover.budget_usd_per_day == 7.5
    assert config.exchange.host == "embedded"
    assert "jurymast doctor:" in done.output
    assert "start it:" in done.output


def test_pasted_keys_are_kept_for_this_user_alone(tmp_path: Path) -> None:
    """In a file beside the configuration, readable for nobody else."""
    done = init(tmp_path, typed="xai-pasted\n\n\n3\n")
    kept = tmp_path / "keys" / "xai"
    assert kept.read_text() == "xai-pasted\n"
    assert (stat.S_IMODE(kept.stat().st_mode), stat.S_IMODE(kept.parent.stat().st_mode)) == (0o600, 0o700)
    text = (tmp_path / "bot.toml").read_text()
    assert "xai-pasted" not in text
    config = read(text)
    assert (config.providers.xai.api_key.value, config.failover.budget_usd_per_day) == ("xai-pasted", 3.0)
    assert done.exit_code == 0


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """An existing file stays unless it is forced."""
    (tmp_path / "bot.toml").write_text("# mine\n")
    done = init(tmp_path, "--yes", XAI_API_KEY="k")
    assert (done.exit_code, (tmp_path / "bot.toml").read_text()) == (2, "# mine\n")
    assert init(tmp_path, "--yes", "--force", XAI_API_KEY="k").exit_code == 0
    assert "[providers.xai]" in (tmp_path / "bot.toml").read_text()


def test_with_nothing_at_all_it_says_what_can_be_done(tmp_path: Path) -> None:
    """No key and no server: a file that is valid, and a hint at the simulated run."""
    done = init(tmp_path, "--yes")
    assert "SIMULATED" in done.output
    read((tmp_path / "bot.toml").read_text())


async def test_a_model_server_on_this_machine_is_found() -> None:
    """One that answers and lists its models; not one that refuses, nor one that serves something else."""
    async with rig(providers=[LOCAL]) as lab:
        url = lab.fleet.base_urls[LOCAL]
        [server] = await local_servers(
            {"Ollama": url, "vLLM": "http://127.0.0.1:9/v1", "page": f"{url}/none"}
        )
    assert server.name == "Ollama"
    assert server.models
    config = read(configuration(Choices({}, server)))
    assert config.providers.local.base_url == url
    assert config.providers.local.models == server.models[:1]


@pytest.mark.parametrize("model", ["qwen3:8b", "a model", "ü"])
def test_whatever_is_found_makes_a_valid_file(model: str) -> None:
    """Every key and a local server together: read without complaint, in the order of priority."""
    keys = {name: f"{name}_KEY".upper() for name in (XAI, OPENAI, ANTHROPIC)}
    config = read(
        configuration(Choices(keys, LocalServer("vLLM", "http://127.0.0.1:8000/v1", (model,)), 0.0))
    )
    assert list(config.providers.enabled()) == [XAI, OPENAI, ANTHROPIC, LOCAL]
    assert config.exchange.tier in TIERS


def test_what_counts_as_a_key() -> None:
    """An empty variable is none."""
    assert keys_present({"XAI_API_KEY": "  ", "OPENAI_API_KEY": "k", "OTHER": "k"}) == {
        OPENAI: "OPENAI_API_KEY"
    }


def test_a_key_that_cannot_be_kept(tmp_path: Path) -> None:
    """A file in the way is told, and nothing half is left."""
    (tmp_path / "keys").write_text("in the way")
    with pytest.raises(ConfigError, match="can't be kept"):
        keep_key(tmp_path, XAI, "k")
