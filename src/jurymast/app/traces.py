"""Decisions as OpenTelemetry traces: a span for the question, one below it for each request to a provider.

Spoken is OTLP over HTTP in JSON, with the GenAI conventions' names: sent once a second by the loop, in one
request, waited for at most ``SEND_SECS``. A collector that is away costs spans, which are counted in the next
that arrive, and nothing else. Source: OTLP 1.x (opentelemetry-proto), GenAI semantic conventions.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

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
Span = dict[str, Any]


class Tracer:
    """Sends what it ``saw`` to the collector of ``section``; without one it does nothing."""

    def __init__(self, section: TracesSection, clock: Clock, redact: Callable[[str], str]) -> None:
        self._url = section.endpoint.rstrip("/") + "/v1/traces" if section.endpoint else ""
        self._headers = {"content-type": "application/json"}
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
            body = self._redact(msgspec.json.encode(_request(lot, self.lost)).decode()).encode()
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
    yield _span(trace[:32], trace[32:48], "", name, INTERNAL, (started, ended), facts, failed)
    for place, attempt in enumerate(attempts):
        if attempt.sent:
            begun = started + timedelta(seconds=attempt.after_secs)
            own = hashlib.sha256(f"{trace} {place}".encode()).hexdigest()[:16]
            times = begun, begun + timedelta(seconds=attempt.secs)
            model, parent = f"chat {attempt.route.model}", trace[32:48]
            yield _span(
                trace[:32], own, parent, model, CLIENT, times, _request_facts(attempt), _wrong(attempt)
            )


def _facts(source: Decision | Abstain) -> dict[str, Any]:
    facts = {
        "jurymast.decision_id": source.decision_id,
        "jurymast.ticker": source.ticker,
        "jurymast.mode": source.mode.value,
        "jurymast.rung": source.rung.value,
        "jurymast.cost_usd": source.cost / USD,
        "jurymast.simulated": source.simulated,
    }
    if isinstance(source, Decision):
        facts["jurymast.probability_pct"] = source.forecast.probability_pct
        facts["gen_ai.response.model"] = source.served_model
    return facts


def _request_facts(attempt: Attempt) -> dict[str, Any]:
    route = attempt.route
    facts: dict[str, Any] = {
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


def _span(
    trace: str,
    own: str,
    parent: str,
    name: str,
    kind: int,
    times: tuple[datetime, datetime],
    facts: dict[str, Any],
    failed: str,
) -> Span:
    span: Span = {
        "traceId": trace,
        "spanId": own,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(_nanos(times[0])),
        "endTimeUnixNano": str(_nanos(times[1])),
        "attributes": _attributes(facts),
        "status": {"code": ERROR, "message": failed[:500]} if failed else {"code": OK},
    }
    return span | ({"parentSpanId": parent} if parent else {})


def _request(lot: list[list[Span]], lost: int) -> dict[str, Any]:
    resource = {"service.name": "jurymast", "service.version": __version__}
    if lost:
        resource["jurymast.traces_lost"] = lost  # type: ignore[assignment] # attributes are of any kind
    scope = {
        "scope": {"name": "jurymast", "version": __version__},
        "spans": [s for trace in lot for s in trace],
    }
    return {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}


def _attributes(facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in facts.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": str(value)}


def _nanos(at: datetime) -> int:
    return round(at.timestamp() * 1e6) * 1_000
