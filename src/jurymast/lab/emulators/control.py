"""The switchboard of the emulators: faults and ledger over HTTP, on a port that no fault closes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec
from aiohttp import web

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.faults import ALL, Fault, FaultSpec
from jurymast.lab.emulators.ledger import Ledger

_GUIDE = """SIMULATED model providers: nothing here reaches a real vendor, nothing here costs money.

Providers
{providers}

See and change faults
  curl {control}/faults
  curl -X POST {control}/faults -d '{{"provider":"xai","fault":"refuse"}}'
  curl -X POST {control}/faults -d '{{"provider":"all","fault":"503","for_secs":30}}'
  curl -X POST {control}/faults -d '{{"provider":"openai","fault":"429","retry_after":"2s"}}'
  curl -X POST {control}/faults -d '{{"provider":"xai","fault":"500","probability":0.4}}'
  curl -X POST {control}/faults -d '{{"provider":"anthropic","model":"{model}","fault":"529"}}'
  curl -X DELETE {control}/faults/xai
  curl -X DELETE {control}/faults
  curl {control}/ledger

Faults
{faults}
"""


class Switchboard(Protocol):
    """What can be asked of the fleet of emulators."""

    @property
    def base_urls(self) -> Mapping[ProviderName, str]: ...

    @property
    def control_url(self) -> str: ...

    @property
    def models(self) -> Mapping[ProviderName, tuple[str, ...]]: ...

    async def set_fault(
        self,
        provider: str,
        fault: str,
        *,
        model: str | None = None,
        probability: float = 1.0,
        for_secs: float | None = None,
        retry_after: str | None = None,
    ) -> None: ...

    async def clear_faults(self, provider: str = ALL, model: str | None = None) -> None: ...

    def faults(self) -> tuple[FaultSpec, ...]: ...

    def ledger(self, provider: ProviderName) -> Ledger: ...


class FaultOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST /faults``."""

    provider: str
    fault: str
    model: str | None = None
    probability: float = 1.0
    for_secs: float | None = None
    retry_after: str | int | float | None = None


def control_application(fleet: Switchboard) -> web.Application:
    """The control server's routes."""
    desk = _Desk(fleet)
    application = web.Application(client_max_size=64 * 1024)
    application.router.add_get("/", desk.guide)
    application.router.add_get("/faults", desk.list_faults)
    application.router.add_post("/faults", desk.set_fault)
    application.router.add_delete("/faults", desk.clear)
    application.router.add_delete("/faults/{provider}", desk.clear)
    application.router.add_get("/ledger", desk.ledger)
    return application


class _Desk:
    def __init__(self, fleet: Switchboard) -> None:
        self._fleet = fleet

    async def guide(self, _: web.Request) -> web.Response:
        fleet = self._fleet
        return web.Response(
            text=_GUIDE.format(
                control=fleet.control_url,
                model=fleet.models[ProviderName.ANTHROPIC][0],
                providers=_table((name, url) for name, url in fleet.base_urls.items()),
                faults=_table((fault, fault.meaning) for fault in Fault),
            )
        )

    async def list_faults(self, _: web.Request) -> web.Response:
        return self._faults_response()

    async def set_fault(self, request: web.Request) -> web.Response:
        try:
            order = msgspec.json.decode(await request.read(), type=FaultOrder)
            await self._fleet.set_fault(
                order.provider,
                order.fault,
                model=order.model,
                probability=order.probability,
                for_secs=order.for_secs,
                retry_after=None if order.retry_after is None else str(order.retry_after),
            )
        except (msgspec.MsgspecError, ValueError) as error:
            return _complaint(error)
        return self._faults_response()

    async def clear(self, request: web.Request) -> web.Response:
        try:
            await self._fleet.clear_faults(request.match_info.get("provider", ALL))
        except ValueError as error:
            return _complaint(error)
        return self._faults_response()

    async def ledger(self, _: web.Request) -> web.Response:
        books = {name: msgspec.to_builtins(self._fleet.ledger(name)) for name in ProviderName}
        return web.json_response({"simulated": True, "ledger": books})

    def _faults_response(self) -> web.Response:
        faults = [msgspec.to_builtins(spec) for spec in self._fleet.faults()]
        return web.json_response({"simulated": True, "faults": faults})


def _complaint(error: Exception) -> web.Response:
    answer = {
        "error": str(error),
        "faults": {fault: fault.meaning for fault in Fault},
        "providers": [*ProviderName, ALL],
    }
    return web.json_response(answer, status=400)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"  {name:17} {text}" for name, text in rows)
