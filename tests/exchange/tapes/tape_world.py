"""Small tapes written by hand, and an exchange that plays them on a clock that moves when told to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jurymast.domain.money import CENT, CONTRACT
from jurymast.exchange.embedded.commands import Place
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.execution import Execution
from jurymast.exchange.embedded.records import Lifetime
from jurymast.exchange.tapes.file import VERSION, Head, TapeWriter
from jurymast.exchange.tapes.opening import open_tape
from jurymast.testing.clock import FakeClock

T = "KXRAIN-26NOV-T1.5"
WALL = datetime(2026, 11, 2, 15, 0, tzinfo=UTC)
START_US = 1_793_631_600_000_000
SECOND_US = 1_000_000
BYTES_MAX = 10_000_000
Frame = dict[str, Any]


class Script:
    """Frames of one subscription to books and one to executions, numbered as they are added."""

    def __init__(self, *, yes_price: bool = False) -> None:
        self.yes_price = yes_price
        self.rows: list[tuple[float, Frame]] = []
        self._seq = {1: 0, 2: 0}
        for sid, channel in ((1, "orderbook_delta"), (2, "trade")):
            told = {"channel": channel, "sid": sid}
            self.rows.append((0.0, {"type": "subscribed", "id": sid, "msg": told}))

    def book(
        self, secs: float, yes: Iterable[tuple[int, int]], no: Iterable[tuple[int, int]], **more: Any
    ) -> Script:
        """A snapshot; prices in cents, counts in contracts."""
        sides = {
            "yes_dollars_fp": [_level(*each) for each in yes],
            "no_dollars_fp": [_level(*each) for each in no],
        }
        return self._numbered(secs, 1, "orderbook_snapshot", {"market_ticker": T, **sides}, **more)

    def change(self, secs: float, side: str, cents: int, count: int, **more: Any) -> Script:
        """A level has so much more or less."""
        told = {
            "market_ticker": T,
            "side": side,
            "price_dollars": f"{cents / 100:.4f}",
            "delta_fp": f"{count}.00",
        }
        return self._numbered(secs, 1, "orderbook_delta", told, **more)

    def trade(self, secs: float, cents: int, count: int, taker: str) -> Script:
        """An execution at a price of YES; the taker bought ``taker``."""
        told = {
            "trade_id": f"t-{len(self.rows)}",
            "market_ticker": T,
            "yes_price_dollars": f"{cents / 100:.4f}",
            "count_fp": f"{count}.00",
            "taker_outcome_side": taker,
        }
        return self._numbered(secs, 2, "trade", told)

    def _numbered(self, secs: float, sid: int, kind: str, msg: Frame, *, skip: int = 0) -> Script:
        self._seq[sid] += 1 + skip
        self.rows.append((secs, {"type": kind, "sid": sid, "seq": self._seq[sid], "msg": msg}))
        return self

    def written(self, path: Path, answers: Iterable[Frame] = ()) -> Path:
        """As a tape; market answers come first."""
        head = Head(VERSION, "demo", yes_price=self.yes_price, made_at="2026-11-02T15:00:00Z")
        with TapeWriter(path, head, bytes_max=BYTES_MAX) as writer:
            for market in answers:
                writer.answer(START_US, f"GET /markets/{T}", json.dumps({"market": market}).encode())
            for secs, frame in self.rows:
                writer.frame(START_US + int(secs * SECOND_US), json.dumps(frame))
        return path


def _level(cents: int, count: int) -> list[str]:
    return [f"{cents / 100:.4f}", f"{count}.00"]


class Playing:
    """An exchange on a tape, and a member who trades in it."""

    def __init__(self, path: Path, database: Path | str = ":memory:") -> None:
        self.clock = FakeClock(WALL)
        self.exchange: EmbeddedExchange = open_tape(path, clock=self.clock, database=database)
        self._orders = self.exchange.engine.state.next_order

    def until(self, secs: float) -> None:
        """Play to ``secs`` after the tape's beginning, a tick each quarter of a second."""
        while (self.exchange.now_us() - START_US) / SECOND_US < secs - 1e-9:
            self.clock.advance(0.25)
            self.exchange.tick()

    def order(self, bid: bool, cents: int, contracts: int, *, at_once: bool = False) -> Execution:
        self._orders += 1
        done = self.exchange.execute(
            Place(
                self.exchange.member.number,
                T,
                bid,
                cents * CENT,
                contracts * CONTRACT,
                Lifetime.IMMEDIATE_OR_CANCEL if at_once else Lifetime.GOOD_TILL_CANCELED,
                client_order_id=f"own-{self._orders}",
            )
        )
        assert isinstance(done, Execution)
        return done

    def book(self) -> tuple[dict[int, int], dict[int, int]]:
        """Bids for YES and for NO: contracts by price in cents."""
        yes, no = self.exchange.depth(T)
        return tuple({price // CENT: count // CONTRACT for price, count in side} for side in (yes, no))  # type: ignore[return-value] # two of them

    def position(self) -> int:
        return self.exchange.member.stake(T).count // CONTRACT
