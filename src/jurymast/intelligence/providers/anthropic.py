"""Anthropic's Claude models, over messages."""

from __future__ import annotations

from jurymast.domain.provider import ProviderName
from jurymast.intelligence.providers.base import BaseProvider
from jurymast.intelligence.providers.messages_wire import MessagesWire


class AnthropicProvider(BaseProvider):
    """Asks Anthropic. Its model list comes in pages of twenty unless asked for more."""

    provider = ProviderName.ANTHROPIC
    wire = MessagesWire()
    models_path = "/models?limit=1000"
