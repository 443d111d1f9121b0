"""The websocket ``/trade-api/ws/v2``: one signed connection, commands in, numbered frames out.

Each subscription is to one channel and has a number (``sid``); on sequenced channels its frames are counted
by ``seq``, ``ok`` and ``unsubscribed`` included. A slow reader loses the subscription that overflows its
queue, with error 25.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from jurymast.domain.errors import OrderRejected
from jurymast.exchange.embedded.records import (
    BookDelta,
    Event,
    Fill,
    GroupChanged,
    MarketChanged,
    OrderChanged,
    PositionChanged,
    Print,
)
from jurymast.exchange.embedded.server.faults import Fault
from jurymast.exchange.embedded.server.frames import Frames
from jurymast.exchange.embedded.server.gate import Gate
from jurymast.exchange.embedded.server.replies import error_reply
from jurymast.exchange.embedded.server.shapes import Json
from jurymast.exchange.embedded.server.site import Site

QUEUE_MAX: Final = 10_000
"""Frames that wait for one reader."""
COMMANDS_PER_SEC_MAX: Final = 50
MESSAGE_BYTES_MAX: Final = 1024 * 1024
CONNECTIONS_MAX: Final = 64
HEARTBEAT: Final = b"heartbeat"
GAP_FRAMES: Final = 5
CHANNELS: Final = {
    "orderbook_delta": True,
    "ticker": False,
    "trade": True,
    "fill": False,
    "user_orders": False,
    "market_positions": False,
    "market_lifecycle_v2": True,
    "order_group_updates": True,
}
"""Every channel served, and whether its frames are numbered."""
UNFILTERED: Final = frozenset({"market_lifecycle_v2", "order_group_updates"})


class Subscription:
    """One channel on one connection; ``tickers`` None means all markets."""

    def __init__(self, sid: int, channel: str, tickers: set[str] | None, *, yes_price: bool) -> None:
        self.sid = sid
        self.channel = channel
        self.tickers = tickers
        self.yes_price = yes_price
        self.sequenced = CHANNELS[channel]
        self.seq = 0
        self.late: Json | None = None
        self.lost = 0

    def wants(self, ticker: str) -> bool:
        return self.tickers is None or ticker in self.tickers

    def numbered(self, frame: Json) -> Json:
        """The frame with the subscription's numbers."""
        frame["sid"] = self.sid
        if self.sequenced:
            self.seq += 1
            frame["seq"] = self.seq
        return frame


class Sockets:
    """All connections; hears what the exchange tells and passes it on."""

    def __init__(self, site: Site, gate: Gate) -> None:
        self._site = site
        self._gate = gate
        self.frames = Frames(site.exchange)
        self._connections: set[Connection] = set()
        site.exchange.listen(self._tell)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The handshake, and then the connection until it ends."""
        if (
            self._site.faults.strikes(Fault.WS_REFUSE) is not None
            or len(self._connections) >= CONNECTIONS_MAX
        ):
            return error_reply("service_unavailable", "no connection is taken now")
        try:
            self._gate.caller(request)
        except OrderRejected as error:
            return self._gate.refusal(request, error)
        stream = web.WebSocketResponse(max_msg_size=MESSAGE_BYTES_MAX)
        await stream.prepare(request)
        connection = Connection(self._site, self.frames, stream, request)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self.forget(connection.watched())
        return stream

    def forget(self, tickers: Iterable[str]) -> None:
        """Nobody on this connection looks at these any more."""
        still = {ticker for connection in self._connections for ticker in connection.watched()}
        self._site.exchange.unwatch(set(tickers) - still)

    async def close(self) -> None:
        for connection in list(self._connections):
            await connection.close()

    def _tell(self, events: Sequence[Event]) -> None:
        for connection in list(self._connections):
            connection.tell(events)


class Connection:
    """One client."""

    def __init__(
        self, site: Site, frames: Frames, stream: web.WebSocketResponse, request: web.Request
    ) -> None:
        self._site = site
        self._frames = frames
        self._stream = stream
        self._request = request
        self._queue: asyncio.Queue[Json] = asyncio.Queue(QUEUE_MAX)
        self._subscriptions: dict[int, Subscription] = {}
        self._next_sid = 1
        self._command_times: list[float] = []

    async def run(self) -> None:
        """Read commands until the client goes or the connection is broken."""
        tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._beat())]
        try:
            async for message in self._stream:
                if message.type in {web.WSMsgType.TEXT, web.WSMsgType.BINARY}:
                    self._hear(message.data)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        await self._stream.close()

    def watched(self) -> set[str]:
        """Markets whose books or prices are followed here."""
        return {
            ticker
            for each in self._subscriptions.values()
            if each.channel in {"orderbook_delta", "ticker", "trade"}
            for ticker in each.tickers or ()
        }

    def tell(self, events: Sequence[Event]) -> None:
        """Pass on what the subscriptions ask for."""
        for subscription in list(self._subscriptions.values()):
            for kind, msg in self._messages(subscription, events):
                self._send_on(subscription, {"type": kind, "msg": msg})

    def _messages(self, asked: Subscription, events: Sequence[Event]) -> Iterable[tuple[str, Json]]:
        frames = self._frames
        moved: dict[str, None] = {}
        for event in events:
            match asked.channel, event:
                case "orderbook_delta", BookDelta() if asked.wants(event.ticker):
                    yield "orderbook_delta", frames.delta(event, yes_price=asked.yes_price)
                case "ticker", BookDelta() | Print() if asked.wants(event.ticker):
                    moved[event.ticker] = None
                case "trade", Print() if asked.wants(event.ticker):
                    yield "trade", frames.trade(event)
                case "market_lifecycle_v2", MarketChanged():
                    yield "market_lifecycle_v2", frames.life(event)
                case _:
                    yield from self._own_messages(asked, event)
        for ticker in moved:
            yield "ticker", frames.ticker(ticker)

    def _own_messages(self, asked: Subscription, event: Event) -> Iterable[tuple[str, Json]]:
        """What is for the member only."""
        frames = self._frames
        owner = event.order.owner if isinstance(event, OrderChanged) else getattr(event, "owner", None)
        account = None if owner is None else frames.mine(owner)
        if account is None:
            return
        match asked.channel, event:
            case "fill", Fill() if asked.wants(event.ticker):
                yield "fill", frames.fill(event, account)
            case "user_orders", OrderChanged() if asked.wants(event.order.ticker):
                yield "user_order", frames.order(event.order, account)
            case "market_positions", PositionChanged() if asked.wants(event.ticker):
                yield "market_position", frames.position(event, account)
            case "order_group_updates", GroupChanged():
                yield "order_group_updates", frames.group(event)
            case _:
                pass

    def _send_on(self, subscription: Subscription, frame: Json) -> None:
        """Number a frame and send it, unless something is to go wrong with it."""
        faults, numbered = self._site.faults, subscription.numbered(frame)
        if faults.strikes(Fault.WS_DISCONNECT) is not None:
            self._break()
            return
        wrong = faults.strikes(Fault.WS_ERROR)
        if wrong is not None:
            code = int(wrong.number(10))
            self._end(subscription, code, "Subscription buffer overflow" if code == 25 else "Channel error")
            return
        if subscription.sequenced and faults.strikes(Fault.WS_GAP) is not None:
            subscription.lost = GAP_FRAMES
        if subscription.lost:
            subscription.lost -= 1
            return
        if faults.strikes(Fault.WS_MISSING) is not None:
            return
        if subscription.late is None and faults.strikes(Fault.WS_REORDERED) is not None:
            subscription.late = numbered
            return
        self._post(subscription, numbered)
        if faults.strikes(Fault.WS_DOUBLED) is not None:
            self._post(subscription, numbered)
        if subscription.late is not None:
            late, subscription.late = subscription.late, None
            self._post(subscription, late)

    def _post(self, subscription: Subscription, frame: Json) -> None:
        slow = None
        if subscription.channel == "orderbook_delta":
            slow = self._site.faults.strikes(Fault.SLOW_BOOK)
        if slow is not None:
            asyncio.get_running_loop().call_later(slow.number(5.0), self._put, frame)
        elif not self._put(frame):
            self._end(subscription, 25, "Subscription buffer overflow")

    def _put(self, frame: Json) -> bool:
        """Queue a frame; False when the reader has fallen too far behind."""
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            return False
        return True

    def _end(self, subscription: Subscription, code: int, words: str) -> None:
        """A terminal error: the subscription is gone."""
        self._subscriptions.pop(subscription.sid, None)
        frame = subscription.numbered({"type": "error", "msg": {"code": code, "msg": words}})
        if not self._put(frame):
            self._break()

    def _break(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _write(self) -> None:
        while True:
            frame = await self._queue.get()
            frame = frame | {"sending_ts_ms": int(self._site.clock.utc_now().timestamp() * 1_000)}
            try:
                await self._stream.send_str(msgspec.json.encode(frame).decode())
            except (ConnectionError, RuntimeError):
                return

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._site.settings.ping_secs)
            try:
                await self._stream.ping(HEARTBEAT)
            except (ConnectionError, RuntimeError):
                return

    def _hear(self, data: str | bytes) -> None:
        """Carry out one command. Refusals carry the channel's error numbers, the exchange's become 11."""
        try:
            command = msgspec.json.decode(data, type=dict[str, Any])
        except msgspec.MsgspecError:
            self._refuse(None, 1, "Unable to process message")
            return
        number = command.get("id")
        try:
            self._check_rate()
            self._obey(command, number)
        except OrderRejected as error:
            code, _, words = str(error).partition(": ")
            self._refuse(number, int(code) if code.isdigit() else 11, words)

    def _refuse(self, number: Any, code: int, words: str) -> None:
        frame: Json = {"type": "error", "msg": {"code": code, "msg": words}}
        self._put(frame if number is None else frame | {"id": number})

    def _check_rate(self) -> None:
        now = self._site.clock.monotonic()
        self._command_times = [at for at in self._command_times if at > now - 1.0]
        if len(self._command_times) >= COMMANDS_PER_SEC_MAX:
            raise OrderRejected("27", "Too many requests")
        self._command_times.append(now)

    def _obey(self, command: Json, number: Any) -> None:
        params = command.get("params")
        match command.get("cmd"):
            case "subscribe":
                self._subscribe(_params(params), number)
            case "unsubscribe":
                self._unsubscribe(_params(params), number)
            case "update_subscription":
                self._update(_params(params), number)
            case "list_subscriptions":
                rows = [{"channel": each.channel, "sid": each.sid} for each in self._subscriptions.values()]
                self._put({"type": "ok", "id": number, "msg": rows})
            case _:
                raise OrderRejected("5", "Unknown command")

    def _subscribe(self, params: Json, number: Any) -> None:
        channels = params.get("channels")
        if not isinstance(channels, list) or not channels:
            raise OrderRejected("3", "Channels required")
        if any(channel not in CHANNELS for channel in channels):
            raise OrderRejected("8", "Unknown channel name")
        tickers = _tickers(params)
        if "orderbook_delta" in channels and not tickers:
            raise OrderRejected("14", "Market Ticker required")
        self._check_size(tickers)
        if tickers and not UNFILTERED.issuperset(channels):
            self._site.exchange.watch(tickers)
        for channel in channels:
            asked = None if channel in UNFILTERED or not tickers else set(tickers)
            subscription = Subscription(
                self._next_sid, channel, asked, yes_price=bool(params.get("use_yes_price"))
            )
            self._next_sid += 1
            self._put(
                {"type": "subscribed", "id": number, "msg": {"channel": channel, "sid": subscription.sid}}
            )
            self._subscriptions[subscription.sid] = subscription
            if channel == "orderbook_delta" or (channel == "ticker" and params.get("send_initial_snapshot")):
                self._show(subscription, tickers)

    def _show(self, subscription: Subscription, tickers: Iterable[str], number: Any = None) -> None:
        """The state of these markets, before any change of it."""
        for ticker in tickers:
            if subscription.channel == "ticker":
                self._send_on(subscription, {"type": "ticker", "msg": self._frames.ticker(ticker)})
            else:
                msg = self._frames.snapshot(ticker, yes_price=subscription.yes_price)
                frame: Json = {"type": "orderbook_snapshot", "msg": msg}
                self._send_on(subscription, frame if number is None else frame | {"id": number})

    def _unsubscribe(self, params: Json, number: Any) -> None:
        sids = params.get("sids")
        if not isinstance(sids, list) or not sids:
            raise OrderRejected("4", "Subscription IDs required")
        for subscription in [self._find(sid) for sid in sids]:
            del self._subscriptions[subscription.sid]
            subscription.seq += 1
            sid, seq = subscription.sid, subscription.seq
            self._put({"type": "unsubscribed", "id": number, "sid": sid, "seq": seq})

    def _update(self, params: Json, number: Any) -> None:
        sids = params.get("sids") if "sid" not in params else [params["sid"]]
        if not isinstance(sids, list) or len(sids) != 1:
            raise OrderRejected("12", "Exactly one subscription ID is required")
        subscription = self._find(sids[0])
        action = params.get("action")
        if not action:
            raise OrderRejected("15", "Action required")
        tickers = _tickers(params)
        if not tickers:
            raise OrderRejected("14", "Market Ticker required")
        if subscription.channel in UNFILTERED:
            raise OrderRejected("13", "Unsupported action")
        match action:
            case "add_markets":
                self._check_size({*tickers, *(subscription.tickers or ())})
                self._site.exchange.watch(tickers)
                new = [ticker for ticker in tickers if ticker not in (subscription.tickers or ())]
                subscription.tickers = (subscription.tickers or set()) | set(tickers)
                self._confirm(subscription, number)
                if subscription.channel == "orderbook_delta" or params.get("send_initial_snapshot"):
                    self._show(subscription, new)
            case "delete_markets":
                subscription.tickers = (subscription.tickers or set()) - set(tickers)
                self._confirm(subscription, number)
            case "get_snapshot" if subscription.channel == "orderbook_delta":
                self._show(subscription, tickers, number)
            case _:
                raise OrderRejected("13", "Unsupported action")

    def _confirm(self, subscription: Subscription, number: Any) -> None:
        msg = {"market_tickers": sorted(subscription.tickers or ())}
        self._put(subscription.numbered({"type": "ok", "id": number, "msg": msg}))

    def _find(self, sid: object) -> Subscription:
        subscription = self._subscriptions.get(sid) if isinstance(sid, int) else None
        if subscription is None:
            raise OrderRejected("7", "Unknown subscription ID")
        return subscription

    def _check_size(self, tickers: Iterable[str]) -> None:
        if len(set(tickers)) > self._site.settings.markets_per_subscription:
            raise OrderRejected("26", "Subscription market limit exceeded")


def _params(params: object) -> Json:
    if not isinstance(params, dict):
        raise OrderRejected("2", "Params required")
    return params


def _tickers(params: Json) -> list[str]:
    """Market tickers of a command, without doubles; market ids are not served."""
    one, several = params.get("market_ticker"), params.get("market_tickers")
    found = [one] if one else several or []
    if not isinstance(found, list) or not all(isinstance(ticker, str) for ticker in found):
        raise OrderRejected("11", "Invalid parameter")
    return list(dict.fromkeys(found))
