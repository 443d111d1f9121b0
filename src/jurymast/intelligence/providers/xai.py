"""xAI's Grok models, over chat completions."""

from __future__ import annotations

from jurymast.domain.provider import ProviderName
from jurymast.intelligence.providers.base import BaseProvider
from jurymast.intelligence.providers.chat_wire import ChatWire, Dialect


class XAIProvider(BaseProvider):
    """Asks xAI. Its replies carry their own bill, which counts before our price table."""

    provider = ProviderName.XAI
    wire = ChatWire(Dialect.XAI)
