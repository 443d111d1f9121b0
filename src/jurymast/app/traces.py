"""Decisions as OpenTelemetry traces: a span for the question, one below it for each request to a provider.

Spoken is OTLP over HTTP in binary protobuf, with the GenAI conventions' names: sent once a second by the
loop, in one request, waited for at most ``SEND_SECS``. A collector that is away costs spans, which are told
of in the next that arrive, and nothing else. JSON would be shorter here, but servers need not take it: Arize
Phoenix answers 415. Source: OTLP 1.x (opentelemetry-proto), protobuf's encoding, GenAI semantic conventions.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from jurymast import __version__
from jurymast.app.trace_config import TracesSection
from jurymast.domain.decision import Abstain, Attempt, Decision
from jurymast.domain.events import DecisionAbstained, DecisionMade, Event, TextCompleted
from jurymast.domain.money import USD
from jurymast.domain.provider import ProviderName
from jurymast.intelligence.providers.transport import AiohttpTransport, TransportError
from jurymast.ports import Clock, TimeLimits

WAITING_MAX: Final = 1_000
"""Traces that may wait; more are lost, and counted."""
LOT_MAX: Final = 200
SEND_SECS: Final = 5.0
GAP_SECS: Final = 1.0
REST_SECS: Final = 30.0
"""After a collector that did not take them."""
INTERNAL, CLIENT = 1, 3
OK, ERROR = 1, 2
_VENDORS: Final = {
    ProviderName.XAI: "x_ai",
    ProviderName.OPENAI: "openai",
    ProviderName.ANTHROPIC: "anthropic",
    ProviderName.LOCAL: "local",
}
Value: TypeAlias = str | bool | int | float


@dataclass(frozen=True, slots=True)
class Span:
    """One span; ids are hex, a question's own has no parent."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    times: tuple[datetime, datetime]
    facts: Mapping[str, Value]
    failed: str
    """What is wrong with it; empty when nothing is."""


class Tracer:
    """Sends what it ``saw`` to the collector of ``section``; without one it does nothing."""

    def __init__(self, section: TracesSection, clock: Clock, redact: Callable[[str], str]) -> None:
        self._url = section.endpoint.rstrip("/") + "/v1/traces" if section.endpoint else ""
        self._headers = {"content-type": "application/x-protobuf"}
        if section.token:
            self._headers["authorization"] = f"Bearer {section.token.value}"
        self._clock = clock
        self._redact = redact
        self._waiting: deque[list[Span]] = deque()
        self.lost = 0

    def saw(self, event: Event) -> None:
        """Take a question down. Never waits."""
        if not self._url or not isinstance(event, DecisionMade | DecisionAbstained | TextCompleted):
            return
        if len(self._waiting) >= WAITING_MAX:
            self.lost += 1
            return
        self._waiting.append(list(spans_of(event)))

    async def run(self) -> None:
        """Send what has come, until cancelled."""
        if not self._url:
            return
        transport = AiohttpTransport()
        try:
            while True:
                await self._clock.sleep(GAP_SECS)
                while self._waiting:
                    if not await self._send(transport):
                        await self._clock.sleep(REST_SECS)
        finally:
            await transport.close()

    async def _send(self, transport: AiohttpTransport) -> bool:
        """One lot; whether the collector took it. One that did not arrive is lost: it may have, too."""
        lot = [self._waiting.popleft() for _ in range(min(LOT_MAX, len(self._waiting)))]
        try:
            body = _request(lot, self.lost, self._redact)
            limits = TimeLimits(total=SEND_SECS)
            async with transport.send("POST", self._url, self._headers, body, limits) as reply:
                await reply.read()
                taken = 200 <= reply.status < 300
        except (TransportError, ValueError):
            taken = False
        self.lost = 0 if taken else self.lost + len(lot)
        return taken


def spans_of(event: Event) -> Iterator[Span]:
    """The spans of a question, its own first. Ids follow from the question: the same twice is one trace."""
    match event:
        case DecisionMade(decision=source) | DecisionAbstained(abstain=source):
            name, key, begun = "decision", source.decision_id, source.decided_at
            secs, attempts, facts = source.secs, source.attempts, _facts(source)
            failed = source.reason.value if isinstance(source, Abstain) else ""
            ended = begun
        case TextCompleted():
            name, key, ended = event.purpose, f"{event.asker} {event.at.isoformat()}", event.at
            secs, attempts = event.secs, event.attempts
            facts = {"jurymast.client": event.asker, "jurymast.route": str(event.route or "")}
            failed = "" if event.route else event.detail
        case _:
            return
    trace = hashlib.sha256(f"{key} {ended.isoformat()}".encode()).hexdigest()
    started = ended - timedelta(seconds=secs)
    question = trace[32:48]
    yield Span(trace[:32], question, "", name, INTERNAL, (started, ended), facts, failed)
    for place, attempt in enumerate(attempts):
        if attempt.sent:
            begun = started + timedelta(seconds=attempt.after_secs)
            own = hashlib.sha256(f"{trace} {place}".encode()).hexdigest()[:16]
            times = begun, begun + timedelta(seconds=attempt.secs)
            model, told = f"chat {attempt.route.model}", _request_facts(attempt)
            yield Span(trace[:32], own, question, model, CLIENT, times, told, _wrong(attempt))


def _facts(source: Decision | Abstain) -> dict[str, Value]:
    facts: dict[str, Value] = {
        "jurymast.decision_id": source.decision_id,
        "jurymast.ticker": source.ticker,
        "jurymast.mode": source.mode.value,
        "jurymast.rung": source.rung.value,
        "jurymast.cost_usd": source.cost / USD,
    }
    if isinstance(source, Decision) or source.simulated:  # where nobody answered nothing is known of it
        facts["jurymast.simulated"] = source.simulated
    if isinstance(source, Decision):
        facts["jurymast.probability_pct"] = source.forecast.probability_pct
        facts["gen_ai.response.model"] = source.served_model
    return facts


def _request_facts(attempt: Attempt) -> dict[str, Value]:
    route = attempt.route
    facts: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _VENDORS[route.provider],
        "gen_ai.request.model": route.model,
        "jurymast.outcome": attempt.outcome,
        "jurymast.cost_usd": attempt.cost / USD,
        "jurymast.cost_estimated": attempt.estimated,
    }
    if attempt.input_tokens or attempt.output_tokens:
        facts["gen_ai.usage.input_tokens"] = attempt.input_tokens
        facts["gen_ai.usage.output_tokens"] = attempt.output_tokens
    if route.instance:
        facts["jurymast.instance"] = route.instance
    if attempt.failure is not None:
        facts["error.type"] = attempt.failure.value
    return facts


def _wrong(attempt: Attempt) -> str:
    """What is wrong with a request; one that was not needed any more is not."""
    return attempt.detail or attempt.outcome if attempt.outcome in {"failed", "overdue"} else ""


def _request(lot: list[list[Span]], lost: int, redact: Callable[[str], str]) -> bytes:
    """An ExportTraceServiceRequest; the numbers are those of opentelemetry-proto's fields."""
    resource: dict[str, Value] = {"service.name": "jurymast", "service.version": __version__}
    if lost:
        resource["jurymast.traces_lost"] = lost
    scope = _text(1, "jurymast") + _text(2, __version__)
    spans = b"".join(_part(2, _span(span, redact)) for trace in lot for span in trace)
    scoped = _part(1, scope) + spans
    return _part(1, _part(1, _attributes(1, resource, redact)) + _part(2, scoped))


def _span(span: Span, redact: Callable[[str], str]) -> bytes:
    status = _text(2, redact(span.failed)[:500]) + _whole(3, ERROR) if span.failed else _whole(3, OK)
    return b"".join(
        (
            _part(1, bytes.fromhex(span.trace_id)),
            _part(2, bytes.fromhex(span.span_id)),
            _part(4, bytes.fromhex(span.parent_id)) if span.parent_id else b"",
            _text(5, redact(span.name)),
            _whole(6, span.kind),
            _fixed(7, "<Q", _nanos(span.times[0])),
            _fixed(8, "<Q", _nanos(span.times[1])),
            _attributes(9, span.facts, redact),
            _part(15, status),
        )
    )


def _attributes(number: int, facts: Mapping[str, Value], redact: Callable[[str], str]) -> bytes:
    return b"".join(
        _part(number, _text(1, key) + _part(2, _value(value, redact))) for key, value in facts.items()
    )


def _value(value: Value, redact: Callable[[str], str]) -> bytes:
    match value:
        case bool():
            return _whole(2, value)
        case int():
            return _whole(3, value)
        case float():
            return _fixed(4, "<d", value)
        case _:
            return _text(1, redact(value))


def _text(number: int, text: str) -> bytes:
    return _part(number, text.encode(errors="replace"))


def _part(number: int, body: bytes) -> bytes:
    """A field with a length: text, bytes or a message."""
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _fixed(number: int, form: str, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack(form, value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative ones as 64 bits."""
    left, out = value & 0xFFFF_FFFF_FFFF_FFFF, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _nanos(at: datetime) -> int:
    return round(at.timestamp() * 1e6) * 1_000
