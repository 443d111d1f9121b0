"""Jurymast: a Kalshi AI trading bot whose judgement survives the loss of its AI providers.

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jurymast.intelligence.enhanced_client import EnhancedAIClient
    from jurymast.intelligence.fallback_manager import FallbackManager, FallbackSettings
    from jurymast.intelligence.provider_manager import (
        AnthropicProvider,
        LocalProvider,
        OpenAIProvider,
        ProviderManager,
        XAIProvider,
    )

__version__ = "0.1.0"

_HOMES = {
    "EnhancedAIClient": "jurymast.intelligence.enhanced_client",
    "FallbackManager": "jurymast.intelligence.fallback_manager",
    "FallbackSettings": "jurymast.intelligence.fallback_manager",
    "ProviderManager": "jurymast.intelligence.provider_manager",
    "XAIProvider": "jurymast.intelligence.provider_manager",
    "OpenAIProvider": "jurymast.intelligence.provider_manager",
    "AnthropicProvider": "jurymast.intelligence.provider_manager",
    "LocalProvider": "jurymast.intelligence.provider_manager",
}

__all__ = [
    "AnthropicProvider",
    "EnhancedAIClient",
    "FallbackManager",
    "FallbackSettings",
    "LocalProvider",
    "OpenAIProvider",
    "ProviderManager",
    "XAIProvider",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'jurymast' has no attribute {name!r}")
