"""How many tokens a request takes: the most it can, and what it likely does. No tokenizer is needed.

The bound is by bytes: a token of any vendor's stands for at least one byte of text, so UTF-8 bytes, a
surcharge for each message's frame, the schema's bytes and what the vendor may put before it all are never too
few. Money is reserved by the bound alone. An expectation, even at its 99th percentile, is passed by one
answer in a hundred, and then the budget would be no hard limit any more.

The expectation is for everything else: bytes by a ratio learned from each provider's own counts, apart for
questions with a schema and plain text, for market data takes twice the tokens of prose. Until there are
counts it is three bytes a token: English prose has nearly five, market JSON about two.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from jurymast.domain.provider import AIRequest, ProviderName, Usage

BYTES_PER_MESSAGE: Final = 16
"""Tokens that frame a message, at most."""
HIDDEN_PROMPT_TOKENS: Final = 600
"""What a vendor may put before ours: dates, identity, how to keep to a schema."""
BYTES_PER_TOKEN_BEFORE: Final = 3.0
BYTES_PER_TOKEN_MIN: Final = 1.0
BYTES_PER_TOKEN_MAX: Final = 8.0
"""A count outside of these is no count of our text."""
ANSWERS_BEFORE: Final = 4.0
"""How many answers the expectation before any is worth."""
ANSWERS_KEPT: Final = 50.0
"""The ratio follows about so many answers: tokenizers change under the same name."""


def bound(request: AIRequest) -> Usage:
    """The most that a request can be billed for, whatever part of it is priced dearest."""
    prompt = prompt_bytes(request) + HIDDEN_PROMPT_TOKENS
    return Usage(
        input=prompt,
        output=request.max_output_tokens,
        cache_written=prompt,
        reasoning=request.max_output_tokens,
    )


def prompt_bytes(request: AIRequest) -> int:
    """Bytes of the messages with their frames, and of the schema."""
    text = request.size_bytes + BYTES_PER_MESSAGE * len(request.messages)
    return text + (_schema_bytes(request.schema) if request.schema else 0)


class TokenRatios:
    """Bytes per token, learned from what providers say they counted."""

    def __init__(self) -> None:
        self._counts: dict[tuple[ProviderName, bool], tuple[float, float]] = {}

    def learn(self, provider: ProviderName, request: AIRequest, tokens: int) -> None:
        """An answer came, and its prompt was counted as so many tokens."""
        size = prompt_bytes(request)
        if not tokens or not BYTES_PER_TOKEN_MIN <= size / tokens <= BYTES_PER_TOKEN_MAX:
            return
        answers, ratio = self._of(provider, request)
        answers = min(answers + 1.0, ANSWERS_KEPT)
        self._counts[provider, request.schema is not None] = (
            answers,
            ratio + (size / tokens - ratio) / answers,
        )

    def bytes_per_token(self, provider: ProviderName, request: AIRequest) -> float:
        """What a token of such a prompt stands for at this provider."""
        return self._of(provider, request)[1]

    def expected(self, provider: ProviderName, request: AIRequest) -> int:
        """Tokens that the prompt likely has there, rounded up."""
        return math.ceil(prompt_bytes(request) / self.bytes_per_token(provider, request))

    def expected_anywhere(self, request: AIRequest) -> int:
        """The same where it takes the most of those that have counted such prompts; before any, the guess."""
        kind = request.schema is not None
        known = [ratio for (_, of_kind), (_, ratio) in self._counts.items() if of_kind is kind]
        return math.ceil(prompt_bytes(request) / min(known, default=BYTES_PER_TOKEN_BEFORE))

    def _of(self, provider: ProviderName, request: AIRequest) -> tuple[float, float]:
        before = (ANSWERS_BEFORE, BYTES_PER_TOKEN_BEFORE)
        return self._counts.get((provider, request.schema is not None), before)


_measured: tuple[Mapping[str, Any], int] | None = None


def _schema_bytes(schema: Mapping[str, Any]) -> int:
    """Size of a schema as text. A bot asks with the same one again and again."""
    global _measured  # noqa: PLW0603 (a memory of one)
    if _measured is None or _measured[0] is not schema:
        _measured = schema, len(str(schema).encode())
    return _measured[1]
