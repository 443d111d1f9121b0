"""What conforms to a schema, and what is said of what does not."""

from __future__ import annotations

from typing import Any

import pytest

from jurymast.policy.schema import DEPTH_MAX, problem_with

FORECAST: dict[str, Any] = {
    "type": "object",
    "properties": {
        "probability_pct": {"type": "integer"},
        "grade": {"enum": ["weak", "strong"]},
        "facts": {"type": "array", "items": {"$ref": "#/$defs/fact"}},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["probability_pct", "grade"],
    "additionalProperties": False,
    "$defs": {
        "fact": {
            "type": "object",
            "properties": {"text": {"type": "string"}, "from": {"$ref": "#/$defs/fact"}},
            "required": ["text"],
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize(
    "value",
    [
        {"probability_pct": 61, "grade": "weak"},
        {"probability_pct": 61.0, "grade": "strong", "note": None, "facts": []},
        {"probability_pct": 1, "grade": "weak", "facts": [{"text": "a", "from": {"text": "b"}}]},
    ],
)
def test_what_conforms(value: object) -> None:
    """Nothing is said of what is as it was asked for."""
    assert problem_with(value, FORECAST) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "the answer should be of type object"),
        ({"grade": "weak"}, "the answer has no 'probability_pct'"),
        ({"probability_pct": 0.61, "grade": "weak"}, "the answer.probability_pct should be of type integer"),
        ({"probability_pct": True, "grade": "weak"}, "the answer.probability_pct should be of type integer"),
        ({"probability_pct": "61", "grade": "weak"}, "the answer.probability_pct should be of type integer"),
        ({"probability_pct": 61, "grade": "fair"}, "the answer.grade is none of the values asked for"),
        ({"probability_pct": 61, "grade": "weak", "buy": 1}, "the answer.buy is not asked for"),
        ({"probability_pct": 61, "grade": "weak", "note": 5}, "the answer.note is none of the 2 kinds"),
        (
            {"probability_pct": 61, "grade": "weak", "facts": [{"text": "a", "from": {}}]},
            "the answer.facts[0].from has no 'text'",
        ),
    ],
)
def test_what_does_not_and_where(value: object, said: str) -> None:
    """The first difference is named with its place."""
    problem = problem_with(value, FORECAST)
    assert problem is not None
    assert problem.startswith(said)


def test_true_is_not_one() -> None:
    """A truth value and a number are different answers, whatever Python says."""
    assert problem_with(True, {"enum": [1]}) is not None
    assert problem_with(1, {"const": True}) is not None
    assert problem_with(1, {"enum": [1]}) is None


def test_values_and_schemas_without_an_end_are_refused() -> None:
    """Neither a value nested without measure nor a schema that refers to itself takes the program down."""
    deep: Any = 0
    for _ in range(DEPTH_MAX * 2):
        deep = [deep]
    nested = {"$defs": {"list": {"type": "array", "items": {"$ref": "#/$defs/list"}}}, "$ref": "#/$defs/list"}
    assert problem_with(deep, nested) == "the answer" + "[0]" * (DEPTH_MAX // 2) + " is nested too deep"
    assert problem_with(1, {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}) is not None


def test_what_it_does_not_know_it_does_not_judge() -> None:
    """Keywords of later schemas are hints, and a reference that points nowhere asks for nothing."""
    assert problem_with("x", {"type": "string", "pattern": "^y$", "minLength": 5}) is None
    assert problem_with("x", {"$ref": "#/$defs/absent"}) is None
    assert problem_with("x", {"type": "decimal"}) is None
