"""Commands by Telegram over real sockets: who may, what is confirmed, what can go wrong."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import bot_world
from jurymast.app.alerts import NAME as ALERTS
from jurymast.app.alerts import AlertState
from jurymast.app.alerts_config import ContactSection
from jurymast.app.control import ControlFile
from jurymast.app.redaction import MASK
from jurymast.app.telegram_api import ApiFault, BotApi, cut
from jurymast.domain.errors import ControlUnwritable
from jurymast.domain.order import Position
from jurymast.domain.provider import ProviderName, Secret
from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.faces.telegram import serving, showing
from jurymast.faces.telegram.serving import TelegramFace
from jurymast.policy import chat
from jurymast.policy.alert_signals import Level
from jurymast.policy.alerts import Alerts, Trouble
from jurymast.testing.clock import FakeClock
from jurymast.watch.files import taking_turns
from telegram_world import ANN, BOB, EVE, GROUP, TOKEN, Telegram, config_of, listening, telegram


@pytest.fixture(autouse=True)
def no_secret_in_any_log(caplog: pytest.LogCaptureFixture) -> Any:
    """The token is part of every address; no test leaves it in a log, whatever the level."""
    caplog.set_level(logging.DEBUG)
    yield
    logged = [f"{record.getMessage()} {record.exc_info}" for record in caplog.get_records("call")]
    assert TOKEN.split(":")[1] not in repr(logged)


@asynccontextmanager
async def chatting(directory: Path, **more: Any) -> AsyncIterator[tuple[Telegram, ControlFile]]:
    async with telegram() as (api, address), listening(config_of(directory, address, **more)):
        yield api, ControlFile(directory, FakeClock())


@asynccontextmanager
async def chatting_with(directory: Path, told: list[str]) -> AsyncIterator[tuple[Telegram, TelegramFace]]:
    async with telegram() as (api, address), listening(config_of(directory, address), told=told) as face:
        yield api, face


def floor(control: ControlFile) -> TradingState:
    return control.demands().floor


async def asks(api: Telegram, text: str, **more: Any) -> dict[str, Any]:
    """Say a command and get the question that it leads to."""
    count = len(api.messages) + 1
    api.says(text, **more)
    question = await api.told(count)
    assert question["buttons"], question["text"]
    return question


async def replied(api: Telegram, text: str, **more: Any) -> str:
    count = len(api.messages) + 1
    api.says(text, **more)
    return str((await api.told(count))["text"])


async def noted(api: Telegram, query: str) -> str:
    await api.until(lambda: any(each == query for each, _ in api.notes))
    return next(text for each, text in api.notes if each == query)


class TestConfirming:
    async def test_a_halt_is_said_back_and_done_when_confirmed(self, tmp_path: Path) -> None:
        """Two buttons under the question; the right one halts, with who and why, and the buttons go."""
        async with chatting(tmp_path) as (api, control):
            question = await asks(api, "/halt too fast")
            assert "HALT: nothing is sent" in question["text"]
            assert "Reason: too fast" in question["text"]
            assert "nothing is demanded by hand" in question["text"]
            assert floor(control) is TradingState.ACTIVE
            note = await noted(api, api.presses(question))
            assert note == "Confirmed."
            assert (tmp_path / "HALT").read_text() == f"too fast (by chat, user {ANN})\n"
            assert "DONE. HALT" in (await api.told(2))["text"]
            assert "HALTED: nothing is sent" in api.messages[1]["text"]
            assert "orders rest" in (await api.told(3))["text"]
            assert not question["buttons"]

    async def test_every_command_reaches_its_demand(self, tmp_path: Path) -> None:
        """What the page can demand the chat can demand, by the same rules."""
        async with chatting(tmp_path) as (api, control):

            async def does(text: str) -> str:
                question = await asks(api, text)
                count = len(api.messages) + 1
                api.presses(question)
                return str((await api.told(count))["text"])

            await does("/pause 30 news")
            state = control.demands().state
            assert state is not None
            assert (state.reason, state.until is None) == (f"news (by chat, user {ANN})", False)
            await does("/reduce")
            state = control.demands().state
            assert state is not None
            assert state.work_down
            await does("/mode suspended")
            assert control.demands().mode_floor is EmergencyMode.SUSPENDED
            await does("/isolate xai")
            assert ProviderName.XAI in control.demands().isolated
            await does("/failover xai openai")
            assert control.demands().preferred is not None
            await does("/restore xai")
            assert control.demands().isolated == {}
            refused = await does("/mode conservative")
            assert "which is safer" in refused
            assert "Nothing was changed" in refused
            assert control.demands().mode_floor is EmergencyMode.SUSPENDED
            assert "Nothing was changed" in await does("/ack 3f09ac")
            told = await does("/resume looked into it")
            assert "DONE. RESUME" in told
            assert floor(control) is TradingState.ACTIVE
            assert control.demands().mode_floor is EmergencyMode.NORMAL

    async def test_cancel_changes_nothing(self, tmp_path: Path) -> None:
        """The other button ends the question; the first does nothing then."""
        async with chatting(tmp_path) as (api, control):
            question = await asks(api, "/halt")
            assert "Cancelled" in await noted(api, api.presses(question, "no"))
            assert await noted(api, api.presses(question)) == chat.GONE
            assert floor(control) is TradingState.ACTIVE

    async def test_a_second_press_does_nothing(self, tmp_path: Path) -> None:
        """A resume that is pressed twice takes no later halt back."""
        async with chatting(tmp_path) as (api, control):
            control.halt("first")
            question = await asks(api, "/resume seen to")
            await noted(api, api.presses(question))
            assert floor(control) is TradingState.ACTIVE
            control.halt("second")
            assert await noted(api, api.presses(question)) == chat.GONE
            assert floor(control) is TradingState.HALTED

    async def test_nobody_else_confirms(self, tmp_path: Path) -> None:
        """In a group another allowed user's press changes nothing, and who asked can still confirm."""
        async with chatting(tmp_path) as (api, control):
            question = await asks(api, "/halt@JuryBot", chat=GROUP)
            assert "Only who asked" in await noted(api, api.presses(question, user=BOB))
            assert floor(control) is TradingState.ACTIVE
            assert question["buttons"]
            await noted(api, api.presses(question))
            assert floor(control) is TradingState.HALTED

    async def test_a_stranger_changes_nothing_and_hears_nothing(self, tmp_path: Path) -> None:
        """Not even a refusal: no message, no answer to a press. The first is told to whoever runs the bot."""
        told: list[str] = []
        async with chatting_with(tmp_path, told) as (api, face):
            question = await asks(api, "/resume why not", chat=GROUP)
            for text in ("/start", "/halt", "/status", "/resume it"):
                api.says(text, user=EVE)
                api.says(text, user=EVE, chat=GROUP)
            press = api.presses(question, user=EVE)
            api.presses(question, user=EVE, data="yes:guess")
            assert "/status" in await replied(api, "/help")
            assert len(api.messages) == 2
            assert all(query != press for query, _ in api.notes)
            assert question["buttons"]
            assert face.state.ignored == 10
        assert [each for each in told if str(EVE) in each] == [
            f"user {EVE} is not in [telegram] users and is ignored; others are only counted"
        ]
        assert not any(tmp_path.iterdir())  # noqa: ASYNC240 (a directory of a test)

    async def test_a_question_ends_after_a_minute(self, tmp_path: Path) -> None:
        """What was asked and left is not done later; its buttons go with the press that comes too late."""
        clock = FakeClock()
        async with telegram() as (api, address), listening(config_of(tmp_path, address), clock):
            question = await asks(api, "/halt")
            clock.advance(chat.CONFIRM_SECS + 1)
            assert await noted(api, api.presses(question)) == chat.GONE
            await replied(api, "/help")
        assert not (tmp_path / "HALT").exists()
        assert not question["buttons"]

    async def test_what_was_said_while_we_were_away_is_not_obeyed(self, tmp_path: Path) -> None:
        """Telegram keeps messages for a day: a halt of an hour ago is not asked about, which is said once."""
        async with telegram() as (api, address):
            for text in ("/halt", "/resume x", "/status"):
                api.says(text, age_secs=3_600)
            async with listening(config_of(tmp_path, address)):
                assert (await api.told(1))["text"] == chat.LATE
                await replied(api, "/help")
                assert len(api.messages) == 2

    async def test_a_restart_forgets_what_was_asked(self, tmp_path: Path) -> None:
        """A button of before does nothing; neither does a press that Telegram brings a second time."""
        async with telegram() as (api, address):
            config = config_of(tmp_path, address)
            async with listening(config):
                question = await asks(api, "/halt")
            async with listening(config):
                assert await noted(api, api.presses(question)) == chat.GONE
                again = await asks(api, "/isolate xai")
                await noted(api, api.presses(again))
            control = ControlFile(tmp_path, FakeClock())
            assert ProviderName.XAI in control.demands().isolated
            control.change(lambda old: replace(old, isolated={}))
            async with listening(config):
                # Its offset was in memory: what the last poll had not yet confirmed comes again.
                await noted(api, api.presses(again))
                assert control.demands().isolated == {}
        assert not (tmp_path / "HALT").exists()

    async def test_a_bad_argument_says_how_and_asks_nothing(self, tmp_path: Path) -> None:
        """A clear error, and no button."""
        async with chatting(tmp_path) as (api, _):
            assert "30m is no number of minutes" in await replied(api, "/pause 30m")
            assert "Say: /resume REASON" in await replied(api, "/resume")
            assert not any(each["buttons"] for each in api.messages)


class TestShowing:
    async def test_what_a_running_bot_shows(self, tmp_path: Path) -> None:
        """Status, providers, positions, money, alerts and reasons, SIMULATED where it is."""
        at = datetime.now(UTC)
        trouble = Trouble("provider:xai", Level.WARNING, "xAI is out", at, True, at, opened_at=at)
        state = AlertState(alerts=Alerts({trouble.cause: trouble}))
        (tmp_path / ALERTS).write_bytes(msgspec.json.encode(state))
        async with bot_world.bot(tmp_path), chatting(tmp_path) as (api, _):
            held = tuple(Position(f"FB-{n}", "FB", -250, 1_500_000) for n in range(60))
            bot_world.says(tmp_path, replace(bot_world.present(), positions=held))
            status = await replied(api, "/status")
            assert "running (pid" in status
            assert "SIMULATED" in status
            assert "1 open, worst first: xAI is out" in status
            providers = await replied(api, "/providers")
            assert "Out: xai." in providers
            assert "xai: unhealthy" in providers
            positions = await replied(api, "/positions")
            assert "60 positions" in positions
            assert "FB-3 NO 2.5 for $1.50" in positions
            assert "and 20 more" in positions
            spent = await replied(api, "/spend")
            assert "AI money today" in spent
            assert "SIMULATED" in spent
            assert f"{trouble.id}  WARNING  provider:xai: xAI is out" in await replied(api, "/alerts")
            assert "FB-1" in await replied(api, "/why")
            assert "nothing about NONE" in await replied(api, "/why NONE")
            question = await asks(api, f"/ack {trouble.id}")
            count = len(api.messages) + 1
            api.presses(question)
            assert "DONE. ACKNOWLEDGE" in (await api.told(count))["text"]
            assert (tmp_path / "alerts-ack" / trouble.id).exists()

    async def test_a_dead_bot_is_said_to_be_dead(self, tmp_path: Path) -> None:
        """The journal is there and nobody writes it: status says so, and a halt waits for the next start."""
        async with bot_world.bot(tmp_path):
            pass
        async with chatting(tmp_path) as (api, control):
            assert "NOT RUNNING" in await replied(api, "/status")
            api.presses(await asks(api, "/halt"))
            assert "no bot runs here" in (await api.told(4))["text"]
            assert floor(control) is TradingState.HALTED

    async def test_with_a_broken_journal_everything_is_answered_and_a_halt_is_done(
        self, tmp_path: Path
    ) -> None:
        """What can't be read is said; the latch needs none of it, and status shows it."""
        (tmp_path / "journal.db").write_bytes(b"this is no database" * 100)
        async with chatting(tmp_path) as (api, control):
            for name in ("status", "spend", "why"):
                assert f"{name} can't be told: " in await replied(api, f"/{name}")
            assert "not known here" in await replied(api, "/positions")
            assert await replied(api, "/providers")
            assert "no open alert" in await replied(api, "/alerts")
            count = len(api.messages) + 3
            api.presses(await asks(api, "/halt"))
            assert "can't be read" in (await api.told(count))["text"]
            assert floor(control) is TradingState.HALTED
            assert "HALTED" in await replied(api, "/status")

    async def test_a_disk_that_hangs_holds_no_halt_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While status waits for its file, a halt is confirmed and done; then the wait is said to be long."""
        begun, stuck = threading.Event(), threading.Event()

        def hang(*_: object) -> str:
            begun.set()
            return str(stuck.wait())

        monkeypatch.setattr(serving, "READ_SECS", 0.2)
        async with chatting(tmp_path) as (api, control):
            question = await asks(api, "/halt")
            monkeypatch.setattr(showing.Shower, "show", hang)
            try:
                api.says("/status")
                await asyncio.to_thread(begun.wait)
                api.presses(question)
                assert "took longer" in (await api.told(2))["text"]
                assert "DONE. HALT" in (await api.told(3))["text"]
                assert floor(control) is TradingState.HALTED
            finally:
                stuck.set()

    async def test_a_demand_that_waits_for_its_turn_holds_no_halt_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another program has the lock of the control file and hangs: a pause is not known to be done, and a
        halt, which needs no lock, is."""
        monkeypatch.setattr(serving, "DO_SECS", 0.2)
        async with chatting(tmp_path) as (api, control):
            with taking_turns(tmp_path / "control.lock"):
                api.presses(await asks(api, "/pause"))
                assert "NOT KNOWN whether it is done (TimeoutError)" in (await api.told(2))["text"]
                api.presses(await asks(api, "/halt"))
                assert "DONE. HALT" in (await api.told(4))["text"]
            assert floor(control) is TradingState.HALTED

    async def test_faults_of_ours_are_said_and_end_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A demand that can't be kept, one that breaks, a view that breaks: each is answered."""

        def unwritable(*_: object) -> None:
            raise ControlUnwritable("the disk is full; what was demanded before still holds")

        async with chatting(tmp_path) as (api, _):
            monkeypatch.setattr(serving, "carry_out", unwritable)
            api.presses(await asks(api, "/pause"))
            assert "the disk is full" in (await api.told(2))["text"]
            monkeypatch.setattr(serving, "carry_out", lambda *_: 1 / 0)
            api.presses(await asks(api, "/pause"))
            assert "NOT KNOWN whether it is done (ZeroDivisionError)" in (await api.told(4))["text"]
            monkeypatch.setattr(showing.Shower, "show", lambda *_: 1 / 0)
            assert "a fault of ours: ZeroDivisionError" in await replied(api, "/status")

    async def test_long_texts_are_cut_and_secrets_masked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Telegram takes 4096 units of UTF-16; whatever secret the settings hold leaves in no text."""
        async with telegram() as (api, address):
            contact = ContactSection(url=Secret("https://hooks.example/secret-of-alerts"))
            config = config_of(tmp_path, address)
            config = replace(config, alerts=replace(config.alerts, contacts={"phone": contact}))
            async with listening(config):
                long = f"{TOKEN} https://hooks.example/secret-of-alerts " + "\U0001d11e" * 9_000
                monkeypatch.setattr(showing.Shower, "show", lambda *_: long)
                told = await replied(api, "/status")
        assert told.startswith(f"{MASK} {MASK}")
        assert len(told.encode("utf-16-le")) <= 2 * 4_096
        assert told.endswith("(cut)")

    def test_a_cut_splits_no_character(self) -> None:
        """Whatever the place of the cut, what is left is text."""
        for text in ("x" * 300, "\U0001d11e" * 150, "x" + "\U0001d11e" * 150, "\ud800" * 300):
            for units in range(20, 300):
                assert len(cut(text, units).encode("utf-16-le")) <= 2 * units


class TestTheOtherSide:
    @pytest.mark.parametrize(
        "fault", ["drop", "garbage", "large", "502", "429", "409", "401", "404", "empty"]
    )
    async def test_a_poll_that_fails_is_told_once_and_tried_again(self, tmp_path: Path, fault: str) -> None:
        """Whatever comes instead of news: the token is not in what is told, and the next command is heard."""
        told: list[str] = []
        clock = FakeClock()
        async with telegram() as (api, address):
            api.faults["getUpdates"] = [fault] * 7
            async with listening(config_of(tmp_path, address), clock, told):
                assert "/halt" in await replied(api, "/help")
        troubles = [each for each in told if "NOT HEARD" in each]
        assert len(troubles) == (fault != "empty")
        assert told[-1] == ("heard again" if troubles else f"@JuryBot obeys {2} users")
        assert TOKEN not in repr(told)
        least = {"429": 7 * 35, "409": 5 + 10 + 20 + 40 + 3 * 60, "401": 200, "empty": 7}.get(
            fault, 1 + 2 + 4
        )
        assert clock.monotonic() >= least
        if fault == "409":
            assert "another program reads" in troubles[0]
        if fault == "401":
            assert "the token is refused" in troubles[0]

    async def test_a_server_that_hangs_is_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A poll has its time, and a little more."""
        monkeypatch.setattr("jurymast.app.telegram_api.CALL_SECS", 0.2)
        told: list[str] = []
        async with telegram() as (api, address):
            api.faults = {"getMe": ["hang"]}
            async with listening(config_of(tmp_path, address), told=told):
                assert "/halt" in await replied(api, "/help")
        assert "no complete reply" in told[0] or "no reply" in told[0]

    async def test_a_reply_that_is_refused_for_now_is_said_later(self, tmp_path: Path) -> None:
        """429 on a message: exactly so long is waited, and a halt is done meanwhile."""
        clock = FakeClock()
        async with telegram() as (api, address), listening(config_of(tmp_path, address), clock):
            api.faults["sendMessage"] = ["429", "502"]
            assert "/halt" in await replied(api, "/help")
            assert clock.monotonic() >= 35
            assert api.calls.count("sendMessage") == 3

    async def test_a_chat_that_takes_nothing_ends_nothing(self, tmp_path: Path) -> None:
        """Blocked by its user, gone, too late for an answer: dropped and counted, the next is said."""
        async with chatting_with(tmp_path, []) as (api, face):
            api.faults = {"sendMessage": ["echo"], "answerCallbackQuery": ["400"]}
            api.says("/help")
            question = await asks(api, "/halt")
            api.faults |= {"editMessageReplyMarkup": ["400"]}
            api.presses(question)
            assert "DONE. HALT" in (await api.told(2))["text"]
            await api.until(lambda: face.dropped == 3)
        assert (tmp_path / "HALT").exists()

    async def test_what_can_not_be_read_is_left_behind(self, tmp_path: Path) -> None:
        """News of kinds that we do not know, and numbers that begin anew, hold nothing up."""
        async with chatting(tmp_path) as (api, _):
            for odd in ({"poll": {}}, {"message": {"text": 5}}, {"message": None}, {"callback_query": []}):
                api.happens(odd)
            api.says("/help", date=None)
            api.happens({"message": {"message_id": 1, "chat": {"id": 1, "type": "channel"}, "text": "/halt"}})
            assert "/halt" in await replied(api, "/help")
            polls = api.polls
            api.jumps(17)
            assert "/halt" in await replied(api, "/help")
            assert "more than it takes" in await replied(api, "/why A B")
            assert len(api.messages) == 3
            assert api.polls <= polls + 3

    async def test_of_two_who_listen_one_is_told(self, tmp_path: Path) -> None:
        """The older one is sent away and says that another program reads; it comes back when it can."""
        told: list[str] = []
        async with telegram() as (api, address):
            config = config_of(tmp_path, address)
            async with listening(config, told=told):
                await replied(api, "/help")
                other = BotApi(config.telegram)
                poll = asyncio.create_task(other.updates(0))
                await api.until(lambda: api.sent_away >= 1)
                assert "/halt" in await replied(api, "/help")
                await asyncio.wait({poll})
                await other.close()
        assert "another program reads this bot's messages" in told[1]
        assert "heard again" in told

    async def test_the_token_is_in_no_fault(self, tmp_path: Path) -> None:
        """Neither in its text nor in anything that is chained to it, whatever went wrong."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            refusing = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with telegram() as (api, address), no_http() as babbling:
            places = [("garbage", address), ("drop", address), ("echo", address)]
            for sick, url in [*places, ("", refusing), ("", babbling)]:
                api.sick = sick
                config = config_of(tmp_path, url)
                caller = BotApi(config.telegram)
                with pytest.raises(ApiFault) as failed:
                    await caller.me()
                await caller.close()
                error: BaseException | None = failed.value
                while error is not None:
                    assert TOKEN not in f"{error!r} {error}"
                    error = error.__cause__ or error.__context__
                assert TOKEN not in repr(config) + str(config) + repr(caller)


@asynccontextmanager
async def no_http() -> AsyncIterator[str]:
    """A server that answers with what is no HTTP: aiohttp's own error names the whole address."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/9.9 what?\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
