"""The web page over real sockets: who may look, who may act, what is shown, and that it stays fresh."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from bot_world import bot, present, says
from browser import browsing, found
from history_world import decided
from jurymast.app.alerts import AlertState
from jurymast.app.clock import SystemClock
from jurymast.app.control import ControlFile
from jurymast.domain.decision import ForecastRecord
from jurymast.domain.errors import JurymastError
from jurymast.domain.events import ForecastScored
from jurymast.domain.provider import ProviderName, Tier
from jurymast.domain.status import (
    EmergencyMode,
    TradingState,
)
from jurymast.faces.web.access import COOKIE, TOKEN_FILE, Access, is_loopback, own_page, token_of
from jurymast.faces.web.pages import SECTIONS
from jurymast.faces.web.server import HEADERS, serving
from jurymast.policy.alert_signals import Level
from jurymast.policy.alerts import Alerts, Trouble

TOKEN = "a-token-of-good-length"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
STRAIGHT: dict[str, Any] = {"headers": BEARER, "allow_redirects": False}
REDUCING = TradingState.REDUCING
Page = tuple[aiohttp.ClientSession, str]
EVERYWHERE = Access(TOKEN, "0.0.0.0", frozenset({"127.0.0.1"}))
OPEN = Access(TOKEN, "127.0.0.1")


@asynccontextmanager
async def page(
    directory: Path, access: Access | None = None
) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    async with serving(directory, access or OPEN, 0) as url:
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            yield session, url


async def test_it_says_in_a_sentence_how_things_are(tmp_path: Path) -> None:
    """Who is out, who answers, what trading may do; the rest below, and no word of it as markup."""
    evil = "<script>alert(1)</script>"
    async with bot(tmp_path, evil), page(tmp_path) as (session, url):
        async with session.get(url) as reply:
            text = await reply.text()
            assert reply.status == 200
            assert {name: reply.headers[name] for name in HEADERS} == HEADERS
        assert "Out: xai. openai answers with gpt-6.1-terra." in text
        assert "New positions are taken, at 25% of the size." in text
        assert "next look in" in text
        assert "FB-1" in text
        assert evil not in text
        assert "&lt;script&gt;" in text


async def test_facts_for_programs(tmp_path: Path) -> None:
    """The same as JSON, and a health check that fails when the bot is gone."""
    async with page(tmp_path) as (session, url):
        async with bot(tmp_path):
            async with session.get(f"{url}/api/state") as reply:
                facts = await reply.json()
            assert (facts["running"], facts["fresh"], facts["mode"], facts["state"]) == (
                True,
                True,
                "normal",
                "active",
            )
            assert [each["name"] for each in facts["providers"]] == ["xai", "openai"]
            assert facts["providers"][0]["back_in_secs"] == 12.0
            async with session.get(f"{url}/health") as reply:
                assert reply.status == 200
        async with session.get(f"{url}/health") as reply:
            assert (reply.status, await reply.json()) == (503, {"running": False, "fresh": True})


async def test_open_alerts_are_shown_and_taken_on(tmp_path: Path) -> None:
    """Worst first, escaped, with the words that take one on; a button does it too, for who has the token."""
    now = datetime.now(UTC)
    down = Trouble("provider:xai", Level.WARNING, "xai is <down>", now, True, now, opened_at=now)
    nobody = Trouble("nobody", Level.CRITICAL, "no provider answers", now, True, now, opened_at=now, count=3)
    coming = Trouble("budget", Level.WARNING, "not told of yet", now, True, now)
    state = AlertState(alerts=Alerts({each.cause: each for each in (down, nobody, coming)}))
    (tmp_path / "alerts.json").write_bytes(msgspec.json.encode(state))
    async with bot(tmp_path), page(tmp_path) as (session, url):
        async with session.get(url) as reply:
            text = await reply.text()
        assert text.index("no provider answers") < text.index("xai is &lt;down&gt;")
        assert f"jurymast alerts ack {nobody.id}" in text
        assert "3 times" in text
        assert "not told of yet" not in text
        async with session.get(f"{url}/api/state") as reply:
            assert [each["cause"] for each in (await reply.json())["alerts"]] == ["nobody", "provider:xai"]
        async with session.get(f"{url}/status") as reply:
            assert "no provider answers" not in await reply.text()
        for wanted, status, left in (
            ({"id": "unknown"}, 400, set()),
            ({"id": down.id}, 303, {down.id}),
            ({}, 303, {down.id, nobody.id}),
        ):  # fmt: skip
            async with session.post(
                f"{url}/control/ack", data={"confirm": "yes", **wanted}, headers=BEARER, allow_redirects=False
            ) as reply:
                assert reply.status == status
            acks = tmp_path / "alerts-ack"
            assert ({each.name for each in acks.iterdir()} if acks.exists() else set()) == left
        async with session.post(f"{url}/control/ack", data={"confirm": "yes"}) as reply:
            assert reply.status == 403


async def test_what_models_said_is_drawn_against_what_came(tmp_path: Path) -> None:
    """Once forecasts have resolved; before there is no empty picture."""
    async with bot(tmp_path) as journal, page(tmp_path) as (session, url), session.get(url) as reply:
        assert "against how often it came" not in await reply.text()
    at = datetime.now(UTC)
    record = ForecastRecord("Q", "Q", "world", ProviderName.XAI, "m", Tier.MID, 70, 500_000, 0.1, 0.7, at, at)
    async with bot(tmp_path) as journal, page(tmp_path) as (session, url):
        await journal.append(ForecastScored(at=at, record=record, yes=True))
        async with session.get(url) as reply:
            text = await reply.text()
        assert "against how often it came" in text
        assert "said 70%, came 100%, 1 forecasts" in text


async def test_without_a_bot_it_says_so(tmp_path: Path) -> None:
    """An empty directory, a bot that has stopped, one that runs and is silent: each in words."""
    async with page(tmp_path) as (session, url):
        async with session.get(url) as reply:
            assert "The bot is not running." in await reply.text()
        async with bot(tmp_path):
            says(tmp_path, replace(present(), at=datetime.now(UTC) - timedelta(minutes=5)))
            async with session.get(url) as reply:
                assert "says nothing" in await reply.text()


@pytest.mark.parametrize(
    ("mode", "state", "may"),
    [
        (EmergencyMode.NORMAL, TradingState.HALTED, "Nothing is sent."),
        (EmergencyMode.NORMAL, TradingState.REDUCING, "No new risk."),
        (EmergencyMode.MINIMAL, TradingState.ACTIVE, "No new risk in this mode."),
        (EmergencyMode.CACHED, TradingState.ACTIVE, "New positions are taken"),
    ],
)
async def test_what_trading_may_do(
    tmp_path: Path, mode: EmergencyMode, state: TradingState, may: str
) -> None:
    """Mode and state in words."""
    async with bot(tmp_path), page(tmp_path) as (session, url):
        says(tmp_path, present(mode, state))
        async with session.get(f"{url}/api/state") as reply:
            assert (await reply.json())["may"].startswith(may)


async def test_the_public_page_has_no_money(tmp_path: Path) -> None:
    """Health for everybody, badges too; elsewhere than on this machine nothing else without the token."""
    async with (
        bot(tmp_path),
        page(tmp_path, EVERYWHERE) as (session, url),
    ):
        address = url.replace("0.0.0.0", "127.0.0.1")
        async with session.get(f"{address}/status") as reply:
            text = await reply.text()
            assert reply.status == 200
        assert "openai answers" in text
        assert "$" not in text
        assert "FB-1" not in text
        for badge in ("badge.svg", "badge/xai.svg"):
            async with session.get(f"{address}/{badge}") as reply:
                assert (reply.status, reply.content_type) == (200, "image/svg+xml")
        async with session.get(f"{address}/badge/nobody.svg") as reply:
            assert reply.status == 404
        for closed in ("", "/live", "/api/state", "/why/FB-1"):
            async with session.get(f"{address}{closed}") as reply:
                assert reply.status == 403, closed
            async with session.get(f"{address}{closed}", headers=BEARER) as reply:
                assert reply.status == 200, closed


async def test_why_a_market_was_traded(tmp_path: Path) -> None:
    """Each decision leads to its chain of reasons; an unknown market to a plain no."""
    async with bot(tmp_path), page(tmp_path) as (session, url):
        async with session.get(f"{url}/why/FB-1") as reply:
            assert (reply.status, "not traded" in await reply.text()) == (200, True)
        async with session.get(f"{url}/why/%3Cb%3E") as reply:
            text = await reply.text()
            assert (reply.status, "<b>" in text) == (404, False)


async def test_controls_need_the_token_and_a_yes(tmp_path: Path) -> None:
    """Without the token, without a yes, from another site or under another name: nothing changes."""
    control = ControlFile(tmp_path, SystemClock())
    yes = {"confirm": "yes", "reason": "test"}
    async with bot(tmp_path), page(tmp_path) as (session, url):
        refused: list[tuple[dict[str, str], dict[str, str]]] = [
            (yes, {}),
            (yes, {"Authorization": "Bearer wrong"}),
            (yes, BEARER | {"Sec-Fetch-Site": "cross-site"}),
            (yes, BEARER | {"Origin": "https://elsewhere.example"}),
            (yes, BEARER | {"Host": "rebound.example"}),
            ({"reason": "test"}, BEARER),
        ]
        for form, headers in refused:
            async with session.post(f"{url}/control/halt", data=form, headers=headers) as reply:
                assert reply.status in {400, 403, 421}, headers
            assert not control.halt_path.exists(), headers
        async with session.post(
            f"{url}/control/halt", data=yes, headers=BEARER, allow_redirects=False
        ) as reply:
            assert reply.status == 303
        assert control.halt_path.read_text() == "test\n"
        async with session.get(url) as reply:
            assert "TRADING HALTED" in await reply.text()
        async with session.post(f"{url}/control/resume", data={"confirm": "yes"}, headers=BEARER) as reply:
            assert (reply.status, control.halt_path.exists()) == (400, True), "taking it back needs a reason"
        async with session.post(
            f"{url}/control/resume", data=yes, headers=BEARER, allow_redirects=False
        ) as reply:
            assert reply.status == 303
        assert not control.halt_path.exists()


@pytest.mark.parametrize(
    ("action", "form", "holds"),
    [
        (
            "pause",
            {"minutes": "30"},
            lambda d: d.state.floor is TradingState.REDUCING and d.state.until is not None,
        ),
        ("reduce", {}, lambda d: d.state.work_down),
        ("mode", {"mode": "suspended"}, lambda d: d.mode.mode is EmergencyMode.SUSPENDED),
        ("isolate", {"provider": "xai"}, lambda d: set(d.isolated) == {"xai"}),
        ("restore", {"provider": "xai"}, lambda d: not d.isolated),
        ("failover", {"provider": "xai", "target": "openai"}, lambda d: d.preferred.target == "openai"),
    ],
)
async def test_each_control_is_the_command_of_that_name(
    tmp_path: Path, action: str, form: dict[str, str], holds: Any
) -> None:
    """The same demand in the same file, by the same rules."""
    async with page(tmp_path) as (session, url):
        body = {"confirm": "yes", "reason": "test"} | form
        async with session.post(
            f"{url}/control/{action}", data=body, headers=BEARER, allow_redirects=False
        ) as reply:
            assert reply.status == 303
    assert holds(ControlFile(tmp_path, SystemClock()).demands())


@pytest.mark.parametrize(
    ("action", "form"),
    [
        ("explode", {}),
        ("mode", {"mode": "brave"}),
        ("mode", {}),
        ("isolate", {"provider": "nobody"}),
        ("failover", {"provider": "xai", "target": "xai"}),
        ("pause", {"minutes": "-3"}),
        ("pause", {"minutes": "1e9"}),
        ("pause", {"reason": "x" * 501}),
    ],
)
async def test_nonsense_changes_nothing(tmp_path: Path, action: str, form: dict[str, str]) -> None:
    """A clear refusal, and the demands as they were."""
    before = ControlFile(tmp_path, SystemClock()).demands()
    body = {"confirm": "yes"} | form
    async with (
        page(tmp_path) as (session, url),
        session.post(f"{url}/control/{action}", data=body, headers=BEARER) as reply,
    ):
        assert (reply.status, "Nothing was changed" in await reply.text()) == (400, True)
    assert ControlFile(tmp_path, SystemClock()).demands() == before


async def test_a_browser_keeps_the_token_as_a_cookie_that_scripts_cannot_read(tmp_path: Path) -> None:
    """The right token opens the controls, a wrong one does not, locking closes them again."""
    async with page(tmp_path) as (session, url):
        async with session.post(f"{url}/login", data={"token": "wrong"}) as reply:
            assert reply.status == 403
        async with session.post(f"{url}/login", data={"token": TOKEN}, allow_redirects=False) as reply:
            cookie = reply.cookies[COOKIE]
            assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
            assert TOKEN not in cookie.value
        async with session.get(url) as reply:
            assert 'action="/control/halt"' in await reply.text()
        async with session.post(f"{url}/logout") as reply:
            assert 'action="/control/halt"' not in await reply.text()


async def test_an_open_page_hears_of_changes(tmp_path: Path) -> None:
    """First everything, then the sections that have changed, and only those."""
    async with (
        bot(tmp_path) as journal,
        page(tmp_path) as (session, url),
        asyncio.timeout(20),
        session.get(f"{url}/live") as stream,
    ):
        first = await _next(stream)
        assert set(first) == set(SECTIONS)
        await journal.append(decided(datetime.now(UTC), ticker="FB-2"))
        while "FB-2" not in (later := await _next(stream)).get("decisions", ""):
            pass
        assert "failovers" not in later


async def _next(stream: aiohttp.ClientResponse) -> dict[str, str]:
    while True:
        line = await stream.content.readline()
        if line.startswith(b"data: "):
            told: dict[str, str] = json.loads(line[6:])
            return told


def test_the_token_is_made_once_and_for_this_user_alone(tmp_path: Path) -> None:
    """A long one, the same at each start, in a file that others can't read."""
    token = token_of(tmp_path)
    assert token == token_of(tmp_path)
    assert len(token) >= 32
    assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600
    with pytest.raises(JurymastError, match="guessed"):
        Access("short", "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("10.0.0.5", False),
        ("example.org", False),
    ],
)
def test_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    """Addresses of this machine alone, and others."""
    assert is_loopback(host) is loopback


def test_requests_from_other_pages() -> None:
    """A browser says where a request comes from; a program says nothing, and has the token."""
    assert own_page({})
    assert own_page({"Origin": "http://127.0.0.1:1", "Host": "127.0.0.1:1", "Sec-Fetch-Site": "same-origin"})
    assert not own_page({"Origin": "null", "Host": "127.0.0.1:1"})
    assert not own_page({"Sec-Fetch-Site": "same-site"})


@pytest.mark.skipif(found() is None, reason="no Chromium here")
class TestInABrowser:
    async def test_it_lives(self, tmp_path: Path) -> None:
        """The page changes by itself, filters, obeys keys, and neither script nor policy complains."""
        async with (
            bot(tmp_path) as journal,
            serving(tmp_path, OPEN, 0) as url,
            browsing() as tab,
        ):
            await tab.open(url)
            assert "openai answers" in await tab.run("document.querySelector('.sentence').textContent")
            await journal.append(decided(datetime.now(UTC), ticker="FB-NEW"))
            await tab.until("document.getElementById('decisions').textContent.includes('FB-NEW')")
            await tab.press("/")
            await tab.call("Input.insertText", text="fb-new")
            lines = "[...document.querySelectorAll('.events li:not([hidden])')]"
            await tab.until(f"{lines}.every(line => line.textContent.includes('FB-NEW'))")
            await tab.press("Escape")
            await tab.press("?")
            assert await tab.run("document.getElementById('keys').open")
            await tab.press("Escape")
            await tab.until("!document.getElementById('keys').open")
            await tab.press("2")
            await tab.until("location.search === '?span=7d'")
            assert tab.complaints == []

    async def test_halting_by_hand(self, tmp_path: Path) -> None:
        """Token, reason, button, a second question: no leaves all as it is, yes halts, and is shown."""
        control = ControlFile(tmp_path, SystemClock())
        async with bot(tmp_path), serving(tmp_path, OPEN, 0) as url, browsing() as tab:
            await tab.open(url)
            await tab.run(f"document.getElementById('token').value = '{TOKEN}'")
            await tab.run("document.querySelector('.login').submit()")
            form = "document.querySelector('form[action=\"/control/halt\"]')"
            await tab.until(f"{form} !== null")
            press = f"{form}.querySelector('button').click()"
            await tab.run(f"{form}.querySelector('input').value = 'seen smoke'")
            await tab.run(press)
            await tab.run("document.querySelector('#confirm button[value=no]').click()")
            await tab.until("!document.getElementById('confirm').open")
            assert not control.halt_path.exists()
            await tab.run(press)
            await tab.run("document.querySelector('#confirm button[value=yes]').click()")
            await tab.until("document.body.textContent.includes('TRADING HALTED')")
            assert control.halt_path.read_text() == "seen smoke\n"
            assert tab.complaints == []

    @pytest.mark.parametrize(("width", "dark"), [(390, True), (390, False), (1_280, True), (1_280, False)])
    async def test_it_fits(self, tmp_path: Path, width: int, dark: bool) -> None:
        """On a phone and on a desk, by day and by night: nothing sticks out, and text stands out."""
        async with bot(tmp_path), serving(tmp_path, OPEN, 0) as url, browsing() as tab:
            await tab.look(width, 800, dark=dark, phone=width < 500)
            await tab.open(url)
            assert await tab.run("document.documentElement.scrollWidth") <= width
            colours = "getComputedStyle(document.body)"
            ink, paper = [await tab.run(f"{colours}.{name}") for name in ("color", "backgroundColor")]
            assert (_light(ink) > _light(paper)) is dark
            assert abs(_light(ink) - _light(paper)) > 400


def _light(colour: str) -> int:
    """How bright an ``rgb(r, g, b)`` is."""
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
