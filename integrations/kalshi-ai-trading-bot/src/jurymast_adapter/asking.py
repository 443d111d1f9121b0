"""Free questions of the host, over the failover: its own prompts, its own formats.

What comes back must be whole on the wire; where a prompt asks for JSON it must hold an object, or it is a
failure of whoever sent it and the next provider is asked. What the text says is the caller's to judge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from src.jurymast_adapter.layer import Layer, LayerUnavailable

from jurymast.domain.money import USD
from jurymast.domain.provider import AIRequest, AIResponse, Message, ProviderName
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.fallback_manager import Answered, Unanswered
from jurymast.policy.parsing import Rejected

ASK_SECS: Final = 60.0
"""For one question, all told."""
MARGIN_SECS: Final = 0.5
"""Kept back of a caller's time for what is not the asking."""
TOKENS_DEFAULT: Final = 2_000
TOKENS_MAX: Final = 32_000
ROLES: Final = frozenset({"system", "user", "assistant"})
_JSON: Final = re.compile(r"\bjson\b", re.IGNORECASE)
_FENCED: Final = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Text:
    """What came of a question. ``content`` is None when nobody answered, and ``why`` says why; ``cost_usd``
    is what was spent on it, the failed attempts included."""

    content: str | None
    cost_usd: float = 0.0
    why: str = ""
    provider: str = ""
    model: str = ""
    tokens: int = 0
    secs: float = 0.0
    finish: str = ""


async def ask(
    layer: Layer,
    messages: Sequence[Mapping[str, Any]],
    *,
    max_tokens: Any = None,
    first: ProviderName | None = None,
    purpose: str = "completion",
    market: str | None = None,
    json_wanted: bool | None = None,
    secs: float = ASK_SECS,
) -> Text:
    """Ask whoever is well, ``first`` before the others. Never raises but for cancellation."""
    try:
        request = AIRequest(turns(messages), max_output_tokens=_tokens(max_tokens))
    except ValueError as error:
        return Text(None, why=f"the question can't be asked: {error}")
    wanted = asks_for_json(request) if json_wanted is None else json_wanted

    def validate(response: AIResponse) -> str | Rejected:
        if wanted and not holds_object(response.content):
            return Rejected("JSON was asked for, and the answer holds no object")
        return response.content

    async def asked(client: EnhancedAIClient) -> Answered[str] | Unanswered:
        return await client.complete(
            request,
            deadline_secs=secs - MARGIN_SECS,
            validate=validate,
            first=first,
            purpose=purpose,
            market=market,
        )

    try:
        outcome = await layer.call(asked, secs)
    except (LayerUnavailable, TimeoutError) as error:
        return Text(None, why=str(error) or f"no answer within {secs:g} s")
    except Exception as error:  # the host must go on, whatever broke in here
        return Text(None, why=f"{type(error).__name__}: {error}")
    if isinstance(outcome, Unanswered):
        return Text(None, outcome.cost / USD, f"{outcome.reason}: {outcome.detail}")
    response = outcome.response
    return Text(
        content=outcome.value,
        cost_usd=outcome.cost / USD,
        provider=str(outcome.route.provider),
        model=response.served_model,
        tokens=response.usage.input + response.usage.output,
        secs=response.latency_secs,
        finish=response.finish_reason,
    )


def turns(messages: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """Chat messages as ours; an unknown role is the user's. Raises ValueError when there is nothing to
    ask."""
    found = []
    for message in messages:
        role = str(message.get("role", "user")).lower()
        content = message.get("content")
        if isinstance(content, str) and content.strip():
            found.append(Message(role if role in ROLES else "user", content))
    if not found:
        raise ValueError("there is no text in the messages")
    return tuple(found)


def asks_for_json(request: AIRequest) -> bool:
    """Whether the prompt wants JSON."""
    return any(_JSON.search(message.content) for message in request.messages)


def holds_object(text: str) -> bool:
    """Whether a JSON object can be read from a text: itself, fenced, or from its first to its last brace."""
    candidates = [*_FENCED.findall(text), text[text.find("{") : text.rfind("}") + 1]]
    return any(_is_object(candidate) for candidate in candidates)


def object_in(text: str) -> Any:
    """The JSON object of a text, None when it holds none."""
    for candidate in [*_FENCED.findall(text), text[text.find("{") : text.rfind("}") + 1]]:
        if _is_object(candidate):
            return json.loads(candidate)
    return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _tokens(wanted: Any) -> int:
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        return TOKENS_DEFAULT
    return min(wanted, TOKENS_MAX)
