"""Tokens by bytes: a bound that holds for any tokenizer, and an expectation that learns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.provider import AIRequest, Message, ProviderName
from jurymast.policy.tokens import HIDDEN_PROMPT_TOKENS, TokenRatios, bound, prompt_bytes

SCHEMA = {"type": "object", "properties": {"p": {"type": "integer"}}}
XAI, OPENAI = ProviderName.XAI, ProviderName.OPENAI


def asked(text: str, *, schema: bool = False, messages: int = 1) -> AIRequest:
    return AIRequest((Message("user", text),) * messages, schema=SCHEMA if schema else None)


@given(st.text(max_size=300), st.integers(1, 5), st.booleans())
def test_no_tokenizer_passes_the_bound(text: str, messages: int, schema: bool) -> None:
    """A token for each byte of each message, its frame, its schema and a hidden prompt still fit."""
    request = asked(text, schema=schema, messages=messages)
    worst = messages * (len(text.encode(errors="surrogatepass")) + 16) + schema * len(str(SCHEMA)) + 600
    usage = bound(request)
    assert usage.input == usage.cache_written == worst
    assert usage.output == usage.reasoning == request.max_output_tokens


def test_the_expectation_learns_from_counts_per_provider_and_kind() -> None:
    """What one provider counts for questions moves nothing for plain text, nor for another provider."""
    ratios, question, plain = TokenRatios(), asked("x" * 3_000, schema=True), asked("y" * 3_000)
    before = ratios.expected(XAI, question)
    for _ in range(100):
        ratios.learn(XAI, question, prompt_bytes(question) // 2)
    assert ratios.expected(XAI, question) == pytest.approx(prompt_bytes(question) / 2, rel=0.03)
    assert ratios.expected(OPENAI, question) == before
    assert ratios.expected(XAI, plain) == -(-prompt_bytes(plain) // 3)
    assert ratios.expected_anywhere(question) == ratios.expected(XAI, question)
    assert ratios.expected_anywhere(plain) == ratios.expected(XAI, plain)


def test_one_count_does_not_outvote_what_was_known() -> None:
    """A single odd count moves the expectation by a part, and an impossible one not at all."""
    ratios, request = TokenRatios(), asked("z" * 6_000)
    for impossible in (0, 1, 60_000):
        ratios.learn(XAI, request, impossible)
    assert ratios.bytes_per_token(XAI, request) == 3.0
    ratios.learn(XAI, request, prompt_bytes(request) // 5)
    assert 3.0 < ratios.bytes_per_token(XAI, request) < 3.6


@given(st.lists(st.integers(1, 20_000), max_size=40))
def test_the_expectation_never_passes_the_bound(counts: list[int]) -> None:
    """Whatever is counted, what is expected stays below what is reserved."""
    ratios, request = TokenRatios(), asked("market " * 500, schema=True)
    for count in counts:
        ratios.learn(XAI, request, count)
    assert ratios.expected(XAI, request) <= bound(request).input - HIDDEN_PROMPT_TOKENS
