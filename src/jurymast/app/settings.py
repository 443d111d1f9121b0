"""From TOML and the environment to frozen dataclasses.

Knows nothing of what is configured: the tree of dataclasses is the schema. Tables are dataclasses or
dictionaries of them, and what a file leaves out keeps its default, also inside a default that is itself
a table. ``JURYMAST_SECTION__KEY=value`` overrides ``key`` of ``[section]``, however deep. Secrets come
from the environment or from a file of their own, never from the settings file: that one is shown,
copied and committed. All mistakes are reported together, each with its line and its cure.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from jurymast.domain.errors import ConfigError
from jurymast.domain.provider import Secret

PREFIX: Final = "JURYMAST_"
SECRET_BYTES_MAX: Final = 65_536
"""A file named as a secret and larger than this is something else."""

REQUIRED: Final[Any] = MISSING
"""Default of a setting that has none."""

T = TypeVar("T")
Keys: TypeAlias = tuple[str, ...]
_BAD: Final[Any] = object()
"""Stands in for a value whose problem is already noted."""


def documented(default: T, *, doc: str, unit: str = "") -> T:
    """A setting with the sentence that explains it."""
    return _setting(default, {"doc": doc, "unit": unit})


def bounded(default: T, *, low: float, high: float, unit: str, doc: str) -> T:
    """A number between ``low`` and ``high``, both allowed. Raises ValueError if its default is not."""
    if isinstance(default, int | float) and not low <= default <= high:
        raise ValueError(f"default {default} is out of bounds: {low} to {high}")
    return _setting(default, {"doc": doc, "unit": unit, "low": low, "high": high})


def _setting(default: T, metadata: Mapping[str, object]) -> T:
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Described(NamedTuple):
    """One setting as it is in force, secrets masked."""

    path: str
    value: str
    unit: str
    doc: str


def describe(settings: object, keys: Keys = ()) -> list[Described]:
    """Every setting of a tree in the order of its definition."""
    rows: list[Described] = []
    for field in dataclasses.fields(settings):  # type: ignore[arg-type] # any dataclass instance
        value, here = getattr(settings, field.name), (*keys, field.name)
        if _is_table(value):
            rows += describe(value, here)
        elif isinstance(value, Mapping) and all(map(_is_table, value.values())):
            for key, table in value.items():
                rows += describe(table, (*here, str(key)))
        else:
            unit, doc = field.metadata.get("unit", ""), field.metadata.get("doc", "")
            rows.append(Described(".".join(here), _shown(value), unit, doc))
    return rows


def load_settings(cls: type[T], text: str, *, source: str, environ: Mapping[str, str]) -> T:
    """Settings of class ``cls`` from the text of a file called ``source``.

    A secret whose environment variable is not set is empty; whether that matters is for its user to
    say. Paths of secret files are relative to the working directory.

    Raises ConfigError with every mistake there is.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source} is no valid TOML: {error}. Nothing was started.") from error
    loader = _Loader(environ)
    loader.override(tree)
    settings = loader.table(cls, tree, (), MISSING)
    if loader.problems:
        raise ConfigError(_report(loader, text, source))
    return typing.cast("T", settings)


class _Override(NamedTuple):
    """A value from the environment: text whose type is not known yet."""

    text: str


class _Loader:
    """Walks the classes and the tree side by side and notes what does not fit."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[tuple[Keys, str]] = []
        self.overrides: dict[Keys, str] = {}

    def override(self, tree: dict[str, Any]) -> None:
        for name in sorted(self._environ):
            if not name.startswith(PREFIX) or "__" not in name:
                continue
            keys = tuple(name.removeprefix(PREFIX).lower().split("__"))
            self.overrides[keys] = name
            table: Any = tree
            for key in keys[:-1]:
                table = table.setdefault(key, {}) if isinstance(table, dict) else None
            if isinstance(table, dict):
                table[keys[-1]] = _Override(self._environ[name])
            else:
                self.problem(keys, "overrides a key inside of something that is no table")

    def problem(self, keys: Keys, text: str) -> Any:
        self.problems.append((keys, text))
        return _BAD

    def table(self, cls: Any, raw: Any, keys: Keys, base: Any) -> Any:
        """An instance of a dataclass; what ``raw`` leaves out comes from ``base`` or the class."""
        if not isinstance(raw, dict):
            return self.problem(keys, "is a table: write its keys below a line [" + ".".join(keys) + "]")
        hints = typing.get_type_hints(cls)
        fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
        for key in raw.keys() - fields.keys():
            self.problem((*keys, key), f"unknown key; {_did_you_mean(key, fields)}")
        values = {
            name: self._field(field, hints[name], raw.get(name, MISSING), (*keys, name), base)
            for name, field in fields.items()
        }
        if _BAD in values.values():
            return _BAD
        try:
            return cls(**values)
        except ValueError as error:
            return self.problem(keys, str(error))

    def _field(self, field: Field[Any], wanted: Any, raw: Any, keys: Keys, base: Any) -> Any:
        inherited = getattr(base, field.name, MISSING)
        if inherited is MISSING:
            inherited = field.default if field.default_factory is MISSING else field.default_factory()
        if raw is not MISSING:
            return self._bounds(field, self._value(wanted, raw, keys, inherited), keys)
        if inherited is not MISSING:
            return inherited
        if is_dataclass(wanted) and wanted is not Secret:
            return self.table(wanted, {}, keys, MISSING)
        return self.problem(keys, f"is missing: {field.metadata.get('doc') or 'it has no default'}")

    def _bounds(self, field: Field[Any], value: Any, keys: Keys) -> Any:
        low, high = field.metadata.get("low"), field.metadata.get("high")
        if low is None or high is None or value is _BAD or value is None or low <= value <= high:
            return value
        unit = field.metadata["unit"]
        return self.problem(keys, f"{value} is out of bounds: {low} to {high} {unit}".rstrip())

    def _value(self, wanted: Any, raw: Any, keys: Keys, base: Any) -> Any:
        origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
        if origin in {typing.Union, types.UnionType}:
            (wanted,) = (each for each in arguments if each is not types.NoneType)
            return self._value(wanted, raw, keys, base)
        if wanted is Secret:
            return self._secret(raw, keys)
        if is_dataclass(wanted):
            return self.table(wanted, raw, keys, base)
        if origin is dict:
            return self._dictionary(arguments, raw, keys, base)
        if origin is tuple:
            items = [part.strip() for part in raw.text.split(",")] if isinstance(raw, _Override) else raw
            if not isinstance(items, list):
                return self.problem(keys, f"should be a list, not {_kind(raw)}")
            wrap = _Override if isinstance(raw, _Override) else lambda item: item
            values = tuple(self._value(arguments[0], wrap(item), keys, MISSING) for item in items)
            return _BAD if _BAD in values else values
        return self._scalar(wanted, raw, keys)

    def _dictionary(self, arguments: tuple[Any, ...], raw: Any, keys: Keys, base: Any) -> Any:
        if not isinstance(raw, dict):
            return self.problem(keys, "is a table of tables: write [" + ".".join(keys) + ".NAME]")
        found = {} if base is MISSING else dict(base)
        for name, each in raw.items():
            key = self._scalar(arguments[0], name, (*keys, name))
            if key is not _BAD:
                found[key] = self._value(arguments[1], each, (*keys, name), found.get(key, MISSING))
        return _BAD if _BAD in found.values() else found

    def _scalar(self, wanted: Any, raw: Any, keys: Keys) -> Any:
        try:
            value = _parsed(wanted, raw.text) if isinstance(raw, _Override) else raw
            if issubclass(wanted, Enum):
                return wanted(value)
        except ValueError:
            choices = f"one of {', '.join(each.value for each in wanted)}" if issubclass(wanted, Enum) else ""
            return self.problem(keys, f"should be {choices or _NAMES[wanted]}, not {_shown(raw)!r}")
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            return self.problem(keys, f"should be {_NAMES[wanted]}, not {_kind(value)}")
        if wanted is float and not math.isfinite(value):
            return self.problem(keys, f"should be a finite number, not {value}")
        if wanted is datetime:
            if value.tzinfo is None:
                return self.problem(keys, f"needs a time zone: {value.isoformat()}Z")
            return value.astimezone(UTC)
        return value

    def _secret(self, raw: Any, keys: Keys) -> Any:
        if isinstance(raw, _Override):
            return Secret(raw.text)
        match raw:
            case {"env": str(name), **others} if not others:
                return Secret(self._environ.get(name, ""))
            case {"file": str(name), **others} if not others:
                return self._secret_file(Path(name).expanduser(), keys)
        cure = 'write { env = "NAME" } or { file = "path" } in its place, and replace the secret'
        return self.problem(keys, f"a secret does not belong in this file; {cure}")

    def _secret_file(self, path: Path, keys: Keys) -> Any:
        try:
            with path.open("rb") as file:
                content = file.read(SECRET_BYTES_MAX + 1)
            if len(content) > SECRET_BYTES_MAX:
                return self.problem(keys, f"{path} is larger than any secret ({SECRET_BYTES_MAX} bytes)")
            secret = content.decode().strip()
        except OSError as error:
            return self.problem(keys, f"{path} can't be read: {error.strerror}")
        except UnicodeDecodeError:
            return self.problem(keys, f"{path} is not text")
        return Secret(secret) if secret else self.problem(keys, f"{path} is empty")


_NAMES: Final = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    datetime: "a date and time with its zone",
    list: "a list",
    dict: "a table",
}


def _parsed(wanted: Any, text: str) -> Any:
    """The text of an environment variable as TOML would have given it. Raises ValueError."""
    if wanted is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if wanted is datetime:
        return datetime.fromisoformat(text)
    return wanted(text) if wanted in {int, float} else text


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)


def _is_table(value: object) -> bool:
    return is_dataclass(value) and not isinstance(value, Secret)


def _shown(value: object) -> str:
    if isinstance(value, _Override):
        return value.text
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool | types.NoneType):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _did_you_mean(key: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, names, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(names)}"


def _report(loader: _Loader, text: str, source: str) -> str:
    lines = _lines(text, [keys for keys, _ in loader.problems])
    found = []
    for keys, problem in loader.problems:
        line = next((lines[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in lines), 1)
        variable = loader.overrides.get(keys)
        place = variable or f"{source}, line {line}"
        found.append((variable is not None, line, f"{place}: {'.'.join(keys)}: {problem}"))
    mistakes = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    rows = "".join(f"\n  {row}" for _, _, row in sorted(found))
    return f"{mistakes} in the settings, nothing was started:{rows}"


def _lines(text: str, wanted: Iterable[Keys]) -> dict[Keys, int]:
    """Line of each key and of the tables around it, found by parsing ever longer beginnings of the file.

    tomllib does not say where a key stands, and a parser of our own would disagree with it some day.
    """
    missing = {keys[:n] for keys in wanted for n in range(1, len(keys) + 1)}
    found: dict[Keys, int] = {}
    rows, start = text.split("\n"), 1
    for end, row in enumerate(rows, start=1):
        if start == end and not row.split("#")[0].strip():
            start = end + 1
            continue
        try:
            tree = tomllib.loads("\n".join(rows[:end]))
        except tomllib.TOMLDecodeError:  # in the middle of a value of several lines
            continue
        found |= {keys: start for keys in missing if _holds(tree, keys)}
        missing -= found.keys()
        start = end + 1
    return found


def _holds(tree: Any, keys: Keys) -> bool:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True
