"""Keeps the order of routes in step with what they are worth: looked at again now and then, used in between.

What a value is stands in :mod:`jurymast.policy.value`; this gathers what it rests on (weights, prices,
latency, the day's money), hands the order to the failover core, and tells when it changes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from jurymast.domain.decision import Weight
from jurymast.domain.events import RoutesRanked
from jurymast.domain.money import USD, Micros
from jurymast.domain.provider import RankedRoute, Route
from jurymast.intelligence.fallback_manager import Emit, FallbackManager
from jurymast.policy.learned import LearnedWeights, curiosity
from jurymast.policy.records import ForecastRecords
from jurymast.policy.routing import RouteOrder, RouteSpec
from jurymast.policy.value import RankBy, Standing, by_priority, order_of, placed, shadow_price
from jurymast.ports import Clock

CATEGORIES_MAX: Final = 64
"""Categories with an order of their own; questions of others are asked in the order of all."""


@dataclass(frozen=True, slots=True)
class RoutingSettings:
    """What orders routes of equal health. ``bankroll`` is what growth is reckoned on, ``look_secs`` how often
    values are looked at again."""

    by: RankBy = RankBy.PRIORITY
    bankroll: Micros = 2_000 * USD
    look_secs: float = 60.0


class Ordering:
    """The order of routes now. ``seed`` is of the draws that say which route is worth a shadow question."""

    def __init__(
        self,
        fallback: FallbackManager,
        records: ForecastRecords,
        clock: Clock,
        emit: Emit,
        settings: RoutingSettings,
        seed: int = 0,
    ) -> None:
        self._fallback = fallback
        self._records = records
        self._learned = LearnedWeights(records)
        self._clock = clock
        self._emit = emit
        self._settings = settings
        self._chance = random.Random(f"curiosity {seed}")
        self._looked_at = -math.inf
        self._order: RouteOrder | None = None
        self._orders: dict[str, RouteOrder] = {}
        self._told: dict[str, tuple[Route, ...]] = {}

    def of(self, category: str) -> RouteOrder | None:
        """The order for a question of this category; None where priority decides."""
        by, now = self._settings.by, self._clock.monotonic()
        if now - self._looked_at >= self._settings.look_secs:
            self._looked_at = now if by is not RankBy.PRIORITY else math.inf
            self._look()
        if by is not RankBy.LEARNED:
            return self._order
        category = category.casefold()
        if category not in self._orders and len(self._orders) < CATEGORIES_MAX:
            self._orders[category] = self._ranked(category)
        return self._orders.get(category, self._order)

    def _look(self) -> None:
        """Reckon every order again."""
        order = self._ranked("")
        if self._settings.by is RankBy.LEARNED:
            specs = self._specs()
            scores = {spec.route: self._chance.gauss(0.0, 1.0) for spec in specs}
            weights = {spec.route: self._weight(spec, "") for spec in specs}
            order = replace(order, curiosity=curiosity(weights, scores))
        if self._settings.by is not RankBy.PRIORITY:
            self._order = order
            self._fallback.core.health.reorder(order)
        for category in self._orders:
            self._orders[category] = self._ranked(category)

    def _ranked(self, category: str) -> RouteOrder:
        specs = self._specs()
        if self._settings.by is RankBy.PRIORITY:
            ranked = by_priority(specs)
        else:
            providers = self._fallback.providers
            longest_secs = self._fallback.settings.work.attempt_secs_max
            standings = [
                Standing(
                    spec,
                    self._weight(spec, category),
                    providers.expected(spec.route),
                    self._fallback.core.health.records[spec.route].latency(0).share_beyond(longest_secs),
                )
                for spec in specs
            ]
            purse = providers.purse
            shadow = shadow_price(purse.pace, purse.day, self._clock.utc_now())
            ranked = placed(standings, self._settings.bankroll, shadow)
        self._tell(ranked, category)
        return order_of(ranked)

    def _weight(self, spec: RouteSpec, category: str) -> Weight:
        model = self._records.serving(spec.route.model)
        source = self._learned if self._settings.by is RankBy.LEARNED else self._records
        return source.weight(model, spec.tier, category)

    def _specs(self) -> list[RouteSpec]:
        return [record.spec for record in self._fallback.core.health.records.values()]

    def _tell(self, ranked: Sequence[RankedRoute], category: str) -> None:
        routes = tuple(each.route for each in ranked)
        if self._told.get(category, self._told.get("")) == routes:
            return
        self._told[category] = routes
        self._emit(
            RoutesRanked(
                at=self._clock.utc_now(), by=self._settings.by, order=tuple(ranked), category=category
            )
        )
