"""Decisions as OpenTelemetry traces, sent to a real collector over a real socket."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from history_world import abstained, decided
from jurymast.app.config import Config
from jurymast.app.redaction import Redactor
from jurymast.app.settings import load_settings
from jurymast.app.trace_config import TracesSection
from jurymast.app.traces import WAITING_MAX, Tracer, Value, _value, spans_of
from jurymast.domain.decision import Attempt
from jurymast.domain.errors import ConfigError
from jurymast.domain.events import DecisionMade, RunStopped
from jurymast.domain.provider import FailureKind, ProviderName, Route, Secret
from jurymast.lab.rig import rig
from jurymast.testing.clock import START
from jurymast.testing.loop import LoopClock

XAI, OPENAI = ProviderName.XAI, ProviderName.OPENAI
KEY = "a-secret-of-the-collector"


# The messages of opentelemetry-proto by field number: the name, and what is in it.
ANY = {1: ("s", str), 2: ("b", bool), 3: ("i", int), 4: ("d", float)}
PAIR = {1: ("key", str), 2: ("value", ANY)}
STATUS = {2: ("message", str), 3: ("code", int)}
SPAN = {
    1: ("traceId", bytes), 2: ("spanId", bytes), 4: ("parentSpanId", bytes), 5: ("name", str),
    6: ("kind", int), 7: ("startTimeUnixNano", int), 8: ("endTimeUnixNano", int), 9: ("attributes", PAIR),
    15: ("status", STATUS),
}  # fmt: skip
SCOPE_SPANS = {1: ("scope", {1: ("name", str), 2: ("version", str)}), 2: ("spans", SPAN)}
REQUEST = {1: ("resourceSpans", {1: ("resource", {1: ("attributes", PAIR)}), 2: ("scopeSpans", SCOPE_SPANS)})}
MANY = {"resourceSpans", "scopeSpans", "spans", "attributes"}


def fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Protobuf's wire: numbers of fields and what they hold, 64 bits or bytes."""
    place = 0

    def varint() -> int:
        nonlocal place
        value, shift = 0, 0
        while True:
            byte = raw[place]
            place, value, shift = place + 1, value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    while place < len(raw):
        number, form = divmod(varint(), 8)
        size = {0: 0, 1: 8, 2: -1}[form]
        if form == 0:
            yield number, varint()
            continue
        size = varint() if size < 0 else size
        held, place = raw[place : place + size], place + size
        assert len(held) == size
        yield number, held


def read(raw: bytes, message: dict[int, Any]) -> dict[str, Any]:
    """A message; a field that opentelemetry-proto does not have is an error here."""
    found: dict[str, Any] = {}
    for number, held in fields(raw):
        name, kind = message[number]
        value: Any = held
        if isinstance(kind, dict):
            value = read(held, kind)
        elif kind is str:
            value = held.decode()
        elif kind is bytes:
            value = held.hex()
        elif kind is bool:
            value = bool(held)
        elif kind is float:
            (value,) = struct.unpack("<d", held)
        elif isinstance(held, bytes):
            (value,) = struct.unpack("<Q", held)
        elif held >= 1 << 63:
            value = held - (1 << 64)
        if name in MANY:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


@dataclass
class Collector:
    """Takes OTLP in binary protobuf and nothing else, as some servers do."""

    url: str = ""
    status: int = 200
    taken: list[dict[str, Any]] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    raw: bytes = b""

    async def handle(self, request: web.Request) -> web.Response:
        if request.content_type != "application/x-protobuf":
            return web.Response(status=415)
        self.headers.append(request.headers.get("Authorization", ""))
        self.raw += await request.read()
        if self.status == 200:
            self.taken.append(read(await request.read(), REQUEST))
        return web.Response(status=self.status, content_type="application/x-protobuf")

    @property
    def spans(self) -> list[dict[str, Any]]:
        return [
            span
            for each in self.taken
            for resource in each["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


@asynccontextmanager
async def tracing(section: TracesSection) -> AsyncIterator[Tracer]:
    tracer = Tracer(section, LoopClock(), Redactor(section))
    task = asyncio.create_task(tracer.run())
    try:
        yield tracer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def facts(span: dict[str, Any]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


async def until(condition: Any) -> None:
    async with asyncio.timeout(10.0):
        while not condition():  # noqa: ASYNC110 (a collector's word is waited for)
            await asyncio.sleep(0.02)


async def test_a_failover_is_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question above, the request that failed and the one that answered below, in time and in words."""
    async with (
        collector() as made,
        tracing(TracesSection(made.url, Secret(KEY))) as tracer,
        rig(providers=[XAI, OPENAI]) as lab,
    ):
        await lab.fleet.set_fault("xai", "503")
        await lab.ask()
        (event,) = [event for event in lab.events if isinstance(event, DecisionMade)]
        tracer.saw(event)
        await until(lambda: made.spans)
    question, failed, answered = made.spans
    assert made.headers == [f"Bearer {KEY}"]
    assert {span["traceId"] for span in made.spans} == {question["traceId"]}
    assert [span.get("parentSpanId") for span in made.spans] == [None, *2 * [question["spanId"]]]
    assert (question["name"], failed["name"], answered["name"]) == (
        "decision", "chat grok-4.3", "chat gpt-6.1-terra",
    )  # fmt: skip
    assert [span["status"]["code"] for span in made.spans] == [1, 2, 1]
    assert facts(failed)["error.type"] == "overloaded"
    told = facts(answered)
    assert (told["gen_ai.provider.name"], told["gen_ai.operation.name"]) == ("openai", "chat")
    assert int(told["gen_ai.usage.input_tokens"]) > 10
    assert facts(question)["jurymast.rung"] == "failover"
    assert facts(question)["jurymast.simulated"] is True
    starts = [int(span["startTimeUnixNano"]) for span in made.spans]
    ends = [int(span["endTimeUnixNano"]) for span in made.spans]
    assert starts == sorted(starts)
    assert all(start <= end for start, end in zip(starts, ends, strict=True))
    assert starts[2] >= ends[1], "asked after the first had failed"


async def test_a_collector_that_is_away_costs_spans_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost ones are counted in the next that arrive; nothing is raised, nothing waits without bound."""
    monkeypatch.setattr("jurymast.app.traces.REST_SECS", 0.05)
    monkeypatch.setattr("jurymast.app.traces.GAP_SECS", 0.05)
    async with collector() as made, tracing(TracesSection(made.url)) as tracer:
        made.status = 503
        tracer.saw(decided(START))
        await until(lambda: tracer.lost == 1)
        made.status = 200
        tracer.saw(abstained(START))
        await until(lambda: made.taken)
        (told,) = made.taken[0]["resourceSpans"]
        resource = {each["key"]: each["value"] for each in told["resource"]["attributes"]}
        assert resource["jurymast.traces_lost"] == {"i": 1}
        assert made.spans[0]["status"] == {"code": 2, "message": "all_providers_failed"}
        assert "jurymast.simulated" not in facts(made.spans[0]), "nobody answered: it is not known"
    tracer = Tracer(TracesSection("http://127.0.0.1:9"), LoopClock(), Redactor(None))
    for _ in range(WAITING_MAX + 7):
        tracer.saw(decided(START))
    assert tracer.lost == 7


async def test_secrets_stay_here() -> None:
    """What a vendor repeats of a key is masked before it leaves."""
    attempt = Attempt(Route(XAI, "m"), "failed", f"no such key: {KEY}", 0.1, 0, FailureKind.AUTH)
    async with collector() as made, tracing(TracesSection(made.url, Secret(KEY))) as tracer:
        tracer.saw(decided(START, attempts=(attempt,)))
        await until(lambda: made.taken)
    assert KEY.encode() not in made.raw
    assert b"no such key: ********" in made.raw


async def test_without_an_address_nothing_is_kept() -> None:
    """It is off by default, and other facts make no spans."""
    tracer = Tracer(TracesSection(), LoopClock(), Redactor(None))
    tracer.saw(decided(START))
    await tracer.run()
    assert not tracer._waiting
    assert list(spans_of(RunStopped(at=START, reason="x"))) == []
    with pytest.raises(ConfigError, match="no http address"):
        load_settings(Config, '[traces]\nendpoint = "collector:4318"\n', source="t", environ={})


def test_the_same_question_is_the_same_trace() -> None:
    """Ids follow from the question, so what is sent twice is one."""
    event = decided(START, attempts=(Attempt(Route(XAI, "m"), "answered", "", 0.5, 10),))
    assert list(spans_of(event)) == list(spans_of(event))
    other = decided(START, ticker="Q-2")
    assert next(iter(spans_of(event))).trace_id != next(iter(spans_of(other))).trace_id


@given(st.one_of(st.text(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)))
def test_any_value_survives_the_wire(value: Value) -> None:
    """Texts, signs, large numbers: what a collector reads is what was told, and of the same kind."""
    ((kind, found),) = read(_value(value, lambda text: text), ANY).items()
    assert found == value
    assert kind == {str: "s", bool: "b", int: "i", float: "d"}[type(value)]
