"""What is held and what is at stake, as the rules see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jurymast.domain.money import Micros
from jurymast.domain.order import Position


@dataclass(frozen=True, slots=True)
class Exposure:
    """The portfolio at one instant. Money in micro-dollars.

    ``by_market`` and ``by_event`` are what can be lost: cost of positions plus cost of resting entries.
    ``new_risk_hour`` and ``new_risk_day`` are what entries committed in the last hour and day of exchange
    time, ``cached_hour`` and ``cached_day`` the part of it that rests on cached opinions. ``busy`` are the
    tickers with an order that may still fill.
    """

    equity: Micros
    cash: Micros
    positions: Mapping[str, Position]
    by_market: Mapping[str, Micros]
    by_event: Mapping[str, Micros]
    new_risk_hour: Micros = 0
    new_risk_day: Micros = 0
    busy: frozenset[str] = frozenset()
    cached_hour: Micros = 0
    cached_day: Micros = 0

    @property
    def gross(self) -> Micros:
        return sum(self.by_market.values())
