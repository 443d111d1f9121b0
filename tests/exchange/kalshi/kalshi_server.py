"""A loopback server that speaks Kalshi's wire as each test tells it to, and checks every signature."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Self

from aiohttp import web

from jurymast.exchange.kalshi.hosts import Credentials, Environment, Host, embedded
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.signing import (
    KEY_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Signer,
    Verifier,
    generate_pem,
)
from jurymast.testing.clock import FakeClock

PREFIX = "/trade-api/v2"
KEY_ID = "00000000-aaaa-4bbb-8ccc-111111111111"
PEM = generate_pem()
NOW = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)

Answer = Any
"""JSON with status 200, ``(status, JSON)``, or a handler of its own."""


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class KalshiServer:
    """``answers`` by "METHOD /path": a queue whose last answer stays. What is not there is 404."""

    answers: dict[str, deque[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    refused: int = 0
    """Requests whose signature was wrong."""
    _runner: web.AppRunner | None = None

    def on(self, route: str, *answers: Answer) -> Self:
        self.answers[route] = deque(answers)
        return self

    def times(self, route: str) -> int:
        """How often a route was asked."""
        return len(self.requests(route))

    def requests(self, route: str) -> list[Asked]:
        return [each for each in self.asked if f"{each.method} {each.path}" == route]

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=0.05
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def host(self) -> Host:
        assert self._runner is not None
        return embedded(self._runner.addresses[0][1])

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = request.headers
        if headers.get(KEY_HEADER) != KEY_ID or not Verifier(PEM).verifies(
            headers.get(SIGNATURE_HEADER, ""),
            headers.get(TIMESTAMP_HEADER, ""),
            request.method,
            request.raw_path,
        ):
            self.refused += 1
            return refusal(401, "authentication_error")
        text = await request.text()
        path = request.path.removeprefix(PREFIX)
        self.asked.append(
            Asked(request.method, path, dict(request.query), json.loads(text) if text else None)
        )
        queue = self.answers.get(f"{request.method} {path}")
        if not queue:
            return refusal(404, "not_found")
        answer = queue.popleft() if len(queue) > 1 else queue[0]
        if callable(answer):
            return await answer(request)
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        return web.json_response(value, status=status)


def refusal(status: int, code: str, message: str = "said the test") -> web.Response:
    error = {"code": code, "message": message, "details": "", "service": "test"}
    return web.json_response({"error": error}, status=status)


def refuses(status: int, code: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return refusal(status, code)

    return answer


async def hangs(_: web.Request) -> web.Response:
    """Accept and never answer."""
    await asyncio.sleep(30)
    return web.Response()


async def cuts(request: web.Request) -> web.Response:
    """Accept and cut the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def skewed(now: datetime, then: Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Refuse timestamps more than 10 s away from ``now``, as the exchange's clock has it."""

    async def answer(request: web.Request) -> web.Response:
        at = datetime.fromtimestamp(int(request.headers[TIMESTAMP_HEADER]) / 1000, UTC)
        if abs((at - now).total_seconds()) > 10:
            response = refusal(401, "header_timestamp_expired")
        else:
            response = web.json_response(then)
        response.headers["date"] = format_datetime(now, usegmt=True)
        return response

    return answer


def http_to(server: KalshiServer, clock: FakeClock | None = None, *, total_secs: float = 5.0) -> KalshiHttp:
    credentials = Credentials(Environment.EMBEDDED, Signer(KEY_ID, PEM))
    return KalshiHttp(server.host, credentials, clock=clock or FakeClock(NOW), total_secs=total_secs)


def rest_to(server: KalshiServer, clock: FakeClock | None = None, *, total_secs: float = 5.0) -> KalshiRest:
    return KalshiRest(http_to(server, clock, total_secs=total_secs))


def market(ticker: str = "KXRAIN-26NOV-T1", **changes: Any) -> dict[str, Any]:
    """A market as of specification 3.34.0, all required fields."""
    return {
        "ticker": ticker,
        "event_ticker": ticker.rpartition("-")[0],
        "market_type": "binary",
        "title": "Will it rain?",
        "yes_sub_title": "One inch",
        "no_sub_title": "Less",
        "created_time": "2026-10-01T00:00:00Z",
        "updated_time": "2026-10-01T00:00:00Z",
        "open_time": "2026-10-02T00:00:00Z",
        "close_time": "2026-11-30T23:00:00.5Z",
        "latest_expiration_time": "2026-12-07T00:00:00Z",
        "settlement_timer_seconds": 300,
        "status": "active",
        "yes_bid_dollars": "0.4200",
        "yes_bid_size_fp": "10.50",
        "yes_ask_dollars": "0.4500",
        "yes_ask_size_fp": "3.00",
        "no_bid_dollars": "0.5500",
        "no_ask_dollars": "0.5800",
        "last_price_dollars": "0.4300",
        "volume_fp": "1000.00",
        "volume_24h_fp": "12.34",
        "result": "",
        "can_close_early": True,
        "open_interest_fp": "900.00",
        "notional_value_dollars": "1.0000",
        "previous_yes_bid_dollars": "0.4000",
        "previous_yes_ask_dollars": "0.4400",
        "previous_price_dollars": "0.4100",
        "settlement_bounds_type": "default",
        "expiration_value": "",
        "rules_primary": "If it rains an inch, then Yes.",
        "rules_secondary": "As measured.",
        "price_level_structure": "linear_cent",
        "price_ranges": [{"start": "0.0000", "end": "1.0000", "step": "0.0100"}],
        "exchange_index": 2,
        **changes,
    }


def event(*markets: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "event_ticker": "KXRAIN-26NOV",
        "series_ticker": "KXRAIN",
        "sub_title": "",
        "title": "Rain",
        "collateral_return_type": "",
        "mutually_exclusive": False,
        "category": "Climate",
        "markets": list(markets),
        "settlement_sources": [],
        **changes,
    }


def order(client_order_id: str = "jm-1", **changes: Any) -> dict[str, Any]:
    return {
        "order_id": f"id-{client_order_id}",
        "user_id": "u",
        "client_order_id": client_order_id,
        "ticker": "KXRAIN-26NOV-T1",
        # The legacy pair says the opposite, as it does for sells.
        "side": "no",
        "action": "sell",
        "outcome_side": "yes",
        "book_side": "bid",
        "type": "limit",
        "status": "resting",
        "yes_price_dollars": "0.4200",
        "no_price_dollars": "0.5800",
        "fill_count_fp": "0.00",
        "remaining_count_fp": "10.00",
        "initial_count_fp": "10.00",
        "taker_fill_cost_dollars": "0.000000",
        "maker_fill_cost_dollars": "0.000000",
        "taker_fees_dollars": "0.000000",
        "maker_fees_dollars": "0.000000",
        "expiration_time": "2026-11-02T15:02:00Z",
        "created_time": "2026-11-02T15:00:00Z",
        "last_update_time": "2026-11-02T15:00:00Z",
        "cancel_order_on_pause": True,
        "exchange_index": 2,
        **changes,
    }


def fill(fill_id: str = "f1", **changes: Any) -> dict[str, Any]:
    return {
        "fill_id": fill_id,
        "trade_id": f"t-{fill_id}",
        "exchange_index": 2,
        "order_id": "id-jm-1",
        "ticker": "KXRAIN-26NOV-T1",
        "market_ticker": "KXRAIN-26NOV-T1",
        "side": "no",
        "action": "sell",
        "outcome_side": "yes",
        "book_side": "bid",
        "count_fp": "2.50",
        "yes_price_dollars": "0.4200",
        "no_price_dollars": "0.5800",
        "is_taker": True,
        "created_time": "2026-11-02T15:00:00.123456Z",
        "fee_cost": "0.042700",
        **changes,
    }


def position(count: str = "-3.00", ticker: str = "KXRAIN-26NOV-T1", **changes: Any) -> dict[str, Any]:
    return {
        "ticker": ticker,
        "exchange_index": 2,
        "total_traded_dollars": "1.740000",
        "position_fp": count,
        "market_exposure_dollars": "1.740000",
        "realized_pnl_dollars": "0.000000",
        "fees_paid_dollars": "0.051200",
        "last_updated_ts": "2026-11-02T15:00:00Z",
        **changes,
    }


def settlement(ticker: str = "KXRAIN-26NOV-T1", **changes: Any) -> dict[str, Any]:
    return {
        "ticker": ticker,
        "exchange_index": 2,
        "event_ticker": "KXRAIN-26NOV",
        "market_result": "no",
        "yes_count_fp": "0.00",
        "yes_total_cost_dollars": "0.000000",
        "no_count_fp": "3.00",
        "no_total_cost_dollars": "1.740000",
        "revenue": 300,
        "settled_time": "2026-11-02T16:00:00Z",
        "fee_cost": "0.051200",
        "value": 0,
        **changes,
    }


def balance(dollars: str = "100.1234", portfolio_cents: int = 0) -> dict[str, Any]:
    return {
        "balance": int(dollars.partition(".")[0]) * 100 + int(dollars.partition(".")[2][:2]),
        "balance_dollars": dollars,
        "portfolio_value": portfolio_cents,
        "updated_ts": 1,
        "balance_breakdown": [{"exchange_index": 2, "balance": dollars}],
    }
