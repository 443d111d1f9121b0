"""The smallest honest chat completions server: one constant answer, whole or as a stream, on loopback.

Run by ``overhead.py`` in a process of its own; prints its port, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import sys

from aiohttp import web
from question import ANSWER, MODEL

CHUNKS = 120
USAGE = {"prompt_tokens": 900, "completion_tokens": 330, "total_tokens": 1_230}
_HEAD = {"id": "chatcmpl-bench", "created": 1_772_452_800, "model": MODEL}
WHOLE = json.dumps(
    {
        **_HEAD,
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }
).encode()


def _event(choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
    body = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _stream() -> list[bytes]:
    size = -(-len(ANSWER) // CHUNKS)
    pieces = [ANSWER[at : at + size] for at in range(0, len(ANSWER), size)]
    deltas: list[dict[str, object]] = [
        {"role": "assistant", "content": ""},
        *[{"content": p} for p in pieces],
    ]
    events = [_event([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas]
    end = _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    return [*events, end, _event([], USAGE), b"data: [DONE]\n\n"]


STREAM = _stream()


async def answer(request: web.Request) -> web.StreamResponse:
    """The constant answer, as asked for."""
    asked = await request.read()
    if b'"stream":true' not in asked.replace(b" ", b""):
        return web.Response(body=WHOLE, content_type="application/json")
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in STREAM:
        await response.write(event)
    await response.write_eof()
    return response


async def serve() -> None:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
