"""What the closed lists have in common."""

from __future__ import annotations

from enum import StrEnum


class Word(StrEnum):
    """A word of a closed list. It equals its text, so it hashes as its text: Enum's own hash is of the
    member's name, another one and slower, and such words are the keys of most tables here.
    """

    __hash__ = str.__hash__
