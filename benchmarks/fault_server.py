"""The emulated providers of ``failover.py`` in a process of their own, with their faults played by a clock.

Around the emulators it writes down who was asked what and when, and adds what they have no word for: slower
answers, stalls, a capacity, a cold start, connections that are never made. Prints the port of its switchboard
and ends when its input does. SIMULATED throughout.

    POST /play    a story: its steps, when it starts (in story seconds), its seed
    GET  /sick    who is sick now: what an oracle knows
    POST /finish  mend everything; who was asked when, what was broken when, what it all cost
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

import compressed
from aiohttp import web
from scenarios import (
    CAPACITY,
    COLD,
    CONDITIONS,
    EVERYBODY,
    MENDED,
    MILD,
    MODELS,
    PRIMARY,
    SIBLING,
    SLOW,
    SPILL,
    STALL,
    SYN_DROP,
    Step,
)
from yarl import URL

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators import delivery, tempo
from jurymast.lab.emulators import fleet as fleets
from jurymast.lab.emulators.chance import uniform
from jurymast.lab.emulators.emulator import ProviderEmulator
from jurymast.lab.emulators.ledger import Ledger

_TICKER = re.compile(rb"Ticker: FAIL-(\d+)")
_MODEL = re.compile(rb'"model":\s*"([^"]+)"')
FORECAST_TOKENS = 75
"""Visible tokens of a forecast here, shorter than a real one: it is to take as long as a usual answer."""
WINDOW_SECS = 10.0
SPILL_PER_SEC = 0.25
"""More requests a second than this are more than the next provider is used to."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Spell:
    """A provider, or one of its models, was sick from ``start`` to ``end``."""

    provider: str
    model: str | None
    fault: str
    start: float
    end: float | None = None


class Watched(ProviderEmulator):
    """An emulator that notes every arrival and can be put under conditions."""

    def __init__(self, *names: object, **settings: object) -> None:
        super().__init__(*names, **settings)
        self.arrivals: list[tuple[float, str, int | None]] = []
        self.condition: Step | None = None
        self._recent: deque[float] = deque()
        self._usual_scale = self._latency_scale
        self._ready_at: float | None = None
        WATCHED[str(self.provider)] = self

    def start_over(self, seed: int) -> None:
        self.ledger = Ledger()
        self.arrivals = []
        self._recent.clear()
        self._seed = seed
        self.put_under(None)

    def put_under(self, condition: Step | None) -> None:
        self.condition = condition
        self._ready_at = None
        slow = condition is not None and condition.fault == SLOW
        self._latency_scale = self._usual_scale * (condition.amount if slow else 1.0)

    def application(self) -> web.Application:
        application = super().application()

        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._gate(request, handler)

        application.middlewares.append(gate)
        return application

    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != "POST":
            return await handler(request)
        body = await request.read()
        now = _now()
        found, model = _TICKER.search(body), _MODEL.search(body)
        self.arrivals.append((now, model[1].decode() if model else "", int(found[1]) if found else None))
        self._recent.append(now)
        while self._recent[0] < now - WINDOW_SECS:
            self._recent.popleft()
        if await self._burdened(now):
            return web.json_response(
                {"error": {"message": "at capacity", "type": "server_error"}}, status=503
            )
        return await handler(request)

    async def _burdened(self, now: float) -> bool:
        """Wait or slow down as the condition says; True when the request is to be turned away."""
        condition = self.condition
        if condition is None:
            return False
        amount = condition.amount
        if condition.fault == CAPACITY:
            return len(self._recent) > amount * WINDOW_SECS
        if condition.fault == STALL:
            if uniform(self._seed, STALL, self.provider, len(self.arrivals)) < condition.probability:
                await asyncio.sleep(amount)
        elif condition.fault == SPILL:
            busy = len(self._recent) > SPILL_PER_SEC * WINDOW_SECS
            self._latency_scale = self._usual_scale * (amount if busy else 1.0)
        elif condition.fault == COLD:
            if self._ready_at is None:
                self._ready_at = now + amount
            await asyncio.sleep(max(0.0, self._ready_at - now))
        return False


WATCHED: dict[str, Watched] = {}


class NobodyKnows:
    """An oracle without knowledge: what the models believe does not matter here."""

    def log_odds(self, ticker: str, as_of: object) -> None: ...

    def outcome(self, ticker: str) -> None: ...

    def calibration_sample(self) -> list[tuple[float, bool]]:
        return []


class Tarpit:
    """A port that listens with a full queue: Linux then drops every further SYN without a word."""

    def __init__(self, port: int) -> None:
        self._sockets = [_socket()]
        self._sockets[0].bind(("127.0.0.1", port))
        self._sockets[0].listen(0)
        for _ in range(2):
            filler = _socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            self._sockets.append(filler)

    def close(self) -> None:
        for each in reversed(self._sockets):
            each.close()


class Desk:
    """Plays one story at a time."""

    def __init__(self, fleet: fleets.EmulatorFleet) -> None:
        self._fleet = fleet
        self._players: list[asyncio.Task[None]] = []
        self._spells: list[Spell] = []
        self._tarpits: dict[str, Tarpit] = {}

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/play", self.play)
        application.router.add_get("/sick", self.sick)
        application.router.add_post("/finish", self.finish)
        return application

    async def play(self, request: web.Request) -> web.Response:
        story = await request.json()
        self._spells = []
        for emulator in WATCHED.values():
            emulator.start_over(story["seed"])
        steps = [Step(**step) for step in story["steps"]]
        # Steps of one instant are one change: a question must not fall between them.
        for at_secs in sorted({step.at_secs for step in steps}):
            now = [step for step in steps if step.at_secs == at_secs]
            self._players.append(asyncio.create_task(self._at(story["start_at"] + at_secs, now)))
        return web.json_response({})

    async def sick(self, _: web.Request) -> web.Response:
        return web.json_response([[s.provider, s.model] for s in self._spells if s.end is None])

    async def finish(self, _: web.Request) -> web.Response:
        for player in self._players:
            player.cancel()
        told = await asyncio.gather(*self._players, return_exceptions=True)
        self._players = []
        for name in list(self._tarpits):
            await self._mend(name)
        await self._fleet.clear_faults()
        book = {
            "arrivals": {name: WATCHED[name].arrivals for name in EVERYBODY},
            "ledger": {name: asdict(WATCHED[name].ledger) for name in EVERYBODY},
            "spells": [asdict(spell) for spell in self._spells],
            "errors": [repr(e) for e in told if isinstance(e, Exception)],
        }
        for name in EVERYBODY:
            WATCHED[name].put_under(None)
        return web.json_response(book)

    async def _at(self, when: float, steps: list[Step]) -> None:
        await asyncio.sleep(when - _now())
        for step in steps:
            if step.fault == MENDED:
                await self._mend(step.provider)
            else:
                await self._break(step)

    async def _break(self, step: Step) -> None:
        if step.fault == SYN_DROP:
            await self._fleet.set_fault(step.provider, "refuse")
            port = URL(self._fleet.base_urls[ProviderName(step.provider)]).port
            assert port is not None
            self._tarpits[step.provider] = Tarpit(port)
        elif step.fault in CONDITIONS:
            WATCHED[step.provider].put_under(step)
        else:
            await self._fleet.set_fault(
                step.provider, step.fault, model=step.model, probability=step.probability,
                retry_after=step.retry_after,
            )  # fmt: skip
        if step.fault not in MILD:
            self._spells.append(Spell(step.provider, step.model, step.fault, _now()))

    async def _mend(self, provider: str) -> None:
        if provider in self._tarpits:
            self._tarpits.pop(provider).close()
        await self._fleet.clear_faults(provider)
        WATCHED[provider].put_under(None)
        for spell in self._spells:
            if spell.provider == provider and spell.end is None:
                spell.end = _now()


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _write_on_time(response: web.StreamResponse, frames: tuple[bytes, ...], gap_secs: float) -> None:
    """Text at its pace, by the clock: compressed time would add up what every wait oversleeps."""
    due = _now()
    for frame in frames:
        await response.write(frame)
        if gap_secs:
            due += gap_secs
            await asyncio.sleep(due - _now())


async def serve(latency_scale: float) -> None:
    fleets.ProviderEmulator = Watched  # the fleet has no seam for a kind of its own
    delivery._write_paced = _write_on_time  # noqa: SLF001 (likewise)
    tempo.USUAL_TOKENS = FORECAST_TOKENS
    models = {ProviderName(name): ids for name, ids in MODELS.items()}
    models[ProviderName(PRIMARY)] = (*MODELS[PRIMARY], SIBLING)
    async with fleets.EmulatorFleet(NobodyKnows(), latency_scale=latency_scale, models=models) as fleet:
        runner = web.AppRunner(Desk(fleet).application(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        urls = {name: fleet.base_urls[ProviderName(name)] for name in EVERYBODY}
        print(json.dumps({"desk": f"http://127.0.0.1:{runner.addresses[0][1]}", "urls": urls}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()


if __name__ == "__main__":
    compressed.run(lambda: serve(float(sys.argv[2])), float(sys.argv[1]))
