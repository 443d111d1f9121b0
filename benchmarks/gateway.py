"""What a question through the gateway costs: CPU, throughput of a core, and time added.

Each gateway is a process of its own before the same constant server (``fast_server.py``), and is asked the
same question by the same client, rounds interleaved. ``core`` is requests a second that one core carries: the
answered ones over the CPU seconds that the gateway's own process took for them. ``added`` is the median time
of an answer, one question at a time, beyond that of the server asked directly in the same round.

The floor is aiohttp handing bytes on, with no thought given to them. Rivals are asked when they are named:
``--portkey DIRECTORY`` has its @portkey-ai/gateway in ``node_modules``, ``--litellm COMMAND`` is the proxy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from measure import Spread, between, dump, machine, parser, percentile, ratio, show
from question import MODEL

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
START_SECS = 90.0
WARM_UP = 200
ALONE = 200
CONCURRENCY_MAX = 128
BODY_WORDS = 150


@dataclass(frozen=True, slots=True)
class Rival:
    """One gateway that is up. ``headers`` are what it wants to know."""

    name: str
    url: str
    pid: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round came to."""

    per_core: float
    per_sec: float
    p50_ms: float
    p99_ms: float
    failed: int


def body(stream: bool) -> bytes:
    words = " ".join(
        random.Random(0).choices(["will", "rain", "fall", "in", "June", "or", "not"], k=BODY_WORDS)
    )
    asked = {"model": MODEL, "messages": [{"role": "user", "content": words}], "max_completion_tokens": 500}
    return json.dumps(asked | ({"stream": True} if stream else {})).encode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_secs(pid: int) -> float:
    """CPU of a process and its ended children so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def floor(upstream: str, port: int) -> None:
    """The floor, as a process: aiohttp on both sides and nothing between."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def passed_on(request: web.Request) -> web.StreamResponse:
            asked = await request.read()
            async with session.post(
                upstream + "/chat/completions", data=asked, headers={"content-type": "application/json"}
            ) as reply:
                if reply.content_type != "text/event-stream":
                    return web.Response(body=await reply.read(), content_type="application/json")
                response = web.StreamResponse(headers={"content-type": "text/event-stream"})
                await response.prepare(request)
                async for piece in reply.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

        app = web.Application()
        app.router.add_post("/v1/chat/completions", passed_on)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


@contextmanager
def started(*command: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> Iterator[int]:
    """A process, ended with the block; gives its id."""
    with subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def upstream_server() -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, str(HERE / "fast_server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.communicate("", timeout=10)


@contextmanager
def ours(upstream: str, place: Path) -> Iterator[Rival]:
    port = free_port()
    config = place / "gateway.toml"
    config.write_text(
        f"""
[failover]
budget_usd_per_day = 100000.0
[gateway]
port = {port}
[models]
canary_days = 0.0
[providers.xai]
enabled = false
[providers.anthropic]
enabled = false
[providers.openai]
base_url = "{upstream}"
models = ["{MODEL}"]
api_key = {{ env = "BENCH_KEY" }}
max_concurrent = {CONCURRENCY_MAX}
[providers.local]
base_url = "{upstream}"
models = ["{MODEL}"]
max_concurrent = {CONCURRENCY_MAX}
"""
    )
    command = (
        sys.executable,
        "-m",
        "jurymast",
        "gateway",
        "--config",
        str(config),
        "--data-dir",
        str(place / "data"),
    )
    with started(*command, env={"BENCH_KEY": "bench"}) as pid:
        yield Rival("jurymast gateway", f"http://127.0.0.1:{port}/v1", pid)


@contextmanager
def bare(upstream: str) -> Iterator[Rival]:
    port = free_port()
    with started(sys.executable, __file__, "--floor", upstream, str(port)) as pid:
        yield Rival("aiohttp alone (floor)", f"http://127.0.0.1:{port}/v1", pid)


@contextmanager
def portkey(upstream: str, directory: Path) -> Iterator[Rival]:
    port = free_port()
    server = directory / "node_modules/@portkey-ai/gateway/build/start-server.js"
    node = shutil.which("node") or "node"
    env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    with started(node, str(server), f"--port={port}", "--headless", env=env, cwd=directory) as pid:
        config = {"provider": "openai", "api_key": "bench", "custom_host": upstream}
        yield Rival("Portkey", f"http://127.0.0.1:{port}/v1", pid, {"x-portkey-config": json.dumps(config)})


@contextmanager
def litellm(upstream: str, command: str, place: Path) -> Iterator[Rival]:
    port = free_port()
    config = place / "litellm.yaml"
    config.write_text(
        f"model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n"
        f"      api_base: {upstream}\n      api_key: bench\n"
    )
    env = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": "sk-bench-0123456789abcdef0123456789abcdef",
    }
    arguments = ("--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--telemetry", "False")
    with started(command, *arguments, env=env, cwd=place) as pid:
        yield Rival(
            "LiteLLM proxy",
            f"http://127.0.0.1:{port}/v1",
            pid,
            {"authorization": "Bearer sk-bench-0123456789abcdef0123456789abcdef"},
        )


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=30.0)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        yield session


async def ask(session: aiohttp.ClientSession, rival: Rival, asked: bytes) -> bool:
    """One question; whether its answer came whole."""
    headers = {"content-type": "application/json", "authorization": "Bearer bench", **rival.headers}
    try:
        async with session.post(rival.url + "/chat/completions", data=asked, headers=headers) as reply:
            told = await reply.read()
            return reply.status == 200 and (b'"finish_reason":"stop"' in told.replace(b" ", b""))
    except (aiohttp.ClientError, TimeoutError):
        return False


async def up(rival: Rival, asked: bytes) -> bool:
    """Wait until it answers; False when it does not in time."""
    until = time.monotonic() + START_SECS
    async with client() as session:
        while time.monotonic() < until:
            if await ask(session, rival, asked):
                for _ in range(WARM_UP):
                    await ask(session, rival, asked)
                return True
            await asyncio.sleep(0.25)
    return False


async def measured(rival: Rival, asked: bytes, calls: int, concurrency: int) -> Round:
    """One round: first one question after the other, then ``concurrency`` at once."""
    async with client() as session:
        alone = []
        for _ in range(ALONE):
            begun = time.perf_counter()
            await ask(session, rival, asked)
            alone.append((time.perf_counter() - begun) * 1e3)
        left, failed = calls, 0

        async def work() -> None:
            nonlocal left, failed
            while left > 0:
                left -= 1
                failed += not await ask(session, rival, asked)

        cpu, begun = cpu_secs(rival.pid), time.perf_counter()
        await asyncio.gather(*(work() for _ in range(concurrency)))
        secs, cpu = time.perf_counter() - begun, cpu_secs(rival.pid) - cpu
        answered = calls - failed
        return Round(
            answered / cpu if cpu else 0.0,
            answered / secs,
            percentile(alone, 0.5),
            percentile(alone, 0.99),
            failed,
        )


async def compare(rivals: list[Rival], options: argparse.Namespace) -> list[dict[str, Any]]:
    asked, chance = body(options.stream), random.Random(options.seed)
    able = [rival for rival in rivals if await up(rival, asked)]
    for rival in rivals:
        if rival not in able:
            print(f"{rival.name} did not answer within {START_SECS:.0f} s: skipped", file=sys.stderr)
    rounds: dict[str, list[Round]] = {rival.name: [] for rival in able}
    added: dict[str, list[float]] = {rival.name: [] for rival in able}
    for _ in range(options.rounds):
        order = list(able)
        chance.shuffle(order)
        for rival in order:
            rounds[rival.name].append(await measured(rival, asked, options.calls, options.concurrency))
        direct = rounds["no gateway"][-1].p50_ms
        for name, known in rounds.items():
            added[name].append(known[-1].p50_ms - direct)
    rows = []
    for name, known in rounds.items():
        rows.append(
            {
                "gateway": name,
                "per_core": Spread.of(each.per_core for each in known),
                "per_sec": Spread.of(each.per_sec for each in known),
                "p50_added_ms": Spread.of(added[name]),
                "p99_ms": Spread.of(each.p99_ms for each in known),
                "failed": sum(each.failed for each in known),
            }
        )
    return rows


def main() -> None:
    if sys.argv[1:2] == ["--floor"]:
        asyncio.run(floor(sys.argv[2], int(sys.argv[3])))
        return
    options_of = parser(__doc__, rounds=5)
    options_of.add_argument("--calls", type=between(10, 100_000), default=2_000, help="at once, a round")
    options_of.add_argument("--concurrency", type=between(1, CONCURRENCY_MAX), default=16)
    options_of.add_argument("--stream", action="store_true", help="ask for a stream")
    options_of.add_argument("--portkey", type=Path, help="directory with its node_modules")
    options_of.add_argument("--litellm", help="command of its proxy")
    options = options_of.parse_args()
    with tempfile.TemporaryDirectory() as directory, upstream_server() as upstream:
        place = Path(directory)
        with ours(upstream, place) as own, bare(upstream) as nothing:
            rivals = [Rival("no gateway", upstream, os.getpid()), nothing, own]
            others = []
            if options.portkey:
                others.append(portkey(upstream, options.portkey))
            if options.litellm:
                others.append(litellm(upstream, options.litellm, place))
            try:
                rivals += [other.__enter__() for other in others]
                rows = asyncio.run(compare(rivals, options))
            finally:
                for other in others:
                    other.__exit__(None, None, None)
    if options.json:
        dump("gateway", {"stream": options.stream, "concurrency": options.concurrency, "rows": rows})
        return
    print(machine())
    base = next(row for row in rows if row["gateway"].endswith("(floor)"))["per_core"].median
    what = "streamed" if options.stream else "whole"
    show(
        f"A question and its answer, {what}; {options.concurrency} at once",
        ["gateway", "requests a second and core", "of floor", "requests a second", "p50 added, ms", "failed"],
        [
            [
                str(row["gateway"]),
                row["per_core"].text(0),
                ratio(base, row["per_core"].median),
                row["per_sec"].text(0),
                row["p50_added_ms"].text(),
                str(row["failed"]),
            ]
            for row in rows
            if row["gateway"] != "no gateway"
        ],
    )


if __name__ == "__main__":
    main()
