"""What models cost, how good they are taken to be, and what became of old names.

The table is ``prices.toml`` beside this file, dated. A model without a price is refused, never priced at
nothing: a bill that reads $0 stops no budget. Operators add or correct entries by handing in a mapping.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

from jurymast.domain.errors import ConfigError
from jurymast.domain.money import USD, Micros
from jurymast.domain.provider import ModelInfo, ProviderName, Tier, Usage

PER_TOKENS: Final = 1_000_000
_DATED = re.compile(r"(.+?)-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{4})")


class Rates(NamedTuple):
    """What a token costs by its kind, in micro-dollars per million."""

    input: Micros
    output: Micros
    cached: Micros
    written: Micros
    reasoning: Micros

    def cost(self, usage: Usage) -> Micros:
        """What a usage costs, rounded up to the micro-dollar."""
        if not usage.cached_input and not usage.cache_written and self.reasoning == self.output:
            return -(-(usage.input * self.input + usage.output * self.output) // PER_TOKENS)  # the usual one
        cached = min(usage.cached_input, usage.input)
        written = min(usage.cache_written, usage.input - cached)
        reasoning = min(usage.reasoning, usage.output)
        total = (
            (usage.input - cached - written) * self.input
            + cached * self.cached
            + written * self.written
            + (usage.output - reasoning) * self.output
            + reasoning * self.reasoning
        )
        return -(-total // PER_TOKENS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LongContext:
    """Prices of a request whose prompt has more than ``above`` tokens: of all of it, from the first token."""

    above: int
    input: Micros
    output: Micros
    cached_input: Micros | None = None
    cache_write: Micros | None = None
    reasoning: Micros | None = None

    def at_least(self, prices: ModelPrice) -> LongContext:
        """The same, nowhere below the usual prices: for when those were changed alone."""
        usual = _rates(prices)
        dearer = max(self.input, usual.input)
        return replace(
            self,
            input=dearer,
            output=max(self.output, usual.output),
            cached_input=None if self.cached_input is None else max(self.cached_input, usual.cached),
            cache_write=None
            if prices.cache_write is None
            else max(self.cache_write or 0, usual.written, dearer),
            reasoning=None if prices.reasoning is None else max(self.reasoning or 0, usual.reasoning),
        )


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """One model. Prices in micro-dollars per million tokens, ``context`` in tokens where known.

    ``cached_input`` and ``cache_write`` are of input read from and written to the vendor's cache; where they
    are not known such tokens count at the full price. ``reasoning`` is None where it costs what other output
    does. Raises ValueError for prices under which a bound would be none: a cache that is dearer to read than
    fresh input or cheaper to write, cheaper reasoning, a cheaper long context.
    """

    model: str
    provider: ProviderName
    tier: Tier
    input: Micros
    output: Micros
    cached_input: Micros | None = None
    context: int | None = None
    source: str = "operator"
    checked_on: date | None = None
    retires_on: date | None = None
    cache_write: Micros | None = None
    reasoning: Micros | None = None
    long: LongContext | None = None
    _tiers: tuple[Rates, ...] = field(init=False, repr=False, compare=False)
    """Usual, and for a long context where that is another."""

    def __post_init__(self) -> None:
        usual = _rates(self)
        tiers = (usual,) if self.long is None else (usual, _rates(self.long))
        object.__setattr__(self, "_tiers", tiers)
        for rates in tiers:
            if (
                not 0 <= rates.cached <= rates.input <= rates.written
                or not 0 <= rates.output <= rates.reasoning
            ):
                raise ValueError(
                    f"prices of {self.model} out of order: cached <= input <= cache write and "
                    "output <= reasoning must hold; leave out what is not known"
                )
        if any(low > high for low, high in zip(usual, tiers[-1], strict=True)):
            raise ValueError(f"prices of {self.model} out of order: a long context is never cheaper")

    def rates(self, prompt_tokens: int) -> Rates:
        """The prices of a request with such a prompt."""
        return self._tiers[self.long is not None and prompt_tokens > self.long.above]

    def cost(self, usage: Usage) -> Micros:
        """What a usage costs, rounded up to the micro-dollar; more tokens of any kind never cost less."""
        return self.rates(usage.input).cost(usage)


def _rates(prices: ModelPrice | LongContext) -> Rates:
    return Rates(
        input=prices.input,
        output=prices.output,
        cached=prices.input if prices.cached_input is None else prices.cached_input,
        written=prices.input if prices.cache_write is None else prices.cache_write,
        reasoning=prices.output if prices.reasoning is None else prices.reasoning,
    )


@dataclass(frozen=True, slots=True)
class Alias:
    """A name from an older configuration and its successor, with the notice to show."""

    model: str
    note: str


class Catalogue:
    """Models by id. ``overrides`` of the operator come first, then what vendors quote, then what ships."""

    def __init__(
        self,
        overrides: Mapping[str, ModelPrice] | None = None,
        *,
        shipped: Mapping[str, ModelPrice] | None = None,
        aliases: Mapping[str, Alias] | None = None,
    ) -> None:
        if shipped is None or aliases is None:
            shipped, aliases = _shipped()
        self._own = frozenset(overrides or ())
        self._models = {**shipped, **(overrides or {})}
        self._aliases = aliases

    def price(self, model: str) -> ModelPrice:
        """The price of a model, by its id or a dated form of it. Raises ConfigError when not known.

        Old names are not priced: several still answer at prices of their own. ``resolve`` them first.
        """
        found = self._models.get(model)
        if found is None and (dated := _DATED.fullmatch(model)):
            found = self._models.get(dated.group(1))
        if found is None:
            raise ConfigError(
                f"no price is known for model {model!r}, so its cost can't be limited and it is not used; "
                + self._cure(model)
            )
        return found

    def quoted(self, info: ModelInfo) -> str:
        """Take over the prices that a vendor's own list gives; what has changed, in words, empty for nothing.

        The operator's prices stay. A price of nothing is not believed: it would stop no budget. The list
        has no long-context prices: ours stay, but never below what is quoted.
        """
        known = self._models.get(info.model)
        if known is None or known.model in self._own or not info.input or not info.output:
            return ""
        cached = min(info.cached_input or info.input, info.input)
        written = None if known.cache_write is None else max(info.input, known.cache_write)
        now = replace(
            known,
            input=info.input,
            output=info.output,
            cached_input=cached,
            cache_write=written,
            reasoning=None,
            long=None,
        )
        if known.long is not None:
            now = replace(now, long=known.long.at_least(now))
        self._models[info.model] = now
        if (now.input, now.output) == (known.input, known.output):
            return ""
        return (
            f"{known.provider} quotes {_dollars(now.input)} in, {_dollars(now.output)} out a million tokens; "
            f"the table had {_dollars(known.input)} and {_dollars(known.output)}"
        )

    def context(self, model: str) -> int | None:
        """Tokens a model holds, prompt and answer together; None when not known."""
        try:
            return self.price(model).context
        except ConfigError:
            return None

    def entry(self, model: str) -> ModelPrice | None:
        """The entry under exactly this id, if there is one."""
        return self._models.get(model)

    def tier(self, model: str) -> Tier:
        """How good a model is taken to be. Raises ConfigError for a model it does not know."""
        return self.price(model).tier

    def resolve(self, alias: str) -> tuple[str, str | None]:
        """The id to use for a name, and the notice to show when it is another one."""
        if alias in self._models or alias not in self._aliases:
            return alias, None
        entry = self._aliases[alias]
        return entry.model, f"{alias} {entry.note}; {entry.model} is used instead"

    def _cure(self, model: str) -> str:
        if model in self._aliases:
            entry = self._aliases[model]
            return f"it {entry.note}: use {entry.model}"
        return f"add its price to the configuration or use one of {', '.join(sorted(self._models))}"

    def models(self, provider: ProviderName) -> tuple[ModelPrice, ...]:
        """Everything known of one provider, in the order of the table."""
        return tuple(entry for entry in self._models.values() if entry.provider is provider)


def _dollars(price: Micros) -> str:
    return f"${price / USD:g}"


@cache
def default_catalogue() -> Catalogue:
    """The catalogue as shipped, read once."""
    return Catalogue()


@cache
def _shipped() -> tuple[dict[str, ModelPrice], dict[str, Alias]]:
    import tomllib

    text = resources.files(__package__).joinpath("prices.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    models = {
        model: _entry(model, entry, table["sources"], table["checked_on"])
        for model, entry in table["models"].items()
    }
    return models, {name: Alias(**entry) for name, entry in table["aliases"].items()}


def _entry(model: str, entry: dict[str, Any], sources: dict[str, str], checked_on: date) -> ModelPrice:
    provider = ProviderName(entry.pop("provider"))
    long = entry.pop("long", None)
    return ModelPrice(
        model,
        provider,
        Tier(entry.pop("tier")),
        source=sources[provider],
        checked_on=checked_on,
        long=None if long is None else LongContext(**long),
        **entry,
    )
