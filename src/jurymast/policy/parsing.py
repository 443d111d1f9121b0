"""Model text to beliefs, strictly.

The text must be one JSON object with exactly the asked fields, of exactly the asked types. Nothing is
repaired, guessed or defaulted: 0.85 is not 85, "BUY_NO" is not a belief, NaN is nothing, a percent
outside 1..99 is refused, a cited source must be one that was handed in. An abstention is one whatever
the beliefs beside it. Whatever is refused says why, and counts against the route that said it.

An answer that is exactly as asked is read in one go, in a tenth of the time. Any other is read step by step,
which finds what is wrong with it; the two agree on every answer that both read.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import msgspec

from jurymast.domain.decision import CitedFact, EvidenceQuality, Forecast, ResolutionRisk

ANSWER_BYTES_MAX = 64_000
FACTS_MAX = 20
TEXT_CHARS_MAX = 4_000
PLAIN_CHARS_MAX = TEXT_CHARS_MAX
"""Of an answer none of whose texts can be too long."""
REASON_CHARS_MAX = 500
FIELDS = frozenset(
    {
        "probability_pct",
        "low_pct",
        "high_pct",
        "base_rate_pct",
        "evidence_quality",
        "resolution_risk",
        "key_evidence",
        "would_change_mind",
        "abstain",
    }
)
_QUALITIES = {str(word): word for word in EvidenceQuality}
_RISKS = {str(word): word for word in ResolutionRisk}
_FACT_FIELDS = frozenset({"fact", "date", "source_id"})


@dataclass(frozen=True, slots=True)
class Rejected:
    """The text is no forecast, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class ModelAbstained:
    """The model says that it can't tell. A valid answer."""

    reason: str


class _RefusedError(Exception):
    pass


class _Answer(msgspec.Struct):
    probability_pct: int
    low_pct: int
    high_pct: int
    base_rate_pct: int
    evidence_quality: EvidenceQuality
    resolution_risk: ResolutionRisk
    key_evidence: tuple[CitedFact, ...]
    would_change_mind: str
    abstain: bool


def parse_forecast(text: str, source_ids: Collection[str]) -> Forecast | ModelAbstained | Rejected:
    """Read a model's answer. ``source_ids`` are those of the evidence it was given."""
    return _exact_forecast(text, source_ids) or _read(text, source_ids)


def _read(text: str, source_ids: Collection[str]) -> Forecast | ModelAbstained | Rejected:
    """Step by step, with the reason of a refusal."""
    try:
        return _forecast(_decode(text), source_ids)
    except _RefusedError as refused:
        return Rejected(str(refused)[:REASON_CHARS_MAX])


def _exact_forecast(text: str, source_ids: Collection[str]) -> Forecast | None:
    """The forecast of an answer that is exactly as asked, None for every other answer."""
    if type(text) is not str or len(text) > PLAIN_CHARS_MAX or not text.isascii():
        return None  # the decoder takes no subclass of str either, and some clients hand one over
    try:
        answer = _ANSWER.decode(text)
    except msgspec.DecodeError:
        return None
    facts = answer.key_evidence
    if answer.abstain or len(facts) > FACTS_MAX or not 0 <= answer.base_rate_pct <= 100:
        return None
    if not 1 <= answer.low_pct <= answer.probability_pct <= answer.high_pct <= 99:
        return None
    for fact in facts:
        if fact.source_id not in source_ids:
            return None
    # Fields that stand twice or were not asked for get through the decoder, but bring colons of their own.
    more = text.count(":") - len(FIELDS) - len(_FACT_FIELDS) * len(facts)
    if more and ("\\u" in text or more != _colons(answer)):  # an escape may be of a colon
        return None
    return Forecast(
        probability_pct=answer.probability_pct,
        low_pct=answer.low_pct,
        high_pct=answer.high_pct,
        base_rate_pct=answer.base_rate_pct,
        evidence_quality=answer.evidence_quality,
        resolution_risk=answer.resolution_risk,
        key_evidence=facts,
        would_change_mind=answer.would_change_mind,
    )


def _colons(answer: _Answer) -> int:
    """Colons in the texts of an answer."""
    facts = "".join([fact.fact + fact.date + fact.source_id for fact in answer.key_evidence])
    return (facts + answer.would_change_mind).count(":")


def _decode(text: str) -> dict[str, Any]:
    if (len(text) if text.isascii() else len(text.encode(errors="replace"))) > ANSWER_BYTES_MAX:
        _refuse(f"longer than {ANSWER_BYTES_MAX} bytes")
    text = _unfenced(text)
    try:
        found, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        _refuse(f"not JSON: {error}")
    if end != len(text):
        _refuse(f"not JSON: more text from character {end} on")
    if type(found) is not tuple:
        _refuse(f"a JSON {type(found).__name__}, not an object")
    data = _fields(found)
    if data.keys() != FIELDS:
        if missing := FIELDS - data.keys():
            _refuse(f"without {', '.join(sorted(missing))}")
        _refuse(f"with unknown fields {', '.join(sorted(map(repr, data.keys() - FIELDS)))}")
    return data


def _forecast(data: dict[str, Any], source_ids: Collection[str]) -> Forecast | ModelAbstained:
    if not isinstance(data["abstain"], bool):
        _refuse("abstain is not true or false")
    change_mind = _text("would_change_mind", data["would_change_mind"])
    if data["abstain"]:
        return ModelAbstained(change_mind or "the model abstains")
    probability = _percent(data, "probability_pct")
    low, high = _percent(data, "low_pct"), _percent(data, "high_pct")
    if not low <= probability <= high:
        _refuse(f"range out of order: low {low}, probability {probability}, high {high}")
    return Forecast(
        probability_pct=probability,
        low_pct=low,
        high_pct=high,
        base_rate_pct=_percent(data, "base_rate_pct", lowest=0, highest=100),
        evidence_quality=_word(data, "evidence_quality", _QUALITIES),
        resolution_risk=_word(data, "resolution_risk", _RISKS),
        key_evidence=_facts(data["key_evidence"], source_ids),
        would_change_mind=change_mind,
    )


def _percent(data: dict[str, Any], name: str, lowest: int = 1, highest: int = 99) -> int:
    value = data[name]
    if type(value) is not int:
        _refuse(f"{name} is {value!r}, not a whole percent")
    if not lowest <= value <= highest:
        _refuse(f"{name} is {value}, outside {lowest}..{highest}")
    return value


_Word = TypeVar("_Word", EvidenceQuality, ResolutionRisk)


def _word(data: dict[str, Any], name: str, words: Mapping[str, _Word]) -> _Word:
    value = data[name]
    word = words.get(value) if type(value) is str else None
    if word is None:
        _refuse(f"{name} is {value!r}, not one of {', '.join(words)}")
    return word


def _text(name: str, value: object) -> str:
    if type(value) is not str:
        _refuse(f"{name} is not text")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        _refuse(f"{name} holds half a surrogate pair, which no file or wire can carry")
    return value[:TEXT_CHARS_MAX]


def _facts(items: object, source_ids: Collection[str]) -> tuple[CitedFact, ...]:
    if not isinstance(items, list) or len(items) > FACTS_MAX:
        _refuse(f"key_evidence is not a list of at most {FACTS_MAX} items")
    return tuple([_fact(item, source_ids) for item in items])


def _fact(item: object, source_ids: Collection[str]) -> CitedFact:
    stated = _fields(item) if type(item) is tuple else {}
    if stated.keys() != _FACT_FIELDS:
        _refuse("an item of key_evidence is not {fact, date, source_id}")
    fact, date, source_id = stated["fact"], stated["date"], stated["source_id"]
    if not (type(fact) is type(date) is type(source_id) is str and (fact + date + source_id).isascii()):
        fact, date, source_id = _text("fact", fact), _text("date", date), _text("source_id", source_id)
    if source_id not in source_ids:
        _refuse(f"cites source {source_id!r}, which it was not given")
    return CitedFact(fact[:TEXT_CHARS_MAX], date[:TEXT_CHARS_MAX], source_id)


def _unfenced(text: str) -> str:
    """Without a Markdown fence around the whole answer: the one wrapping that many models add."""
    stripped = text.strip()
    if not stripped.startswith("```"):
        return stripped
    opening, _, rest = stripped.partition("\n")
    if opening.rstrip() in {"```", "```json"} and rest.endswith("```"):
        return rest.removesuffix("```").strip()
    return stripped


def _fields(pairs: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    """An object by its names."""
    data = dict(pairs)
    if len(data) != len(pairs):
        _refuse("a field stands twice")
    return data


def _refuse_constant(name: str) -> NoReturn:
    _refuse(f"{name} is no number")


def _refuse(reason: str) -> NoReturn:
    raise _RefusedError(reason)


_ANSWER = msgspec.json.Decoder(_Answer)
_DECODER = json.JSONDecoder(object_pairs_hook=tuple, parse_constant=_refuse_constant)
"""Gives objects as tuples of their pairs, lists as lists: so a name that stands twice is still there."""
