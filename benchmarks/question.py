"""The one question and the one answer that every client of the overhead benchmark exchanges."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from jurymast.domain.market import Book, EvidenceItem, Level, Market, MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT
from jurymast.domain.provider import AIRequest
from jurymast.intelligence.prompts import forecast_request

PROMPT_BYTES = 3_500
ANSWER_BYTES = 1_300
MODEL = "gpt-6.1-terra"
FALLBACK_MODEL = "grok-4.3"
_AS_OF = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
_SOURCE = "bench:1"
_SENTENCE = "The committee met, published its minutes and left the question open for another quarter. "

SNAPSHOT = MarketSnapshot(
    market=Market(
        ticker="BENCH-1",
        event_ticker="BENCH",
        category="economics",
        title="Will the committee change its rate at the next meeting?",
        rules="Resolves YES if the published rate after the meeting differs from the one before it.",
        open_time=_AS_OF - timedelta(days=10),
        close_time=_AS_OF + timedelta(days=10),
    ),
    status=MarketStatus.ACTIVE,
    book=Book(bids=(Level(41 * CENT, 300 * CONTRACT),), asks=(Level(43 * CENT, 300 * CONTRACT),)),
    volume_24h=5_000 * CONTRACT,
    as_of=_AS_OF,
)


def _evidence(length: int) -> tuple[EvidenceItem, ...]:
    text = (_SENTENCE * (length // len(_SENTENCE) + 1))[:length]
    return (EvidenceItem(_SOURCE, "Minutes of the last meeting", text, _AS_OF),)


def _prompt_bytes(request: AIRequest) -> int:
    return sum(len(message.content.encode()) for message in request.messages)


EVIDENCE = _evidence(PROMPT_BYTES - _prompt_bytes(forecast_request(SNAPSHOT, _evidence(1))))
REQUEST = forecast_request(SNAPSHOT, EVIDENCE)
MESSAGES = [{"role": message.role, "content": message.content} for message in REQUEST.messages]
RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": REQUEST.schema_name, "schema": dict(REQUEST.schema or {}), "strict": True},
}


def _answer() -> str:
    forecast = {
        "probability_pct": 37,
        "low_pct": 25,
        "high_pct": 52,
        "base_rate_pct": 30,
        "evidence_quality": "mixed",
        "resolution_risk": "low",
        "key_evidence": [
            {"fact": f"{_SENTENCE}It did so {count} times.", "date": "2026-03-01", "source_id": _SOURCE}
            for count in range(5)
        ],
        "would_change_mind": "",
        "abstain": False,
    }
    room = ANSWER_BYTES - len(json.dumps(forecast))
    return json.dumps(forecast | {"would_change_mind": (_SENTENCE * 10)[:room]})


ANSWER = _answer()
PROBABILITY_PCT = 37
