"""What an answer that is no success means for us: by Kalshi's error code, not by the status alone.

  read    refused               ExchangeUnavailable with the code; not found: OrderRejected with the code
          410                   SchemaDrift: we speak an old API
  write   refused in Kalshi's own words, or 429        OrderRejected: nothing was placed
          5xx, a redirect, words we can't read         OrderUnknown: it may have been placed

The same code means different things to different operations (a cancel that finds nothing may be good
news); that is judged where the operation is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from jurymast.domain.errors import (
    ExchangeError,
    ExchangeUnavailable,
    OrderRejected,
    OrderUnknown,
    SchemaDrift,
)
from jurymast.exchange.kalshi.operations import Operation
from jurymast.exchange.kalshi.reading import loads

CLOCK_SKEWED: Final = "header_timestamp_expired"
DUPLICATE: Final = "order_already_exists"
NOT_FOUND: Final = frozenset({"not_found", "market_not_found", "order_not_found"})
TOO_MANY: Final = "too_many_requests"
NOT_SENT: Final = "not_sent"
_CURES: Final = {
    CLOCK_SKEWED: "this machine's clock is off; correct it",
    "authentication_error": "the key is wrong, revoked or lacks a scope; look at the account's API keys",
    "insufficient_balance": "the shard of this market holds too little cash",
    "trading_is_paused": "trading is paused; cancels still work, entries do not until it resumes",
    "exchange_is_paused": "the exchange takes nothing at all until it resumes, not even cancels",
    "order_group_triggered": "more filled in 15 s than exchange.group_contracts_max; know why, then restart",
    "deprecated_v1_order_endpoint": "this program speaks an API that is gone; update it",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A code with Kalshi's words for it. An empty code: the body was not Kalshi's."""

    code: str
    words: str

    def __str__(self) -> str:
        cure = _CURES.get(self.code)
        return f"{self.code}: {self.words}" + (f" ({cure})" if cure else "")


def refusal_of(status: int, body: bytes) -> Refusal:
    """What a body says, in each of the three shapes seen: nested, flat, and a bare text."""
    try:
        value = loads("error", body)
    except SchemaDrift:
        value = None
    if not isinstance(value, dict):
        return Refusal("", f"HTTP {status} with a body that is not Kalshi's")
    error = value.get("error", value)
    if isinstance(error, str):
        return Refusal(error.replace(" ", "_")[:80], error[:200])
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(code, str) or not code:
        return Refusal("", f"HTTP {status} without an error code")
    words = [error.get("message"), error.get("details")]
    told = ", ".join(word for word in words if isinstance(word, str) and word)
    return Refusal(code[:80], told[:300] or f"HTTP {status}")


def error_of(operation: Operation, status: int, body: bytes) -> ExchangeError:
    """The exception that a status other than 2xx stands for."""
    refusal = refusal_of(status, body)
    told = f"{operation.name}: {refusal}"
    if operation.draw.changes:
        return _of_write(status, refusal, told)
    if refusal.code in NOT_FOUND or (status == 404 and refusal.code):
        return OrderRejected(refusal.code, told)
    if status == 410:
        return SchemaDrift(told)
    return ExchangeUnavailable(f"{told} (HTTP {status})")


def _of_write(status: int, refusal: Refusal, told: str) -> ExchangeError:
    if status == 429:
        return OrderRejected(TOO_MANY, told)
    if not 400 <= status < 500 or not refusal.code:
        return OrderUnknown(
            f"{told} (HTTP {status}); it may have been done all the same: ask before sending more"
        )
    return OrderRejected(refusal.code, told)
