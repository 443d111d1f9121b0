"""The host's dictionaries as markets: one unit, no default price.

Its callers give prices in dollars (0.60) or in cents (60), as numbers or text. Two prices of one market say
which: they add up to about 1 or to about 100. A single price of exactly 1 could be either, and is refused.
What is missing stays missing: a market without a price or without a closing time is not traded, and the
reason says so.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from jurymast.domain.market import Book, EvidenceItem, Level, Market, MarketSnapshot, MarketStatus
from jurymast.domain.money import CENT, CONTRACT, PAYOUT, Centi, Micros

SLACK: Final = 0.15
"""How far two prices of one market may be from adding up to 1: spreads, and prices read at two moments."""
HALF_TICK: Final[Micros] = CENT // 2
"""Where the host knows one price only, the book is as tight as a book can be: a cent wide."""
UNKNOWN_DEPTH: Final[Centi] = 1_000_000 * CONTRACT
"""The host sizes its orders against the book itself; depth it does not tell limits nothing here."""
NO_RULES: Final = "The host gave no rules: the question is its title, read as anybody would."
CLOSES: Final = (
    "expiration_ts",
    "expected_expiration_time",
    "expiration_time",
    "close_time",
    "settlement_time",
)


class Unusable(ValueError):
    """A market that can't be judged as it was given, and why."""


def snapshot(data: Mapping[str, Any], now: datetime) -> MarketSnapshot:
    """The market of a dictionary at ``now``. Raises Unusable."""
    title = str(data.get("title") or "").strip()
    if not title:
        raise Unusable("the market has no title")
    bid, ask = prices(data)
    ticker = ticker_of(data)
    market = Market(
        ticker=ticker,
        event_ticker=str(data.get("event_ticker") or ticker),
        category=str(data.get("category") or ""),
        title=title,
        rules=_rules(data),
        open_time=now,
        close_time=_closes(data, now),
    )
    book = Book((Level(bid, UNKNOWN_DEPTH),), (Level(ask, UNKNOWN_DEPTH),))
    volume = _number(data.get("volume")) or 0.0
    return MarketSnapshot(market, MarketStatus.ACTIVE, book, round(volume * CONTRACT), now)


def ticker_of(data: Mapping[str, Any]) -> str:
    """The market's id, or one made of its title where the caller gives none: the same for the same title."""
    given = data.get("ticker") or data.get("market_id")
    if given:
        return str(given)
    title = str(data.get("title") or "")
    return "TITLE-" + hashlib.blake2b(title.encode(errors="surrogatepass"), digest_size=6).hexdigest()


def prices(data: Mapping[str, Any]) -> tuple[Micros, Micros]:
    """Best bid and ask of YES in micro-dollars. Raises Unusable."""
    bid, ask = _number(data.get("yes_bid")), _number(data.get("yes_ask"))
    if bid and ask:
        scale = _scale_of_quotes(bid, ask)
        low, high = bid / scale, ask / scale
    else:
        low, high = _single(_number(data.get("yes_price")), _number(data.get("no_price")))
    if not 0 < low <= high < 1:
        raise Unusable(f"a bid of {low:g} and an ask of {high:g} dollars are no prices of a contract")
    bid_micros, ask_micros = round(low * PAYOUT), round(high * PAYOUT)
    if bid_micros == ask_micros:
        return max(bid_micros - HALF_TICK, 1), min(ask_micros + HALF_TICK, PAYOUT - 1)
    return bid_micros, ask_micros


def _scale_of_quotes(bid: float, ask: float) -> float:
    if ask < 1:
        return 1.0
    if bid >= 1 and 1 < ask < 100:
        return 100.0
    raise Unusable(f"a bid of {bid:g} and an ask of {ask:g} are neither both dollars nor both cents")


def _single(yes: float | None, no: float | None) -> tuple[float, float]:
    """YES's bid and ask, in dollars, from one price of each side."""
    if yes is None:
        raise Unusable("the market has no price")
    if no:
        total = yes + no
        scale = 100.0 if abs(total / 100 - 1) <= SLACK else 1.0
        if abs(total / scale - 1) > SLACK:
            raise Unusable(f"YES at {yes:g} and NO at {no:g} add up to neither 1 dollar nor 100 cents")
        other = 1 - no / scale
        return min(yes / scale, other), max(yes / scale, other)
    if yes == 1:
        raise Unusable("a price of 1 may be a dollar or a cent, and nothing beside it tells which")
    price = yes if yes < 1 else yes / 100
    return price, price


def _number(value: Any) -> float | None:
    """A finite number, also as text; None for everything else, mocks and truth values included."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _rules(data: Mapping[str, Any]) -> str:
    parts = (data.get(name) for name in ("rules", "rules_primary", "rules_secondary", "description"))
    texts = dict.fromkeys(part.strip() for part in parts if isinstance(part, str) and part.strip())
    return "\n".join(texts) or NO_RULES


def _closes(data: Mapping[str, Any], now: datetime) -> datetime:
    for name in CLOSES:
        if (found := _moment(data.get(name))) is not None:
            return found
    days, hours = _number(data.get("days_to_expiry")), _number(data.get("hours_to_expiry"))
    if days is None and hours is None:
        raise Unusable("nothing says when the market closes")
    # Counted down from now it is another moment each time; to the hour it stays one question.
    left = timedelta(days=days or 0.0) if days is not None else timedelta(hours=hours or 0.0)
    return (now + left).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    seconds = _number(value)
    if seconds is None or not 0 < seconds < 1e11:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def evidence(news: Any, now: datetime) -> tuple[EvidenceItem, ...]:
    """The host's news as one quoted item; nothing where there is none."""
    if not isinstance(news, str) or not news.strip():
        return ()
    return (EvidenceItem("host-news", "What the host found", news.strip(), now),)


def balance(portfolio: Any) -> Micros:
    """The money the host says it has, in micro-dollars; 0 where it says nothing."""
    if not isinstance(portfolio, Mapping):
        return 0
    for name in ("portfolio_value", "balance", "available_balance", "cash"):
        if (found := _number(portfolio.get(name))) is not None and found > 0:
            return round(found * PAYOUT)
    return 0
