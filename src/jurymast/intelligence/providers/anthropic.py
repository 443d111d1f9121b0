"""Anthropic's Claude models, over messages."""

from __future__ import annotations

from jurymast.domain.provider import ProviderName
from jurymast.intelligence.providers.base import BaseProvider
from jurymast.intelligence.providers.messages_wire import MessagesWire


class AnthropicProvider(BaseProvider):
    """Asks Anthropic."""

    provider = ProviderName.ANTHROPIC
    wire = MessagesWire()
