"""Telegram's Bot API: the few methods in use, each bounded, and what goes wrong in words without the token.

The token is part of every address, so no error of the network leaves here as it came.

Source: https://core.telegram.org/bots/api. What it leaves open (an offset that is out of range begins anew,
of two who poll the older gets 409, a text is counted in UTF-16) is as in tdlib/telegram-bot-api, Client.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

import msgspec

from jurymast.app.doctor import Check, Health
from jurymast.app.redaction import MASK
from jurymast.app.telegram_config import TelegramSection
from jurymast.intelligence.providers.transport import AiohttpTransport, TransportError
from jurymast.ports import TimeLimits

CALL_SECS: Final = 10.0
"""For one call, and for a poll beyond what it waits."""
BODY_BYTES_MAX: Final = 1024 * 1024
UPDATES_MAX: Final = 10
"""In one answer; that many of the largest there are fit a body."""
TEXT_UNITS_MAX: Final = 4_096
NOTE_UNITS_MAX: Final = 200
"""Of the words that show for a moment after a button."""
RETRY_SECS_MAX: Final = 3_600.0
"""What the other side may ask us to wait."""
T = TypeVar("T")
CUT: Final = "\n... (cut)"
_CURES: Final = {
    401: "the token is refused: get a new one from @BotFather",
    404: "no bot has this token, or [telegram] api leads to something else",
    409: "another program reads this bot's messages, or a webhook is set: end it, or use a bot of its own",
    429: "too many requests for now",
}


class ApiFault(Exception):
    """A call that did not do. ``status`` is 0 when nothing that makes sense came back."""

    def __init__(self, text: str, status: int = 0, retry_secs: float = 0.0) -> None:
        super().__init__(text)
        self.status = status
        self.retry_secs = retry_secs

    @property
    def final(self) -> bool:
        """Whether the same call again would be refused again."""
        return 400 <= self.status < 500 and self.status != 429


class User(msgspec.Struct):
    """Who."""

    id: int
    username: str = ""


class Place(msgspec.Struct):
    """A chat, or a group."""

    id: int
    type: str = ""


class Message(msgspec.Struct):
    """What was said. ``date`` is Telegram's own time, in seconds."""

    message_id: int
    chat: Place
    date: int = 0
    sender: User | None = msgspec.field(name="from", default=None)
    text: str = ""


class Query(msgspec.Struct):
    """A button that was pressed."""

    id: str
    sender: User = msgspec.field(name="from")
    message: Message | None = None
    data: str = ""


class Update(msgspec.Struct):
    """Something that happened. One that can't be read has its number alone."""

    update_id: int
    message: Message | None = None
    callback_query: Query | None = None


class _Number(msgspec.Struct):
    update_id: int


class _Parameters(msgspec.Struct):
    retry_after: float = 0.0


class _Answer(msgspec.Struct):
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    description: str = ""
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class BotApi:
    """One bot's calls. Every method raises ApiFault and nothing else."""

    def __init__(self, section: TelegramSection) -> None:
        self._section = section
        here = section.api.startswith("http:")  # no proxy may see a token that is not encrypted
        self._transport = AiohttpTransport(trust_env=not here, body_bytes_max=BODY_BYTES_MAX)

    async def close(self) -> None:
        await self._transport.close()

    async def me(self) -> User:
        """The bot itself."""
        raw, _ = await self._call("getMe", {})
        return _read(raw, User)

    async def updates(self, offset: int) -> tuple[list[Update], datetime | None]:
        """What has happened from ``offset`` on, waited for, and the server's time if it says so. Everything
        before ``offset`` is forgotten over there."""
        secs, kinds = self._section.poll_secs, ["message", "callback_query"]
        wanted = {"offset": offset, "limit": UPDATES_MAX, "timeout": secs, "allowed_updates": kinds}
        raw, date = await self._call("getUpdates", wanted, secs + CALL_SECS)
        found = [_update(each) for each in _read(raw, list[msgspec.Raw])]
        try:
            return found, parsedate_to_datetime(date)
        except ValueError:
            return found, None

    async def send(self, chat: int, text: str, buttons: Sequence[tuple[str, str]] = ()) -> None:
        """Say something, cut to what fits; ``buttons`` are words and the data that a press brings."""
        body: dict[str, Any] = {"chat_id": chat, "text": cut(text, TEXT_UNITS_MAX) or "-"}
        body["link_preview_options"] = {"is_disabled": True}
        if buttons:
            row = [{"text": words, "callback_data": data} for words, data in buttons]
            body["reply_markup"] = {"inline_keyboard": [row]}
        await self._call("sendMessage", body)

    async def answer(self, query: str, text: str) -> None:
        """Say what a press did; until then the button looks busy."""
        body = {"callback_query_id": query, "text": cut(text, NOTE_UNITS_MAX)}
        await self._call("answerCallbackQuery", body)

    async def take_buttons(self, chat: int, message: int) -> None:
        """Leave the words of a message and take its buttons away."""
        await self._call("editMessageReplyMarkup", {"chat_id": chat, "message_id": message})

    async def _call(
        self, method: str, body: dict[str, Any], secs: float = CALL_SECS
    ) -> tuple[msgspec.Raw, str]:
        """Result and date of one call."""
        address = f"{self._section.api.rstrip('/')}/bot{self._section.token.value}/{method}"
        sent, head = msgspec.json.encode(body), {"Content-Type": "application/json"}
        try:
            async with self._transport.send("POST", address, head, sent, TimeLimits(secs)) as reply:
                status, date, raw = reply.status, reply.headers.get("date", ""), await reply.read()
        except TransportError as error:
            lost = error.detail.replace(self._section.token.value, MASK)
        else:
            return self._answered(status, raw), date
        # Outside of the handler: what is chained to an error of the network names the whole address.
        raise ApiFault(f"Telegram does not answer: {lost}")

    def _answered(self, status: int, raw: bytes) -> msgspec.Raw:
        try:
            answer = msgspec.json.decode(raw, type=_Answer)
        except (msgspec.MsgspecError, ValueError):
            raise ApiFault(f"what answers is no Bot API (HTTP {status})", status=0) from None
        if answer.ok and status == 200:
            return answer.result
        said = answer.description.replace(self._section.token.value, MASK)
        words = f"{_CURES.get(status, 'a call was refused')} (HTTP {status}: {said:.200})"
        wait = answer.parameters.retry_after if status == 429 else 0.0
        raise ApiFault(words, status, min(max(wait, 0.0), RETRY_SECS_MAX))


def cut(text: str, units_max: int) -> str:
    """As much of a text as fits, counted as Telegram does; what is cut is said."""
    units = text.encode("utf-16-le", errors="replace")
    if len(units) > 2 * units_max:
        return units[: 2 * (units_max - len(CUT))].decode("utf-16-le", errors="ignore") + CUT
    return units.decode("utf-16-le")


async def reached(section: TelegramSection) -> list[Check]:
    """A row for the doctor: whether this bot can be reached. It is no gate to trading."""
    if not section.enabled:
        return []
    if section.missing:
        return [Check("telegram", Health.FAIL, section.missing, "see docs/operate/telegram.md")]
    api = BotApi(section)
    try:
        me = await api.me()
    except ApiFault as fault:
        health = Health.FAIL if fault.final else Health.WARN
        cure = "see docs/operate/telegram.md" if fault.final else "look at the network and [telegram] api"
        return [Check("telegram", health, str(fault), cure)]
    finally:
        await api.close()
    return [Check("telegram", Health.OK, f"@{me.username} obeys {len(section.users)} users")]


def _read(raw: msgspec.Raw, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, ValueError):
        raise ApiFault("an answer of Telegram's can't be read: update jurymast") from None


def _update(raw: msgspec.Raw) -> Update:
    """What happened; one that we can't read must not be asked for again for ever, so its number is enough."""
    try:
        return msgspec.json.decode(raw, type=Update)
    except (msgspec.MsgspecError, ValueError):
        return Update(_read(raw, _Number).update_id)
