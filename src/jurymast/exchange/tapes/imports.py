"""Recordings of others and candlesticks, made into tapes of ours.

Three forms are known by what stands in them:

  - JSON lines, plain or ``.gz``: ``{"type", "recv_ns", "seq", "msg"}``, frames without their envelope, where
    a number 1 begins a new subscription;
  - one JSON object with ``frames``: ``[{"received_ms", "frame"}]``, frames as they came;
  - one JSON object with ``candlesticks`` and ``ticker``, as Kalshi answers.

Candles tell prices and no sizes, nor what happened inside them. Of each the tape gets two books with
``CANDLE_CONTRACTS`` a side: the opening quotes at its beginning and the closing ones at its end.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from jurymast.domain.errors import ConfigError, SchemaDrift
from jurymast.domain.money import PAYOUT, Micros
from jurymast.exchange.kalshi.reading import loads
from jurymast.exchange.kalshi.session import BOOKS
from jurymast.exchange.kalshi.units import dollars_text, micros
from jurymast.exchange.tapes.file import LINE_BYTES_MAX, VERSION, Head, TapeWriter, unusable

CANDLE_CONTRACTS: Final = 100
OBJECT_BYTES_MAX: Final = 256 * 1024 * 1024
_MINUTE_US: Final = 60_000_000
_GZIP: Final = b"\x1f\x8b"

Frames = Iterator[tuple[int, dict[str, Any]]]
"""Times in microseconds and frames."""


def import_tape(source: Path, out: Path, *, bytes_max: int) -> int:
    """Make a tape of a recording; returns how many rows it has. Raises ConfigError, and then makes none."""
    if out.exists():
        raise unusable(out, "exists already")
    head = Head(VERSION, "imported", yes_price=False, made_at=_today(), source=source.name)
    try:
        with TapeWriter(out, head, bytes_max=bytes_max) as writer:
            for at_us, frame in _frames(source):
                writer.frame(at_us, json.dumps(frame, separators=(",", ":")))
                if writer.full:
                    raise unusable(source, f"makes a tape of more than {bytes_max:,} bytes")
    except (KeyError, TypeError, ValueError, SchemaDrift, OSError, EOFError) as error:
        out.unlink(missing_ok=True)
        raise unusable(
            source, f"is no recording that is known here ({type(error).__name__}: {error})"
        ) from error
    except ConfigError:
        out.unlink(missing_ok=True)
        raise
    return writer.rows


def _frames(source: Path) -> Frames:
    with source.open("rb") as plain:
        packed = plain.read(2) == _GZIP
    with gzip.open(source) if packed else source.open("rb") as file:
        first = file.readline(LINE_BYTES_MAX)
        if b'"recv_ns"' in first:
            yield from _bare(first)
            while line := file.readline(LINE_BYTES_MAX):
                yield from _bare(line)
            return
        whole = loads("recording", first + file.read(OBJECT_BYTES_MAX))
    if "candlesticks" in whole:
        yield from _of_candles(whole)
    else:
        for each in whole["frames"]:
            yield int(each["received_ms"]) * 1_000, each["frame"]


def _bare(line: bytes) -> Frames:
    """Frames without subscription: each number 1 is a new one, and its own number is the market's."""
    if not line.strip():
        return
    told = loads("recording", line)
    at_us, seq = int(told["recv_ns"]) // 1_000, int(told["seq"])
    if seq == 1:
        yield at_us, _subscribed()
    yield at_us, {"type": told["type"], "sid": 1, "seq": seq, "msg": told["msg"]}


def _subscribed() -> dict[str, Any]:
    return {"type": "subscribed", "id": 1, "msg": {"channel": BOOKS, "sid": 1}}


def _of_candles(answer: dict[str, Any]) -> Frames:
    """Books at both ends of each candle, numbered as one subscription."""
    ticker, candles = str(answer["ticker"]), answer["candlesticks"]
    ends = sorted({int(candle["end_period_ts"]) * 1_000_000 for candle in candles})
    period_us = min((later - end for end, later in pairwise(ends)), default=_MINUTE_US)
    books: dict[int, dict[str, Any]] = {}
    for candle in sorted(candles, key=lambda each: int(each["end_period_ts"])):
        end_us = int(candle["end_period_ts"]) * 1_000_000
        for at_us, field in ((end_us - period_us + 1, "open_dollars"), (end_us, "close_dollars")):
            bid, ask = micros(candle["yes_bid"][field]), micros(candle["yes_ask"][field])
            books[at_us] = {
                "market_ticker": ticker,
                "yes_dollars_fp": _level(bid),
                "no_dollars_fp": _level(PAYOUT - ask),
            }
    for seq, (at_us, book) in enumerate(sorted(books.items()), start=1):
        if seq == 1:
            yield at_us, _subscribed()
        yield at_us, {"type": "orderbook_snapshot", "sid": 1, "seq": seq, "msg": book}


def _level(price: Micros) -> list[list[str]]:
    """One level; $0 stands for an empty side."""
    return [[dollars_text(price), f"{CANDLE_CONTRACTS}.00"]] if 0 < price < PAYOUT else []


def _today() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
