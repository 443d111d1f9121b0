"""Telegram's Bot API on a loopback port, SIMULATED: its wire as core.telegram.org/bots/api tells it, what
that leaves open as tdlib/telegram-bot-api does it, people who write and press, and faults on command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from jurymast.app.config import BotSection, Config
from jurymast.app.telegram_config import TelegramSection
from jurymast.domain.provider import Secret
from jurymast.faces.telegram.serving import TelegramFace
from jurymast.testing.clock import FakeClock

TOKEN = "4711:AAH-secret_part_of_every_address"
NAME = "JuryBot"
ANN, BOB, EVE = 101, 102, 666
"""Two who may, and one who may not."""
GROUP = -1001
WAIT_SECS = 30.0


class Telegram:
    """One bot's side of Telegram. ``faults`` are taken by the next calls, ``sick`` stays."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        """What the bot has said."""
        self.notes: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self.faults: dict[str, list[str]] = {}
        self.sick = ""
        self.polls = self.sent_away = 0
        self._updates: list[dict[str, Any]] = []
        self._next = 1_000
        self._ids = 0
        self._queries: set[str] = set()
        self._poll: asyncio.Future[None] | None = None
        self._changed = asyncio.Condition()

    # People

    def says(
        self, text: str, user: int = ANN, chat: int | None = None, age_secs: float = 0.0, **more: Any
    ) -> None:
        kind = {"id": chat or user, "type": "supergroup" if chat else "private"}
        self._ids += 1
        message = {"message_id": self._ids, "from": person(user), "chat": kind, "text": text}
        self.happens({"message": message | {"date": int(time.time() - age_secs)} | more})

    def presses(self, message: dict[str, Any], verb: str = "yes", user: int = ANN, data: str = "") -> str:
        """Press a button of a message, as it was when it came."""
        row = message["keyboard"][0]
        found = next(each["callback_data"] for each in row if each["callback_data"].startswith(verb))
        self._ids += 1
        query = f"query-{self._ids}"
        self._queries.add(query)
        shown = {"message_id": message["message_id"], "chat": {"id": message["chat_id"], "type": "private"}}
        pressed = {"id": query, "from": person(user), "chat_instance": "1", "data": data or found}
        self.happens({"callback_query": pressed | {"message": shown | {"date": int(time.time())}}})
        return query

    def happens(self, update: dict[str, Any]) -> None:
        self._updates.append({"update_id": self._next, **update})
        self._next += 1
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    def jumps(self, to: int) -> None:
        """After a week without news the numbers begin anew, anywhere."""
        self._next = to

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECS), self._changed:
            await self._changed.wait_for(true)

    async def told(self, count: int) -> dict[str, Any]:
        """The message that makes ``count`` of them."""
        await self.until(lambda: len(self.messages) >= count)
        return self.messages[count - 1]

    # The wire

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        method = request.match_info["method"]
        self.calls.append(method)
        fault = self.sick or next(iter(self.faults.get(method, [])), "")
        if fault and not self.sick:
            self.faults[method].pop(0)
        try:
            if fault:
                return await self._broken(fault, request)
            if request.match_info["token"] != TOKEN:
                return refused(401, "Unauthorized")
            return await getattr(self, f"_{method}", self._unknown)(body)
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _broken(self, fault: str, request: web.Request) -> web.StreamResponse:
        match fault:
            case "hang":
                await asyncio.sleep(3_600)
            case "drop":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "garbage":
                return web.Response(text="<html>a proxy's page</html>", content_type="text/html")
            case "large":
                return web.Response(body=b'{"ok":true,"result":"' + b"x" * 5_000_000 + b'"}')
            case "echo":
                return refused(403, f"Forbidden: bot{TOKEN} was blocked by the user")
            case "429":
                return refused(429, "Too Many Requests: retry after 35", parameters={"retry_after": 35})
            case "409":
                return refused(409, "Conflict: can't use getUpdates method while webhook is active")
            case "empty":
                return answered([])
        return refused(int(fault), "a fault")

    async def _unknown(self, _: dict[str, Any]) -> web.Response:
        return refused(404, "Not Found: method not found")

    async def _getMe(self, _: dict[str, Any]) -> web.Response:  # noqa: N802 (the method's own name)
        return answered({"id": 4711, "is_bot": True, "first_name": "Jury", "username": NAME})

    async def _getUpdates(self, body: dict[str, Any]) -> web.Response:  # noqa: N802 (the method's own name)
        assert 1 <= body["timeout"] <= 50
        assert body["allowed_updates"] == ["message", "callback_query"]
        self.polls += 1
        if self._poll is not None and not self._poll.done():
            self._poll.set_exception(ConnectionAbortedError())  # of two who poll the older is sent away
        head = self._updates[0]["update_id"] if self._updates else self._next
        if head <= body["offset"] <= self._next:  # one that is out of range begins at the head
            self._updates = [each for each in self._updates if each["update_id"] >= body["offset"]]
        if not self._updates:
            self._poll = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(body["timeout"]):
                    await self._poll
            except TimeoutError:
                pass
            except ConnectionAbortedError:
                self.sent_away += 1
                return refused(409, "Conflict: terminated by other getUpdates request")
        return answered(self._updates[: body["limit"]])

    async def _sendMessage(self, body: dict[str, Any]) -> web.Response:  # noqa: N802 (the method's own name)
        if not body["text"].strip():
            return refused(400, "Bad Request: message text is empty")
        if len(body["text"].encode("utf-16-le")) > 2 * 4_096:
            return refused(400, "Bad Request: message is too long")
        keyboard = body.get("reply_markup", {}).get("inline_keyboard", [])
        if any(not 1 <= len(each["callback_data"].encode()) <= 64 for row in keyboard for each in row):
            return refused(400, "Bad Request: BUTTON_DATA_INVALID")
        self._ids += 1
        self.messages.append(
            {**body, "message_id": self._ids, "keyboard": keyboard, "buttons": bool(keyboard)}
        )
        return answered({"message_id": self._ids})

    async def _answerCallbackQuery(  # noqa: N802 (the method's own name)
        self, body: dict[str, Any]
    ) -> web.Response:
        if body["callback_query_id"] not in self._queries:
            return refused(400, "Bad Request: query is too old and response timeout expired")
        self._queries.remove(body["callback_query_id"])
        self.notes.append((body["callback_query_id"], body["text"]))
        return answered(True)

    async def _editMessageReplyMarkup(  # noqa: N802 (the method's own name)
        self, body: dict[str, Any]
    ) -> web.Response:
        found = [each for each in self.messages if each["message_id"] == body["message_id"]]
        if not found or not found[0]["buttons"]:
            return refused(400, "Bad Request: message is not modified")
        found[0]["buttons"] = "reply_markup" in body
        return answered(True)


def person(user: int) -> dict[str, Any]:
    return {"id": user, "is_bot": False, "first_name": "somebody"}


def answered(result: Any) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def refused(status: int, words: str, **more: Any) -> web.Response:
    body = {"ok": False, "error_code": status, "description": words, **more}
    return web.json_response(body, status=status)


@asynccontextmanager
async def telegram() -> AsyncIterator[tuple[Telegram, str]]:
    """The API, and its base address."""
    api = Telegram()
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", api.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield api, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def config_of(directory: Path, address: str, **more: Any) -> Config:
    section = {"enabled": True, "token": Secret(TOKEN), "users": (ANN, BOB), "api": address} | more
    return Config(bot=BotSection(data_dir=str(directory)), telegram=TelegramSection(**section))


@asynccontextmanager
async def listening(
    config: Config, clock: FakeClock | None = None, told: list[str] | None = None
) -> AsyncIterator[TelegramFace]:
    """Our side of the chat, until the block ends. It may fail in no other way than by being cancelled."""
    heard = [] if told is None else told
    face = TelegramFace(config, clock or FakeClock(), heard.append)
    task = asyncio.create_task(face.run())
    try:
        yield face
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert task.cancelled()
