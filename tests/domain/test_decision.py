"""Decisions, modes and providers: nouns that can't be born wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.decision import Decision, EvidenceQuality, Forecast, ResolutionRisk, Rung
from jurymast.domain.provider import (
    AIRequest,
    AIResponse,
    Failure,
    FailureKind,
    Message,
    ProviderConfig,
    ProviderName,
    Route,
    Secret,
    Tier,
    Usage,
)
from jurymast.domain.status import EmergencyMode, ProviderStatus, SystemStatus, TradingState

NOW = datetime(2026, 3, 2, tzinfo=UTC)
FORECAST = Forecast(62, 50, 70, 40, EvidenceQuality.MIXED, ResolutionRisk.LOW, (), "")
ROUTE = Route(ProviderName.XAI, "grok-4")
PERCENTS = st.integers(-1, 101)


@given(low=PERCENTS, probability=PERCENTS, high=PERCENTS)
def test_a_forecast_is_in_order(low: int, probability: int, high: int) -> None:
    """Low, probability and high are whole percents from 1 to 99 in that order, or there is no forecast."""
    if 1 <= low <= probability <= high <= 99:
        forecast = replace(FORECAST, low_pct=low, probability_pct=probability, high_pct=high)
        assert forecast.probability == probability / 100
        return
    with pytest.raises(ValueError, match="out of order"):
        replace(FORECAST, low_pct=low, probability_pct=probability, high_pct=high)


def test_a_decision_knows_its_age() -> None:
    """Age runs from the moment of the decision, whatever the exchange's clock says."""
    decision = Decision(
        "d1", "T", FORECAST, Rung.PRIMARY, ROUTE, Tier.STRONG, "grok-4", EmergencyMode.NORMAL, 0, 1.0,
        500_000, NOW - timedelta(days=9), NOW, "",
    )  # fmt: skip
    assert decision.age_secs(NOW + timedelta(seconds=90)) == 90
    assert decision.provider is ProviderName.XAI


def test_the_safer_of_two_is_the_more_severe() -> None:
    """Whichever is asked, the safer of two wins, and the order of the list is the order of severity."""
    for index, mode in enumerate(EmergencyMode):
        assert mode.severity == index
        for other in EmergencyMode:
            assert mode.safest(other) is max(mode, other, key=lambda m: m.severity)
    for index, state in enumerate(TradingState):
        assert state.severity == index
        for another in TradingState:
            assert state.safest(another) is max(state, another, key=lambda s: s.severity)


def test_a_secret_does_not_show_itself() -> None:
    """Neither text nor representation of anything that holds a key contains it."""
    secret = Secret("sk-very-private")
    config = ProviderConfig(ProviderName.XAI, "https://x", ("grok-4",), 1, api_key=secret)
    for shown in (str(secret), repr(secret), f"{secret}", repr(config), str(config)):
        assert "private" not in shown
    assert (str(Secret()), bool(Secret()), bool(secret)) == ("(none)", False, True)


def test_a_provider_needs_a_model_and_a_slot() -> None:
    """A provider that could never be asked is refused at birth."""
    with pytest.raises(ValueError, match="list of models is empty"):
        ProviderConfig(ProviderName.XAI, "https://x", (), 1)
    with pytest.raises(ValueError, match="max_concurrent"):
        ProviderConfig(ProviderName.XAI, "https://x", ("grok-4",), 1, max_concurrent=0)


def test_a_request_asks_something_and_leaves_room_for_an_answer() -> None:
    """No messages or no tokens is a bug of the caller."""
    with pytest.raises(ValueError, match="at least one message"):
        AIRequest(())
    with pytest.raises(ValueError, match="max_output_tokens"):
        AIRequest((Message("user", "?"),), max_output_tokens=0)


@pytest.mark.parametrize(
    ("asked", "served", "swapped"),
    [
        ("grok-4", "grok-4", False),
        ("grok-4", "grok-4-0709", False),
        ("gpt-4o", "gpt-4o-2024-08-06", False),
        ("gpt-4o-2024-08-06", "gpt-4o", False),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", False),
        ("claude-3-7-sonnet-latest", "claude-3-7-sonnet-20250219", False),
        ("llama3.1", "llama3.1:latest", False),
        ("grok-4", "", False),
        ("gpt-5", "gpt-5-mini", True),
        ("gpt-4o", "gpt-4", True),
        ("gpt-4", "gpt-4o-mini", True),
        ("grok-4", "grok-4-fast", True),
        ("claude-opus-4-1", "claude-opus-4", True),
        ("grok-4", "grok-3", True),
    ],
)
def test_another_model_is_noticed(asked: str, served: str, swapped: bool) -> None:
    """A dated id is the same model; a smaller sibling with a similar name is not."""
    response = AIResponse("", ProviderName.XAI, asked, served, Usage(), 0, 1.0)
    assert response.swapped == swapped


def test_failures_and_routes_read_well() -> None:
    """A person sees the provider, the model, the kind, the status and the words."""
    assert str(ROUTE) == "xai/grok-4"
    assert (
        str(Failure(FailureKind.RATE_LIMITED, "slow down", status=429))
        == "rate_limited (HTTP 429): slow down"
    )
    assert str(Failure(FailureKind.CONNECT, "refused")) == "connect: refused"


def test_healthy_providers_are_counted() -> None:
    """Only providers that are wholly healthy count."""
    states = dict(zip(ProviderName, ProviderStatus, strict=True))
    status = SystemStatus(EmergencyMode.NORMAL, "", states, (), None, 0)
    assert status.healthy_providers == 1
