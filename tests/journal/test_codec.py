"""Events as text and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from jurymast.domain.decision import EvidenceQuality, Forecast, ResolutionRisk
from jurymast.domain.errors import JournalError, JournalNewer
from jurymast.domain.events import Event, MarketScreened, OrderIntended, ProbeSent, RunStopped
from jurymast.domain.market import Side
from jurymast.domain.order import Action, OrderIntent, Purpose, TimeInForce
from jurymast.domain.provider import ProviderName, Route, Secret
from jurymast.journal import codec

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
LEAVES: dict[type, st.SearchStrategy[Any]] = {
    bool: st.booleans(),
    int: st.integers(-(2**62), 2**62),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=20),
    datetime: st.datetimes(timezones=st.just(UTC)),
    type(None): st.none(),
}


def instances(wanted: Any) -> st.SearchStrategy[Any]:
    """Values of any type an event may contain."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted in LEAVES:
        return LEAVES[wanted]
    if wanted is Forecast:
        return forecasts()
    if origin in {typing.Union, types.UnionType}:
        return st.one_of(*map(instances, arguments))
    if origin is tuple:
        return st.lists(instances(arguments[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(*map(instances, arguments), max_size=2)
    if issubclass(wanted, Enum):
        return st.sampled_from(list(wanted))
    hints = typing.get_type_hints(wanted)
    fields = st.fixed_dictionaries(
        {field.name: instances(hints[field.name]) for field in dataclasses.fields(wanted)}
    )
    return fields.map(lambda values: valid(wanted, values))


def valid(wanted: Any, values: dict[str, Any]) -> Any:
    if wanted is OrderIntent:
        entry = values["purpose"] is Purpose.ENTRY
        values |= {"action": Action.BUY if entry else Action.SELL, "count": abs(values["count"]) + 1}
        values["limit_price"] = 1 + abs(values["limit_price"]) % 999_999
    try:
        return wanted(**values)
    except ValueError:
        reject()


def forecasts() -> st.SearchStrategy[Forecast]:
    percents = st.lists(st.integers(1, 99), min_size=3, max_size=3).map(sorted)
    hints = typing.get_type_hints(Forecast)
    return st.builds(
        lambda three, base, quality, risk, facts, mind: Forecast(
            three[1], three[0], three[2], base, quality, risk, facts, mind
        ),
        percents,
        st.integers(0, 100),
        st.sampled_from(EvidenceQuality),
        st.sampled_from(ResolutionRisk),
        instances(hints["key_evidence"]),
        st.text(max_size=20),
    )


@pytest.mark.parametrize("kind", sorted(codec.KINDS))
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_every_event_survives_the_journal(kind: str, data: st.DataObject) -> None:
    """Whatever an event contains, it is read back equal to what was written."""
    event = data.draw(instances(codec.KINDS[kind]))
    written_kind, body = codec.encode(event)
    assert written_kind == kind
    assert codec.decode(written_kind, body) == event


def test_kinds_are_stable() -> None:
    """Names in old journals must stay readable: renaming a class of event needs a migration."""
    assert sorted(codec.KINDS) == [
        "alert_tried",
        "api_drifted",
        "budget_crossed",
        "canary_finished",
        "cycle_finished",
        "decision_abstained",
        "decision_made",
        "demands_changed",
        "edge_changed",
        "emergency_shadowed",
        "entries_withdrawn",
        "failed_over",
        "fault_injected",
        "forecast_noted",
        "forecast_scored",
        "market_screened",
        "mode_changed",
        "model_noticed",
        "model_swapped",
        "models_listed",
        "opinion_stopped",
        "order_changed",
        "order_filled",
        "order_intended",
        "order_refused",
        "order_unresolved",
        "position_settled",
        "probe_sent",
        "provider_changed",
        "reconciled",
        "rollout_changed",
        "rollout_compared",
        "route_changed",
        "routes_ranked",
        "run_started",
        "run_stopped",
        "second_opinion_given",
        "settings_reloaded",
        "shadow_answered",
        "size_share_changed",
        "state_changed",
        "text_completed",
        "trade_declined",
        "watchdog_fired",
        "withdrawal_delayed",
    ]


def reachable(wanted: Any) -> set[Any]:
    found = {wanted}
    for argument in typing.get_args(wanted):
        found |= reachable(argument)
    if dataclasses.is_dataclass(wanted):
        for hint in typing.get_type_hints(wanted).values():
            found |= reachable(hint)
    return found


@pytest.mark.parametrize("kind", sorted(codec.KINDS))
def test_no_event_can_carry_a_secret(kind: str) -> None:
    """No field of any event, however deep, may hold a credential."""
    assert Secret not in reachable(codec.KINDS[kind])


def intent(**changes: Any) -> OrderIntent:
    whole = OrderIntent(
        client_order_id="c1",
        decision_id="d1",
        ticker="KXRAIN",
        event_ticker="KX",
        purpose=Purpose.ENTRY,
        side=Side.YES,
        action=Action.BUY,
        count=100,
        limit_price=500_000,
        time_in_force=TimeInForce.FILL_OR_KILL,
        reason="edge",
    )
    return dataclasses.replace(whole, **changes)


@pytest.mark.parametrize(
    "event",
    [
        MarketScreened(at=NOW.replace(tzinfo=None), reason="r", detail="d"),
        OrderIntended(at=NOW, intent=intent(count=100.5)),
        ProbeSent(at=NOW, route=Route(ProviderName.XAI, "m"), healthy=True, detail="", cost=float("nan")),
        MarketScreened(at=NOW, reason="r", detail="\ud800"),
        MarketScreened(at=NOW, reason="r", detail=object()),
    ],
    ids=["naive time", "fractional count", "NaN", "lone surrogate", "no text"],
)
def test_what_could_not_be_read_back_is_not_written(event: Event) -> None:
    """A mistake in an event is reported when it is written, not at the next start."""
    with pytest.raises(JournalError, match="can't be recorded"):
        codec.encode(event)


def test_only_facts_of_the_domain_are_recorded() -> None:
    """A private kind of event has no name in the journal and is refused."""

    class Rumour(Event):
        pass

    with pytest.raises(JournalError, match="Rumour is no kind"):
        codec.encode(Rumour(at=NOW))


def test_times_of_other_zones_keep_their_instant() -> None:
    """A time with another offset comes back as the same instant."""
    event = RunStopped(at=NOW.astimezone(timezone(timedelta(hours=-7))), reason="done")
    assert codec.decode(*codec.encode(event)).at == NOW


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("teleported", "{}"),
        ("run_stopped", '{"at":"2026-01-05T12:00:00Z"}'),
        ("run_stopped", '{"at":"2026-01-05T12:00:00Z","reason":7}'),
        ("run_stopped", "not JSON"),
        ("mode_changed", '{"at":"2026-01-05T12:00:00Z","old":"normal","new":"serene","reason":""}'),
    ],
    ids=["kind", "missing field", "other type", "torn text", "unknown mode"],
)
def test_rows_of_a_newer_version_are_not_guessed_at(kind: str, body: str) -> None:
    """A kind or body this version does not know raises JournalNewer."""
    with pytest.raises(JournalNewer):
        codec.decode(kind, body)


def test_a_field_added_later_does_not_hide_the_rest() -> None:
    """An optional field of a newer version is ignored: adding one is safe both ways."""
    event = RunStopped(at=NOW, reason="done")
    kind, body = codec.encode(event)
    assert codec.decode(kind, body.replace("{", '{"mood":"calm",', 1)) == event
