"""The clients that ``overhead.py`` compares, each in a process of its own.

``python clients.py NAME PORT`` reads a number of calls a line, makes them one after the other, and
prints one JSON object a line: CPU per call of the whole process and the latency of every call.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from question import (
    ANSWER,
    EVIDENCE,
    FALLBACK_MODEL,
    MESSAGES,
    MODEL,
    PROBABILITY_PCT,
    REQUEST,
    RESPONSE_FORMAT,
    SNAPSHOT,
)

Call = Callable[[], Awaitable[None]]
DEADLINE_SECS = 30.0
WARM_UP_CALLS = 20
SETTLE_SECS = 0.05
"""Work that a client puts off until after the answer is its own and counts."""
BODY = {"messages": MESSAGES, "response_format": RESPONSE_FORMAT, "max_completion_tokens": 3_000}


def check(text: str | None) -> None:
    """An answer that is not the server's would be measured for nothing."""
    if text != ANSWER:
        raise SystemExit(f"a wrong answer came back: {text!r:.80}")


@asynccontextmanager
async def floor(url: str, stream: bool) -> AsyncIterator[Call]:
    """aiohttp alone: the request as JSON, the text out of the reply, no checks, no second try."""
    import aiohttp
    import msgspec

    async with aiohttp.ClientSession(headers={"content-type": "application/json"}) as session:

        async def whole() -> None:
            body = msgspec.json.encode({"model": MODEL, **BODY})
            async with session.post(f"{url}/chat/completions", data=body) as reply:
                found = msgspec.json.decode(await reply.read())
            check(found["choices"][0]["message"]["content"])

        async def streamed() -> None:
            body = msgspec.json.encode({"model": MODEL, "stream": True, **BODY})
            async with session.post(f"{url}/chat/completions", data=body) as reply:
                lines = [line async for line in reply.content if line.startswith(b"data: {")]
            choices = [msgspec.json.decode(line[6:])["choices"] for line in lines]
            texts = [choice[0]["delta"].get("content") or "" for choice in choices if choice]
            check("".join(texts))

        yield streamed if stream else whole


@asynccontextmanager
async def jurymast(url: str, stream: bool) -> AsyncIterator[Call]:
    """The whole AI layer, with a second provider to fall back on; events go nowhere."""
    async with _jurymast(url, stream, lambda _: None) as call:
        yield call


@asynccontextmanager
async def jurymast_journal(url: str, stream: bool) -> AsyncIterator[Call]:
    """The same with every event queued for a journal on disk, as a running bot does."""
    from jurymast.app.clock import SystemClock
    from jurymast.journal.sqlite import SqliteJournal

    with tempfile.TemporaryDirectory() as directory:
        journal = SqliteJournal.open(Path(directory) / "journal.db", clock=SystemClock())
        try:
            async with _jurymast(url, stream, journal.post) as call:
                yield call
        finally:
            await journal.close()


@asynccontextmanager
async def _jurymast(url: str, stream: bool, emit: Callable[..., None]) -> AsyncIterator[Call]:
    from jurymast.app.clock import SystemClock
    from jurymast.domain.decision import Decision
    from jurymast.domain.money import USD
    from jurymast.domain.provider import ProviderConfig, ProviderName, Secret
    from jurymast.intelligence.assembly import connect

    models = {ProviderName.OPENAI: MODEL, ProviderName.XAI: FALLBACK_MODEL}
    configs = [
        ProviderConfig(name, url, (model,), priority, Secret("bench"), stream=stream, simulated=True)
        for priority, (name, model) in enumerate(models.items(), start=1)
    ]
    async with connect(configs, clock=SystemClock(), emit=emit, budget_per_day=100_000 * USD) as client:

        async def call() -> None:
            decided = await client.get_trading_decision(SNAPSHOT, EVIDENCE, deadline_secs=DEADLINE_SECS)
            if not isinstance(decided, Decision) or decided.forecast.probability_pct != PROBABILITY_PCT:
                raise SystemExit(f"no decision came back: {decided}")
            if decided.provider is not ProviderName.OPENAI:
                raise SystemExit(f"{decided.route} answered")

        yield call


@asynccontextmanager
async def provider(url: str, stream: bool) -> AsyncIterator[Call]:
    """OpenAIProvider alone: wire, limits, price; no failover, no parsing of the forecast."""
    from jurymast.domain.provider import ProviderConfig, ProviderName, Secret
    from jurymast.intelligence.provider_manager import OpenAIProvider

    config = ProviderConfig(ProviderName.OPENAI, url, (MODEL,), 1, Secret("bench"), stream=stream)
    asked = OpenAIProvider(config)

    async def call() -> None:
        response = await asked.make_request(REQUEST, model=MODEL, timeout_secs=DEADLINE_SECS)
        check(response.content)

    yield call
    await asked.close()


@asynccontextmanager
async def openai(url: str, stream: bool) -> AsyncIterator[Call]:
    """The vendor's SDK: one provider, its own retries, no failover."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="bench") as client:

        async def whole() -> None:
            reply = await client.chat.completions.create(model=MODEL, **BODY)
            check(reply.choices[0].message.content)

        async def streamed() -> None:
            stream = await client.chat.completions.create(model=MODEL, stream=True, **BODY)
            chunks = [chunk async for chunk in stream]
            check("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))

        yield streamed if stream else whole


@asynccontextmanager
async def litellm(url: str, stream: bool) -> AsyncIterator[Call]:
    """LiteLLM's Router with one fallback group, retries off as its fastest failover has them."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches its price list from the network
    from litellm import Router

    groups = {"primary": MODEL, "secondary": FALLBACK_MODEL}
    router = Router(
        model_list=[
            {
                "model_name": group,
                "litellm_params": {"model": f"openai/{model}", "api_base": url, "api_key": "bench"},
            }
            for group, model in groups.items()
        ],
        fallbacks=[{"primary": ["secondary"]}],
        num_retries=0,
    )

    async def whole() -> None:
        reply = await router.acompletion(model="primary", **BODY)
        check(reply.choices[0].message.content)

    async def streamed() -> None:
        stream = await router.acompletion(model="primary", stream=True, **BODY)
        chunks = [chunk async for chunk in stream]
        check("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))

    yield streamed if stream else whole


CLIENTS = {
    "floor": floor,
    "provider": provider,
    "jurymast": jurymast,
    "jurymast_journal": jurymast_journal,
    "openai": openai,
    "litellm": litellm,
}


async def main(name: str, port: int, stream: bool) -> None:
    async with CLIENTS[name](f"http://127.0.0.1:{port}/v1", stream) as call:
        for _ in range(WARM_UP_CALLS):
            await call()
        await asyncio.sleep(SETTLE_SECS)
        print(json.dumps({"rss_bytes": resident_bytes()}), flush=True)
        for line in sys.stdin:
            print(json.dumps(await _round(call, int(line))), flush=True)


async def _round(call: Call, calls: int) -> dict[str, object]:
    latencies = []
    cpu = time.process_time()
    for _ in range(calls):
        started = time.perf_counter()
        await call()
        latencies.append(time.perf_counter() - started)
    await asyncio.sleep(SETTLE_SECS)
    return {"cpu_secs": (time.process_time() - cpu) / calls, "latencies": latencies}


def resident_bytes() -> int:
    """Memory this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:] == ["--stream"]))
