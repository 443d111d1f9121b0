"""A process that serves and trades until it is killed: its file is what is left of it."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from jurymast.domain.errors import OrderRejected
from jurymast.domain.money import CENT
from jurymast.exchange.embedded.commands import Place
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.questions import load_bundle
from jurymast.testing.clock import FakeClock

START = datetime(2025, 12, 12, 12, 0, tzinfo=UTC)
SPEED = 1_800.0


def opened(database: Path | str, **more: object) -> tuple[EmbeddedExchange, FakeClock]:
    clock = FakeClock(START)
    exchange = EmbeddedExchange(
        load_bundle(), clock=clock, start=START, database=database, speed=SPEED, **more
    )
    return exchange, clock


def act(exchange: EmbeddedExchange, clock: FakeClock, number: int) -> None:
    """One order of a stream that depends on its number only, and a tick."""
    clock.advance(0.25)
    exchange.tick()
    tickers = exchange.catalogue.next_to_end(exchange.now_us(), 8)
    place = Place(
        exchange.member.number,
        tickers[number % len(tickers)],
        number % 3 > 0,
        (20 + number * 7 % 60) * CENT,
        300,
        client_order_id=f"child-{number}",
    )
    with suppress(OrderRejected):
        exchange.execute(place)


def main() -> None:
    exchange, clock = opened(Path(sys.argv[1]))
    number = 0
    while True:
        act(exchange, clock, number)
        number += 1
        sys.stdout.write(f"{exchange.engine.state.next_order}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
