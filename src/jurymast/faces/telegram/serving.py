"""Listens to one Telegram bot and does what :mod:`jurymast.policy.chat` makes of it.

Two tasks: one hears and carries out, the other reads files and says things, so that a slow disk or a chat
that takes no more messages never holds up a halt. Files are read and written in threads of its own, never
on the loop that trades and never in the threads of others. Whatever goes wrong in here is told once, waited
out and tried again; nothing of it reaches the bot.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Final

from jurymast.app.config import Config
from jurymast.app.redaction import Redactor
from jurymast.app.telegram_api import ApiFault, BotApi, Message, Query, Update, User
from jurymast.domain.errors import JurymastError
from jurymast.faces.controls import CONFIRMED, MINUTES_MAX, Refused, carry_out
from jurymast.faces.telegram.showing import Shower
from jurymast.policy import chat
from jurymast.policy.chat import Ask, Chats, Do, Note, Pressed, Reply, Rules, Said, Say, Show, TakeButtons
from jurymast.ports import Clock

REST_SECS: Final = 1.0
"""After a failure, twice as long after each next; also the least between two polls that bring nothing."""
REFUSED_REST_SECS: Final = 5.0
"""The same when we were refused."""
REST_SECS_MAX: Final = 60.0
TOLD_AGAIN_SECS: Final = 3_600.0
"""Before the same trouble is told of again."""
TRIES: Final = 3
UNSAID_MAX: Final = 64
"""Replies that wait to be said; what finds no room is dropped and counted."""
UNSAID_SECS_MAX: Final = 300.0
READ_SECS: Final = 20.0
DO_SECS: Final = 10.0
END_SECS: Final = 2.0
TOKEN_BYTES: Final = 16
BUTTONS: Final = (("Yes, do it", chat.YES), ("Cancel", chat.NO))


class TelegramFace:
    """One bot. ``tell`` is for whoever runs it; what it is told holds no secret."""

    def __init__(self, config: Config, clock: Clock, tell: Callable[[str], None]) -> None:
        self.state = Chats()
        self.dropped = 0
        self._config, self._clock, self._tell = config, clock, tell
        self._redact = Redactor(config)
        self._api = BotApi(config.telegram)
        self._shower = Shower(config)
        self._rules: Rules | None = None
        self._offset = 0
        self._unsaid: asyncio.Queue[tuple[float, Reply]] = asyncio.Queue(UNSAID_MAX)
        # A thread each: a halt takes no lock, so it waits neither for a reader nor for who waits for a lock.
        self._reader, self._doer, self._halter = (ThreadPoolExecutor(1) for _ in range(3))
        self._failures, self._deaf = 0, False
        self._told: dict[int | str, float] = {}

    async def run(self) -> None:
        """Listen until cancelled. Raises nothing else."""
        saying = asyncio.create_task(self._keep_saying())
        try:
            while True:
                try:
                    await self._listen()
                except ApiFault as fault:
                    rest = self._failed(fault.status, str(fault), fault)
                except Exception as error:  # ours; the bot must never hear of it
                    rest = self._failed("ours", f"a fault of ours: {type(error).__name__}", None)
                else:
                    continue
                await self._clock.sleep(rest)
        finally:
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)
            await self._api.close()
            for pool in (self._reader, self._doer, self._halter):
                pool.shutdown(wait=False, cancel_futures=True)

    async def _listen(self) -> None:
        """One poll, and what it brings."""
        if self._rules is None:
            me, users = await self._api.me(), frozenset(self._config.telegram.users)
            self._rules = Rules(users, me.username, MINUTES_MAX)
            self._say_here(f"@{me.username} obeys {len(users)} users")
        began = self._clock.monotonic()
        updates, sent_at = await self._api.updates(self._offset)
        self._failures = 0
        if self._deaf:
            self._deaf = False
            self._say_here("heard again")
        for update in updates:
            self._offset = update.update_id + 1  # first: what fails is not tried again
            await self._take(update, self._rules, sent_at)
        if not updates and self._clock.monotonic() - began < REST_SECS:
            await self._clock.sleep(REST_SECS)

    async def _take(self, update: Update, rules: Rules, sent_at: datetime | None) -> None:
        now, before = self._clock.utc_now(), self.state.ignored
        match update:
            case Update(message=Message(sender=User(id=user)) as message):
                # By Telegram's own clock when it says so: ours may be off, and a halt is obeyed all the same.
                age = (sent_at or now).timestamp() - message.date
                said = Said(user, message.chat.id, message.text, message.chat.type == "private", age)
                token = secrets.token_urlsafe(TOKEN_BYTES)
                self.state, replies = chat.heard(self.state, said, rules, now, token)
            case Update(callback_query=Query(sender=User(id=user), message=Message() as message) as query):
                press = Pressed(user, message.chat.id, message.message_id, query.id, query.data)
                self.state, replies = chat.pressed(self.state, press, rules, now)
            case _:
                return
        if self.state.ignored == 1 != before:
            self._say_here(f"user {user} is not in [telegram] users and is ignored; others are only counted")
        unsaid: list[Reply] = []
        for reply in replies:
            unsaid += await self._do(reply) if isinstance(reply, Do) else [reply]
        for reply in unsaid:
            self._later(reply)

    async def _do(self, wanted: Do) -> list[Reply]:
        """Carry a confirmed demand out; what is to be said of it."""
        since, form = self._clock.utc_now(), {**wanted.form, "confirm": CONFIRMED}
        work = partial(carry_out, self._config.data_dir, wanted.action, form)
        pool = self._halter if wanted.action == "halt" else self._doer
        try:
            async with asyncio.timeout(DO_SECS):
                await asyncio.get_running_loop().run_in_executor(pool, work)
        except Refused as refused:
            told = f"{refused}. Nothing was changed."
        except JurymastError as error:
            told = str(error)
        except Exception as error:  # a time-out too: nobody knows what it has come to
            told = f"NOT KNOWN whether it is done ({type(error).__name__}). Look at /status."
        else:
            told = f"DONE. {wanted.words}"
        replies: list[Reply] = [Show(wanted.chat, "force", told)]
        if wanted.action == "halt":
            replies.append(Show(wanted.chat, "proof", since.isoformat()))
        return replies

    def _later(self, reply: Reply) -> None:
        try:
            self._unsaid.put_nowait((self._clock.monotonic(), reply))
        except asyncio.QueueFull:
            self.dropped += 1

    async def _keep_saying(self) -> None:
        while True:
            at, reply = await self._unsaid.get()
            try:
                await self._say(at, reply)
            except Exception:  # of the network or ours: a reply that is lost is asked for again by a person
                self.dropped += 1

    async def _say(self, at: float, reply: Reply) -> None:
        if self._clock.monotonic() - at > UNSAID_SECS_MAX:
            self.dropped += 1
            return
        api = self._api
        match reply:
            case Say():
                await self._tried(lambda: api.send(reply.chat, self._redact(reply.text)))
            case Show():
                text = self._redact(await self._read(reply.what, reply.of))
                await self._tried(lambda: api.send(reply.chat, text))
            case Ask():
                text = self._redact(await self._read("force", reply.text))
                buttons = [(words, f"{verb}:{reply.token}") for words, verb in BUTTONS]
                await self._tried(lambda: api.send(reply.chat, text, buttons))
            case Note():
                await self._tried(lambda: api.answer(reply.query, reply.text))
            case TakeButtons():
                await self._tried(lambda: api.take_buttons(reply.chat, reply.message))
            case Do():  # never waits here
                pass

    async def _read(self, what: str, of: str) -> str:
        work = partial(self._shower.show, what, of)
        try:
            async with asyncio.timeout(READ_SECS):
                return await asyncio.get_running_loop().run_in_executor(self._reader, work)
        except TimeoutError:
            return f"{of if what == 'force' else what}\n(reading the files took longer than {READ_SECS:g} s)"
        except Exception as error:  # ours: said, for whoever waits for it
            return f"{of if what == 'force' else what}\n(a fault of ours: {type(error).__name__})"

    async def _tried(self, call: Callable[[], Awaitable[None]]) -> None:
        for left in range(TRIES - 1, -1, -1):
            try:
                await call()
            except ApiFault as fault:
                if fault.final or not left:
                    raise
                await self._clock.sleep(fault.retry_secs or REST_SECS)
            else:
                return

    def _failed(self, kind: int | str, words: str, fault: ApiFault | None) -> float:
        """Tell of a trouble unless that was done lately; how long to leave it alone."""
        at = self._clock.monotonic()
        if at - self._told.get(kind, -TOLD_AGAIN_SECS) >= TOLD_AGAIN_SECS:
            self._told[kind], self._deaf = at, True
            self._say_here(f"NOT HEARD: {words}. The bot goes on without it.")
        first = REFUSED_REST_SECS if fault is not None and fault.final else REST_SECS
        rest = min(first * 2 ** min(self._failures, 10), REST_SECS_MAX)
        self._failures += 1
        return fault.retry_secs if fault is not None and fault.retry_secs else rest

    def _say_here(self, words: str) -> None:
        with suppress(Exception):  # a terminal that is gone
            self._tell(self._redact(words))


@asynccontextmanager
async def serving(config: Config, clock: Clock, tell: Callable[[str], None]) -> AsyncIterator[str]:
    """Serve until the block ends; gives what to say of it. A bot does not stop for want of it."""
    if config.telegram.missing:
        yield f"NONE: {config.telegram.missing}"
        return
    task = asyncio.create_task(TelegramFace(config, clock, tell).run())
    try:
        yield f"{len(config.telegram.users)} users, by {config.telegram.api}"
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=END_SECS)
