"""What a simulated model writes: a forecast, the smallest instance of any other schema, or plain text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from jurymast.lab.emulators.forecaster import Belief, Forecaster
from jurymast.lab.emulators.prompt import Prompt

PLAIN_ANSWER: Final = "ok"
REFUSAL_TEXT: Final = "I'm sorry, but I can't help with that. (SIMULATED refusal)"
SCHEMA_DEPTH_MAX: Final = 20

CONSTANT_PCT: Final = 50

Schema = Mapping[str, Any]


def write_answer(forecaster: Forecaster, model: str, prompt: Prompt, schema: Schema | None) -> str:
    """The text that ``model`` answers ``prompt`` with, as JSON where a schema was given."""
    if schema is None:
        return PLAIN_ANSWER
    if not asks_forecast(schema):
        return _compact(minimal_instance(schema))
    return _compact(_forecast(forecaster.believe(model, prompt), prompt))


def write_constant(text: str) -> str:
    """The same answer with every number replaced by one number, whatever was asked."""
    try:
        answer = json.loads(text)
    except ValueError:
        return text
    if not isinstance(answer, dict):
        return text
    return _compact({name: _constant(value) for name, value in answer.items()})


def write_wrong_schema() -> str:
    """Valid JSON that has nothing to do with what was asked."""
    return _compact({"verdict": "YES", "confidence": "high", "note": "SIMULATED answer of the wrong shape"})


def asks_forecast(schema: Schema) -> bool:
    """Whether the schema is the one the trader asks beliefs with."""
    properties = schema.get("properties", {})
    return {"probability_pct", "low_pct", "high_pct", "would_change_mind"} <= set(properties)


def minimal_instance(schema: Schema) -> object:
    """The smallest value that conforms to ``schema``, with SIMULATED in every free text."""
    return _instance(schema, schema, SCHEMA_DEPTH_MAX)


def _instance(schema: Schema, root: Schema, depth: int) -> object:
    if depth == 0:
        return None
    if "$ref" in schema:
        return _instance(_referenced(str(schema["$ref"]), root), root, depth - 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return _instance(schema[choice][0], root, depth - 1)
    return _typed_instance(schema, root, depth)


def _typed_instance(schema: Schema, root: Schema, depth: int) -> object:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            wanted = schema.get("required", ())
            properties = schema.get("properties", {})
            return {name: _instance(properties.get(name, {}), root, depth - 1) for name in wanted}
        case "array":
            item = schema.get("items", {})
            return [_instance(item, root, depth - 1) for _ in range(schema.get("minItems", 0))]
        case "integer":
            return int(schema.get("minimum", 0))
        case "number":
            return float(schema.get("minimum", 0.0))
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return "SIMULATED"


def _referenced(reference: str, root: Schema) -> Schema:
    """A definition in the same document (``#/$defs/Name``); anything else allows any text."""
    found: Any = root
    for name in reference.removeprefix("#/").split("/"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _forecast(belief: Belief, prompt: Prompt) -> dict[str, object]:
    date = prompt.as_of.date().isoformat() if prompt.as_of else ""
    return {
        "probability_pct": belief.probability_pct,
        "low_pct": belief.low_pct,
        "high_pct": belief.high_pct,
        "base_rate_pct": belief.base_rate_pct,
        "evidence_quality": belief.evidence_quality,
        "resolution_risk": belief.resolution_risk,
        "key_evidence": [
            {"fact": f"SIMULATED reading of {source_id}", "date": date, "source_id": source_id}
            for source_id in belief.cited
        ],
        "would_change_mind": "SIMULATED forecast: a dated report from the resolution source would.",
        "abstain": False,
    }


def _constant(value: object) -> object:
    return CONSTANT_PCT if isinstance(value, int) and not isinstance(value, bool) else value


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
