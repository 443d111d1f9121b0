"""Parsing: a model's text is a forecast, an abstention, or refused with a reason. Nothing is guessed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jurymast.domain.decision import CitedFact, EvidenceQuality, Forecast, ResolutionRisk
from jurymast.policy.parsing import (
    ANSWER_BYTES_MAX,
    FACTS_MAX,
    FIELDS,
    REASON_CHARS_MAX,
    TEXT_CHARS_MAX,
    ModelAbstained,
    Rejected,
    _exact_forecast,
    _read,
    parse_forecast,
)

SOURCES = {"ev-1", "ev-2"}
FACT = {"fact": "rain at noon", "date": "2026-03-01", "source_id": "ev-1"}
GOOD: dict[str, Any] = {
    "probability_pct": 62,
    "low_pct": 50,
    "high_pct": 70,
    "base_rate_pct": 40,
    "evidence_quality": "mixed",
    "resolution_risk": "low",
    "key_evidence": [FACT],
    "would_change_mind": "a dry forecast",
    "abstain": False,
}


def parse(answer: object) -> Forecast | ModelAbstained | Rejected:
    return parse_forecast(answer if isinstance(answer, str) else json.dumps(answer), SOURCES)


def with_(**changes: object) -> dict[str, Any]:
    return GOOD | changes


def test_text_of_a_subclass_of_str_is_read_like_text() -> None:
    """Some clients (LangChain's among them) hand over a subclass of str, which msgspec's decoder refuses."""

    class Text(str):
        __slots__ = ()

    assert parse(Text(json.dumps(GOOD))) == parse(GOOD)
    assert isinstance(parse(Text("no answer")), Rejected)


def test_a_good_answer_is_taken_as_it_is() -> None:
    """Every field arrives unchanged, whatever their order and the white space around."""
    forecast = parse("  \n" + json.dumps(dict(reversed(GOOD.items())), indent=2) + "\n ")
    assert forecast == Forecast(
        probability_pct=62,
        low_pct=50,
        high_pct=70,
        base_rate_pct=40,
        evidence_quality=EvidenceQuality.MIXED,
        resolution_risk=ResolutionRisk.LOW,
        key_evidence=(CitedFact("rain at noon", "2026-03-01", "ev-1"),),
        would_change_mind="a dry forecast",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"probability_pct": 1, "low_pct": 1, "high_pct": 1},
        {"probability_pct": 99, "low_pct": 99, "high_pct": 99},
        {"base_rate_pct": 0},
        {"base_rate_pct": 100},
        {"key_evidence": []},
        {"key_evidence": [FACT] * FACTS_MAX},
        {"would_change_mind": ""},
        {"would_change_mind": "雨 🌧"},
    ],
)
def test_values_at_their_bounds_are_forecasts(changes: dict[str, Any]) -> None:
    """Every bound is inclusive."""
    assert isinstance(parse(with_(**changes)), Forecast)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"probability_pct": 0.85}, "not a whole percent"),
        ({"probability_pct": 85.0}, "not a whole percent"),
        ({"probability_pct": "85"}, "not a whole percent"),
        ({"probability_pct": "62%"}, "not a whole percent"),
        ({"probability_pct": "BUY_NO"}, "not a whole percent"),
        ({"probability_pct": True, "low_pct": True}, "not a whole percent"),
        ({"probability_pct": None}, "not a whole percent"),
        ({"probability_pct": [62]}, "not a whole percent"),
        ({"probability_pct": 0, "low_pct": 0}, "outside 1..99"),
        ({"probability_pct": 100, "high_pct": 100}, "outside 1..99"),
        ({"probability_pct": -62}, "outside 1..99"),
        ({"probability_pct": 10**40}, "outside 1..99"),
        ({"low_pct": 63}, "out of order"),
        ({"high_pct": 61}, "out of order"),
        ({"low_pct": 70, "high_pct": 50}, "out of order"),
        ({"low_pct": "50"}, "low_pct"),
        ({"base_rate_pct": -1}, "outside 0..100"),
        ({"base_rate_pct": 101}, "outside 0..100"),
        ({"base_rate_pct": 0.5}, "not a whole percent"),
        ({"evidence_quality": "MIXED"}, "not one of none, weak, mixed, strong"),
        ({"evidence_quality": ["mixed"]}, "not one of"),
        ({"evidence_quality": None}, "not one of"),
        ({"resolution_risk": "none"}, "not one of low, medium, high"),
        ({"resolution_risk": {}}, "not one of"),
        ({"key_evidence": None}, "not a list"),
        ({"key_evidence": "ev-1"}, "not a list"),
        ({"key_evidence": [FACT] * (FACTS_MAX + 1)}, "at most 20"),
        ({"key_evidence": ["ev-1"]}, "not {fact, date, source_id}"),
        ({"key_evidence": [{"fact": "f", "source_id": "ev-1"}]}, "not {fact, date, source_id}"),
        ({"key_evidence": [FACT | {"url": "x"}]}, "not {fact, date, source_id}"),
        ({"key_evidence": [FACT | {"date": 20260301}]}, "date is not text"),
        ({"key_evidence": [FACT | {"source_id": "ev-3"}]}, "cites source 'ev-3'"),
        ({"key_evidence": [FACT | {"source_id": ""}]}, "cites source ''"),
        ({"key_evidence": [FACT | {"source_id": "ev-1 "}]}, "cites source 'ev-1 '"),
        ({"key_evidence": [FACT | {"source_id": 1}]}, "source_id is not text"),
        ({"would_change_mind": None}, "would_change_mind is not text"),
        ({"would_change_mind": "half \ud83c"}, "half a surrogate pair"),
        ({"key_evidence": [FACT | {"fact": "\udf27"}]}, "half a surrogate pair"),
        ({"abstain": "false"}, "abstain is not true or false"),
        ({"abstain": 0}, "abstain is not true or false"),
        ({"abstain": None}, "abstain is not true or false"),
        ({"action": "BUY_NO"}, "unknown fields 'action'"),
        ({"probability_pct ": 62}, "unknown fields"),
    ],
)
def test_what_is_not_exactly_a_forecast_is_refused_with_its_reason(
    changes: dict[str, Any], reason: str
) -> None:
    """A value of the wrong type, outside its bounds or beyond the evidence is no belief."""
    refused = parse(with_(**changes))
    assert isinstance(refused, Rejected)
    assert reason in refused.reason


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_every_field_is_required(field: str) -> None:
    """A missing field is named, never defaulted."""
    answer = {name: value for name, value in GOOD.items() if name != field}
    assert parse(answer) == Rejected(f"without {field}")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "6.2e1", "0x3e", "062", "+62"])
def test_numbers_that_json_does_not_have_are_refused(number: str) -> None:
    """NaN, infinities and other spellings are nothing, wherever they stand."""
    for field in ("probability_pct", "base_rate_pct", "would_change_mind"):
        text = json.dumps(with_(**{field: "@"})).replace('"@"', number)
        assert isinstance(parse(text), Rejected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("BUY_NO", "not JSON"),
        ("62", "a JSON int, not an object"),
        ("null", "a JSON NoneType, not an object"),
        ('"yes"', "a JSON str, not an object"),
        (json.dumps([GOOD]), "a JSON list, not an object"),
        ("<!DOCTYPE html><html><body>502</body></html>", "not JSON"),
        (json.dumps(GOOD) * 2, "not JSON"),
        (json.dumps(GOOD) + "\n" + json.dumps(GOOD), "not JSON"),
        ("I think NO.\n" + json.dumps(GOOD), "not JSON"),
        (json.dumps(GOOD) + "\nHope this helps!", "not JSON"),
        (json.dumps(GOOD)[:-1], "not JSON"),
        (json.dumps(GOOD)[:-1] + ",}", "not JSON"),
        (str(GOOD), "not JSON"),
        ("\ufeff" + json.dumps(GOOD), "not JSON"),
        ("[" * 30_000, "not JSON"),
        ('{"a":' * 10_000 + "1" + "}" * 10_000, "not JSON"),
        ("9" * 5_000, "not JSON"),
        ("x" * (ANSWER_BYTES_MAX + 1), "longer than"),
        ("é" * (ANSWER_BYTES_MAX // 2 + 1), "longer than"),
        ("{}", "without abstain, base_rate_pct"),
    ],
)
def test_text_that_is_not_one_json_object_is_refused(text: str, reason: str) -> None:
    """Prose, pages, two answers, half an answer, nesting and length without end: all are refused."""
    refused = parse(text)
    assert isinstance(refused, Rejected)
    assert reason in refused.reason


@pytest.mark.parametrize(
    "text",
    [
        '{"probability_pct": 1, ' + json.dumps(GOOD)[1:],
        json.dumps(GOOD)[:-1] + ', "abstain": true}',
        json.dumps(GOOD)[:-1] + ', "probability\\u005fpct": 5}',
        json.dumps(GOOD)[:-1].replace("dry", "\\u003a") + ', "base_rate_pct": 5}',
        json.dumps(with_(key_evidence="@")).replace(
            '"@"', '[{"fact":"a","fact":"b","date":"","source_id":"ev-1"}]'
        ),
    ],
)
def test_a_field_that_stands_twice_is_refused(text: str) -> None:
    """Of two values none is the right one, however the name is written and however deep it stands."""
    assert parse(text) == Rejected("a field stands twice")


@pytest.mark.parametrize("opening", ["```json", "```", "```json  "])
def test_a_fence_around_the_whole_answer_is_taken_off(opening: str) -> None:
    """The one wrapping that many models add is no reason to lose an answer."""
    assert isinstance(parse(f"\n{opening}\n{json.dumps(GOOD, indent=1)}\n```\n"), Forecast)


@pytest.mark.parametrize(
    "text",
    [
        "```json\n" + json.dumps(GOOD),
        json.dumps(GOOD) + "\n```",
        "Here it is:\n```json\n" + json.dumps(GOOD) + "\n```",
        "```json\n" + json.dumps(GOOD) + "\n```\nbecause of the rain",
        "```json\n" + json.dumps(GOOD) + "\n```\n```json\n" + json.dumps(GOOD) + "\n```",
        "```" + json.dumps(with_(probability_pct=5, low_pct=1)) + "\n" + json.dumps(GOOD) + "\n```",
        "```NO, certainly not\n" + json.dumps(GOOD) + "\n```",
        "```",
        "``````",
        "```\n```",
    ],
)
def test_anything_else_around_an_answer_is_refused(text: str) -> None:
    """What stands beside an answer may contradict it, so it is not thrown away unread."""
    assert isinstance(parse(text), Rejected)


def test_an_abstention_is_an_answer() -> None:
    """A model may say that it can't tell, and then its numbers do not matter."""
    assert parse(with_(abstain=True)) == ModelAbstained("a dry forecast")
    assert parse(with_(abstain=True, probability_pct=None, would_change_mind="")) == ModelAbstained(
        "the model abstains"
    )
    assert isinstance(parse(with_(abstain=True, would_change_mind=None)), Rejected)


def test_long_texts_are_cut() -> None:
    """What is kept of an answer is bounded, field by field, and so is the reason of a refusal."""
    forecast = parse(with_(would_change_mind="x" * 9_000, key_evidence=[FACT | {"fact": "y" * 9_000}]))
    assert isinstance(forecast, Forecast)
    assert len(forecast.would_change_mind) == TEXT_CHARS_MAX
    assert len(forecast.key_evidence[0].fact) == TEXT_CHARS_MAX
    refused = parse(with_(probability_pct="9" * 50_000))
    assert isinstance(refused, Rejected)
    assert len(refused.reason) == REASON_CHARS_MAX


ANY_TEXT = st.text(st.characters(codec=None), max_size=60)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
PERCENT = st.integers(-2, 102) | st.floats(0, 1) | st.booleans() | ANY_JSON
NEARLY = st.fixed_dictionaries(
    {
        "probability_pct": PERCENT,
        "low_pct": st.integers(1, 5) | PERCENT,
        "high_pct": st.integers(95, 99) | PERCENT,
        "base_rate_pct": st.integers(0, 100) | PERCENT,
        "evidence_quality": st.sampled_from(EvidenceQuality) | ANY_JSON,
        "resolution_risk": st.sampled_from(ResolutionRisk) | ANY_JSON,
        "key_evidence": st.lists(st.just(FACT) | ANY_JSON, max_size=3),
        "would_change_mind": ANY_TEXT | ANY_JSON,
        "abstain": st.booleans() | ANY_JSON,
    }
)


def check_what_came_out(parsed: Forecast | ModelAbstained | Rejected) -> None:
    if isinstance(parsed, Forecast):
        numbers = (parsed.low_pct, parsed.probability_pct, parsed.high_pct, parsed.base_rate_pct)
        assert all(type(number) is int for number in numbers)
        assert 1 <= parsed.low_pct <= parsed.probability_pct <= parsed.high_pct <= 99
        assert 0 <= parsed.base_rate_pct <= 100
        assert {fact.source_id for fact in parsed.key_evidence} <= SOURCES
    else:
        assert parsed.reason
    msgspec.json.encode(parsed)


@given(text=st.text(st.characters(codec=None)))
@example("\ud800")
@example("```\n{\n```")
@example('{"\ud800": 1}')
def test_any_text_ends_in_one_of_three_ways(text: str) -> None:
    """Whatever a model says, nothing is raised and the result can be written down."""
    parsed = parse_forecast(text, SOURCES)
    assert isinstance(parsed, Rejected)
    check_what_came_out(parsed)


@given(answer=NEARLY | ANY_JSON, ascii_only=st.booleans())
@example(with_(would_change_mind="\ud83c", abstain=True), True)
@example(with_(key_evidence=[FACT | {"source_id": "\ud83c"}]), True)
@example(GOOD | {"\ud83c": 1}, True)
def test_any_json_ends_in_one_of_three_ways(answer: object, ascii_only: bool) -> None:
    """However near it comes to a forecast, only a valid one gets through, and all can be written down."""
    check_what_came_out(parse_forecast(json.dumps(answer, ensure_ascii=ascii_only), SOURCES))


CHANGES = [
    ("{", '{"abstain": false, '),
    ("{", '{"abstain" : false, '),
    ("{", '{"more": 1, '),
    ('"fact"', '"fact": "a:b", "fact"'),
    ('"date"', '"d\\u0061te"'),
    ("dry", "\\u003a"),
    (": ", ":"),
    ("62", "62.0"),
    ("62", "6.2e1"),
]


@given(
    answer=NEARLY, changed=st.lists(st.sampled_from(CHANGES), max_size=3), indent=st.sampled_from([None, 1])
)
@example(GOOD | {"key_evidence": [FACT] * FACTS_MAX}, [], None)
@example(GOOD | {"would_change_mind": "if: so"}, [("{", '{"abstain": false, ')], None)
def test_reading_in_one_go_and_step_by_step_agree(
    answer: object, changed: list[tuple[str, str]], indent: int | None
) -> None:
    """What is read in one go is read alike step by step: the quick way knows no other rules."""
    text = json.dumps(answer, indent=indent)
    for old, new in changed:
        text = text.replace(old, new, 1)
    exact = _exact_forecast(text, SOURCES)
    assert exact is None or exact == _read(text, SOURCES)


def test_an_answer_as_asked_is_read_in_one_go() -> None:
    """The quick way is the usual one, with and without colons and line ends in the texts."""
    for answer in (GOOD, with_(would_change_mind="at 12:30: rain"), with_(key_evidence=[])):
        for indent in (None, 2):
            text = json.dumps(answer, indent=indent)
            assert _exact_forecast(text, SOURCES) == parse(text) == _read(text, SOURCES)


@given(
    at=st.integers(0, len(json.dumps(GOOD)) - 1), character=st.characters(min_codepoint=32, max_codepoint=126)
)
def test_one_wrong_character_never_breaks_it(at: int, character: str) -> None:
    """An answer with one character changed is still either valid or refused."""
    text = json.dumps(GOOD)
    check_what_came_out(parse_forecast(text[:at] + character + text[at + 1 :], SOURCES))


@given(end=st.integers(0, len(json.dumps(GOOD)) - 1))
def test_a_cut_answer_is_never_a_forecast(end: int) -> None:
    """An answer that stops in the middle is refused wherever it stops."""
    assert isinstance(parse_forecast(json.dumps(GOOD)[:end], SOURCES), Rejected)
