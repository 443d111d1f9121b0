"""The four providers on their real wires.

Importing them is cheap: the HTTP library is loaded when the first request is sent.
"""

from jurymast.intelligence.providers.anthropic import AnthropicProvider
from jurymast.intelligence.providers.catalogue import Catalogue, ModelPrice, default_catalogue
from jurymast.intelligence.providers.local import LocalProvider
from jurymast.intelligence.providers.openai import OpenAIProvider
from jurymast.intelligence.providers.transport import AiohttpTransport, TransportError
from jurymast.intelligence.providers.xai import XAIProvider

__all__ = [
    "AiohttpTransport",
    "AnthropicProvider",
    "Catalogue",
    "LocalProvider",
    "ModelPrice",
    "OpenAIProvider",
    "TransportError",
    "XAIProvider",
    "default_catalogue",
]
