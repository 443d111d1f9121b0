"""A gateway over vendors that do as they are told, hand-written after the vendors' documentation, on real
sockets. SIMULATED.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from jurymast.domain.events import Event, TextCompleted
from jurymast.domain.money import USD
from jurymast.domain.provider import ProviderConfig, ProviderName, Secret
from jurymast.faces.gateway.server import GatewaySettings, serving
from jurymast.intelligence.assembly import connect
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.fallback_manager import FallbackSettings
from jurymast.intelligence.purse import MemoryBooks
from jurymast.policy.deadline import WorkSettings
from jurymast.policy.ledger import Cap, Scope
from jurymast.testing.loop import LoopClock

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
MODELS = {
    XAI: "grok-4.3",
    OPENAI: "gpt-6.1-terra",
    ANTHROPIC: "claude-sonnet-5-5",
    LOCAL: "llama3.1:8b",
}
BRISK = FallbackSettings(
    work=WorkSettings(attempt_secs_max=3.0, attempt_secs_min=0.1, hedge_secs_min=2.0),
    probe_timeout_secs=1.0,
    shadow_secs=0.0,
    shadow_free_secs=0.0,
)
CALL = {"name": "price_of", "arguments": '{"ticker": "KX-1"}'}

Behaviour = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def chat_reply(content: str | None = "from chat", finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "served",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "finish_reason": finish,
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def message_reply(*blocks: dict[str, Any], stop: str = "end_turn") -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": list(blocks) or [{"type": "text", "text": "from messages"}],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }


def tool_calls() -> list[dict[str, Any]]:
    return [{"id": "call_1", "type": "function", "function": dict(CALL)}]


def says(reply: Mapping[str, Any], status: int = 200) -> Behaviour:
    """Answers every question with the same reply, whole."""

    async def behave(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        del request, asked
        return web.json_response(reply, status=status)

    return behave


TWO_CALLS = (("call_1", "price_of", ('{"ticker"', ': "KX-1"}')), ("call_2", "now", ()))
"""Calls of tools as streams bring them: id, name, the arguments piece by piece; the second has none."""
Calls = tuple[tuple[str, str, tuple[str, ...]], ...]


def streams(
    *pieces: str,
    gap_secs: float = 0.0,
    end: bool = True,
    done: bool = True,
    finish: str = "stop",
    calls: Calls = (),
) -> Behaviour:
    """Streams a chat completion; without ``end`` it hangs up in the middle of it."""

    async def behave(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        assert asked["stream"]
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)

        async def frame(delta: dict[str, Any], finish: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            chunk = {
                "id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "served",
                "choices": [choice], "usage": None,
            }  # fmt: skip
            await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

        await frame({"role": "assistant", "content": ""})
        for piece in pieces:
            await frame({"content": piece})
            await asyncio.sleep(gap_secs)
        for place, (call_id, name, arguments) in enumerate(calls):
            function = {"name": name, "arguments": ""}
            call = {"index": place, "id": call_id, "type": "function", "function": function}
            await frame({"tool_calls": [call]})
            for piece in arguments:
                await frame({"tool_calls": [{"index": place, "function": {"arguments": piece}}]})
        if not end:
            assert request.transport is not None
            request.transport.abort()
            return response
        await frame({}, finish)
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        last = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "served"}
        await response.write(
            b"data: " + json.dumps({**last, "choices": [], "usage": usage}).encode() + b"\n\n"
        )
        if done:
            await response.write(b"data: [DONE]\n\n")
        return response

    return behave


def streams_message(*pieces: str, stop: str = "end_turn", calls: Calls = ()) -> Behaviour:
    """Streams a message."""

    async def behave(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        assert asked["stream"]
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)

        async def frame(kind: str, **fields: Any) -> None:
            said = json.dumps({"type": kind, **fields})
            await response.write(f"event: {kind}\ndata: {said}\n\n".encode())

        await frame("message_start", message={**message_reply(), "content": [], "stop_reason": None})
        if pieces or not calls:
            await frame("content_block_start", index=0, content_block={"type": "text", "text": ""})
        await frame("ping")
        for piece in pieces:
            await frame("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        if pieces or not calls:
            await frame("content_block_stop", index=0)
        for place, (call_id, name, arguments) in enumerate(calls, start=int(bool(pieces))):
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            await frame("content_block_start", index=place, content_block=block)
            for piece in ("", *arguments):
                delta = {"type": "input_json_delta", "partial_json": piece}
                await frame("content_block_delta", index=place, delta=delta)
            await frame("content_block_stop", index=place)
        await frame(
            "message_delta",
            delta={"stop_reason": stop, "stop_sequence": None},
            usage={"output_tokens": 5},
        )
        await frame("message_stop")
        return response

    return behave


async def silent(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
    """Takes a question and says nothing, until the asker leaves."""
    del request, asked
    await asyncio.sleep(60.0)
    raise AssertionError("nobody should have waited so long")


@dataclass
class Vendor:
    """One vendor's server. ``behaviour`` may change while it runs; ``asked`` is what it was sent."""

    behaviour: Behaviour
    asked: list[dict[str, Any]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """An asker went away before its answer."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.asked.append(asked)
        try:
            return await self.behaviour(request, asked)
        except asyncio.CancelledError:
            self.left.set()
            raise


@dataclass
class World:
    """A gateway with its vendors. ``url`` is the server's, without a path."""

    url: str
    vendors: dict[ProviderName, Vendor]
    client: EnhancedAIClient
    events: list[Event]

    @property
    def completed(self) -> list[TextCompleted]:
        return [event for event in self.events if isinstance(event, TextCompleted)]


@asynccontextmanager
async def world(
    *behaviours: tuple[ProviderName, Behaviour],
    settings: GatewaySettings | None = None,
    caps: Mapping[str, int] | None = None,
    per_day: int = 100 * USD,
) -> AsyncIterator[World]:
    """``caps`` are clients' own limits of a day, in micro-dollars."""
    async with AsyncExitStack() as stack:
        vendors, configs = dict[ProviderName, Vendor](), list[ProviderConfig]()
        for name, behaviour in behaviours:
            vendor = vendors[name] = Vendor(behaviour)
            app = web.Application()
            app.router.add_post("/v1/{path:.*}", vendor.handle)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            key = Secret() if name is LOCAL else Secret("vendor-key")
            configs.append(
                ProviderConfig(name, url, (MODELS[name],), list(ProviderName).index(name) + 1, key)
            )
        clock, events = LoopClock(), list[Event]()
        own = [Cap(limit, scope=Scope.STRATEGY, of=name) for name, limit in (caps or {}).items()]
        client = await stack.enter_async_context(
            connect(
                configs,
                clock=clock,
                emit=events.append,
                settings=BRISK,
                books=MemoryBooks([Cap(per_day), *own], clock),
            )
        )
        url = await stack.enter_async_context(serving(client, settings or GatewaySettings(port=0)))
        yield World(url, vendors, client, events)
