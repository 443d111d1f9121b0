"""What a model said before, when none answers: an edge that fades, void once the market has moved.

A cached opinion carries its *difference* from the market forward, never its level: nobody bets against news
with it.

    logit p(t) = logit m(t) + weight * 2^(-t/h) * (logit f0 - logit m0)

Rules
  - h is six hours, or a quarter of what was left to the close. Where minutes count (games in play, price
    brackets that settle today, data about to be released) it is nothing, and the opinion is never used again.
  - What the market has taken over since is no edge any more: no increment is larger than the one that the
    same forecast would have now, and one that the market has overtaken is none.
  - Void: too old, other rules or close, a move beyond ``MOVE_MIN`` or beyond what so much time explains, ten
    cents either way, a spread that has doubled, five times the usual trade.
  - Its standard error grows with age by what the market may have done meanwhile.
  - Only answers of providers are kept, never those of an emergency. A later answer replaces an earlier one, a
    later abstention of a model ends it.

Times are exchange time. The formulas are [J] and [S] of the reference: edge-carry with a gate.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from jurymast.domain.decision import AbstainReason, CachedFrom, Decision, Rung
from jurymast.domain.events import DecisionAbstained, DecisionMade, Event
from jurymast.domain.market import Market, MarketSnapshot
from jurymast.domain.money import CENT, format_cents
from jurymast.domain.probability import clamp, from_price, logit, sigmoid
from jurymast.policy.quality import Belief, blend, meant, weight_of

HOUR_SECS: Final = 3_600.0
OPINIONS_MAX: Final = 1_000
"""Markets with an opinion kept; the oldest goes first."""
HALF_LIFE_SECS_MAX: Final = 6 * HOUR_SECS
LIFE_SHARE: Final = 4
"""A half-life is at most one part in this many of what was left to the close."""
NEVER_BEFORE_CLOSE_SECS: Final[Mapping[str, float]] = {
    "sports": 4 * HOUR_SECS,
    "crypto": 24 * HOUR_SECS,
    "financials": 24 * HOUR_SECS,
    "climate and weather": 24 * HOUR_SECS,
    "economics": 2 * HOUR_SECS,
}
"""By category, so close to the end that only a fresh opinion counts."""
SIGMA_HOUR: Final = 0.10
"""Standard deviation of a quiet market's log-odds in an hour [J]."""
MOVE_MIN: Final = 0.30
MOVE_SDS: Final = 2.5
MOVE_PRICE: Final = 10 * CENT
SPREAD_TIMES: Final = 2
VOLUME_TIMES: Final = 5
VOLUME_SHARE_MIN: Final = 10
"""Less than one part in this many of a day's volume is no news, however soon it came."""


class VoidReason(StrEnum):
    """Why an opinion is not used again. Closed list."""

    NONE_KEPT = "none_kept"
    TOO_OLD = "too_old"
    FROM_THE_FUTURE = "from_the_future"
    RULES_CHANGED = "rules_changed"
    NEVER_REUSED = "never_reused"
    BOOK_GONE = "book_gone"
    PRICE_MOVED = "price_moved"
    SPREAD_DOUBLED = "spread_doubled"
    VOLUME_JUMPED = "volume_jumped"


@dataclass(frozen=True, slots=True)
class Void:
    """An opinion that is not used again, with the numbers."""

    reason: VoidReason
    detail: str


class Opinions:
    """The last opinion of a provider on each market: a fold over the journal, bounded."""

    def __init__(self, kept: Iterable[Decision] = ()) -> None:
        self._kept: dict[str, Decision] = {decision.ticker: decision for decision in kept}

    def __len__(self) -> int:
        return len(self._kept)

    def apply(self, event: Event) -> None:
        """Fold one fact. What was decided without a provider changes nothing."""
        match event:
            case DecisionMade(decision=decision) if decision.rung in _PROVIDERS:
                self._kept.pop(decision.ticker, None)
                self._kept[decision.ticker] = decision
                if len(self._kept) > OPINIONS_MAX:
                    del self._kept[next(iter(self._kept))]
            case DecisionAbstained(abstain=abstain) if abstain.reason is AbstainReason.MODEL_ABSTAINED:
                self._kept.pop(abstain.ticker, None)
            case _:
                pass

    def of(self, ticker: str) -> Decision | None:
        return self._kept.get(ticker)

    def all(self) -> tuple[Decision, ...]:
        """Every opinion, the oldest first."""
        return tuple(self._kept.values())

    def forget(self, ticker: str) -> None:
        """Let go of a void opinion."""
        self._kept.pop(ticker, None)

    def usable(self, now: datetime, age_secs_max: float) -> int:
        """How many are young enough at exchange time ``now``, of models whose opinion has a weight at all."""
        return sum(
            0.0 <= (now - kept.as_of).total_seconds() <= age_secs_max and weight_of(kept).used > 0.0
            for kept in self._kept.values()
        )


_PROVIDERS: Final = frozenset({Rung.PRIMARY, Rung.FAILOVER})
"""A small local model's opinion is worth nothing, and replaces none that is."""


@lru_cache(maxsize=OPINIONS_MAX)
def rules_hash(market: Market) -> str:
    """What a forecast was about: it changes with the question, its rules and its close."""
    text = f"{market.title}|{market.rules}|{market.close_time.isoformat()}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def half_life_secs(market: Market, as_of: datetime) -> float:
    """How long until half of an edge seen at ``as_of`` is gone; 0 when it must not be used again."""
    left_secs = (market.close_time - as_of).total_seconds()
    if left_secs <= NEVER_BEFORE_CLOSE_SECS.get(market.category.casefold(), 0.0):
        return 0.0
    return max(0.0, min(HALF_LIFE_SECS_MAX, left_secs / LIFE_SHARE))


def carried(opinion: Decision | None, snapshot: MarketSnapshot, age_secs_max: float) -> CachedFrom | Void:
    """What is left of an opinion in the market as it is now, or why nothing is."""
    if opinion is None:
        return Void(VoidReason.NONE_KEPT, "no provider has given an opinion on this market that still counts")
    age_secs = (snapshot.as_of - opinion.as_of).total_seconds()
    half_secs = half_life_secs(snapshot.market, snapshot.as_of)
    half_secs = min(half_secs, half_life_secs(snapshot.market, opinion.as_of))
    limit_secs = min(age_secs_max, half_secs / 2)
    if opinion.rules_hash != rules_hash(snapshot.market):
        return Void(VoidReason.RULES_CHANGED, "the question, its rules or its close have changed since")
    if half_secs <= 0:
        return Void(VoidReason.NEVER_REUSED, f"{snapshot.market.category} so near to the close")
    if age_secs < 0:
        return Void(VoidReason.FROM_THE_FUTURE, f"given {-age_secs:.0f} s after this market")
    if age_secs > limit_secs:
        return Void(VoidReason.TOO_OLD, f"{age_secs / 60:.0f} min, at most {limit_secs / 60:.0f}")
    if (moved := _gate(opinion, snapshot, age_secs / HOUR_SECS)) is not None:
        return moved
    return CachedFrom(
        decision_id=opinion.decision_id,
        as_of=opinion.as_of,
        market_price=opinion.market_price,
        age_secs=age_secs,
        half_life_secs=half_secs,
        share=2.0 ** (-age_secs / half_secs),
    )


def faded(decision: Decision, snapshot: MarketSnapshot, weight: float) -> Belief:
    """Our probability of YES by a cached opinion, in the market as it is now.

    Never further from the market, nor surer, than the same forecast given now. Raises ValueError when the
    decision is not a cached one or the book has one side only.
    """
    cached, opinion = decision.cached, meant(decision)
    if cached is None:
        raise ValueError(f"decision {decision.decision_id} is not a cached one")
    market = from_price(snapshot.book.mid)
    fresh = blend(market, opinion.probability, opinion.low, opinion.high, weight)
    said, now = logit(clamp(opinion.probability)), logit(market)
    age_secs = max(cached.age_secs, (snapshot.as_of - cached.as_of).total_seconds())
    share = 2.0 ** (-age_secs / cached.half_life_secs)
    increment = share * (said - logit(from_price(cached.market_price)))
    left = said - now
    increment = math.copysign(min(abs(increment), abs(left)), left) if increment * left > 0 else 0.0
    drift = market * (1 - market) * SIGMA_HOUR * math.sqrt(age_secs / HOUR_SECS)
    return Belief(sigmoid(now + weight * increment), math.hypot(fresh.error, drift))


def _gate(opinion: Decision, snapshot: MarketSnapshot, hours: float) -> Void | None:
    """Whether the market has seen something that the opinion has not."""
    book = snapshot.book
    if not book.two_sided or book.spread < 0:
        return Void(VoidReason.BOOK_GONE, "there is no price to hold it against")
    moved = abs(book.mid - opinion.market_price)
    odds = abs(logit(from_price(book.mid)) - logit(from_price(opinion.market_price)))
    if moved > MOVE_PRICE or odds > max(MOVE_MIN, MOVE_SDS * SIGMA_HOUR * math.sqrt(hours)):
        detail = f"from {format_cents(opinion.market_price)} to {format_cents(book.mid)} since"
        return Void(VoidReason.PRICE_MOVED, detail)
    if book.spread > SPREAD_TIMES * max(opinion.spread, CENT):
        detail = f"{format_cents(opinion.spread)} then, {format_cents(book.spread)} now"
        return Void(VoidReason.SPREAD_DOUBLED, detail)
    since = snapshot.volume_24h - opinion.volume_24h
    usual = opinion.volume_24h * hours / 24.0
    if since > max(VOLUME_TIMES * usual, opinion.volume_24h / VOLUME_SHARE_MIN):
        return Void(VoidReason.VOLUME_JUMPED, "the market trades several times as much as it used to")
    return None
