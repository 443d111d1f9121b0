"""A model server of one's own: Ollama, llama.cpp or vLLM, over the chat completions all three speak."""

from __future__ import annotations

import asyncio
from typing import Final

from jurymast.domain.errors import ProviderError
from jurymast.domain.money import Micros
from jurymast.domain.provider import (
    AIRequest,
    AIResponse,
    Billing,
    Failure,
    FailureKind,
    ProviderName,
    Usage,
)
from jurymast.intelligence.providers.base import BaseProvider
from jurymast.intelligence.providers.chat_wire import ChatWire, Dialect
from jurymast.ports import Tap

AUTO: Final = "auto"
"""The configured name that stands for whatever the server lists first."""


class LocalProvider(BaseProvider):
    """Asks a local server. Answers cost nothing.

    The first token may take the whole time-out unless the caller says otherwise: a cold server loads its
    model before it speaks, and that is not sickness.
    """

    provider = ProviderName.LOCAL
    wire = ChatWire(Dialect.LOCAL)
    first_token_share = 1.0
    _listed_model: str | None = None

    async def make_request(
        self,
        request: AIRequest,
        *,
        model: str,
        timeout_secs: float,
        first_token_secs: float | None = None,
        tap: Tap | None = None,
    ) -> AIResponse:
        try:
            return await super().make_request(
                request, model=model, timeout_secs=timeout_secs, first_token_secs=first_token_secs, tap=tap
            )
        except ProviderError as error:
            if error.failure.kind in {FailureKind.MODEL_GONE, FailureKind.CONNECT}:
                self._listed_model = None  # the server may come back with another model
            raise

    def calculate_cost(self, usage: Usage, model: str) -> Micros:  # noqa: ARG002 (free whatever it is)
        return 0

    async def _model_id(self, model: str, deadline: float) -> str:
        if model != AUTO:
            return model
        if self._listed_model is None:
            listed = await self.list_models(deadline - asyncio.get_running_loop().time())
            if not listed:
                failure = Failure(
                    FailureKind.MODEL_GONE, "the server lists no model; load one", Billing.NOT_SENT
                )
                raise self._failed(model, failure)
            self._listed_model = listed[0].model
        return self._listed_model
