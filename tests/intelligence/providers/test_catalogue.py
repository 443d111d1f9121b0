"""Prices, tiers and old names."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.errors import ConfigError
from jurymast.domain.money import USD
from jurymast.domain.provider import ModelInfo, ProviderName, Tier, Usage
from jurymast.intelligence.providers.catalogue import Catalogue, LongContext, ModelPrice, default_catalogue

SEED_NAMES = (
    "claude-3-opus",
    "claude-3-sonnet",
    "grok-4",
    "grok-3",
    "gpt-4",
    "gpt-3.5-turbo",
    "claude-3-opus-20240229",
    "claude-3-sonnet-20240229",
)


@pytest.mark.parametrize(
    ("model", "dollars_in", "dollars_out", "tier"),
    [
        ("grok-4.7", 2, 6, Tier.STRONG),
        ("grok-4.3", 1.25, 2.5, Tier.MID),
        ("gpt-6-luna", 0.1, 0.5, Tier.SMALL),
        ("gpt-6.1-terra", 1, 5, Tier.MID),
        ("gpt-6.1-sol", 2, 10, Tier.STRONG),
        ("gpt-6-astra", 10, 50, Tier.STRONG),
        ("claude-haiku-5-5", 0.1, 0.5, Tier.SMALL),
        ("claude-sonnet-5-5", 2, 10, Tier.STRONG),
        ("claude-opus-5-5", 4, 20, Tier.STRONG),
        ("claude-fable-5-2", 8, 40, Tier.STRONG),
    ],
)
def test_shipped_prices(model: str, dollars_in: float, dollars_out: float, tier: Tier) -> None:
    """The table says what the vendors' price pages said on its date."""
    price = default_catalogue().price(model)
    assert (price.input, price.output) == (dollars_in * USD, dollars_out * USD)
    assert default_catalogue().tier(model) is tier


def test_every_entry_is_dated_and_sane() -> None:
    """Every shipped price has a source and a date, and cached input is never dearer than fresh."""
    for provider in (ProviderName.XAI, ProviderName.OPENAI, ProviderName.ANTHROPIC):
        entries = default_catalogue().models(provider)
        assert entries
        for entry in entries:
            assert entry.source.startswith("https://")
            assert entry.checked_on is not None
            assert 0 < (entry.cached_input or entry.input) <= entry.input <= entry.output


@pytest.mark.parametrize("alias", SEED_NAMES)
def test_old_names_lead_to_current_models_with_a_notice(alias: str) -> None:
    """A name from an older configuration resolves to a priced model, and the operator is told."""
    model, note = default_catalogue().resolve(alias)
    assert default_catalogue().price(model).model == model
    assert note is not None
    assert alias in note
    assert model in note


def test_current_and_unknown_names_resolve_to_themselves() -> None:
    """Only names in the alias table are replaced: no model is chosen that nobody asked for."""
    assert default_catalogue().resolve("grok-4.3") == ("grok-4.3", None)
    assert default_catalogue().resolve("my-finetune") == ("my-finetune", None)


def test_unknown_price_is_an_error_with_its_cure() -> None:
    """A model without a price is refused, an old name with the one to use instead."""
    with pytest.raises(ConfigError, match=r"my-finetune.*add its price"):
        default_catalogue().price("my-finetune")
    with pytest.raises(ConfigError, match=r"shut down on 2026-10-23: use gpt-6\.1-sol"):
        default_catalogue().tier("gpt-4")


@pytest.mark.parametrize("dated", ["gpt-6-luna-2026-09-22", "gpt-6-luna-20260922", "gpt-6-luna-0922"])
def test_dated_name_has_the_price_of_its_model(dated: str) -> None:
    """Vendors answer under dated names; they cost what the model costs."""
    assert default_catalogue().price(dated).model == "gpt-6-luna"


def test_operator_adds_and_overrides() -> None:
    """Prices handed in come before the shipped ones, and an alias may be taken back into use."""
    mine = ModelPrice("grok-4.3", ProviderName.XAI, Tier.STRONG, 7, 8, retires_on=date(2027, 1, 1))
    old = ModelPrice("gpt-4", ProviderName.OPENAI, Tier.MID, 1, 1)
    catalogue = Catalogue({"grok-4.3": mine, "gpt-4": old})
    assert catalogue.price("grok-4.3") is mine
    assert catalogue.resolve("gpt-4") == ("gpt-4", None)
    assert catalogue.price("gpt-6-luna") is default_catalogue().price("gpt-6-luna")


def test_cost_rounds_up_and_knows_the_cache() -> None:
    """Cost is in whole micro-dollars, never below the bill; cached input has its own price."""
    price = ModelPrice("m", ProviderName.XAI, Tier.MID, 1_250_000, 2_500_000, cached_input=200_000)
    assert price.cost(Usage()) == 0
    assert price.cost(Usage(input=1)) == 2
    assert price.cost(Usage(input=3_000, output=1_500)) == 7_500
    assert price.cost(Usage(input=3_000, cached_input=2_000)) == 1_250 + 400
    assert price.cost(Usage(input=10, cached_input=99)) == 2


def test_each_kind_of_token_has_its_price_and_a_long_prompt_its_own() -> None:
    """Read from the cache, written to it, fresh, thought and said; all of it dearer above the step."""
    long = LongContext(above=100, input=20, cached_input=2, cache_write=30, output=200)
    price = ModelPrice(
        "m", ProviderName.OPENAI, Tier.MID, 10, 100, cached_input=1, cache_write=15, reasoning=150, long=long
    )
    parts = {"cached_input": 20, "cache_written": 30, "reasoning": 5}
    scale = 10**6
    usage = Usage(100 * scale, 10 * scale, **{kind: count * scale for kind, count in parts.items()})
    million = replace(price, long=replace(long, above=100 * scale))
    assert million.cost(usage) == 50 * 10 + 20 * 1 + 30 * 15 + 5 * 100 + 5 * 150
    above = replace(usage, input=usage.input + scale)
    assert million.cost(above) == 51 * 20 + 20 * 2 + 30 * 30 + 10 * 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"cached_input": 11},
        {"cache_write": 9},
        {"reasoning": 99},
        {"long": LongContext(above=1, input=9, output=100)},
        {"long": LongContext(above=1, input=10, output=99)},
        {"input": -1},
    ],
    ids=str,
)
def test_prices_that_would_break_the_bound_are_refused(wrong: dict[str, object]) -> None:
    """The worst case of a request is reckoned at the dearest price there is: nothing may be dearer."""
    price = ModelPrice("m", ProviderName.XAI, Tier.MID, 10, 100)
    with pytest.raises(ValueError, match="out of order"):
        replace(price, **wrong)


def test_a_vendor_quote_comes_before_the_table_and_after_the_operator() -> None:
    """The vendor knows its price best, unless the operator has said otherwise; nothing is no price."""
    quote = ModelInfo("grok-4.3", input=3_000_000, cached_input=100_000, output=9_000_000)
    catalogue = Catalogue()
    assert "quotes $3 in, $9 out" in catalogue.quoted(quote)
    price = catalogue.price("grok-4.3")
    assert (price.input, price.cached_input, price.output) == (3_000_000, 100_000, 9_000_000)
    assert price.long is not None
    assert (price.long.input, price.long.output) == (3_000_000, 9_000_000), "never below the quote"
    assert catalogue.quoted(quote) == "", "told once"
    assert catalogue.quoted(replace(quote, input=None)) == ""
    assert catalogue.quoted(replace(quote, model="grok-99")) == ""
    assert default_catalogue().price("grok-4.3").input == 1_250_000
    mine = ModelPrice("grok-4.3", ProviderName.XAI, Tier.MID, 1, 1)
    own = Catalogue({"grok-4.3": mine})
    assert own.quoted(quote) == ""
    assert own.price("grok-4.3") is mine


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_tokens_never_cost_less(tokens_in: int, tokens_out: int, cached: int) -> None:
    """A usage within a bound costs no more than the bound, whatever was cached."""
    for model in ("grok-4.3", "gpt-6.1-sol", "claude-opus-5-5", "gpt-6-astra", "claude-fable-5-2"):
        price = default_catalogue().price(model)
        spent = price.cost(Usage(tokens_in, tokens_out, min(cached, tokens_in)))
        assert spent <= price.cost(Usage(10**6, 10**6))
        written = price.cost(Usage(tokens_in, tokens_out, cache_written=cached, reasoning=cached))
        assert spent <= written <= price.cost(Usage(10**6, 10**6, cache_written=10**6, reasoning=10**6))
        assert spent <= price.cost(Usage(tokens_in + 1, tokens_out + 1))
