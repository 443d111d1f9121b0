"""Providers as a stranger would fake them: raw sockets, hand-written HTTP, the vendors' documented formats.

It shares no code with the emulators of ``jurymast.lab``, so that a misreading there can't hide one in the
clients. SIMULATED.

``Server.fault`` says what each request meets, ``probe_fault`` what one without a schema meets (None: the
same).
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, TypeAlias

from jurymast.domain.decision import Abstain, Decision
from jurymast.domain.events import Event
from jurymast.domain.market import Book, Level, Market, MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT, USD, Micros
from jurymast.domain.provider import ProviderConfig, ProviderName, Secret
from jurymast.domain.status import RouteReport
from jurymast.intelligence.assembly import connect
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.fallback_manager import FallbackSettings
from jurymast.policy.deadline import WorkSettings
from jurymast.policy.restart import NOTHING_EARLIER, Earlier
from jurymast.testing.clock import START, FakeClock
from jurymast.testing.loop import LoopClock

MODELS = {
    ProviderName.XAI: "grok-4.3",
    ProviderName.OPENAI: "gpt-6.1-terra",
    ProviderName.ANTHROPIC: "claude-sonnet-5-5",
    ProviderName.LOCAL: "llama3.1:8b",
}
BRISK = FallbackSettings(
    work=WorkSettings(attempt_secs_max=1.0, attempt_secs_min=0.1, hedge_secs_min=0.3),
    probe_timeout_secs=1.0,
    shadow_secs=0.0,
    shadow_free_secs=0.0,
)
"""The default rules with network time-outs short enough for servers that answer at once."""
DRIP_SECS = 0.05
FORECAST = {
    "probability_pct": 62,
    "low_pct": 50,
    "high_pct": 74,
    "base_rate_pct": 55,
    "evidence_quality": "weak",
    "resolution_risk": "low",
    "key_evidence": [],
    "would_change_mind": "A statement to the contrary.",
    "abstain": False,
}
TEXT = json.dumps(FORECAST)
LIES = {
    "wrong_schema": json.dumps({"action": "BUY", "confidence": 0.9}),
    "fraction": json.dumps(FORECAST | {"probability_pct": "1.7"}),
    "prose": "I would put it at about sixty percent.",
    "half_json": TEXT[: len(TEXT) // 2],
    "empty": "",
}
"""Answers that arrive whole, with a good finish reason, and are none."""
PAGE = b"<!DOCTYPE html><html><body>Just a moment...</body></html>"
Errors: TypeAlias = dict[str, tuple[int, dict[str, Any], dict[str, str]]]

ERRORS: Errors = {
    "500": (500, {"error": {"message": "The server had an error.", "type": "server_error"}}, {}),
    "503": (503, {"error": {"message": "The server is overloaded.", "type": "server_error"}}, {}),
    "400": (400, {"error": {"message": "Invalid value: 'x'.", "type": "invalid_request_error"}}, {}),
    "401": (401, {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}, {}),
    "402": (402, {"error": {"message": "Payment required.", "type": "billing_error"}}, {}),
    "404": (404, {"error": {"message": "The model `m` does not exist.", "code": "model_not_found"}}, {}),
    "429": (429, {"error": {"message": "Rate limit reached.", "code": "rate_limit_exceeded"}}, {}),
    "429_hour": (429, {"error": {"message": "Rate limit reached."}}, {"Retry-After": "3600"}),
    "429_ms": (429, {"error": {"message": "Rate limit reached."}}, {"retry-after-ms": "40000"}),
    "429_quota": (
        429,
        {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}},
        {},
    ),
    "429_exhausted": (
        429,
        {"code": "Some resource has been exhausted", "error": "Your team has used all available credits."},
        {},
    ),
    "error_in_200": (200, {"error": {"message": "upstream failed", "code": 502}}, {}),
}


@dataclass(slots=True)
class Server:
    """One provider on a port of its own."""

    name: ProviderName
    fault: str = ""
    probe_fault: str | None = None
    model: str = ""
    delay_secs: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    questions: int = 0
    probes: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, as after a crash: from now on connections are refused."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server = None

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._serve(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection lives on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        lengths = [line.split(":")[1] for line in head if line.lower().startswith("content-length:")]
        body = json.loads(await reader.readexactly(int(lengths[0])) if lengths else b"{}")
        self.bodies.append(body)
        asked = "response_format" in body or "output_config" in body
        self.questions += asked
        self.probes += not asked
        fault = self.fault if asked or self.probe_fault is None else self.probe_fault
        if self.delay_secs:
            await asyncio.sleep(self.delay_secs)
        reply = _Reply(writer, _Words(self.name, self.model or body["model"]))
        return await reply.give(fault, stream=bool(body.get("stream")))


@dataclass(frozen=True, slots=True)
class _Words:
    """The two formats there are: chat completions, and Anthropic's messages."""

    name: ProviderName
    model: str

    def whole(self, text: str, *, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
        if self.name is ProviderName.ANTHROPIC:
            stop = {"stop": "end_turn", "length": "max_tokens"}.get(finish, finish)
            return {
                "id": "msg_1", "type": "message", "role": "assistant", "model": self.model,
                "content": [{"type": "text", "text": text}] if text else [],
                "stop_reason": "refusal" if refusal else stop,
                "usage": {"input_tokens": 900, "output_tokens": 120},
            }  # fmt: skip
        return {
            "id": "1", "object": "chat.completion", "model": self.model,
            "choices": [{
                "index": 0, "finish_reason": finish,
                "message": {"role": "assistant", "content": None if refusal else text, "refusal": refusal},
            }],
            "usage": {"prompt_tokens": 900, "completion_tokens": 120, "total_tokens": 1_020},
        }  # fmt: skip

    def events(self, text: str, *, finish: str = "stop", refusal: str | None = None) -> list[bytes]:
        """The same as server-sent events: the last two close the answer."""
        pieces = [text[at : at + 40] for at in range(0, len(text), 40)]
        if self.name is ProviderName.ANTHROPIC:
            return self._messages(pieces, "refusal" if refusal else finish)
        said = [{"content": piece} for piece in pieces] + ([{"refusal": refusal}] if refusal else [])
        chunks: list[dict[str, Any]] = [
            {"model": self.model, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
            for delta in said
        ]
        chunks.append({"model": self.model, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        usage = {"prompt_tokens": 900, "completion_tokens": 120, "total_tokens": 1_020}
        chunks.append({"model": self.model, "choices": [], "usage": usage})
        return [*(_event(chunk) for chunk in chunks), b"data: [DONE]\n\n"]

    def _messages(self, pieces: list[str], finish: str) -> list[bytes]:
        stop = {"stop": "end_turn", "length": "max_tokens"}.get(finish, finish)
        start = {"model": self.model, "usage": {"input_tokens": 900, "output_tokens": 1}}
        told: list[dict[str, Any]] = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ]
        told += [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
            for piece in pieces
        ]
        told += [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 120}},
            {"type": "message_stop"},
        ]
        return [b"event: " + data["type"].encode() + b"\n" + _event(data) for data in told]


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


class _Reply:
    """What goes back over one connection."""

    def __init__(self, writer: asyncio.StreamWriter, words: _Words) -> None:
        self._writer = writer
        self._words = words

    async def give(self, fault: str, *, stream: bool) -> bool:
        if fault in ERRORS:
            status, body, headers = ERRORS[fault]
            return await self._whole(json.dumps(body).encode(), status=status, headers=headers)
        if fault == "429_date":
            until = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
            return await self._whole(b"{}", status=429, headers={"Retry-After": until})
        if fault == "html":
            return await self._whole(PAGE, content_type="text/html")
        if fault == "null_choices":
            return await self._whole(json.dumps({"model": self._words.model, "choices": None}).encode())
        if fault in _ODD:
            return await _ODD[fault](self, stream)
        text, finish, refusal = LIES.get(fault, TEXT), "stop", None
        if fault in {"truncated", "full"}:
            text, finish = TEXT[:60] if fault == "truncated" else TEXT, "length"
        elif fault == "refusal":
            text, finish, refusal = "", "stop", "I can't help with that."
        return await self._answer(text, finish, refusal, stream=stream)

    async def _answer(self, text: str, finish: str, refusal: str | None, *, stream: bool) -> bool:
        if stream:
            return await self._events(self._words.events(text, finish=finish, refusal=refusal))
        return await self._whole(json.dumps(self._words.whole(text, finish=finish, refusal=refusal)).encode())

    # How things go wrong

    async def silent(self, _stream: bool) -> bool:
        """Takes the request and says nothing, ever."""
        await asyncio.Event().wait()
        return False

    async def header_hang(self, _stream: bool) -> bool:
        """Half a header, and then nothing."""
        await self._write(b"HTTP/1.1 200 OK\r\nContent-Type: appli")
        return await self.silent(_stream)

    async def drip(self, stream: bool) -> bool:
        """A byte at a time, for ever: keep-alive comments of a stream, blanks before a whole body."""
        kind = b"text/event-stream" if stream else b"application/json"
        await self._write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nConnection: close\r\n\r\n")
        while True:
            for byte in b": alive\n\n" if stream else b" ":
                await self._write(bytes([byte]))
                await asyncio.sleep(DRIP_SECS)

    async def cut_json(self, stream: bool) -> bool:
        """Half of the body that the header announced, then an orderly end."""
        events, whole = self._words.events(TEXT), json.dumps(self._words.whole(TEXT)).encode()
        body = b"".join(events) if stream else whole
        kind = "text/event-stream" if stream else "application/json"
        await self._head(200, kind, {"Content-Length": str(len(body)), "Connection": "close"})
        await self._write(body[: len(body) // 2])
        return False

    async def cut_stream(self, stream: bool) -> bool:
        """The connection ends in the middle, with nothing announced: no terminal event."""
        if not stream:
            await self._head(200, "application/json", {"Connection": "close"})
            await self._write(json.dumps(self._words.whole(TEXT)).encode()[:-40])
            return False
        return await self._events(self._words.events(TEXT)[:4])

    async def stream_stall(self, _stream: bool) -> bool:
        """A few tokens, and then silence."""
        await self._head(200, "text/event-stream", {"Connection": "close"})
        await self._write(b"".join(self._words.events(TEXT)[:4]))
        return await self.silent(_stream)

    async def no_done(self, _stream: bool) -> bool:
        """The whole answer with its finish reason, but without the marker at the end."""
        return await self._events(self._words.events(TEXT)[:-1])

    async def reset(self, _stream: bool) -> bool:
        """RST instead of an answer."""
        self._writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        return False

    # How HTTP is written

    async def _events(self, events: list[bytes]) -> bool:
        await self._head(200, "text/event-stream", {"Connection": "close"})
        for event in events:
            await self._write(event)
        return False

    async def _whole(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> bool:
        await self._head(status, content_type, {"Content-Length": str(len(body)), **(headers or {})})
        await self._write(body)
        return True

    async def _head(self, status: int, content_type: str, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        await self._write("\r\n".join([*lines, "", ""]).encode())

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


_ODD: dict[str, Callable[[_Reply, bool], Any]] = {
    "silent": _Reply.silent,
    "header_hang": _Reply.header_hang,
    "drip": _Reply.drip,
    "cut_json": _Reply.cut_json,
    "cut_stream": _Reply.cut_stream,
    "stream_stall": _Reply.stream_stall,
    "no_done": _Reply.no_done,
    "reset": _Reply.reset,
}


@dataclass(slots=True)
class Scene:
    """The product as a user connects it, with strangers at the other ends.

    Its clock stands still unless the scene is ``live``: then it is the loop's.
    """

    servers: dict[ProviderName, Server]
    client: EnhancedAIClient
    clock: FakeClock
    events: list[Event]
    asked: int = 0

    def __getitem__(self, name: ProviderName) -> Server:
        return self.servers[name]

    async def ask(self, deadline_secs: float = 10.0) -> Decision | Abstain:
        return await self.client.get_trading_decision(SNAPSHOT, deadline_secs=deadline_secs)

    async def ask_another(self, deadline_secs: float = 10.0) -> Decision | Abstain:
        """A question that nobody has asked before: of two at once that are the same one would wait."""
        self.asked += 1
        market = replace(SNAPSHOT.market, ticker=f"OUT-{self.asked}", title=f"Will figure {self.asked} rise?")
        snapshot = replace(SNAPSHOT, market=market)
        return await self.client.get_trading_decision(snapshot, deadline_secs=deadline_secs)

    async def ask_at_once(self, count: int, workers: int) -> list[Decision | Abstain]:
        """So many questions by callers who each ask again as soon as they have an answer."""
        left, answers = iter(range(count)), []

        async def worker() -> None:
            for _ in left:
                answers.append(await self.ask_another())  # noqa: PERF401 (shared by all workers, in order of arrival)

        await asyncio.gather(*(worker() for _ in range(workers)))
        return answers

    def report(self, name: ProviderName) -> RouteReport:
        [report] = [r for r in self.client.get_system_status().routes if r.route.provider is name]
        return report

    async def pass_time(self, secs: float, step_secs: float = 1.0) -> None:
        """Let the bot's time pass with its supervisor's look at every step."""
        until = self.clock.monotonic() + secs
        while self.clock.monotonic() < until:
            self.clock.advance(min(step_secs, until - self.clock.monotonic()))
            await self.client.fallback_manager.check_recovery()


SNAPSHOT = MarketSnapshot(
    market=Market(
        ticker="OUT-1",
        event_ticker="OUT",
        category="economics",
        title="Will the figure be above its forecast?",
        rules="Resolves YES if the published figure is above the median forecast.",
        open_time=START - timedelta(days=10),
        close_time=START + timedelta(days=10),
    ),
    status=MarketStatus.ACTIVE,
    book=Book(bids=(Level(41 * CENT, 300 * CONTRACT),), asks=(Level(43 * CENT, 300 * CONTRACT),)),
    volume_24h=5_000 * CONTRACT,
    as_of=START,
)


@asynccontextmanager
async def scene(
    *names: ProviderName,
    stream: bool = True,
    settings: FallbackSettings = BRISK,
    budget_per_day: Micros = 100 * USD,
    earlier: Earlier = NOTHING_EARLIER,
    live: bool = False,
) -> AsyncIterator[Scene]:
    """Servers for ``names``, the first asked first, and the AI layer over them."""
    servers = {name: Server(name) for name in names}
    for server in servers.values():
        await server.open()
    configs = [
        ProviderConfig(
            name, server.base_url, (MODELS[name],), priority,
            api_key=Secret("key"), stream=stream, simulated=True, max_concurrent=16,
            edge="loopback" if name is ProviderName.LOCAL else "internet",
        )
        for priority, (name, server) in enumerate(servers.items(), start=1)
    ]  # fmt: skip
    clock, events = FakeClock(), list[Event]()
    try:
        async with connect(
            configs,
            clock=LoopClock() if live else clock,
            emit=events.append,
            settings=settings,
            budget_per_day=budget_per_day,
            earlier=earlier,
        ) as client:
            yield Scene(servers, client, clock, events)
    finally:
        for server in servers.values():
            await server.close()
