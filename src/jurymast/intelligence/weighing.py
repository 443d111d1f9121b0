"""Gives opinions their weight, and puts forecasts on record to be scored when their markets resolve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from jurymast.domain.decision import Decision, ForecastRecord, Opinion, Weight
from jurymast.domain.events import Event, ForecastNoted
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import Micros
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.policy.calibration import Line
from jurymast.policy.records import ForecastRecords

SHADOWS_KEPT: Final = 1_000
"""Markets of which a shadow's opinion is kept; the oldest goes first."""


class Weighing:
    """What opinions count for, by ``records``. ``first`` is the route that is asked first, with its tier."""

    def __init__(
        self, records: ForecastRecords, first: tuple[Route, Tier], emit: Callable[[Event], None]
    ) -> None:
        self.records = records
        self._first = first
        self._serving: dict[tuple[ProviderName, str], str] = {}
        self._emit = emit
        self._shadows: dict[str, tuple[float, Opinion]] = {}

    def weigh(
        self,
        route: Route,
        served_model: str,
        tier: Tier,
        category: str,
        *,
        swapped: bool,
        first: tuple[Route, Tier] | None = None,
    ) -> tuple[Weight, Weight | None]:
        """What a fresh opinion counts for, and in whose place it stands, if in anybody's: that of the
        ``first`` in the order of its question, where it has one."""
        first = first or self._first
        is_first = route.model == first[0].model and route.provider is first[0].provider
        if is_first and not swapped:
            self._serving[route.provider, route.model] = served_model
        weight = self.records.weight(served_model, tier, category)
        return weight, self._of(first, category) if swapped or not is_first else None

    def reweighed(self, kept: Decision, category: str, first: tuple[Route, Tier] | None = None) -> Decision:
        """An opinion of before with what it counts for now."""
        return replace(
            kept,
            weight=self.records.weight(kept.served_model, kept.tier, category),
            instead_of=self._of(first or self._first, category) if kept.instead_of is not None else None,
        )

    def note(self, decision: Decision, snapshot: MarketSnapshot, at: datetime) -> None:
        """Put the forecast of a decision on record."""
        if not self._is_news(decision.ticker, decision.served_model, decision.market_price):
            return
        weight = decision.weight or self.records.weight(decision.served_model, decision.tier)
        percent, price = decision.forecast.probability_pct, decision.market_price
        opinion = Opinion(decision.route, decision.served_model, decision.tier, percent, weight)
        self._note(opinion, snapshot, price, at, decision.simulated, shadow=False)

    def note_opinion(
        self, opinion: Opinion, snapshot: MarketSnapshot, price: Micros, at: datetime, *, simulated: bool
    ) -> None:
        """Put on record what another model has said beside a decision; ``price`` is the mid then."""
        if self._is_news(snapshot.ticker, opinion.model, price):
            self._note(opinion, snapshot, price, at, simulated, shadow=True)

    def _is_news(self, ticker: str, model: str, price: Micros) -> bool:
        """Whether there is a price to hold a forecast against, and it is the model's first of its market."""
        return bool(price) and self.records.is_new(ticker, model)

    def _note(
        self,
        opinion: Opinion,
        snapshot: MarketSnapshot,
        price: Micros,
        at: datetime,
        simulated: bool,
        *,
        shadow: bool,
    ) -> None:
        market, weight = snapshot.market, opinion.weight
        record = ForecastRecord(
            ticker=market.ticker,
            event_ticker=market.event_ticker,
            category=market.category,
            provider=opinion.route.provider,
            model=opinion.model,
            tier=opinion.tier,
            probability_pct=opinion.probability_pct,
            market_price=price,
            weight=weight.used,
            calibrated=Line(weight.shift, weight.slope).calibrated(opinion.probability_pct / 100),
            as_of=snapshot.as_of,
            closes_at=market.close_time,
            shadow=shadow,
            simulated=simulated,
        )
        event = ForecastNoted(at=at, ticker=market.ticker, record=record)
        self.records.apply(event)
        self._emit(event)

    def opinion(self, route: Route, model: str, tier: Tier, percent: int, category: str) -> Opinion:
        """Another model's opinion with its own weight."""
        return Opinion(route, model, tier, percent, self.records.weight(model, tier, category))

    def keep_shadow(self, ticker: str, now: float, opinion: Opinion) -> None:
        """A shadow's opinion is there for the next decision on its market."""
        self._shadows.pop(ticker, None)
        self._shadows[ticker] = now, opinion
        if len(self._shadows) > SHADOWS_KEPT:
            del self._shadows[next(iter(self._shadows))]

    def shadow_of(
        self, ticker: str, served_model: str, now: float, age_secs_max: float
    ) -> tuple[Opinion, ...]:
        """What a shadow has said of the same market lately, if it was another model."""
        at, opinion = self._shadows.get(ticker, (0.0, None))
        fresh = opinion is not None and now - at <= age_secs_max and opinion.model != served_model
        return (opinion,) if opinion is not None and fresh else ()

    def _of(self, first: tuple[Route, Tier], category: str) -> Weight:
        route, tier = first
        model = self._serving.get((route.provider, route.model), route.model)
        return self.records.weight(model, tier, category)
