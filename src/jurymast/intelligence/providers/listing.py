"""One entry of a vendor's model list, whoever the vendor is.

OpenAI states ``shutdown_date``; Anthropic ``retires_at``, and keeps retired models in the list with
``lifecycle`` retired; xAI's list of language models has aliases and prices, in US cents per 100 million
tokens (as its OpenAPI document says: grok-3 at $3 has 30000 there). Ollama, llama.cpp and vLLM state the id
alone.
Sources: the SDKs openai 3.54 and anthropic 2.12, xAI's OpenAPI document.
"""

from __future__ import annotations

from typing import Any, Final

from jurymast.domain.money import Micros
from jurymast.domain.provider import ModelInfo
from jurymast.intelligence.providers.wire import count

MICROS_PER_QUOTE: Final = 100
"""A US cent per 100 million tokens, in micro-dollars per million tokens."""
ALIASES_MAX: Final = 100


def model_info(entry: Any) -> ModelInfo | None:
    """The entry as we want it, or None when it names no model."""
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        return None
    ends = entry.get("shutdown_date") or entry.get("retires_at")
    aliases = entry.get("aliases")
    return ModelInfo(
        entry["id"],
        ends[:10] if isinstance(ends, str) else None,
        retired=entry.get("lifecycle") == "retired",
        aliases=tuple(
            alias
            for alias in (aliases[:ALIASES_MAX] if isinstance(aliases, list) else ())
            if isinstance(alias, str)
        ),
        input=_quote(entry.get("prompt_text_token_price")),
        cached_input=_quote(entry.get("cached_prompt_text_token_price")),
        output=_quote(entry.get("completion_text_token_price")),
    )


def _quote(value: object) -> Micros | None:
    """A price that is one: nothing is given away, so 0 stands for not told."""
    return (count(value) or 0) * MICROS_PER_QUOTE or None
