"""Our price table against one that others keep: every model that both know agrees, or says why not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from genai_prices.data import providers as their_providers

from jurymast.domain.money import USD, Micros
from jurymast.domain.provider import ProviderName
from jurymast.intelligence.providers.catalogue import Catalogue, ModelPrice, default_catalogue

THEIR_NAMES = {ProviderName.XAI: "x-ai", ProviderName.OPENAI: "openai", ProviderName.ANTHROPIC: "anthropic"}
FIELDS = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
}
DIFFERENCES: dict[tuple[str, str], str] = {}
"""(model, field) to the reason why ours is another. None today; one that is no difference any more fails."""
OURS_ALONE: dict[str, str] = {}
"""Models that they do not know, with the reason why we have them."""
REDIRECTED = {"grok-3": "grok-3", "grok-4": "grok-4-0709"}
"""Old names that they price as when they were sold, by their id; both are billed as grok-4.3 now."""


def theirs(price: ModelPrice) -> Any | None:
    """Their entry for the id itself; a pattern that happens to fit it is another model."""
    (vendor,) = (each for each in their_providers if each.id == THEIR_NAMES[price.provider])
    return next((entry for entry in vendor.models if entry.id == price.model), None)


def micros(amount: Decimal) -> Micros:
    whole = amount * USD
    assert whole == int(whole)
    return int(whole)


def their_facts(price: ModelPrice, entry: Any) -> dict[str, object]:
    """What they say of a model on the date of our table, in our words."""
    assert price.checked_on is not None
    told = entry.get_prices(datetime.combine(price.checked_on, time(), UTC))
    facts: dict[str, object] = {"context": entry.context_window, "above": None}
    for ours, name in FIELDS.items():
        value = getattr(told, name)
        if value is None or isinstance(value, Decimal):
            facts[ours], facts[f"long {ours}"] = (None if value is None else micros(value)), None
        else:
            (tier,) = value.tiers
            facts |= {ours: micros(value.base), f"long {ours}": micros(tier.price), "above": tier.start}
    return facts


def our_facts(price: ModelPrice) -> dict[str, object]:
    long = price.long
    facts: dict[str, object] = {"context": price.context, "above": long.above if long else None}
    for name in FIELDS:
        facts |= {name: getattr(price, name), f"long {name}": getattr(long, name) if long else None}
    return facts


def disagreements(catalogue: Catalogue) -> dict[tuple[str, str], tuple[object, object]]:
    """(model, field) to ours and theirs, of every model that both know."""
    found = {}
    for provider in THEIR_NAMES:
        for price in catalogue.models(provider):
            if (entry := theirs(price)) is not None:
                ours, others = our_facts(price), their_facts(price, entry)
                found |= {
                    (price.model, field): (ours[field], others[field])
                    for field in ours
                    if ours[field] != others[field]
                }
    return found


def test_every_price_agrees_or_says_why_not() -> None:
    """Input, output, caches, long contexts and their steps, and what a model holds: no unexplained digit."""
    assert disagreements(default_catalogue()).keys() == DIFFERENCES.keys()


def test_no_model_of_ours_is_unknown_to_them_without_a_reason() -> None:
    """Otherwise a mistyped id would never be compared."""
    prices = [price for provider in THEIR_NAMES for price in default_catalogue().models(provider)]
    assert {price.model for price in prices if theirs(price) is None} == OURS_ALONE.keys()
    assert len(prices) == 13


@pytest.mark.parametrize("field", [*FIELDS, "context"])
def test_a_wrong_digit_would_be_found(field: str) -> None:
    """The comparison can fail: any field of any model changed by the least amount is reported."""
    for provider in THEIR_NAMES:
        for price in default_catalogue().models(provider):
            value = getattr(price, field)
            if value is not None:
                step = -1 if field == "cached_input" else 1
                wrong = replace(price, long=None, **{field: value + step})
                found = disagreements(Catalogue({price.model: wrong}))
                assert (price.model, field) in found


def test_a_retired_name_is_billed_as_what_it_leads_to() -> None:
    """Here we differ from them on purpose: a redirected id costs what its target costs."""
    (vendor,) = (each for each in their_providers if each.id == "x-ai")
    for old, their_id in REDIRECTED.items():
        successor, notice = default_catalogue().resolve(old)
        assert (successor, notice is not None) == ("grok-4.3", True)
        (entry,) = (each for each in vendor.models if each.id == their_id)
        told = entry.get_prices(datetime(2026, 11, 29, tzinfo=UTC))
        assert micros(told.input_mtok) > default_catalogue().price(successor).input
