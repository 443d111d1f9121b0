"""The exchange on a loopback port: REST under ``/trade-api/v2``, websocket, control desk; SIMULATED."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

from aiohttp import web

from jurymast.domain.errors import PortTaken
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.server.control import Control
from jurymast.exchange.embedded.server.faults import Faults
from jurymast.exchange.embedded.server.gate import SOCKET_PATH, Gate, Handler
from jurymast.exchange.embedded.server.keys import KeyRing
from jurymast.exchange.embedded.server.limits import API
from jurymast.exchange.embedded.server.portfolio import Portfolio
from jurymast.exchange.embedded.server.public import MarketData
from jurymast.exchange.embedded.server.site import Site, WireSettings
from jurymast.exchange.embedded.server.socket import Sockets
from jurymast.exchange.embedded.server.trading import Trading
from jurymast.exchange.embedded.server.view import PortfolioView
from jurymast.ports import Clock

HOST: Final = "127.0.0.1"
TICK_SECS: Final = 0.25
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
SHUTDOWN_SECS: Final = 0.1


class ExchangeServer:
    """Serves one exchange on one port of 127.0.0.1; port 0 lets the system choose.

    ``keys`` are who may trade. As a context manager it listens inside and ticks on its own, every
    ``tick_secs``; with ``ticking`` off the crowd acts when :meth:`EmbeddedExchange.tick` is called, and
    only then.
    """

    def __init__(
        self,
        exchange: EmbeddedExchange,
        *,
        clock: Clock,
        keys: KeyRing,
        port: int = 0,
        settings: WireSettings | None = None,
        ticking: bool = True,
        tick_secs: float = TICK_SECS,
    ) -> None:
        settings = settings or WireSettings()
        view = PortfolioView(exchange, clock)
        self.site: Final = Site(exchange, clock, view, Faults(exchange.seed), keys, settings)
        self.control: Final = Control(self.site)
        self._port = port
        self._ticking = ticking
        self._tick_secs = tick_secs
        self._gate = Gate(self.site)
        self._sockets = Sockets(self.site, self._gate)
        self._runner: web.AppRunner | None = None
        self._ticker: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def rest_url(self) -> str:
        return f"http://{HOST}:{self._port}{API}"

    @property
    def socket_url(self) -> str:
        return f"ws://{HOST}:{self._port}{SOCKET_PATH}"

    @property
    def control_url(self) -> str:
        return f"http://{HOST}:{self._port}/control"

    async def __aenter__(self) -> ExchangeServer:
        """Listen. Raises PortTaken when another program does."""
        self._runner = web.AppRunner(
            self._application(), handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_SECS
        )
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, HOST, self._port)
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise PortTaken(
                f"the SIMULATED exchange can't listen on {HOST}:{self._port} ({error.strerror}). "
                "Stop the program that listens there, or choose another port (0 takes any free one)."
            ) from error
        self._port = self._runner.addresses[0][1]
        if self._ticking:
            self._ticker = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stand_still()
        await self._sockets.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def stand_still(self) -> None:
        """Let the crowd act no more; what the member asks for is still done."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
            self._ticker = None

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._tick_secs)
            self.control.lapse()
            self.site.exchange.tick()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._gate.middleware()], client_max_size=BODY_BYTES_MAX)
        application.add_routes(self.control.routes())
        application.add_routes([web.get(SOCKET_PATH, self._sockets.handle)])
        application.add_routes(
            [web.route(method, API + path, handler) for method, path, handler in self._operations()]
        )
        return application

    def _operations(self) -> list[tuple[str, str, Handler]]:
        data, own, trading = MarketData(self.site), Portfolio(self.site), Trading(self.site)
        group = "/portfolio/order_groups/{order_group_id}"
        order = "/portfolio/events/orders/{order_id}"
        return [
            ("GET", "/exchange/status", data.status),
            ("GET", "/exchange/schedule", data.schedule),
            ("GET", "/exchange/user_data_timestamp", data.user_data_timestamp),
            ("GET", "/historical/cutoff", data.historical_cutoff),
            ("GET", "/series", data.list_series),
            ("GET", "/series/{series_ticker}", data.get_series),
            ("GET", "/series/{series_ticker}/markets/{ticker}/candlesticks", data.market_candles),
            ("GET", "/events", data.list_events),
            ("GET", "/events/{event_ticker}", data.get_event),
            ("GET", "/markets", data.list_markets),
            ("GET", "/markets/trades", data.trades),
            ("GET", "/markets/orderbooks", data.orderbooks),
            ("GET", "/markets/candlesticks", data.batch_candles),
            ("GET", "/markets/{ticker}", data.get_market),
            ("GET", "/markets/{ticker}/orderbook", data.orderbook),
            ("GET", "/account/limits", own.account_limits),
            ("GET", "/account/endpoint_costs", own.endpoint_costs),
            ("GET", "/portfolio/balance", own.get_balance),
            ("GET", "/portfolio/positions", own.list_positions),
            ("GET", "/portfolio/settlements", own.list_settlements),
            ("GET", "/portfolio/fills", own.list_fills),
            ("GET", "/portfolio/orders", own.list_orders),
            ("GET", "/portfolio/orders/queue_positions", own.queue_positions),
            ("GET", "/portfolio/orders/{order_id}", own.get_order),
            ("GET", "/portfolio/orders/{order_id}/queue_position", own.queue_position),
            ("GET", "/portfolio/summary/total_resting_order_value", own.resting_value),
            ("GET", "/portfolio/subaccounts/balances", own.subaccount_balances),
            ("POST", "/portfolio/subaccounts", trading.create_subaccount),
            ("POST", "/portfolio/intra_exchange_instance_transfer", trading.transfer),
            ("POST", "/portfolio/events/orders", trading.create),
            ("DELETE", "/portfolio/events/orders", trading.cancel_all),
            ("POST", "/portfolio/events/orders/batched", trading.create_batch),
            ("DELETE", "/portfolio/events/orders/batched", trading.cancel_batch),
            ("DELETE", order, trading.cancel),
            ("POST", f"{order}/amend", trading.amend),
            ("POST", f"{order}/decrease", trading.decrease),
            ("GET", "/portfolio/order_groups", own.list_groups),
            ("POST", "/portfolio/order_groups/create", trading.create_group),
            ("GET", group, own.get_group),
            ("DELETE", group, trading.delete_group),
            ("PUT", f"{group}/reset", trading.reset_group),
            ("PUT", f"{group}/trigger", trading.trigger_group),
            ("PUT", f"{group}/limit", trading.limit_group),
            ("POST", "/portfolio/orders", trading.old_api),
            ("POST", "/portfolio/orders/batched", trading.old_api),
            ("DELETE", "/portfolio/orders/batched", trading.old_api),
            ("DELETE", "/portfolio/orders/{order_id}", trading.old_api),
            ("POST", "/portfolio/orders/{order_id}/amend", trading.old_api),
            ("POST", "/portfolio/orders/{order_id}/decrease", trading.old_api),
        ]
