"""Whether a JSON value is what a schema asks for, in the subset of JSON Schema that all vendors accept.

``type``, ``properties``, ``required``, ``additionalProperties``, ``items``, ``enum``, ``const``, ``anyOf``
and references into ``$defs`` are heeded; other keywords are hints that vendors do not enforce, and are not
enforced here. A value or schema nested deeper than ``DEPTH_MAX`` does not conform.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

DEPTH_MAX: Final = 100

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_ABSENT: Final = object()


def problem_with(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Where and how ``value`` differs from what ``schema`` asks for; None when it conforms."""
    return _problem(value, schema, schema, "the answer", 0)


def _problem(value: Any, schema: Any, root: Mapping[str, Any], where: str, depth: int) -> str | None:
    if depth > DEPTH_MAX:
        return f"{where} is nested too deep"
    if schema is False:
        return f"{where} is not asked for"
    if not isinstance(schema, Mapping):
        return None
    if (reference := schema.get("$ref")) is not None:
        return _problem(value, _referred(reference, root), root, where, depth + 1)
    if (choices := schema.get("anyOf")) is not None:
        problems = [_problem(value, choice, root, where, depth + 1) for choice in choices]
        if all(problems):
            return f"{where} is none of the {len(problems)} kinds asked for"
    if problem := _own_problem(value, schema, where):
        return problem
    if isinstance(value, dict):
        return _object_problem(value, schema, root, where, depth)
    if isinstance(value, list) and "items" in schema:
        for place, item in enumerate(value):
            if problem := _problem(item, schema["items"], root, f"{where}[{place}]", depth + 1):
                return problem
    return None


def _own_problem(value: Any, schema: Mapping[str, Any], where: str) -> str | None:
    """The same, but for what is within the value."""
    if not _is_of(value, schema.get("type")):
        return f"{where} should be of type {schema['type']}"
    if "enum" in schema and not any(_same(value, each) for each in schema["enum"]):
        return f"{where} is none of the values asked for"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{where} is not the value asked for"
    return None


def _object_problem(
    value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], where: str, depth: int
) -> str | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{where} has no {name!r}"
    others = schema.get("additionalProperties", True)
    for name, each in value.items():
        wanted = properties.get(name, _ABSENT)
        if wanted is _ABSENT:
            wanted = others
        if problem := _problem(each, wanted, root, f"{where}.{name}", depth + 1):
            return problem
    return None


def _is_of(value: Any, kinds: Any) -> bool:
    if kinds is None:
        return True
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind not in _TYPES:
            return True  # a type of a schema newer than this
        if isinstance(value, bool):
            if kind == "boolean":
                return True
        elif isinstance(value, _TYPES[kind]) or (
            kind == "integer" and isinstance(value, float) and value.is_integer()
        ):
            return True
    return False


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON: true is not 1."""
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)


def _referred(reference: Any, root: Mapping[str, Any]) -> Any:
    """What a reference within the schema points at; nothing is asked for by one that points nowhere."""
    found: Any = root
    for step in str(reference).removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found
