"""xAI's Grok models, over chat completions."""

from __future__ import annotations

from jurymast.domain.errors import ProviderError
from jurymast.domain.provider import FailureKind, ModelInfo, ProviderName
from jurymast.intelligence.providers.base import BaseProvider
from jurymast.intelligence.providers.chat_wire import ChatWire, Dialect

_NO_SUCH_PAGE = frozenset({404, 405})


class XAIProvider(BaseProvider):
    """Asks xAI. Its replies carry their own bill, which counts before our price table."""

    provider = ProviderName.XAI
    wire = ChatWire(Dialect.XAI)

    async def list_models(self, timeout_secs: float) -> tuple[ModelInfo, ...]:
        """The list with prices and aliases, or the plain one from a server in xAI's place that has none."""
        try:
            return await self._listed("/language-models", "models", timeout_secs)
        except ProviderError as error:
            failure = error.failure
            if failure.status not in _NO_SUCH_PAGE and failure.kind is not FailureKind.MALFORMED:
                raise
        return await super().list_models(timeout_secs)
