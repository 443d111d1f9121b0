"""The control desk of the exchange, outside ``/trade-api`` and not signed: faults, markets, time, books.

It listens on loopback with the exchange and no fault closes it.
"""

from __future__ import annotations

import msgspec
from aiohttp import web

from jurymast.domain.errors import JurymastError, OrderRejected
from jurymast.domain.money import USD
from jurymast.exchange.embedded.commands import Deposit, Pause, StepMarket
from jurymast.exchange.embedded.invariants import broken
from jurymast.exchange.embedded.server.faults import STATEFUL, Fault, Faults, FaultSpec, fault_named
from jurymast.exchange.embedded.server.replies import reply
from jurymast.exchange.embedded.server.site import Site
from jurymast.exchange.embedded.server.wire import rfc3339

STALE_SECS = 5.0
_GUIDE = """SIMULATED Kalshi exchange: nothing here reaches a real exchange, the money is play money.

  GET    /control/faults               what is in force
  POST   /control/faults               {{"fault": "429", "probability": 0.3, "times": 5, "for_secs": 20,
                                        "ticker": "...", "value": "..."}}; all but fault may be left out
  DELETE /control/faults[/FAULT]       mend everything, or one
  POST   /control/markets/TICKER/STEP  halt, resume, close, determine, settle; ?result=yes|no
  POST   /control/deposit              {{"usd": 100, "shard": 0}}
  GET    /control/state                time, counts, and whether the books balance

Faults
{faults}
"""


class FaultOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST /control/faults``."""

    fault: str
    probability: float = 1.0
    times: int | None = None
    for_secs: float | None = None
    ticker: str | None = None
    value: str | int | float | None = None


class DepositOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST /control/deposit``; ``usd`` in whole dollars, negative to take out."""

    usd: int
    shard: int = 0


class Control:
    """Sets and mends faults, in process as well: ``set_fault`` and ``clear``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @property
    def faults(self) -> Faults:
        return self._site.faults

    def set_fault(
        self,
        fault: Fault | str,
        *,
        probability: float = 1.0,
        times: int | None = None,
        for_secs: float | None = None,
        ticker: str | None = None,
        value: str | float | None = None,
    ) -> None:
        """Break something. Raises ValueError for what does not exist, OrderRejected for a wrong ticker."""
        until = None if for_secs is None else self._site.clock.monotonic() + for_secs
        text = None if value is None else str(value)
        spec = FaultSpec(fault_named(fault), probability, times, until, ticker, text)
        if spec.fault in STATEFUL:
            self._enforce(spec, on=True)
        self.faults.add(spec)

    def clear(self, fault: Fault | str | None = None, ticker: str | None = None) -> None:
        """Mend one, or everything. Raises ValueError for a fault that does not exist."""
        self._mended(self.faults.remove(None if fault is None else fault_named(fault), ticker))

    def lapse(self) -> None:
        """Mend what was to last until now."""
        self._mended(self.faults.lapsed(self._site.clock.monotonic()))

    def _mended(self, gone: list[FaultSpec]) -> None:
        for spec in gone:
            if spec.fault in STATEFUL:
                self._enforce(spec, on=False)

    def _enforce(self, spec: FaultSpec, *, on: bool) -> None:
        exchange = self._site.exchange
        match spec.fault:
            case Fault.TRADING_PAUSE:
                exchange.execute(Pause(trading=on))
            case Fault.EXCHANGE_PAUSE:
                exchange.execute(Pause(exchange=on))
            case Fault.MARKET_HALT:
                exchange.execute(StepMarket(spec.ticker or "", "halt" if on else "resume"))
            case _:
                self._site.view.set_lag(spec.number(STALE_SECS) if on else 0.0)

    def routes(self) -> list[web.RouteDef]:
        """Of the control desk."""
        return [
            web.get("/", self._guide),
            web.get("/control", self._guide),
            web.get("/control/faults", self._list),
            web.post("/control/faults", self._set),
            web.delete("/control/faults", self._clear),
            web.delete("/control/faults/{fault}", self._clear),
            web.post("/control/markets/{ticker}/{step}", self._step),
            web.post("/control/deposit", self._deposit),
            web.get("/control/state", self._state),
        ]

    async def _guide(self, _: web.Request) -> web.Response:
        rows = (f"  {fault:20} {fault.meaning}" for fault in Fault)
        return web.Response(text=_GUIDE.format(faults="\n".join(rows)))

    async def _list(self, _: web.Request) -> web.Response:
        now = self._site.clock.monotonic()
        rows = [
            {
                "fault": spec.fault.value,
                "probability": spec.probability,
                "times": spec.times,
                "secs_left": None if spec.until is None else round(spec.until - now, 1),
                "ticker": spec.ticker,
                "value": spec.value,
            }
            for spec in self.faults.active()
        ]
        return reply({"simulated": True, "faults": rows})

    async def _set(self, request: web.Request) -> web.Response:
        try:
            order = msgspec.json.decode(await request.read(), type=FaultOrder)
            self.set_fault(
                order.fault,
                probability=order.probability,
                times=order.times,
                for_secs=order.for_secs,
                ticker=order.ticker,
                value=order.value,
            )
        except (msgspec.MsgspecError, ValueError, JurymastError) as error:
            return _complaint(error)
        return await self._list(request)

    async def _clear(self, request: web.Request) -> web.Response:
        try:
            self.clear(request.match_info.get("fault"), request.query.get("ticker"))
        except (ValueError, JurymastError) as error:
            return _complaint(error)
        return await self._list(request)

    async def _step(self, request: web.Request) -> web.Response:
        result = request.query.get("result")
        if result not in {None, "yes", "no"}:
            return _complaint(ValueError(f"result {result!r} is neither yes nor no"))
        yes = None if result is None else result == "yes"
        step = StepMarket(request.match_info["ticker"], request.match_info["step"], yes)
        try:
            self._site.exchange.execute(step)
        except (ValueError, OrderRejected) as error:
            return _complaint(error)
        return reply({"simulated": True, "status": self._site.exchange.stage(step.ticker).value})

    async def _deposit(self, request: web.Request) -> web.Response:
        exchange = self._site.exchange
        try:
            order = msgspec.json.decode(await request.read(), type=DepositOrder)
            exchange.execute(Deposit(exchange.member.number, order.shard, order.usd * USD))
        except (msgspec.MsgspecError, OrderRejected) as error:
            return _complaint(error)
        return reply({"simulated": True, "cash": exchange.member.cash})

    async def _state(self, _: web.Request) -> web.Response:
        exchange = self._site.exchange
        exchange.refresh()
        state = exchange.engine.state
        return reply(
            {
                "simulated": True,
                "exchange_time": rfc3339(exchange.now_us()),
                "speed": exchange.speed,
                "seed": exchange.seed,
                "shift_days": exchange.shift.days,
                "markets": len(exchange.catalogue),
                "markets_touched": len(state.markets),
                "orders_kept": len(state.orders),
                "prints": state.next_trade - 1,
                "wrong": broken(exchange.engine),
            }
        )


def _complaint(error: Exception) -> web.Response:
    return reply({"error": str(error), "faults": {fault.value: fault.meaning for fault in Fault}}, 400)
