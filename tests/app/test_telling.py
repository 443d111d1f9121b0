"""Telling people, over real sockets: what is told, and that no channel can touch trading."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot_world import trade_of
from history_world import cycle
from jurymast.app import alert_channels, alerts, watchdog
from jurymast.app.alert_channels import MISSING, Undelivered, address_of, deliver
from jurymast.app.alerts import ACKS, AlertKeeper, AlertState, acknowledge, read
from jurymast.app.alerts_config import AlertsSection, ContactSection
from jurymast.app.config import BotSection, Config, LabSection
from jurymast.app.doctor import Health, examine
from jurymast.app.supervisor import Supervisor
from jurymast.app.wiring import Bot, build
from jurymast.domain.events import (
    AlertTried,
    CycleFinished,
    Event,
    FailedOver,
    RunStarted,
)
from jurymast.domain.provider import Secret
from jurymast.exchange.embedded.server.limits import UNLIMITED
from jurymast.policy.alert_signals import Level
from jurymast.testing.clock import FakeClock
from jurymast.watch.record import Firing

TOKEN = "a-secret-in-the-address"


class Listener:
    """A webhook that keeps what it was told. ``status`` is its answer."""

    def __init__(self) -> None:
        self.status = 200
        self.told: list[dict[str, Any]] = []
        self.url = ""

    async def __aenter__(self) -> Listener:
        app = web.Application()
        app.router.add_post("/{tail:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/{TOKEN}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.told.append(await request.json())
        return web.Response(status=self.status)

    @property
    def changes(self) -> list[str]:
        return [f"{each['change']} {each['cause']}" for body in self.told for each in body["notices"]]


@asynccontextmanager
async def raw(drip: bytes = b"") -> AsyncIterator[str]:
    """A server that accepts and then is silent, or says a byte at a time, for ever."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                if drip:
                    writer.write(drip)
                    await writer.drain()
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{TOKEN}"
    finally:
        server.close()


def refusing() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/{TOKEN}"


def at(url: str, **more: Any) -> ContactSection:
    return ContactSection(url=Secret(url), **more)


def config_of(directory: Path, contacts: dict[str, ContactSection]) -> Config:
    base = Config()
    return replace(
        base,
        bot=BotSection(data_dir=str(directory), seed=3),
        exchange=replace(base.exchange, speed=240.0, tier=UNLIMITED),
        trading=replace(base.trading, concurrency=1),  # of several, whose answer is first is chance
        lab=LabSection(emulate=True, control_port=0, latency_scale=0.0),
        alerts=AlertsSection(contacts=contacts, open_secs=5.0, close_secs=10.0),
    )


@asynccontextmanager
async def bot_telling(
    directory: Path, clock: FakeClock, contacts: dict[str, ContactSection]
) -> AsyncIterator[tuple[Bot, AlertKeeper, list[Event]]]:
    seen = list[Event]()
    async with build(config_of(directory, contacts), clock=clock, watch=seen.append, ticking=False) as bot:
        keeper = AlertKeeper(bot)
        try:
            yield bot, keeper, seen
        finally:
            await settle(keeper)


async def settle(keeper: AlertKeeper) -> None:
    """Until no delivery is under way."""
    while keeper._tasks:
        await asyncio.wait(keeper._tasks)


async def pass_by(keeper: AlertKeeper, clock: FakeClock, secs: float) -> None:
    clock.advance(secs)
    keeper.look()
    await settle(keeper)


async def test_an_outage_is_told_with_its_end_and_on_record(tmp_path: Path) -> None:
    """All providers fail: one critical message at once, one when they are back, each journalled."""
    clock = FakeClock()
    async with Listener() as phone, bot_telling(tmp_path, clock, {"phone": at(phone.url)}) as told:
        bot, keeper, seen = told
        bot.recorder.emit(
            FailedOver(at=clock.utc_now(), from_route=None, to_route=None, reason="sk-abcdefgh1234")
        )
        await pass_by(keeper, clock, 1.0)
        assert phone.changes == ["opened nobody:all"]
        assert "sk-abcdefgh1234" not in repr(phone.told)
        assert phone.told[0]["title"].startswith("SIMULATED jurymast CRITICAL: no provider answers")
        assert phone.told[0]["text"] == phone.told[0]["content"]
        route = next(iter(bot.fallback.core.health.records.values())).route
        bot.recorder.emit(FailedOver(at=clock.utc_now(), from_route=None, to_route=route, reason="back"))
        await pass_by(keeper, clock, 1.0)
        await pass_by(keeper, clock, 10.0)
        assert phone.changes == ["opened nobody:all", "resolved nobody:all"]
    sent = [event for event in seen if isinstance(event, AlertTried) and not event.failure]
    assert [(each.contact, each.causes, each.tries) for each in sent] == [("phone", ("nobody:all",), 1)] * 2


async def test_a_restart_tells_nothing_twice_and_forgets_nothing(tmp_path: Path) -> None:
    """What was open stays open with its id; a run that ended without a word is said."""
    clock = FakeClock()
    async with Listener() as phone:
        contacts = {"phone": at(phone.url)}
        async with bot_telling(tmp_path, clock, contacts) as (bot, keeper, _):
            bot.recorder.emit(_started(clock))
            bot.recorder.emit(FailedOver(at=clock.utc_now(), from_route=None, to_route=None, reason="x"))
            await pass_by(keeper, clock, 1.0)
        before = read(tmp_path)
        async with bot_telling(tmp_path, clock, contacts) as (bot, keeper, _):
            bot.recorder.emit(_started(clock))
            await pass_by(keeper, clock, 1.0)
            assert before is not None
            assert keeper.state.alerts.open[0].id == before.alerts.open[0].id
        assert phone.changes == ["opened nobody:all", "opened crash:bot"]


def _started(clock: FakeClock) -> RunStarted:
    return RunStarted(at=clock.utc_now(), version="0", pid=1, seed=0, exchange="test")


async def test_a_message_that_was_on_its_way_when_the_bot_died_is_sent_again(tmp_path: Path) -> None:
    """Nobody knows whether it arrived, so it is told by the next run."""
    clock = FakeClock()
    async with raw() as hanging, bot_telling(tmp_path, clock, {"phone": at(hanging)}) as (bot, keeper, _):
        bot.recorder.emit(FailedOver(at=clock.utc_now(), from_route=None, to_route=None, reason="x"))
        keeper.look()
        await asyncio.sleep(0)
        for task in keeper._tasks:
            task.cancel()
    async with (
        Listener() as phone,
        bot_telling(tmp_path, clock, {"phone": at(phone.url)}) as (_, keeper, _),
    ):
        await pass_by(keeper, clock, 1.0)
        assert phone.changes == ["opened nobody:all"]


async def test_an_acknowledgement_stops_reminders_and_the_next_contact(tmp_path: Path) -> None:
    """Taken on from another process, by a file: nobody else is called."""
    clock = FakeClock()
    async with Listener() as phone, Listener() as boss:
        contacts = {"phone": at(phone.url), "boss": at(boss.url, after_secs=60.0)}
        async with bot_telling(tmp_path, clock, contacts) as (bot, keeper, _):
            bot.recorder.emit(FailedOver(at=clock.utc_now(), from_route=None, to_route=None, reason="x"))
            await pass_by(keeper, clock, 1.0)
            acknowledge(tmp_path, [keeper.state.alerts.open[0].id])
            for _ in range(10):
                bot.recorder.emit(cycle(clock.utc_now()))
                await pass_by(keeper, clock, 3_600.0)
            assert phone.changes == ["opened nobody:all"]
            assert boss.told == []
            assert list((tmp_path / ACKS).iterdir()) == []


async def test_what_could_not_be_told_is_told_when_the_channel_is_back(tmp_path: Path) -> None:
    """Tries, then rest, then again: the message of before arrives, and the failures are on record."""
    clock = FakeClock()
    async with Listener() as phone, bot_telling(tmp_path, clock, {"phone": at(phone.url)}) as told:
        bot, keeper, seen = told
        phone.status = 500
        bot.recorder.emit(FailedOver(at=clock.utc_now(), from_route=None, to_route=None, reason="x"))
        keeper.look()
        await drive(keeper, clock)
        assert len(phone.told) == alerts.TRIES
        keeper.look()
        assert keeper._tasks == set()
        phone.status, phone.told = 200, []
        clock.advance(alerts.REST_SECS + 1)
        keeper.look()
        await drive(keeper, clock)
        assert phone.changes == ["opened nobody:all"]
        (failed,) = [event for event in seen if isinstance(event, AlertTried) and event.failure]
        assert (failed.tries, failed.failure) == (alerts.TRIES, "HTTP 500")
        kept = (tmp_path / alerts.NAME).read_text()
    assert TOKEN not in kept
    assert TOKEN not in repr(seen)


async def drive(keeper: AlertKeeper, clock: FakeClock) -> None:
    """Let time pass until deliveries have come to their end."""
    while keeper._tasks:
        await asyncio.wait(keeper._tasks, timeout=0.02)
        clock.advance(1.0)


async def traded(directory: Path, contacts: dict[str, ContactSection]) -> tuple[list[str], list[Event]]:
    """Eight cycles with all providers out in the middle, while the contacts are told of it."""
    clock = FakeClock()
    async with bot_telling(directory, clock, contacts) as (bot, keeper, seen):
        assert bot.fleet is not None
        for place in range(8):
            if place == 3:
                await bot.fleet.set_fault("all", "503")
            keeper.look()
            await bot.cycle.run_once()
            clock.advance(30.0)
        keeper.look()
        trade = trade_of(seen)
        await drive(keeper, clock)
        return trade, seen


async def test_dead_channels_change_nothing_in_trading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hanging, refusing, failing, dripping, a command that hangs, no address at all: trading is the same to
    the micro-dollar as without any contact, and each failure is on record."""
    monkeypatch.setattr(alerts, "BACKOFF_SECS", 0.0)
    monkeypatch.setattr(alert_channels, "WEBHOOK_SECS", 0.3)
    monkeypatch.setattr(alert_channels, "COMMAND_SECS", 0.3)
    async with AsyncExitStack() as stack:
        broken = await stack.enter_async_context(Listener())
        broken.status = 500
        contacts = {
            "hanging": at(await stack.enter_async_context(raw())),
            "refusing": at(refusing()),
            "failing": at(broken.url),
            "dripping": at(await stack.enter_async_context(raw(b"H"))),
            "command": ContactSection(command=f"{sys.executable} -c 'import time; time.sleep(600)'"),
            "nowhere": ContactSection(),
        }
        with_them, seen = await traded(tmp_path / "with", contacts)
    without, _ = await traded(tmp_path / "without", {})
    assert with_them == without
    assert any(" buy " in line for line in with_them)
    failed = {event.contact for event in seen if isinstance(event, AlertTried) and event.failure}
    assert failed == set(contacts)
    assert TOKEN not in repr(seen)


async def test_a_channel_that_hangs_holds_nothing_up(tmp_path: Path) -> None:
    """Cycles begin and end while a message is on its way to somebody who never answers."""
    clock = FakeClock()
    async with raw() as hanging, bot_telling(tmp_path, clock, {"hanging": at(hanging)}) as told:
        bot, keeper, seen = told
        bot.recorder.emit(FailedOver(at=clock.utc_now(), from_route=None, to_route=None, reason="x"))
        keeper.look()
        (task,) = keeper._tasks
        for _ in range(3):
            await bot.cycle.run_once()
            keeper.look()
        assert sum(isinstance(event, CycleFinished) for event in seen) == 3
        assert keeper._tasks == {task}
        task.cancel()


async def test_the_watchdog_tells_the_contacts_itself(tmp_path: Path) -> None:
    """The bot is silent, so the watchdog says what it does and when it is done; a dead contact is said."""
    said: list[str] = []
    firing = Firing("f" * 32, "run", FakeClock().utc_now(), "no pulse", 31.0, count=2, proven=True)
    async with Listener() as phone:
        config = config_of(tmp_path, {"phone": at(phone.url), "dead": at(refusing())})
        for what in ("fired", "cleared"):
            await watchdog._alert(config, what, firing, said.append)
        assert phone.changes == ["opened watchdog:ffffffff", "resolved watchdog:ffffffff"]
        assert "2 orders taken back" in phone.told[1]["text"]
    assert len(said) == 2
    assert TOKEN not in repr(said)


async def test_last_words_are_delivered_and_a_dead_channel_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bot that fails says so before it is gone."""
    monkeypatch.setattr(alerts, "FAREWELL_SECS", 0.5)
    clock = FakeClock()
    async with Listener() as phone, raw() as hanging:
        contacts = {"phone": at(phone.url), "hanging": at(hanging)}
        async with build(config_of(tmp_path, contacts), clock=clock, ticking=False) as bot:
            supervisor = Supervisor(bot)

            async def fail() -> None:
                raise RuntimeError("the disk is on fire")

            monkeypatch.setattr(bot.cycle, "run_once", fail)
            with pytest.raises(BaseExceptionGroup):
                await supervisor.run()
        assert phone.changes == ["opened stopped:bot"]
        assert "the disk is on fire" in phone.told[0]["text"]
    kept = read(tmp_path)
    assert kept is not None
    assert not kept.running


async def test_a_fault_of_our_own_is_counted_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong in telling, the next look goes on."""
    async with bot_telling(tmp_path, FakeClock(), {}) as (_, keeper, _):
        monkeypatch.setattr(keeper, "_take_acknowledgements", lambda: 1 / 0)
        keeper.look()
        keeper.look()
        assert keeper.state.faults == 2


async def test_apprise_delivers_what_it_knows(tmp_path: Path) -> None:
    """An Apprise address of a real server: title, text and kind arrive; a dead one fails unnamed."""
    async with Listener() as phone:
        url = phone.url.replace("http://", "json://")
        await deliver(at(url), letter_of("CRITICAL"))
        (told,) = phone.told
        assert told["type"] == "failure"
        assert "no provider answers" in told["message"]
    with pytest.raises(Undelivered) as failed:
        await deliver(at(refusing().replace("http://", "json://")), letter_of("CRITICAL"))
    assert TOKEN not in str(failed.value)


async def test_an_apprise_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its time and is gone."""
    monkeypatch.setattr(alert_channels, "APPRISE_SECS", 0.2)
    async with raw() as hanging:
        with pytest.raises(Undelivered, match="was stopped"):
            await deliver(at(hanging.replace("http://", "json://")), letter_of("INFO"))


async def test_without_apprise_webhooks_and_commands_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is not installed: what needs it says how to get it, everything else is told."""
    monkeypatch.setattr(alert_channels, "find_spec", lambda _: None)
    assert address_of(at("tgram://token/chat")) == MISSING
    with pytest.raises(Undelivered, match="pip install"):
        await deliver(at("tgram://token/chat"), letter_of("INFO"))
    async with Listener() as phone:
        await deliver(at(phone.url), letter_of("INFO"))
        assert len(phone.told) == 1
    place = tmp_path / "told.json"
    await deliver(ContactSection(command=f"tee {place}"), letter_of("INFO"))
    assert json.loads(place.read_text())["level"] == "info"
    with pytest.raises(Undelivered, match="ended with 1"):
        await deliver(ContactSection(command="false"), letter_of("INFO"))


def letter_of(level: str) -> alert_channels.Letter:
    return alert_channels.Letter("jurymast", "no provider answers", Level(level.lower()), False, {})


async def test_the_doctor_says_whether_somebody_would_be_told(tmp_path: Path) -> None:
    """No contact warns, a missing address fails, a channel that failed last warns."""

    async def row(contacts: dict[str, ContactSection]) -> Any:
        checks = await examine(config_of(tmp_path, contacts), clock=FakeClock())
        return next(check for check in checks if check.name == "alerts")

    assert (await row({})).health is Health.WARN
    assert (await row({"phone": ContactSection()})).health is Health.FAIL
    untried = await row({"phone": at("http://127.0.0.1:9/x")})
    assert untried.health is Health.OK
    assert "nothing was sent yet" in untried.finding
    async with bot_telling(tmp_path, FakeClock(), {"phone": at(refusing())}) as (_, keeper, _):
        keeper.state = replace(keeper.state, deliveries={"phone": alerts.Delivery(0, 1, "HTTP 500")})
        keeper.look()
    assert (await row({"phone": at("http://127.0.0.1:9/x")})).health is Health.WARN


def test_a_damaged_file_is_a_new_beginning(tmp_path: Path) -> None:
    """What can't be read is none."""
    assert read(tmp_path) is None
    (tmp_path / alerts.NAME).write_text("{")
    assert read(tmp_path) is None
    (tmp_path / alerts.NAME).write_text('{"version": 99}')
    assert read(tmp_path) is None
    assert AlertState().alerts.open == ()
