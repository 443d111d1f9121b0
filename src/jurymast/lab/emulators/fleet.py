"""All simulated providers together: started, broken, mended and stopped as one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.control import control_application
from jurymast.lab.emulators.emulator import ProviderEmulator
from jurymast.lab.emulators.faults import (
    ALL,
    CLEAR,
    Fault,
    FaultBoard,
    FaultSpec,
    parse_fault,
    parse_providers,
)
from jurymast.lab.emulators.forecaster import Forecaster
from jurymast.lab.emulators.ledger import Ledger
from jurymast.lab.emulators.listener import HOST, Listener
from jurymast.lab.oracle import Oracle

DEFAULT_MODELS: Final[Mapping[ProviderName, tuple[str, ...]]] = {
    ProviderName.XAI: ("grok-4.7", "grok-4.3"),
    ProviderName.OPENAI: ("gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-luna"),
    ProviderName.ANTHROPIC: ("claude-sonnet-5-5", "claude-opus-5-5", "claude-haiku-5-5"),
    ProviderName.LOCAL: ("llama3.1:8b", "mistral:7b", "qwen3:8b"),
}

ChangeListener = Callable[[str, str | None, str], None]
"""Told the provider, its model or None, and the fault's word, ``clear`` when it is mended."""

_log = logging.getLogger(__name__)


class EmulatorFleet:
    """Four simulated providers and a control server, each on its own port of 127.0.0.1.

    ``latency_scale`` multiplies realistic answer times (0 answers at once). ``ports`` names fixed ports,
    0 or none lets the system choose. ``redirects`` maps retired model ids to those that answer for them.
    The same seed gives the same answers, latencies and strikes of partial faults.
    """

    def __init__(
        self,
        oracle: Oracle,
        *,
        seed: int = 0,
        latency_scale: float = 1.0,
        models: Mapping[ProviderName, Sequence[str]] | None = None,
        ports: Mapping[ProviderName, int] | None = None,
        control_port: int = 0,
        redirects: Mapping[str, str] | None = None,
        on_change: ChangeListener | None = None,
    ) -> None:
        listed = {**DEFAULT_MODELS, **{name: tuple(ids) for name, ids in (models or {}).items()}}
        if not all(listed.values()):
            raise ValueError("every simulated provider needs at least one model")
        if latency_scale < 0:
            raise ValueError("latency_scale must not be negative")
        self._board = FaultBoard()
        self._on_change = on_change
        self._healing: dict[tuple[ProviderName, str | None], asyncio.Task[None]] = {}
        self._switching = asyncio.Lock()
        forecaster = Forecaster(oracle, seed)
        self._emulators = {
            name: ProviderEmulator(
                name,
                listed[name],
                forecaster=forecaster,
                board=self._board,
                seed=seed,
                latency_scale=latency_scale,
                redirects=redirects or {},
            )
            for name in ProviderName
        }
        self._listeners = {
            name: Listener(name, (ports or {}).get(name, 0), emulator.application)
            for name, emulator in self._emulators.items()
        }
        self._control = Listener("control", control_port, lambda: control_application(self))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on every port. Raises PortTaken, and then listens on none."""
        try:
            for listener in (*self._listeners.values(), self._control):
                await listener.open()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Drop every connection and fault and give the ports back; requests in flight are lost."""
        healing = list(self._healing.values())
        self._healing.clear()
        for task in healing:
            task.cancel()
        await asyncio.gather(*healing, return_exceptions=True)
        async with self._switching:
            self._board.clear(ProviderName)
            listeners = (*self._listeners.values(), self._control)
            await asyncio.gather(*(listener.close() for listener in listeners))

    @property
    def base_urls(self) -> dict[ProviderName, str]:
        """Where each provider listens, as its configuration wants it: up to and with ``/v1``."""
        return {name: f"http://{HOST}:{listener.port}/v1" for name, listener in self._listeners.items()}

    @property
    def control_url(self) -> str:
        return f"http://{HOST}:{self._control.port}"

    @property
    def models(self) -> dict[ProviderName, tuple[str, ...]]:
        return {name: emulator.models for name, emulator in self._emulators.items()}

    def faults(self) -> tuple[FaultSpec, ...]:
        """The faults in force."""
        return self._board.active()

    def ledger(self, provider: ProviderName) -> Ledger:
        """What this provider was asked and would bill, as of now."""
        return self._emulators[provider].ledger

    async def set_fault(
        self,
        provider: str,
        fault: str,
        *,
        model: str | None = None,
        probability: float = 1.0,
        for_secs: float | None = None,
        retry_after: str | None = None,
    ) -> None:
        """Break a provider, one of its models, or ``all``; on return the wire behaves so.

        Raises ValueError, with the valid words, before anything is changed.
        """
        specs = [
            FaultSpec(name, parse_fault(fault), model, probability, for_secs, retry_after)
            for name in parse_providers(provider)
        ]
        for spec in specs:
            if model is not None and not self._emulators[spec.provider].knows(model):
                known = ", ".join(self._emulators[spec.provider].models)
                raise ValueError(f"{spec.provider} has no model {model!r}; known are {known}")
        async with self._switching:
            for spec in specs:
                self._stop_healing(spec.provider, spec.model)
                self._board.set(spec)
                await self._follow(spec.provider)
                if spec.for_secs is not None:
                    self._heal_later(spec, spec.for_secs)
                self._tell(spec.provider, spec.model, spec.fault)

    async def clear_faults(self, provider: str = ALL, model: str | None = None) -> None:
        """Mend a provider, one of its models, or ``all``. Raises ValueError for an unknown provider."""
        names = parse_providers(provider)
        async with self._switching:
            for spec in self._board.clear(names, model):
                self._stop_healing(spec.provider, spec.model)
                await self._follow(spec.provider)
                self._tell(spec.provider, spec.model, CLEAR)

    async def _follow(self, provider: ProviderName) -> None:
        """Open or close the port as the board says."""
        refused = any(
            spec.fault is Fault.REFUSE for spec in self._board.active() if spec.provider == provider
        )
        listener = self._listeners[provider]
        await (listener.refuse() if refused else listener.open())

    def _heal_later(self, spec: FaultSpec, secs: float) -> None:
        async def heal() -> None:
            await asyncio.sleep(secs)
            async with self._switching:
                if self._healing.pop((spec.provider, spec.model), None) is not asyncio.current_task():
                    return
                self._board.remove(spec)
                await self._follow(spec.provider)
                self._tell(spec.provider, spec.model, CLEAR)

        task = asyncio.create_task(heal(), name=f"heal {spec.provider} {spec.fault}")
        task.add_done_callback(_report_failure)
        self._healing[spec.provider, spec.model] = task

    def _stop_healing(self, provider: ProviderName, model: str | None) -> None:
        task = self._healing.pop((provider, model), None)
        if task is not None:
            task.cancel()

    def _tell(self, provider: ProviderName, model: str | None, fault: str) -> None:
        if self._on_change is not None:
            self._on_change(provider, model, fault)


def _report_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("%s failed", task.get_name(), exc_info=task.exception())
