"""How long simulated answers take and how many tokens they use.

Fitted by eye, ASSUMPTIONS: medians stand for a decision of a few thousand tokens on a model with little
thinking. KalshiBench (arXiv 2512.16030) measured per answer on 300 Kalshi questions medians of 4.4 s
(GPT-5.1), 8.5 s (GPT-5.2), 11.7 s (Claude Opus 4.5) and 6.6 s (o1), log standard deviations of 0.13 to 0.5,
and 250 to 750 output tokens for models that do not think long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.chance import lognormal

BYTES_PER_TOKEN: Final = 3.3
"""Between prose (4.9) and market JSON (2.2) for current tokenizers; no vendor publishes its own."""

FIRST_TOKEN_SHARE: Final = 0.25
USUAL_TOKENS: Final = 300
"""Visible tokens of the answers that the medians stand for; shorter ones end sooner after the first token."""
REASONING_SIGMA: Final = 0.5
REASONING_TOKENS_MAX: Final = 1_000
TRIVIAL_PROMPT_TOKENS: Final = 64
"""A prompt this short, schema included (a probe), is answered without thinking (assumption)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Log-normal time to a complete answer, in seconds, and median of hidden reasoning tokens."""

    median_secs: float
    sigma: float
    reasoning_tokens: int


PACES: Final[Mapping[ProviderName, Pace]] = {
    ProviderName.XAI: Pace(4.0, 0.4, 400),
    ProviderName.OPENAI: Pace(4.0, 0.4, 350),
    ProviderName.ANTHROPIC: Pace(5.0, 0.4, 300),
    ProviderName.LOCAL: Pace(8.0, 0.4, 0),
}


def answer_secs(provider: ProviderName, seed: int, serial: int) -> float:
    """Seconds from request to complete answer of the ``serial``-th request to a provider."""
    pace = PACES[provider]
    return lognormal(pace.median_secs, pace.sigma, seed, "latency", provider, serial)


def shortened(secs: float, visible_tokens: int) -> float:
    """Time to a complete answer of so many visible tokens, where a usual one takes ``secs``."""
    return secs * (FIRST_TOKEN_SHARE + (1 - FIRST_TOKEN_SHARE) * min(1.0, visible_tokens / USUAL_TOKENS))


def count_tokens(*texts: str) -> int:
    """Tokens of the texts together, at least one."""
    return max(1, math.ceil(sum(len(text.encode()) for text in texts) / BYTES_PER_TOKEN))


def cut_to_tokens(text: str, tokens: int) -> str:
    """The beginning of ``text`` that fits into so many tokens."""
    return text.encode()[: math.floor(tokens * BYTES_PER_TOKEN)].decode(errors="ignore")


def reasoning_tokens(provider: ProviderName, input_tokens: int, seed: int, serial: int) -> int:
    """Hidden tokens spent on thinking before the first visible one."""
    median = PACES[provider].reasoning_tokens
    if not median or input_tokens <= TRIVIAL_PROMPT_TOKENS:
        return 0
    drawn = lognormal(median, REASONING_SIGMA, seed, "reasoning", provider, serial)
    return min(round(drawn), REASONING_TOKENS_MAX)
