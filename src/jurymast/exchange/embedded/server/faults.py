"""Everything that can be made to go wrong, one line each, and the book of what is in force.

Chance is seeded: the same faults and the same requests in the same order fail the same way.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FAULTS_MAX: Final = 64
"""In force at once."""


class Fault(StrEnum):
    """What can be broken on command."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Fault:
        fault = str.__new__(cls, word)
        fault._value_ = word
        fault.meaning = meaning
        return fault

    ACCEPT_THEN_TIMEOUT = "accept_then_timeout", "a write is carried out, its answer never comes"
    ACCEPT_THEN_5XX = "accept_then_5xx", "a write is carried out, its answer is a 5xx (value: the status)"
    REJECT_THEN_TIMEOUT = "reject_then_timeout", "a write is not carried out, and nobody says so"
    UNAVAILABLE = "unavailable", "every request is answered 503 without being looked at"
    STORM_429 = "429", "every request is one too many"
    GONE_410 = "410", "every order endpoint is answered 410 as if it were the old API"
    STALE_REST = "stale_rest", "portfolio reads show what was some seconds ago (value: seconds)"
    SLOW_BOOK = "slow_book", "books by REST and websocket come late (value: seconds)"
    CLOCK_SKEW = "clock_skew", "the exchange's clock is off when it checks signatures (value: seconds)"
    UNKNOWN_ENUM = "unknown_enum", "a word nobody has heard of stands in an answer (value: the field)"
    MISSING_FIELD = "missing_field", "a required field is left out of an answer (value: the field)"
    WS_MISSING = "ws_missing", "a websocket frame is lost, its number is used up"
    WS_DOUBLED = "ws_doubled", "a websocket frame comes twice"
    WS_REORDERED = "ws_reordered", "a websocket frame comes after the next one"
    WS_GAP = "ws_gap", "a run of five numbered frames is lost at once"
    WS_DISCONNECT = "ws_disconnect", "the connection breaks when a frame is due; new ones are taken"
    WS_REFUSE = "ws_refuse", "new websocket connections are answered 503"
    WS_ERROR = "ws_error", "a subscription ends with an error (value: 10 or 25)"
    TRADING_PAUSE = "trading_pause", "no new orders and no changes; cancelling is possible"
    EXCHANGE_PAUSE = "exchange_pause", "no changes at all, not even cancelling"
    MARKET_HALT = "market_halt", "one market is inactive (ticker)"


STATEFUL: Final = frozenset({Fault.TRADING_PAUSE, Fault.EXCHANGE_PAUSE, Fault.MARKET_HALT, Fault.STALE_REST})
"""In force from the moment they are set, without chance or count."""


@dataclass(slots=True)
class FaultSpec:
    """One fault in force. ``times`` counts down to its end, ``until`` is monotonic."""

    fault: Fault
    probability: float = 1.0
    times: int | None = None
    until: float | None = None
    ticker: str | None = None
    value: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.probability <= 1.0:
            raise ValueError(f"probability {self.probability} is not above 0 and at most 1")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times {self.times} is less than once")
        if self.fault is Fault.MARKET_HALT and not self.ticker:
            raise ValueError("market_halt needs a ticker")

    def number(self, default: float) -> float:
        """The value as a number. Raises ValueError when it is none."""
        return default if self.value is None else float(self.value)


def fault_named(word: str) -> Fault:
    """Raises ValueError with the names there are."""
    for fault in Fault:
        if fault.value == word:
            return fault
    raise ValueError(f"there is no fault {word!r}; there are {', '.join(fault.value for fault in Fault)}")


class Faults:
    """What is in force now."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._specs: list[FaultSpec] = []

    def add(self, spec: FaultSpec) -> None:
        """Raises ValueError when too many are in force."""
        self.remove(spec.fault, spec.ticker)
        if len(self._specs) >= FAULTS_MAX:
            raise ValueError(f"more than {FAULTS_MAX} faults at once")
        self._specs.append(spec)

    def remove(self, fault: Fault | None = None, ticker: str | None = None) -> list[FaultSpec]:
        """Take faults away, all or those that fit; returns them."""
        gone = [
            spec
            for spec in self._specs
            if fault in {None, spec.fault} and (ticker is None or spec.ticker == ticker)
        ]
        self._specs = [spec for spec in self._specs if spec not in gone]
        return gone

    def lapsed(self, now: float) -> list[FaultSpec]:
        """Take away those whose time is over; returns them."""
        gone = [spec for spec in self._specs if spec.until is not None and spec.until <= now]
        self._specs = [spec for spec in self._specs if spec not in gone]
        return gone

    def active(self) -> tuple[FaultSpec, ...]:
        return tuple(self._specs)

    def strikes(self, fault: Fault, ticker: str | None = None) -> FaultSpec | None:
        """The fault if it happens this time, counted down."""
        for spec in self._specs:
            if spec.fault is not fault or (spec.ticker is not None and spec.ticker != ticker):
                continue
            if spec.probability < 1.0 and self._dice.random() >= spec.probability:
                return None
            if spec.times is not None:
                spec.times -= 1
                if spec.times == 0:
                    self._specs.remove(spec)
            return spec
        return None
