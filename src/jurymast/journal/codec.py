"""Events as text: ``OrderIntended`` <-> ``("order_intended", '{"at":...}')``.

A kind is the class name in snake case and is stable: journals outlive versions. A body is JSON with
every field of the event. Adding an optional field keeps old and new versions readable to each other;
anything else needs a migration (see ``sqlite.py``).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from jurymast.domain import events
from jurymast.domain.errors import JournalError, JournalNewer
from jurymast.domain.events import Event

_WORD_START: Final = re.compile(r"(?<!^)(?=[A-Z])")


def _snake(name: str) -> str:
    return _WORD_START.sub("_", name).lower()


KINDS: Final[dict[str, type[Event]]] = {
    _snake(name): each
    for name, each in vars(events).items()
    if isinstance(each, type) and issubclass(each, Event) and each is not Event
}
"""Every kind the journal knows, by name."""

_NAMES: Final = {each: name for name, each in KINDS.items()}
_encoder: Final = msgspec.json.Encoder()
_decoders: Final = {name: msgspec.json.Decoder(each) for name, each in KINDS.items()}


def kind_of(event_class: type[Event]) -> str:
    """Name of a kind. Raises JournalError for a class that is not a fact of ``domain.events``."""
    try:
        return _NAMES[event_class]
    except KeyError:
        raise JournalError(
            f"{event_class.__name__} is no kind of the journal; facts are defined in domain/events.py"
        ) from None


def encode(event: Event) -> tuple[str, str]:
    """Kind and body of an event.

    The body is read back before it is handed out. A NaN, a naive time or a float where money belongs
    would otherwise be found at the next start, when the journal can no longer be folded.

    Raises JournalError when the event can't be recorded; nothing was written.
    """
    kind = kind_of(type(event))
    if event.at.tzinfo is None:
        raise JournalError(f"{kind} can't be recorded: its time has no time zone")
    try:
        body = _encoder.encode(event)
        _decoders[kind].decode(body)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise JournalError(f"{kind} can't be recorded, nothing of it was written: {error}") from error
    return kind, body.decode()


def decode(kind: str, body: str) -> Event:
    """The event of a row. Raises JournalNewer for a kind or body this version does not understand."""
    decoder = _decoders.get(kind)
    if decoder is None:
        raise JournalNewer(f"kind {kind!r} is unknown to this version")
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise JournalNewer(f"a {kind} this version can't read: {error}") from error
