"""A first configuration: what is there already, and a commented file that uses it. Paper trading, always."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from jurymast.app.config import Config
from jurymast.domain.errors import ConfigError
from jurymast.domain.provider import ProviderName
from jurymast.intelligence.providers.transport import AiohttpTransport, TransportError
from jurymast.ports import TimeLimits

KEY_VARIABLES: Final[Mapping[ProviderName, str]] = {
    ProviderName.XAI: "XAI_API_KEY",
    ProviderName.OPENAI: "OPENAI_API_KEY",
    ProviderName.ANTHROPIC: "ANTHROPIC_API_KEY",
}
"""Where people keep their keys, by the vendors' own documentation."""
LOCAL_SERVERS: Final[Mapping[str, str]] = {
    "Ollama": "http://127.0.0.1:11434/v1",
    "llama.cpp": "http://127.0.0.1:8080/v1",
    "vLLM": "http://127.0.0.1:8000/v1",
}
LOOK_SECS: Final = 1.0
BODY_BYTES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A model server on this machine and the models that it lists."""

    name: str
    base_url: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """What a first configuration says. ``keys`` are variables of the environment, or files."""

    keys: Mapping[ProviderName, str | Path]
    local: LocalServer | None = None
    budget_usd_per_day: float = 2.0


def keys_present(environ: Mapping[str, str] = os.environ) -> dict[ProviderName, str]:
    """Variables that hold a key."""
    return {name: variable for name, variable in KEY_VARIABLES.items() if environ.get(variable, "").strip()}


async def local_servers(servers: Mapping[str, str] = LOCAL_SERVERS) -> list[LocalServer]:
    """Model servers on this machine that answer within a second and list a model."""
    transport = AiohttpTransport(body_bytes_max=BODY_BYTES_MAX)
    try:
        found = await asyncio.gather(*(_asked(transport, name, url) for name, url in servers.items()))
    finally:
        await transport.close()
    return [server for server in found if server is not None]


async def _asked(transport: AiohttpTransport, name: str, url: str) -> LocalServer | None:
    limits = TimeLimits(total=LOOK_SECS, connect=LOOK_SECS)
    try:
        async with transport.send("GET", f"{url}/models", {}, None, limits) as reply:
            listed: Any = msgspec.json.decode(await reply.read()) if reply.status == 200 else {}
    except (TransportError, msgspec.MsgspecError):
        return None
    entries = listed.get("data") if isinstance(listed, dict) else None
    models = [
        each["id"] for each in entries or () if isinstance(each, dict) and isinstance(each.get("id"), str)
    ]
    return LocalServer(name, url, tuple(models)) if models else None


def keep_key(directory: Path, name: ProviderName, key: str) -> Path:
    """Write a key to a file that this user alone can read. Raises ConfigError."""
    path = directory / "keys" / str(name)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{key.strip()}\n")
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            f"the key can't be kept in {path}: {error.strerror}. Nothing was written."
        ) from error
    return path


def configuration(choices: Choices) -> str:
    """The file, with a comment for whatever one may want to change."""
    lines = [
        "# Paper trading: real market questions on an embedded exchange, play money. All settings and their",
        "# bounds: docs/reference/settings.md, or `jurymast config show`.",
        "",
        "[failover]",
        "# The most that may be spent on models in a day (UTC), in dollars. A hard limit: the worst case of",
        "# a request is held before it is sent.",
        f"budget_usd_per_day = {choices.budget_usd_per_day:g}",
        "",
        "[bot]",
        "cycle_secs = 30.0  # from one look at the markets to the next",
        "",
        "# Providers, asked in this order while they are well. One without a key is left out.",
    ]
    for name in KEY_VARIABLES:
        lines += ["", *_provider(name, choices)]
    lines += ["", "[providers.local]"]
    if choices.local is not None:
        models = ", ".join(f'"{model}"' for model in choices.local.models[:1])
        lines += [f"# {choices.local.name} on this machine. A small model may veto, never open risk.",
                  f'base_url = "{choices.local.base_url}"', f"models = [{models}]"]  # fmt: skip
    else:
        lines += ["# No model server answers here; with one (Ollama, llama.cpp, vLLM) enabled = true",
                  "enabled = false"]  # fmt: skip
    lines += [
        "",
        "# Kalshi's own exchange with play money, once you have a key there:",
        "# [exchange]",
        '# host = "demo"',
        "# [exchange.keys.demo]",
        '# id = "the id that Kalshi shows for your key"',
        '# private_key = { file = "kalshi-demo.pem" }',
        "",
    ]
    return "\n".join(lines)


def _provider(name: ProviderName, choices: Choices) -> list[str]:
    key = choices.keys.get(name)
    section = getattr(Config().providers, name.value)
    models = ", ".join(f'"{model}"' for model in section.models)
    if key is None:
        return [f"# [providers.{name}]", f'# api_key = {{ env = "{KEY_VARIABLES[name]}" }}']
    place = f'{{ file = "{key.as_posix()}" }}' if isinstance(key, Path) else f'{{ env = "{key}" }}'
    return [f"[providers.{name}]", f"api_key = {place}", f"# models = [{models}]  # in order of preference"]
