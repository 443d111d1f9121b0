"""History: hours folded from events. Time counts while the bot runs, and no question is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from history_world import START, abstained, cycle, decided, provider_is, started, stopped
from jurymast.domain.decision import AbstainReason, Attempt, Rung
from jurymast.domain.events import CanaryFinished, Event, ModeChanged, ProbeSent
from jurymast.domain.money import USD
from jurymast.domain.provider import FailureKind, ProviderName, Route
from jurymast.domain.status import EmergencyMode, ProviderStatus
from jurymast.policy.history import LATENCY_SECS, SILENCE_SECS_MAX, History, Tally, hour_of, total

XAI = Route(ProviderName.XAI, "grok-4.3")
OPENAI = Route(ProviderName.OPENAI, "gpt-6.1-terra")


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def fold(*events: Event) -> History:
    history = History()
    for event in events:
        history.apply(event)
    return history


def whole(history: History) -> Tally:
    return total(history.hours[start] for start in sorted(history.hours))


def test_an_hour_counts_what_happened_in_it() -> None:
    """Decisions by rung, abstentions by reason, attempts, answers' times and money by provider."""
    attempts = (
        Attempt(XAI, "failed", "503", 0.2, 0, FailureKind.SERVER_ERROR),
        Attempt(OPENAI, "answered", "", 1.0, 2_000),
        Attempt(Route(ProviderName.LOCAL, "m"), "skipped", "open", sent=False),
    )
    history = fold(
        started(at(1)),
        decided(at(2), rung=Rung.FAILOVER, attempts=attempts),
        abstained(at(3), AbstainReason.MODEL_ABSTAINED),
        abstained(at(4), AbstainReason.ALL_PROVIDERS_FAILED),
        decided(at(5), rung=Rung.CACHED),
        ProbeSent(at=at(6), route=XAI, healthy=False, detail="", cost=3),
        CanaryFinished(at=at(6), route=XAI, served="x", answers=(), shift=None, changed=False, cost=40),
        decided(at(61)),
    )
    first, second = (history.hours[START + timedelta(hours=hour)] for hour in (0, 1))
    assert first.rungs == {"failover": 1, "cached": 1}
    assert second.rungs == {"primary": 1}
    assert (first.answered, first.unanswered, first.availability) == (2, 2, 0.5)
    assert (first.of("xai").sent, first.of("xai").failed, first.of("xai").probes_failed) == (1, 1, 1)
    assert (first.of("openai").answered, first.of("openai").cost, first.cost) == (1, 2_000, 2_043)
    assert "local" not in first.providers
    assert first.of("openai").quantile(0.5) == min(secs for secs in LATENCY_SECS if secs >= 1.0)


def test_time_counts_while_the_bot_runs() -> None:
    """Neither the time between a crash and the next start counts, nor that after an orderly stop."""
    history = fold(
        started(at(0)), cycle(at(5)), cycle(at(10)),
        started(at(50)), cycle(at(55)), stopped(at(57)), cycle(at(58)),
    )  # fmt: skip
    assert whole(history).secs == pytest.approx(17 * 60)


def test_a_machine_that_slept_was_not_running() -> None:
    """A silence longer than a bot's longest counts for nobody, a shorter one for all."""
    long_minutes = SILENCE_SECS_MAX / 60 + 0.1
    assert whole(fold(started(at(0)), cycle(at(long_minutes)))).secs == 0
    assert whole(fold(started(at(0)), cycle(at(long_minutes - 0.2)))).secs > 0


def test_time_is_shared_out_to_hours_modes_and_states_of_providers() -> None:
    """What lasts over the hour's end counts on both sides of it."""
    history = fold(
        started(at(50)),
        provider_is(at(50), ProviderName.XAI, ProviderStatus.UNHEALTHY),
        ModeChanged(at=at(55), old=EmergencyMode.NORMAL, new=EmergencyMode.MINIMAL, reason=""),
        provider_is(at(65), ProviderName.XAI, ProviderStatus.HEALTHY),
        ModeChanged(at=at(70), old=EmergencyMode.MINIMAL, new=EmergencyMode.NORMAL, reason=""),
    )
    first, second = (history.hours[START + timedelta(hours=hour)] for hour in (0, 1))
    assert first.modes == {"normal": pytest.approx(300), "minimal": pytest.approx(300)}
    assert second.modes == {"minimal": pytest.approx(600)}
    assert first.of("xai").secs == {"unhealthy": pytest.approx(600)}
    assert second.of("xai").secs == {"unhealthy": pytest.approx(300), "healthy": pytest.approx(300)}
    assert second.of("xai").uptime == pytest.approx(0.5)


def test_an_outage_is_one_incident_however_often_it_is_told() -> None:
    """It begins with UNHEALTHY, ends with anything else, and is open until then."""
    history = fold(
        started(at(0)),
        provider_is(at(1), ProviderName.XAI, ProviderStatus.UNHEALTHY, "503"),
        provider_is(at(2), ProviderName.XAI, ProviderStatus.UNHEALTHY, "hangs"),
        provider_is(at(3), ProviderName.OPENAI, ProviderStatus.UNHEALTHY, "refused"),
        provider_is(at(9), ProviderName.XAI, ProviderStatus.DEGRADED, ""),
    )
    [incident] = history.ended
    assert (incident.provider, incident.reason, incident.secs(at(60))) == ("xai", "503", 8 * 60)
    assert list(history.present.incidents) == ["openai"]


def test_equity_is_the_last_and_its_range_the_whole_range() -> None:
    """Hours that are added keep the end, the lowest and the highest of all."""
    history = fold(
        started(at(0)),
        *(cycle(at(minute), equity=usd * USD) for minute, usd in ((5, 100), (10, 140), (70, 90), (75, 110))),
    )
    tally = whole(history)
    assert (tally.equity, tally.equity_low, tally.equity_high) == (110 * USD, 90 * USD, 140 * USD)


WHEN = st.integers(0, 300).map(at)
EVENTS = st.lists(
    st.one_of(
        WHEN.map(started),
        WHEN.map(stopped),
        WHEN.map(cycle),
        WHEN.map(decided),
        st.builds(abstained, WHEN, st.sampled_from(AbstainReason)),
        st.builds(provider_is, WHEN, st.sampled_from(ProviderName), st.sampled_from(ProviderStatus)),
    ),
    max_size=60,
)


@given(events=EVENTS, cut=st.integers(0, 60))
def test_it_may_be_folded_in_pieces(events: list[Event], cut: int) -> None:
    """Hours of a first piece and of the rest add up to those of the whole, in any order of times."""
    together = fold(*events)
    first = fold(*events[:cut])
    hours, ended = first.take()
    rest = History(first.present)
    for event in events[cut:]:
        rest.apply(event)
    for start, tally in rest.hours.items():
        hours.setdefault(start, Tally()).add(tally)
    assert {start: plain(tally) for start, tally in hours.items()} == {
        start: plain(tally) for start, tally in together.hours.items()
    }
    assert ended + rest.ended == together.ended


@given(events=EVENTS)
def test_no_more_time_is_counted_than_passed(events: list[Event]) -> None:
    """Modes and states each share out the time the bot ran, and an hour has sixty minutes at most."""
    events.sort(key=lambda event: event.at)
    for start, hour in fold(*events).hours.items():
        assert start == hour_of(start)
        assert hour.secs <= 3_600 + 1e-6
        assert sum(hour.modes.values()) == pytest.approx(hour.secs)
        assert sum(hour.states.values()) == pytest.approx(hour.secs)
        for provider in hour.providers.values():
            assert sum(provider.secs.values()) <= hour.secs + 1e-6


def plain(tally: Tally) -> dict[str, object]:
    """Numbers that adding may round, rounded."""
    rounded = {name: round(secs, 6) for name, secs in tally.modes.items()}
    providers = {
        name: (each.sent, each.cost, {status: round(secs, 6) for status, secs in each.secs.items()})
        for name, each in tally.providers.items()
    }
    return {
        "secs": round(tally.secs, 6), "modes": rounded, "providers": providers,
        "rungs": tally.rungs, "abstained": tally.abstained, "equity": tally.equity, "cycles": tally.cycles,
    }  # fmt: skip


def test_hours_are_utc() -> None:
    """An hour begins on the hour."""
    assert hour_of(datetime(2026, 3, 2, 12, 59, 59, tzinfo=UTC)) == datetime(2026, 3, 2, 12, tzinfo=UTC)
