"""What a running bot knows at this moment and no journal holds: a file that other processes read.

Countdowns, requests under way, what rests. The bot replaces ``live.json`` every second; the terminal view and
the web page read it, and never ask the bot. A reader that finds it old says so.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from jurymast.domain.order import Order, Position
from jurymast.domain.status import SystemStatus, TradingState
from jurymast.watch.files import replace_file

if TYPE_CHECKING:
    from jurymast.app.wiring import Bot  # heavy, and readers don't need it

NAME: Final = "live.json"
VERSION: Final = 1
LIVE_SECS: Final = 1.0
ROWS_MAX: Final = 500
"""Positions and orders told of, each."""


@dataclass(frozen=True, slots=True)
class Live:
    """The bot at ``at``, UTC."""

    version: int
    pid: int
    at: datetime
    exchange: str
    simulated: tuple[str, ...]
    status: SystemStatus
    state: TradingState
    size_share: float
    """Of the mode's size, at which entries are made."""
    positions: tuple[Position, ...]
    orders: tuple[Order, ...]
    """Those that may still fill, as the exchange has acknowledged them."""


def of(bot: Bot) -> Live:
    """The present of a bot."""
    portfolio = bot.portfolio
    return Live(
        version=VERSION,
        pid=os.getpid(),
        at=bot.clock.utc_now(),
        exchange=bot.exchange.describe(),
        simulated=bot.simulated,
        status=bot.client.get_system_status(),
        state=bot.cycle.state,
        size_share=bot.client.size_share,
        positions=tuple(portfolio.positions.values())[:ROWS_MAX],
        orders=tuple(order for order in portfolio.orders.values() if order.status.open)[:ROWS_MAX],
    )


async def keep(bot: Bot) -> None:
    """Write it again and again. A disk that refuses makes it old, and nothing else."""
    while True:
        with suppress(OSError):
            replace_file(bot.config.data_dir / NAME, msgspec.json.encode(of(bot)), durable=False)
        await bot.clock.sleep(LIVE_SECS)


def read(directory: Path) -> Live | None:
    """The last that was written; None when there is none that this version can read."""
    try:
        found = msgspec.json.decode((directory / NAME).read_bytes(), type=Live)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None
    return found if found.version == VERSION else None
