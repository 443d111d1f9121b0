"""xAI's own list, with prices and aliases: ``GET /v1/language-models``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from jurymast.lab.emulators.chat_wire import MODELS_CREATED, ChatWire
from jurymast.lab.emulators.tariff import tariff_of

CENTS_PER_100M_TICKS: Final = 1
"""A tick for a token is a US cent for 100 million tokens."""


class LanguageModelsWire(ChatWire):
    """Chat completions with the list that xAI keeps beside the plain one."""

    def model_list(self, models: Sequence[str], ends: Mapping[str, str]) -> dict[str, object]:
        del ends
        return {
            "models": [
                {
                    "id": model,
                    "object": "model",
                    "created": MODELS_CREATED,
                    "owned_by": "xai",
                    "version": "1.0",
                    "fingerprint": "fp_simulated",
                    "input_modalities": ["text"],
                    "output_modalities": ["text"],
                    "prompt_text_token_price": tariff_of(model).fresh * CENTS_PER_100M_TICKS,
                    "cached_prompt_text_token_price": tariff_of(model).read * CENTS_PER_100M_TICKS,
                    "completion_text_token_price": tariff_of(model).output * CENTS_PER_100M_TICKS,
                    "prompt_image_token_price": 0,
                    "search_price": 0,
                    "aliases": [f"{model}-latest"],
                }
                for model in models
            ]
        }
