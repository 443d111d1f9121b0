"""The report: from the journal to a page for people, whatever stands in it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from history_world import abstained, cycle, decided, provider_is, started, stopped
from jurymast.domain.decision import Attempt, Rung
from jurymast.domain.events import Event
from jurymast.domain.money import USD
from jurymast.domain.provider import FailureKind, ProviderName, Route
from jurymast.domain.status import ProviderStatus
from jurymast.faces.cli.main import cli
from jurymast.faces.heartbeats import BARS
from jurymast.faces.plots import WIDTH, heartbeat, line, shares
from jurymast.faces.report.facts import gather
from jurymast.faces.report.writing import duration
from jurymast.journal.sqlite import SqliteJournal
from jurymast.testing.clock import FakeClock

XAI, OPENAI = Route(ProviderName.XAI, "grok-4.3"), Route(ProviderName.OPENAI, "gpt-6.1-terra")
NOW = datetime.now(UTC)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def story(reason: str = "503") -> list[Event]:
    """Two hours: xAI out for ten minutes, nobody to be had once, and a little profit."""
    failed = Attempt(XAI, "failed", reason, 0.2, 0, FailureKind.SERVER_ERROR)
    answered = Attempt(OPENAI, "answered", "", 1.0, 20_000)
    return [
        started(ago(120)),
        *(cycle(ago(118 - minute), equity=(10_000 + minute) * USD) for minute in range(0, 60, 5)),
        decided(ago(60), attempts=(Attempt(XAI, "answered", "", 2.0, 10_000),)),
        provider_is(ago(50), ProviderName.XAI, ProviderStatus.UNHEALTHY, reason),
        decided(ago(49), rung=Rung.FAILOVER, attempts=(failed, answered)),
        abstained(ago(48), attempts=(failed,)),
        provider_is(ago(40), ProviderName.XAI, ProviderStatus.HEALTHY, ""),
        cycle(ago(35), equity=9_000 * USD),
        stopped(ago(30)),
    ]


async def written(directory: Path, events: list[Event]) -> Path:
    journal = SqliteJournal.open(directory / "journal.db", clock=FakeClock())
    await journal.append(*events)
    await journal.close()
    return directory


def report(directory: Path, *options: str) -> Result:
    return CliRunner().invoke(cli, ["report", "--data-dir", str(directory), *options])


async def test_it_tells_what_happened(tmp_path: Path) -> None:
    """Availability, uptime, the outage with its length, money and the deepest fall, as numbers."""
    facts = json.loads(report(await written(tmp_path, story()), "--json", "--days", "1").output)
    decisions = facts["decisions"]
    assert (decisions["answered"], decisions["unanswered"]) == (2, 1)
    assert decisions["availability"] == pytest.approx(2 / 3)
    assert facts["spend_usd"] == pytest.approx(0.03)
    assert decisions["cost_usd"] == pytest.approx(0.01)
    xai, openai = facts["providers"]
    assert (xai["name"], xai["sent"], xai["failed"], openai["answered"]) == ("xai", 3, 2, 1)
    assert xai["uptime"] == pytest.approx(10 / 20, abs=0.01), "ten minutes out, ten known to be well"
    assert len(xai["bars"]) == BARS
    [outage] = facts["incidents"]
    assert (outage["provider"], outage["secs"], outage["reason"]) == ("xai", 600.0, "503")
    assert facts["simulated"] == ["exchange"]


async def test_the_deepest_fall_is_from_a_peak_before_it(tmp_path: Path) -> None:
    """What comes after the low is no peak of it; an hour is as fine as it gets."""
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    equities = ((0, 10_000), (1, 10_500), (2, 9_450), (3, 12_000), (4, 11_400))
    events: list[Event] = [started(noon)]
    events += [cycle(noon + timedelta(hours=hour, minutes=5), equity=usd * USD) for hour, usd in equities]
    told = gather(await written(tmp_path, events), until=noon + timedelta(hours=6), days=1)
    assert told.facts["trading"]["drawdown"] == pytest.approx(0.1)


async def test_the_page_is_one_file_that_needs_nothing_else(tmp_path: Path) -> None:
    """No script, no address, no file beside it; plots inside, and it says what is SIMULATED."""
    page = tmp_path / "page.html"
    done = report(await written(tmp_path, story()), "--html", str(page), "--days", "1")
    assert done.exit_code == 0, done.output
    text = page.read_text()
    for forbidden in ("<script", "http:", "https:", "src=", "@import", "url("):
        assert forbidden not in text
    assert text.count("<svg") == 2 + 1 + 1 + 1 + 1, "two heartbeats, rungs, modes, equity, AI money"
    assert "SIMULATED: exchange" in text
    assert "66.67%" in text


async def test_what_providers_say_is_text(tmp_path: Path) -> None:
    """A reason that would be markup in a page or a table stays text in both."""
    evil = '<img src=x onerror="alert(1)"> | <script>x</script>\n# head'
    page = tmp_path / "page.html"
    directory = await written(tmp_path, story(evil))
    report(directory, "--html", str(page), "--days", "1")
    assert "<img" not in page.read_text()
    assert "&lt;img src=x onerror=" in page.read_text()
    plain = report(directory, "--days", "1").output
    assert "\n# head" not in plain


async def test_only_the_days_asked_for_count(tmp_path: Path) -> None:
    """What was before the beginning is not told of."""
    before = [started(NOW - timedelta(days=9)), decided(NOW - timedelta(days=9))]
    directory = await written(tmp_path, before + story())
    month = json.loads(report(directory, "--json").output)
    day = json.loads(report(directory, "--json", "--days", "1").output)
    assert (month["decisions"]["answered"], day["decisions"]["answered"]) == (3, 2)


async def test_a_bot_that_has_done_nothing(tmp_path: Path) -> None:
    """Nothing to tell is told, in every form."""
    directory = await written(tmp_path, [])
    assert json.loads(report(directory, "--json").output)["decisions"]["availability"] is None
    assert "None." in report(directory).output
    page = tmp_path / "page.html"
    assert report(directory, "--html", str(page)).exit_code == 0
    assert "No provider has been asked." in page.read_text()


def test_without_a_journal(tmp_path: Path) -> None:
    """No bot has run here: one line that says so."""
    done = report(tmp_path)
    assert "there is no journal" in str(done.exception)


def test_plots_hold_what_they_are_given() -> None:
    """A bar for each part, in its colour; a line from edge to edge; shares that fill the bar."""
    bars = heartbeat([1.0, 0.97, 0.2, None], ["a", "b", "c", "<d>"])
    assert [bars.count(f"var(--{colour})") for colour in ("good", "warn", "bad", "quiet")] == [1, 1, 1, 1]
    assert "&lt;d&gt;: nothing known" in bars
    assert line([(0, 5)], title="", dated=["", ""]) == ""
    drawn = line([(0, 5), (1, 5), (2, 5)], title="flat", dated=["then", "now"], unit="$")
    assert f"L{WIDTH - 4:.1f}" in drawn
    assert "nan" not in drawn
    assert shares([("up", 0.75, "good"), ("down", 0.25, "bad"), ("none", 0.0, "bad")]).count("<rect") == 2


@pytest.mark.parametrize(
    ("secs", "said"),
    [(0, "0 s"), (8.2, "8 s"), (60, "1 min"), (125, "2 min 5 s"), (3_600, "1 h"), (273_600, "3 d 4 h")],
)
def test_time_as_people_say_it(secs: float, said: str) -> None:
    """Two units at most."""
    assert duration(secs) == said
