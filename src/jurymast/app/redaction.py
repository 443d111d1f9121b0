"""Keeps secrets out of texts that leave: words of vendors and exchanges now and then repeat a key."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Final

from jurymast.domain.provider import Secret

SECRET_CHARS_MIN: Final = 6
"""A shorter one would take ordinary words with it."""
MASK: Final = "********"
_SHAPES: Final = re.compile(r"\b(?:sk|xai)-[\w*.-]{8,}|\bBearer\s+[^\s\"']+", re.IGNORECASE)


class Redactor:
    """Masks every secret of a tree of settings, whole or by line, and whatever looks like a key."""

    def __init__(self, settings: object) -> None:
        lines = {line.strip() for secret in _secrets(settings) for line in secret.splitlines()}
        known = sorted((line for line in lines if len(line) >= SECRET_CHARS_MIN), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, text: str) -> str:
        shown = text if self._known is None else self._known.sub(MASK, text)
        return _SHAPES.sub(MASK, shown)


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, Secret):
        yield value.value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _secrets(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _secrets(each)
    elif isinstance(value, tuple):
        for each in value:
            yield from _secrets(each)
