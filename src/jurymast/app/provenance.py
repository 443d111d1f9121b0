"""Where each setting in force comes from."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from jurymast.app.config import Config
from jurymast.app.settings import PREFIX, describe
from jurymast.watch.files import replace_file

HOST_SETTINGS: Final = "host-settings.json"
BYTES_MAX: Final = 1_048_576
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class HostSetting:
    """A setting that a host bot has given us, secrets masked. ``source`` is its name there."""

    path: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What a host runs us with: the settings file it read, empty without one, and what it gave us itself."""

    config_file: str = ""
    settings: tuple[HostSetting, ...] = ()


@dataclass(frozen=True, slots=True)
class Sourced:
    """One setting in force."""

    path: str
    value: str
    unit: str
    source: str


def set_in_file(text: str) -> frozenset[str]:
    """Paths of the keys that a TOML text sets, tables without keys of their own left out."""
    return frozenset(".".join(keys) for keys in _leaves(tomllib.loads(text), ()))


def _leaves(tree: Any, keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict) and tree:
        for key, below in tree.items():
            yield from _leaves(below, (*keys, key))
    else:
        yield keys


def set_in_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that override a setting, by its path."""
    return {
        name.removeprefix(PREFIX).lower().replace("__", "."): name
        for name in environ
        if name.startswith(PREFIX) and "__" in name
    }


def sourced(
    config: Config, text: str, source: str, environ: Mapping[str, str], host: HostSettings | None
) -> list[Sourced]:
    """Every setting with where it comes from: ours win over the host's, the environment over the file."""
    in_file, in_environment = set_in_file(text), set_in_environment(environ)
    from_host = {setting.path: setting for setting in (host.settings if host else ())}
    rows = []
    for row in describe(config):
        value, found = row.value, DEFAULT
        if row.path in in_environment:
            found = f"environment: {in_environment[row.path]}"
        elif row.path in in_file or any(key.startswith(row.path + ".") for key in in_file):
            found = source
        elif row.path in from_host:
            value, found = from_host[row.path].value, f"host: {from_host[row.path].source}"
        rows.append(Sourced(row.path, value, row.unit, found))
    return rows


def host_settings(data_dir: Path) -> HostSettings | None:
    """What the host that last ran with this data directory gave us; None where none did."""
    try:
        with (data_dir / HOST_SETTINGS).open("rb") as file:
            return msgspec.json.decode(file.read(BYTES_MAX), type=HostSettings)
    except (OSError, msgspec.MsgspecError):
        return None


def keep_host_settings(data_dir: Path, settings: HostSettings) -> None:
    """Leave what a host has given us where ``config show`` finds it. Raises OSError."""
    data_dir.mkdir(parents=True, exist_ok=True)
    body = msgspec.json.format(msgspec.json.encode(settings), indent=2)
    replace_file(data_dir / HOST_SETTINGS, body + b"\n", durable=False)
