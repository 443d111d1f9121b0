"""The AI layer on a loop and thread of its own.

The host makes its clients without a loop, asks from several loops one after the other, and now and then
holds its loop up with work of its own. So the layer does not live on the host's loop: one daemon thread has
a loop, the providers, their health, the budget and the journal for the whole process. Making a ``Layer``
starts nothing; the first question does. A question from any loop is handed over and waited for without
holding that loop up, and a wait that is given up gives the question up too.

Times are seconds. Nothing here raises at the host but :class:`LayerUnavailable` and ``TimeoutError``.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from src.jurymast_adapter.settings import Setup, load

from jurymast import __version__
from jurymast.app.clock import SystemClock
from jurymast.app.config import Config
from jurymast.app.control import ControlFile
from jurymast.app.desk import carry_out, left_behind
from jurymast.app.provenance import keep_host_settings
from jurymast.app.rollout import RolloutFile, compared
from jurymast.app.wiring import judgement
from jurymast.domain.errors import JournalError, JurymastError
from jurymast.domain.events import (
    DemandsChanged,
    Event,
    RolloutChanged,
    RolloutCompared,
    RunStarted,
    RunStopped,
)
from jurymast.domain.provider import ProviderName
from jurymast.domain.rollout import Comparison, Phase, Rollout
from jurymast.domain.status import EmergencyMode
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.journal.sqlite import SqliteJournal
from jurymast.policy import rollout as rules
from jurymast.policy.demands import NONE, Demands, bar, sentences
from jurymast.policy.emergency import TABLE, ModeRules

LOOK_SECS: Final = 1.0
"""Between two looks at recovery and at what people demand."""
RETRY_SECS: Final = 30.0
"""Before a layer that could not start is started again."""
CLOSE_SECS: Final = 10.0
EXIT_SECS: Final = 2.0

T = TypeVar("T")
_log = logging.getLogger("jurymast.adapter")


class LayerUnavailable(Exception):
    """Nobody can be asked now, and why."""


class Listener(Protocol):
    """Hears every event, on the layer's thread."""

    def heard(self, event: Event) -> None: ...

    async def drain(self) -> None:
        """Finish what was heard; the layer closes."""
        ...


class _Run:
    """One life of a layer, from the start of its thread to its end."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.ready, self.stop = asyncio.Event(), asyncio.Event()
        self.client: EnhancedAIClient | None = None
        self.failure = ""
        self.failed_at = float("-inf")
        self.ended = False

    def fail(self, why: str) -> None:
        self.client, self.failure, self.failed_at = None, why, time.monotonic()
        self.ready.set()
        _log.error("the AI layer can't be used: %s", why)

    async def opened(self) -> EnhancedAIClient:
        await self.ready.wait()
        if self.client is None:
            raise LayerUnavailable(self.failure or "the layer was closed")
        return self.client


class Layer:
    """One AI layer of the process. ``setup`` is read when it starts."""

    def __init__(self, setup: Callable[[], Setup] = load) -> None:
        self._read = setup
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._run: _Run | None = None
        self._listeners: weakref.WeakSet[Any] = weakref.WeakSet()
        self._journal: SqliteJournal | None = None
        self._clock = SystemClock()
        self._demands: Demands | None = None
        self._compared: deque[Comparison] = deque()
        self._rollout: Rollout | None = None
        self._loaded: Setup | None = None
        self.trouble = ""
        """What is not kept or could not be read, for the status."""

    # Asking, from any loop

    async def call(self, ask: Callable[[EnhancedAIClient], Awaitable[T]], secs: float) -> T:
        """Let the layer do something, for at most ``secs``. Raises LayerUnavailable or TimeoutError."""
        future = self.beside(ask)
        try:
            async with asyncio.timeout(secs):
                return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the host gives the question up
            raise LayerUnavailable("the layer was closed while it was asked") from None

    def beside(self, ask: Callable[[EnhancedAIClient], Awaitable[T]]) -> concurrent.futures.Future[T]:
        """The same without waiting. Raises LayerUnavailable."""
        with self._lock:  # nothing is handed to a loop that ends
            run = self._started()

            async def asked() -> T:
                return await ask(await run.opened())

            return asyncio.run_coroutine_threadsafe(asked(), run.loop)

    @property
    def client(self) -> EnhancedAIClient | None:
        """The running layer; None when it has not started or could not."""
        return self._run.client if self._run is not None else None

    @property
    def failure(self) -> str:
        """Why the layer could not start, empty when it could or has not tried."""
        return self._run.failure if self._run is not None else ""

    @property
    def setup(self) -> Setup:
        """What it is built from. Raises ConfigError for mistakes in our own file or environment."""
        if self._loaded is None:
            self._loaded = self._read()
        return self._loaded

    @property
    def data_dir(self) -> Path:
        """Where journal and phase are; the usual place when our own settings can't be read."""
        try:
            return self.setup.config.data_dir
        except JurymastError:
            return Config().data_dir

    def listen(self, listener: Listener) -> None:
        """Tell ``listener`` of every event for as long as somebody else holds it."""
        self._listeners.add(listener)

    def _started(self) -> _Run:
        """The present life, or a new one. To be called with the lock held."""
        run, thread = self._run, self._thread
        if run is not None and thread is not None and thread.is_alive():
            if run.ended:
                raise LayerUnavailable(run.failure or "the layer is closing")
            return run
        if run is not None and time.monotonic() - run.failed_at < RETRY_SECS:
            raise LayerUnavailable(run.failure)
        self._run, self._loaded = _Run(), None
        self._thread = threading.Thread(target=self._live, args=(self._run,), name="jurymast", daemon=True)
        self._thread.start()
        return self._run

    # Its life, on its own thread

    def _live(self, run: _Run) -> None:
        asyncio.set_event_loop(run.loop)
        try:
            run.loop.run_until_complete(self._guarded(run))
        finally:
            with self._lock:
                run.client, run.ended = None, True
            _wind_up(run.loop)

    async def _guarded(self, run: _Run) -> None:
        try:
            await self._serve(run)
        except JurymastError as error:
            run.fail(str(error))
        except Exception as error:  # whatever it was, the host goes on without us and says why
            _log.exception("the AI layer has stopped")
            run.fail(f"{type(error).__name__}: {error}")
        finally:
            run.ready.set()

    async def _serve(self, run: _Run) -> None:
        setup, clock = self.setup, self._clock
        config, providers = setup.config, setup.providers()
        for notice in setup.notices:
            _log.warning(notice)
        self._journal, self._demands = self._open_journal(setup), None
        try:
            async with judgement(config, providers, self._journal, clock=clock, emit=self._emit) as client:
                await self._begin(client, setup)
                run.client = client
                run.ready.set()
                watching = asyncio.create_task(self._watch(client, setup))
                await run.stop.wait()
                watching.cancel()
                with self._lock:
                    run.client, run.ended = None, True
                await _give_up()  # who still asks would open connections again that are about to be closed
            self._emit(RunStopped(at=clock.utc_now(), reason="the host closed it"))
            for listener in list(self._listeners):
                await listener.drain()
        finally:
            journal, self._journal = self._journal, None
            if journal is not None:
                with suppress(JournalError, RuntimeError):  # at the process's end the executor is gone
                    await journal.close()

    def _open_journal(self, setup: Setup) -> SqliteJournal | None:
        config = setup.config
        try:
            config.data_dir.mkdir(parents=True, exist_ok=True)
            journal = SqliteJournal.open(config.journal_path, clock=self._clock)
            keep_host_settings(config.data_dir, setup.host)
        except (JournalError, OSError) as error:
            self.trouble = f"this process keeps no journal: {error}"
            _log.warning(self.trouble)
            return None
        self.trouble = ""
        return journal

    async def _begin(self, client: EnhancedAIClient, setup: Setup) -> None:
        simulated = ("providers",) if any(each.simulated for each in setup.providers()) else ()
        self._emit(
            RunStarted(
                at=self._clock.utc_now(), version=__version__, pid=os.getpid(), seed=setup.config.bot.seed,
                exchange="the host's", simulated=simulated,
            )
        )  # fmt: skip
        await self._heed(client, setup)

    async def _watch(self, client: EnhancedAIClient, setup: Setup) -> None:
        names = list(client.fallback_manager.provider_statuses)
        probes = (client.fallback_manager.check_provider_health(name) for name in names)
        await asyncio.gather(*probes, return_exceptions=True)
        while True:
            try:
                await client.fallback_manager.check_recovery()
                self._followed()
                await self._heed(client, setup)
            except Exception:  # recovery must go on, whatever one look has met
                _log.exception("a look at the providers failed")
            await asyncio.sleep(LOOK_SECS)

    async def _heed(self, client: EnhancedAIClient, setup: Setup) -> None:
        """Carry out what people demand with ``jurymast mode``, ``isolate``, ``halt`` and the others."""
        demands, now = ControlFile(setup.config.data_dir, self._clock).demands(), self._clock.utc_now()
        if self._demands is None:
            kept = self._journal is not None
            path = setup.config.journal_path
            self._demands = left_behind(client.fallback_manager, path, demands, now) if kept else NONE
        before, self._demands = self._demands, demands
        if demands == before:
            return
        told = sentences(demands, now)
        if told != sentences(before, now):
            self._emit(DemandsChanged(at=now, serial=demands.serial, demands=told))
        await carry_out(client.fallback_manager, before, demands, now)

    def _emit(self, event: Event) -> None:
        if self._journal is not None:
            try:
                self._journal.post(event)
            except JournalError as error:
                self.trouble = f"this process keeps no journal any more: {error}"
        for listener in list(self._listeners):
            try:
                listener.heard(event)
            except Exception:  # a listener's trouble is its own
                _log.exception("a listener failed")

    def told(self, event: Event) -> None:
        """Journal something that the adapter did. Lost when the layer does not run."""
        self._on_thread(self._emit, event)

    def _on_thread(self, do: Callable[..., Any], *arguments: Any) -> None:
        run = self._run
        if run is not None and run.client is not None:
            with suppress(RuntimeError):
                run.loop.call_soon_threadsafe(do, *arguments)

    # What people want

    def barred(self) -> str:
        """Why no new risk may be taken by hand, empty when it may. Reads two small files."""
        demands = ControlFile(self.data_dir, self._clock).demands()
        table: Mapping[EmergencyMode, ModeRules] = TABLE
        with suppress(JurymastError):
            table = self.setup.config.table
        found = bar(demands, adds_risk=True, mode_takes_entries=table[demands.mode_floor].entries)
        return f"{found[0]}: {found[1]}" if found else ""

    def rollout(self) -> Rollout:
        """The phase now; known before the layer runs as well."""
        return RolloutFile(self.data_dir).state()

    def compare(self, comparison: Comparison) -> None:
        """Journal what the two said, and step back when that is a regression."""
        self._on_thread(self._compare, comparison)

    def _compare(self, comparison: Comparison) -> None:
        state = self._followed()
        if comparison.phase is not state.phase:
            return
        limits = self.setup.config.rollout.limits
        if not self._compared and self._journal is not None:
            with suppress(JournalError):
                self._compared.extend(compared(self.data_dir, state, limits.window))
        at, ticker = self._clock.utc_now(), comparison.ticker
        self._emit(RolloutCompared(at=at, ticker=ticker, comparison=comparison))
        self._compared.append(comparison)
        while len(self._compared) > limits.window:
            self._compared.popleft()
        why = rules.regression(rules.tally(list(self._compared)), limits)
        if why is not None and state.phase is not Phase.SHADOW:
            self._step_back(state, why)

    def _step_back(self, state: Rollout, why: str) -> None:
        def how(old: Rollout) -> Rollout:
            if old.serial != state.serial:
                return old  # somebody was quicker
            share = self.setup.config.rollout.share_pct
            now = self._clock.utc_now()
            return rules.stepped_back(old, reason=why, now=now, by_hand=False, share_pct=share)

        try:
            RolloutFile(self.data_dir).change(how)
        except JurymastError as error:
            _log.error("the rollout should step back and can't: %s", error)
        self._followed()

    def _followed(self) -> Rollout:
        """The phase now, a change of it journalled."""
        before, now = self._rollout, self.rollout()
        self._rollout = now
        if before is None or before.serial == now.serial:
            return now
        self._compared.clear()
        log = _log.info if now.by_hand else _log.error
        log("rollout %s -> %s: %s", before.phase, now.phase, now.reason)
        self._emit(
            RolloutChanged(
                at=self._clock.utc_now(), old=before.phase, new=now.phase, share_pct=now.share_pct,
                reason=now.reason, by_hand=now.by_hand,
            )
        )  # fmt: skip
        return now

    # The end

    async def close(self) -> None:
        """End the layer in order; the next question starts it again where the journal left it."""
        await asyncio.to_thread(self.end, CLOSE_SECS)

    def end(self, secs: float = EXIT_SECS) -> None:
        """The same for those without a loop. Waits at most ``secs``."""
        with self._lock:
            thread, run = self._thread, self._run
        if thread is None or run is None or not thread.is_alive():
            return
        with suppress(RuntimeError):
            run.loop.call_soon_threadsafe(run.stop.set)
        thread.join(secs)


async def _give_up() -> None:
    """Cancel every other task of the loop, and wait until they are gone."""
    while left := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _wind_up(loop: asyncio.AbstractEventLoop) -> None:
    """Let those who wait hear why, give up the rest, and close the loop. Nothing new comes by now."""
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(_give_up())
    loop.run_until_complete(loop.shutdown_asyncgens())
    with suppress(RuntimeError):  # at the process's end
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


_shared: Layer | None = None
_shared_lock = threading.Lock()
_keys: dict[ProviderName, str] = {}


def shared() -> Layer:
    """The layer of the process: every client of the host asks through it, so health and money are one."""
    global _shared  # noqa: PLW0603 (one layer a process is the point)
    with _shared_lock:
        if _shared is None:
            _shared = Layer(lambda: load(keys=_keys))
            atexit.register(_shared.end)
        return _shared


def offer_key(name: ProviderName, key: str | None) -> None:
    """A key that a caller passed in; it counts where none is set, from the next start of the layer on."""
    if key:
        _keys[name] = key
