"""Cheap filters: which markets are worth a question to a model. Nothing here costs money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from jurymast.domain.market import Level, MarketSnapshot, MarketStatus
from jurymast.domain.money import Centi, format_cents, format_contracts
from jurymast.policy.emergency import ModeRules

DEPTH_LEVELS = 3


class ScreenReason(StrEnum):
    """Why a market was dropped before any model was asked. Closed list."""

    NOT_OPEN = "not_open"
    ONE_SIDED_BOOK = "one_sided_book"
    CROSSED_BOOK = "crossed_book"
    PRICE_OUT_OF_BAND = "price_out_of_band"
    SPREAD_TOO_WIDE = "spread_too_wide"
    BOOK_TOO_THIN = "book_too_thin"
    VOLUME_TOO_LOW = "volume_too_low"
    CLOSES_TOO_SOON = "closes_too_soon"
    CLOSES_TOO_LATE = "closes_too_late"


@dataclass(frozen=True, slots=True)
class Screened:
    """A dropped market and the numbers that dropped it."""

    reason: ScreenReason
    detail: str


def visible_depth(levels: Sequence[Level]) -> Centi:
    """Contracts on the best three levels of one side."""
    return sum(level.count for level in levels[:DEPTH_LEVELS])


def screen(snapshot: MarketSnapshot, rules: ModeRules, secs_to_close_max: float) -> Screened | None:
    """The first reason against a market, or None when a model may be asked about it.

    A reason of the mode's names its cell of the table.
    """
    found = _first(snapshot, rules, secs_to_close_max)
    column = None if found is None else _CELLS.get(found.reason)
    if found is None or column is None:
        return found
    return replace(found, detail=f"{found.detail} {rules.at(column)}")


_CELLS: Final = {
    ScreenReason.PRICE_OUT_OF_BAND: "price_min, price_max",
    ScreenReason.SPREAD_TOO_WIDE: "spread_max",
    ScreenReason.BOOK_TOO_THIN: "depth_min",
    ScreenReason.VOLUME_TOO_LOW: "volume_min",
    ScreenReason.CLOSES_TOO_SOON: "secs_to_close_min",
}


def _first(snapshot: MarketSnapshot, rules: ModeRules, secs_to_close_max: float) -> Screened | None:
    if snapshot.status is not MarketStatus.ACTIVE:
        return Screened(ScreenReason.NOT_OPEN, f"the market is {snapshot.status}")
    book = snapshot.book
    if not book.two_sided:
        return Screened(ScreenReason.ONE_SIDED_BOOK, "no bid or no ask: there is no price to compare with")
    if book.spread < 0:
        return Screened(ScreenReason.CROSSED_BOOK, f"the bid is {format_cents(-book.spread)} above the ask")
    if not rules.price_min <= book.mid <= rules.price_max:
        band = f"{format_cents(rules.price_min)}..{format_cents(rules.price_max)}"
        return Screened(
            ScreenReason.PRICE_OUT_OF_BAND,
            f"{format_cents(book.mid)} is outside {band}",
        )
    if book.spread > rules.spread_max:
        limit = format_cents(rules.spread_max)
        return Screened(
            ScreenReason.SPREAD_TOO_WIDE,
            f"{format_cents(book.spread)}, at most {limit}",
        )
    depth = min(visible_depth(book.bids), visible_depth(book.asks))
    if depth < rules.depth_min:
        shown = f"{format_contracts(depth)} contracts, at least {format_contracts(rules.depth_min)}"
        return Screened(ScreenReason.BOOK_TOO_THIN, shown)
    if snapshot.volume_24h < rules.volume_min:
        volume = format_contracts(snapshot.volume_24h)
        return Screened(
            ScreenReason.VOLUME_TOO_LOW,
            f"{volume} in 24 h, at least {format_contracts(rules.volume_min)}",
        )
    if snapshot.secs_to_close < rules.secs_to_close_min:
        least = rules.secs_to_close_min / 60
        return Screened(
            ScreenReason.CLOSES_TOO_SOON,
            f"in {snapshot.secs_to_close / 60:.0f} min, at least {least:.0f}",
        )
    if snapshot.secs_to_close > secs_to_close_max:
        most = secs_to_close_max / 86_400
        return Screened(
            ScreenReason.CLOSES_TOO_LATE, f"in {snapshot.secs_to_close / 86_400:.0f} d, at most {most:.0f}"
        )
    return None
