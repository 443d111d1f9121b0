"""Decisions as lines of a log, and texts without secrets."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from history_world import START, abstained, cycle, decided
from jurymast.app import decision_log
from jurymast.app.alerts_config import AlertsSection, ContactSection
from jurymast.app.config import Config, KeySection
from jurymast.app.decision_log import DecisionLog
from jurymast.app.redaction import MASK, Redactor
from jurymast.domain.decision import Attempt
from jurymast.domain.provider import ProviderName, Route, Secret
from jurymast.exchange.kalshi.hosts import Environment
from jurymast.testing.clock import FakeClock

ADDRESS = "tgram://token-of-a-bot/chat"
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAA\n-----END PRIVATE KEY-----"


def config() -> Config:
    base = Config()
    keys = {Environment.DEMO: KeySection("id", Secret(PEM))}
    contacts = {"phone": ContactSection(url=Secret(ADDRESS)), "nobody": ContactSection()}
    return replace(base, exchange=replace(base.exchange, keys=keys), alerts=AlertsSection(contacts=contacts))


async def written(log: DecisionLog) -> None:
    """Run until told to end: what has come is on disk then."""
    task = asyncio.create_task(log.run())
    await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_each_decision_is_one_line(tmp_path: Path) -> None:
    """A forecast and an abstention, with their attempts; a key that a vendor repeated is masked."""
    place = tmp_path / "decisions.jsonl"
    log = DecisionLog(str(place), FakeClock(), Redactor(config()))
    route = Route(ProviderName.OPENAI, "gpt-6.1-terra")
    echo = Attempt(route, "failed", detail="Incorrect API key provided: sk-proj-abcdefgh1234.", secs=0.1)
    for event in (decided(START, attempts=(echo,)), cycle(START), abstained(START)):
        log.saw(event)
    await written(log)
    first, second = map(json.loads, place.read_text().splitlines())
    assert (first["ticker"], first["probability_pct"], first["rung"]) == ("Q-1", 62, "primary")
    assert first["attempts"][0]["detail"] == f"Incorrect API key provided: {MASK}"
    assert second["abstained"] == "all_providers_failed"


async def test_a_disk_that_refuses_costs_lines_and_says_how_many(tmp_path: Path) -> None:
    """Nothing is raised; the next line that can be written tells of those that were lost."""
    place = tmp_path / "gone" / "decisions.jsonl"
    log = DecisionLog(str(place), FakeClock(), Redactor(config()))
    log.saw(decided(START))
    await written(log)
    place.parent.mkdir()
    log.saw(decided(START))
    await written(log)
    (line,) = map(json.loads, place.read_text().splitlines())
    assert line["lines_lost"] == 1


async def test_half_a_character_is_a_line_lost_and_no_error() -> None:
    """Whatever a stranger says, taking it down never raises: it is called by whoever decides."""
    log = DecisionLog("d.jsonl", FakeClock(), Redactor(config()))
    broken = Attempt(Route(ProviderName.OPENAI, "gpt-6.1-terra"), "failed", detail="\ud83d")
    log.saw(decided(START, attempts=(broken,)))
    assert (len(log._waiting), log._lost) == (0, 1)


async def test_files_are_put_aside_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full one becomes .1, and the oldest is gone."""
    monkeypatch.setattr(decision_log, "FILE_BYTES_MAX", 10)
    log = DecisionLog(str(tmp_path / "d.jsonl"), FakeClock(), Redactor(config()))
    for place in range(6):
        log.saw(decided(START, ticker=f"Q-{place}"))
        await written(log)
    names = ("d.jsonl", "d.jsonl.1", "d.jsonl.2", "d.jsonl.3")
    assert [json.loads((tmp_path / name).read_text())["ticker"] for name in names] == [
        "Q-5",
        "Q-4",
        "Q-3",
        "Q-2",
    ]
    assert not (tmp_path / "d.jsonl.4").exists()


async def test_without_a_file_nothing_is_written() -> None:
    """The default."""
    log = DecisionLog("", FakeClock(), Redactor(config()))
    log.saw(decided(START))
    await log.run()
    assert not log._waiting


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"POST {ADDRESS} failed", f"POST {MASK} failed"),
        ("key MC4CAQAwBQYDK2VwBCIEIAAA here", f"key {MASK} here"),
        ("Authorization: Bearer abc.def", f"Authorization: {MASK}"),
        ("xai-0123456789abcdef is invalid", f"{MASK} is invalid"),
        ("a risk-averse, ordinary text about disk-space", "a risk-averse, ordinary text about disk-space"),
    ],
)
def test_secrets_do_not_leave_in_texts(text: str, shown: str) -> None:
    """Those of the configuration and what looks like one; ordinary words stay."""
    assert Redactor(config())(text) == shown
