"""How a provider did in equal parts of a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from jurymast.journal.history import Span
from jurymast.policy.history import Tally, total

BLOCKS: Final = "▁▂▃▄▅▆▇█"
"""Heights of a bar in a terminal, least first."""
BARS: Final = 90
"""Of a heartbeat: each is a share of the time told of."""


def heartbeat(
    spans: Sequence[Span], name: str, since: datetime, until: datetime, bars: int = BARS
) -> list[float | None]:
    """Uptime of a provider in equal parts of the time, oldest first; None where nothing is known.

    A span counts to every part that it touches: a bar is no finer than the history behind it.
    """
    width = (until - since) / bars
    parts: list[list[Tally]] = [[] for _ in range(bars)]
    for span in spans:
        first = max(0, (span.start - since) // width)
        last = min(bars - 1, (span.start + span.length - since - timedelta(microseconds=1)) // width)
        for part in range(first, last + 1):
            parts[part].append(span.tally)
    return [total(part).of(name).uptime if part else None for part in parts]


def block(share: float) -> str:
    """A bar of that height, 0 to 1."""
    return BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)]
