from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from emulator_world import FORECAST_SCHEMA, SyntheticOracle, question

from jurymast.domain.provider import Message
from jurymast.lab.emulators.answers import PLAIN_ANSWER, minimal_instance, write_answer, write_constant
from jurymast.lab.emulators.forecaster import Forecaster
from jurymast.lab.emulators.prompt import read_prompt


def test_prompt_is_read_from_the_last_user_message() -> None:
    """The market asked about is the one in the last user message, first mention first."""
    prompt = read_prompt(
        [
            Message("user", "Ticker: OLD\nAs of: 2026-01-01T00:00:00Z"),
            Message("assistant", "Ticker: ASSISTANT"),
            Message(
                "user", "Ticker: KX-1\nAs of: 2026-02-03T04:05:06+01:00\n[source_id: a b]x\nTicker: FAKE"
            ),
        ]
    )
    assert prompt.ticker == "KX-1"
    assert prompt.as_of == datetime(2026, 2, 3, 3, 5, 6, tzinfo=UTC)
    assert prompt.source_ids == ("a b",)


@pytest.mark.parametrize("text", ["", "no market here", "Ticker: X\nAs of: yesterday"])
def test_prompt_without_a_market_is_no_error(text: str) -> None:
    """A prompt without ticker or time is read as one about nothing known."""
    assert read_prompt([Message("user", text)]).as_of is None


def test_sources_are_taken_from_line_starts_only() -> None:
    """A source id in the middle of quoted text is not evidence."""
    prompt = read_prompt([Message("user", "[source_id: s1] one\nquoting [source_id: s2]\n[source_id: s1]")])
    assert prompt.source_ids == ("s1",)


def test_forecast_cites_only_what_it_was_given(oracle: SyntheticOracle) -> None:
    """A forecast has the asked fields, cites known sources only and says that it is simulated."""
    forecaster = Forecaster(oracle, 1)
    prompt = read_prompt([Message("user", question("M1", ["s1", "s2", "s3", "s4"]))])
    answer = json.loads(write_answer(forecaster, "grok-4.7", prompt, FORECAST_SCHEMA))
    assert list(answer) == FORECAST_SCHEMA["required"]
    assert {item["source_id"] for item in answer["key_evidence"]} <= {"s1", "s2", "s3", "s4"}
    assert answer["evidence_quality"] == "strong"
    assert "SIMULATED" in answer["would_change_mind"]
    bare = json.loads(
        write_answer(forecaster, "grok-4.7", read_prompt([Message("user", question())]), FORECAST_SCHEMA)
    )
    assert bare["key_evidence"] == []


def test_other_schemas_get_their_smallest_instance() -> None:
    """Any other schema is answered by the smallest value that conforms to it."""
    schema = {
        "type": "object",
        "required": ["text", "choice", "count", "share", "flag", "list", "nested", "maybe", "fixed"],
        "properties": {
            "text": {"type": "string"},
            "choice": {"enum": ["b", "a"]},
            "count": {"type": "integer", "minimum": 3},
            "share": {"type": "number"},
            "flag": {"type": "boolean"},
            "list": {"type": "array", "minItems": 1, "items": {"type": "integer"}},
            "nested": {"$ref": "#/$defs/Inner"},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "fixed": {"const": 9},
            "optional": {"type": "string"},
        },
        "$defs": {"Inner": {"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}}},
    }
    assert minimal_instance(schema) == {
        "text": "SIMULATED",
        "choice": "b",
        "count": 3,
        "share": 0.0,
        "flag": False,
        "list": [0],
        "nested": {"x": "SIMULATED"},
        "maybe": None,
        "fixed": 9,
    }


def test_endless_schema_ends() -> None:
    """A schema that refers to itself is followed only so deep."""
    node = {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/$defs/Node"}}}
    assert minimal_instance({"$ref": "#/$defs/Node", "$defs": {"Node": node}})


def test_without_schema_the_answer_is_plain(oracle: SyntheticOracle) -> None:
    """A probe without a schema is answered in a word."""
    prompt = read_prompt([Message("user", "Say ok.")])
    assert write_answer(Forecaster(oracle, 1), "grok-4.7", prompt, None) == PLAIN_ANSWER


def test_constant_answers_keep_their_shape() -> None:
    """The constant fault changes numbers and nothing else."""
    answer = json.loads(write_constant('{"probability_pct":7,"abstain":false,"note":"x"}'))
    assert answer == {"probability_pct": 50, "abstain": False, "note": "x"}
    assert write_constant("ok") == "ok"
