"""What would be sold, and at what price, when positions are to go: by hand, never by an outage alone.

Flattening sells everything in slices: each at most ``slice_max`` contracts, at most what stands in the book
within ``slack`` of the best bid, at no less than the worst price it was planned at. What finds no buyer
waits for the next look. Working down sells a part of each position at a look, and only into a tight book.
Money in micro-dollars, quantities in centi-contracts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from jurymast.domain.market import MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT, Centi, Micros, format_cents, notional
from jurymast.domain.order import Position
from jurymast.policy import fees
from jurymast.policy.exits import ExitPlan, ExitReason

PART: Final = 4
"""Working down sells this fraction of what is held at a look."""
LEAST: Final[Centi] = 10 * CONTRACT
"""And at least so many contracts, so that it ends."""


@dataclass(frozen=True, slots=True)
class LiquidationSettings:
    """``slack``: how far below the best bid a slice may sell; ``spread_max``: the widest book worked down."""

    slice_max: Centi = 250 * CONTRACT
    slack: Micros = 2 * CENT
    spread_max: Micros = 5 * CENT


@dataclass(frozen=True, slots=True)
class Sale:
    """One slice: sell ``count`` at ``limit_price`` or better. ``cost`` is what leaving costs: the distance to
    the middle of the book and the fee."""

    ticker: str
    plan: ExitPlan
    proceeds: Micros
    fee: Micros
    cost: Micros


@dataclass(frozen=True, slots=True)
class Unsold:
    """What finds no buyer now, and why."""

    ticker: str
    count: Centi
    why: str


def flatten(
    positions: Iterable[Position], snapshots: Mapping[str, MarketSnapshot], settings: LiquidationSettings
) -> tuple[list[Sale], list[Unsold]]:
    """One slice per position, and what each position leaves over."""
    sales, unsold = [], []
    for position in positions:
        sale = _slice(position, snapshots.get(position.ticker), settings)
        if isinstance(sale, Sale):
            sales.append(sale)
            left = position.size - sale.plan.count
            if left:
                unsold.append(Unsold(position.ticker, left, "in later slices, as far as there are buyers"))
        else:
            unsold.append(Unsold(position.ticker, position.size, sale))
    return sales, unsold


def work_down(position: Position, snapshot: MarketSnapshot, settings: LiquidationSettings) -> ExitPlan | None:
    """The next part of one position, or None while its book is too wide."""
    bids = snapshot.book.takers(position.side)
    book = snapshot.book
    if snapshot.status is not MarketStatus.ACTIVE or not bids or not book.two_sided:
        return None
    if book.spread > settings.spread_max:
        return None
    count = min(position.size, max(position.size // PART // CONTRACT * CONTRACT, LEAST), bids[0].count)
    detail = f"worked down by hand at {format_cents(bids[0].price)}"
    return ExitPlan(ExitReason.WORKED_DOWN, count, bids[0].price, detail)


def _slice(position: Position, snapshot: MarketSnapshot | None, settings: LiquidationSettings) -> Sale | str:
    if snapshot is None or snapshot.status is not MarketStatus.ACTIVE:
        return "the market does not trade now"
    bids = snapshot.book.takers(position.side)
    if not bids:
        return "nobody bids"
    left, proceeds, worst = min(position.size, settings.slice_max), 0, bids[0].price
    count = 0
    for level in bids:
        if not left or level.price < bids[0].price - settings.slack:
            break
        taken = min(left, level.count)
        count, left, worst = count + taken, left - taken, level.price
        proceeds += notional(level.price, taken)
    offers = snapshot.book.offers(position.side)
    middle = (bids[0].price + offers[0].price) // 2 if offers else bids[0].price
    fee = notional(fees.fee_per_contract(worst), count)
    plan = ExitPlan(
        ExitReason.FLATTENED, count, worst, f"flattened by hand at {format_cents(worst)} or better"
    )
    return Sale(position.ticker, plan, proceeds, fee, notional(middle, count) - proceeds + fee)
