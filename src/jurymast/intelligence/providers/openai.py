"""OpenAI's GPT models, over chat completions."""

from __future__ import annotations

from jurymast.domain.provider import ProviderName
from jurymast.intelligence.providers.base import BaseProvider
from jurymast.intelligence.providers.chat_wire import ChatWire, Dialect


class OpenAIProvider(BaseProvider):
    """Asks OpenAI, and asks it not to keep the answers."""

    provider = ProviderName.OPENAI
    wire = ChatWire(Dialect.OPENAI)
