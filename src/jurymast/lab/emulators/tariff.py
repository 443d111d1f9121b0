"""What the simulated vendors charge, in ticks (10^10 to the US dollar), and the bill for an answer.

Kept apart from the bot's own price table, and counted otherwise, so that the two can be held against each
other. Written by hand from the vendors' pages of November 2026. Whole fractions of a tick do not occur.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jurymast.lab.emulators.wire import Reply

TICKS_PER_MICRO: Final = 10_000


@dataclass(frozen=True, slots=True)
class Tariff:
    """Ticks for a token of fresh input, of output, read from the cache and written to it.

    A prompt of more than ``step`` tokens multiplies all of them but output by ``dearer``, output by
    ``output_dearer``.
    """

    fresh: int
    output: int
    read: int
    written: int
    step: int | None = None
    dearer: int = 1
    output_dearer: float = 1.0

    def ticks(self, reply: Reply) -> int:
        """The bill of one answer."""
        long = self.step is not None and reply.input_tokens > self.step
        fresh = reply.input_tokens - reply.cache_read_tokens - reply.cache_written_tokens
        prompt = (
            fresh * self.fresh
            + reply.cache_read_tokens * self.read
            + reply.cache_written_tokens * self.written
        )
        output = (reply.visible_tokens + reply.reasoning_tokens) * self.output
        return prompt * self.dearer + round(output * self.output_dearer) if long else prompt + output


TARIFFS: Final[Mapping[str, Tariff]] = {
    "grok-4.7": Tariff(20_000, 60_000, 5_000, 20_000, 199_999, 2, 2.0),
    "grok-4.6": Tariff(20_000, 60_000, 5_000, 20_000, 199_999, 2, 2.0),
    "grok-4.5": Tariff(20_000, 60_000, 3_000, 20_000, 199_999, 2, 2.0),
    "grok-4.3": Tariff(12_500, 25_000, 2_000, 12_500, 199_999, 2, 2.0),
    "grok-4.20": Tariff(12_500, 25_000, 2_000, 12_500, 199_999, 2, 2.0),
    "gpt-6-astra": Tariff(100_000, 500_000, 10_000, 125_000, 272_000, 2, 1.5),
    "gpt-6.1-sol": Tariff(20_000, 100_000, 1_000, 25_000, 272_000, 2, 1.5),
    "gpt-6.1-terra": Tariff(10_000, 50_000, 500, 12_500, 272_000, 2, 1.5),
    "gpt-6-luna": Tariff(1_000, 5_000, 100, 1_250, 272_000, 2, 1.5),
    "claude-fable-5-2": Tariff(80_000, 400_000, 2_000, 100_000),
    "claude-opus-5-5": Tariff(40_000, 200_000, 2_000, 50_000),
    "claude-sonnet-5-5": Tariff(20_000, 100_000, 1_000, 25_000),
    "claude-haiku-5-5": Tariff(1_000, 5_000, 100, 1_250, 100_000, 5, 5.0),
}
_FREE: Final = Tariff(0, 0, 0, 0)
_DATE: Final = re.compile(r"-(\d{4}-\d\d-\d\d|\d{8})$")


def tariff_of(model: str) -> Tariff:
    """What a model costs; one that no vendor sells is free."""
    return TARIFFS.get(_DATE.sub("", model), _FREE)


def micros(ticks: int) -> int:
    """Ticks as whole micro-dollars, rounded up: what one bill takes off the account at most."""
    return -(-ticks // TICKS_PER_MICRO)
