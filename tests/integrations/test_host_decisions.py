"""The gate through which every decision goes, whoever made it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from src.clients.xai_client import XAIClient
from src.jurymast_adapter.decisions import Refused, checked, converted
from src.jurymast_adapter.types import TradingDecision

BUY = {"action": "BUY", "side": "YES", "confidence": 0.7, "limit_price": 60, "reasoning": "because"}


def test_a_sound_decision_passes_unchanged() -> None:
    """What the host's words mean is what comes out."""
    found = checked(BUY)
    assert found == TradingDecision("BUY", "YES", 0.7, 60, "because")


@pytest.mark.parametrize(
    ("action", "side", "wanted"),
    [
        ("BUY_NO", None, ("BUY", "NO")),
        ("buy_no", "no", ("BUY", "NO")),
        ("BUY NO", "NO", ("BUY", "NO")),
        ("BUY_YES", None, ("BUY", "YES")),
        ("hold", None, ("SKIP", "YES")),
        ("PASS", "NO", ("SKIP", "NO")),
    ],
)
def test_actions_that_name_their_side_keep_it(action: str, side: Any, wanted: tuple[str, str]) -> None:
    """BUY_NO is never read as BUY YES."""
    found = checked({**BUY, "action": action, "side": side})
    assert isinstance(found, TradingDecision)
    assert (found.action, found.side) == wanted


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"action": "BUY_NO", "side": "YES"}, "contradict"),
        ({"action": "BUY", "side": None}, "neither YES nor NO"),
        ({"action": "BUY", "side": "MAYBE"}, "neither YES nor NO"),
        ({"action": "SELL"}, "action"),
        ({"action": "BUY OR HOLD"}, "action"),
        ({"action": None}, "action"),
        ({"confidence": 85}, "confidence"),
        ({"confidence": -0.1}, "confidence"),
        ({"confidence": math.nan}, "confidence"),
        ({"confidence": "high"}, "confidence"),
        ({"confidence": True}, "confidence"),
        ({"limit_price": 500}, "limit_price"),
        ({"limit_price": 0}, "limit_price"),
        ({"limit_price": 60.5}, "limit_price"),
        ({"stop_loss_cents": 120}, "stop_loss_cents"),
    ],
)
def test_what_nobody_may_act_on_is_refused_with_its_reason(change: dict[str, Any], word: str) -> None:
    """Nothing is repaired, guessed or clamped, and the host gets a SKIP that says why."""
    found = checked({**BUY, **change})
    assert isinstance(found, Refused)
    assert word in found.reason
    told = converted({**BUY, **change, "provider": "xai"})
    assert (told.action, told.confidence) == ("SKIP", 0.0)
    assert word in str(told.reasoning)
    assert str(told.reasoning).startswith("[XAI]")


@given(st.dictionaries(st.sampled_from([*BUY, "x"]), st.none() | st.text() | st.floats() | st.integers()))
def test_no_table_of_fields_breaks_the_gate(data: dict[str, Any]) -> None:
    """Whatever stands in it, the outcome is a decision of the host's words or a reason."""
    found = checked(data)
    if isinstance(found, TradingDecision):
        assert found.action in {"BUY", "SKIP"}
        assert found.side in {"YES", "NO"}
        assert 0 <= found.confidence <= 1
        assert found.limit_price is None or 1 <= found.limit_price <= 99
    else:
        assert found.reason


def test_a_skip_never_carries_confidence() -> None:
    """One of the host's paths buys on confidence alone: a SKIP has none."""
    found = checked({"action": "SKIP", "side": "YES", "confidence": 0.99})
    assert isinstance(found, TradingDecision)
    assert found.confidence == 0.0


def test_text_is_read_as_strictly() -> None:
    """A decision in prose or in half a JSON object is none."""
    client = XAIClient()
    good = 'Thinking...\n```json\n{"action": "BUY_NO", "confidence": 0.7, "limit_price": 40}\n```'
    found = client._parse_trading_decision(good)
    assert found is not None
    assert (found.action, found.side, found.limit_price) == ("BUY", "NO", 40)
    for bad in ("BUY YES now", '{"action": "BUY"', '{"action": "BUY", "side": "YES", "confidence": 85}', ""):
        assert client._parse_trading_decision(bad) is None
