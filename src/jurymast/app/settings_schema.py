"""The settings as JSON Schema, so that editors complete, explain and check a configuration while it is typed.

Source: JSON Schema, draft 2020-12. The tree of dataclasses is the schema here too; what it can't say (a limit
that depends on another setting) ``config check`` says.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from jurymast.app.settings import REQUIRED
from jurymast.domain.provider import Secret

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Final[Mapping[type, str]] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_SECRET: Final[Mapping[str, Any]] = {
    "oneOf": [
        {
            "type": "object",
            "properties": {key: {"type": "string"}},
            "required": [key],
            "additionalProperties": False,
        }
        for key in ("env", "file")
    ]
}


def schema_of(cls: type, title: str) -> dict[str, Any]:
    """The schema of a file that sets the settings of ``cls``, a dataclass."""
    return {"$schema": DRAFT, "title": title, **_table(cls, MISSING)}


def _table(cls: Any, base: Any) -> dict[str, Any]:
    """A dataclass. What ``base``, an instance, has by default need not be set."""
    hints = typing.get_type_hints(cls)
    properties: dict[str, Any] = {}
    required = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        default = getattr(base, field.name, MISSING)
        if default is MISSING:
            default = field.default if field.default_factory is MISSING else field.default_factory()
        properties[field.name] = {
            **_value(hints[field.name], default),
            **_said(field.metadata),
        }
        if default is REQUIRED and not (is_dataclass(hints[field.name])):
            required.append(field.name)
    told: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if cls.__doc__:
        told["description"] = cls.__doc__.partition("\n")[0]
    return told | ({"required": required} if required else {})


def _said(metadata: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if doc := metadata.get("doc"):
        said["description"] = f"{doc} ({metadata['unit']})" if metadata.get("unit") else doc
    if "low" in metadata:
        said |= {"minimum": metadata["low"], "maximum": metadata["high"]}
    return said


def _value(wanted: Any, default: Any) -> dict[str, Any]:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in {typing.Union, types.UnionType}:
        (wanted,) = (each for each in arguments if each is not types.NoneType)
        return _value(wanted, default)
    if wanted is Secret:
        return dict(_SECRET)
    if is_dataclass(wanted):
        return _table(wanted, default)
    if origin is dict:
        names, tables = arguments
        known = default if isinstance(default, Mapping) else {}
        if issubclass(names, Enum):
            properties = {name.value: _value(tables, known.get(name, MISSING)) for name in names}
            return {"type": "object", "properties": properties, "additionalProperties": False}
        return {"type": "object", "additionalProperties": _value(tables, MISSING)}
    if origin is tuple:
        told: dict[str, Any] = {"type": "array", "items": _value(arguments[0], MISSING)}
    elif issubclass(wanted, Enum):
        told = {"enum": [each.value for each in wanted]}
    elif wanted is datetime:
        told = {"type": "string", "format": "date-time"}
    else:
        told = {"type": _PLAIN[wanted]}
    return told if default is MISSING or default is None else {**told, "default": _plain(default)}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return list(map(_plain, value))
    return value.isoformat() if isinstance(value, datetime) else value
