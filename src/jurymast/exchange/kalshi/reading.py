"""Strict reading of what Kalshi sends: what money depends on is there and readable, or SchemaDrift.

Fields nobody here knows are tolerated and counted, words nobody here knows are refused where they stand,
so that one strange market doesn't fail a page. Both are told once each: the API has moved on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from jurymast.domain.errors import SchemaDrift
from jurymast.domain.money import CENT, Centi, Micros
from jurymast.exchange.kalshi import units

DRIFT_KEYS_MAX: Final = 1_000
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)
"""Money is text or whole numbers; the few real numbers (multipliers) become decimals, never floats."""
UNREADABLE: Final = "unreadable"
_OTHER: Final = "other.other"

Word = TypeVar("Word", bound=StrEnum)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Strange:
    """Something in an answer that nobody here knows. ``harmless``: a new field, on which nothing depends."""

    name: str
    detail: str
    harmless: bool


class Drift:
    """Counts what was new or unreadable, by ``operation.field``. Bounded in its number of names.

    ``tell`` hears of each name when it comes for the first time.
    """

    def __init__(self, tell: Callable[[Strange], None] = lambda _: None) -> None:
        self.counts: Counter[str] = Counter()
        self._tell = tell

    def saw(self, operation: str, field: str, detail: str, *, harmless: bool = False) -> None:
        name = f"{operation}.{field}"[:200]
        if name not in self.counts:
            if len(self.counts) >= DRIFT_KEYS_MAX:
                name = _OTHER
            else:
                self._tell(Strange(name, detail, harmless))
        self.counts[name] += 1

    def extras(self, operation: str, fields: Mapping[str, Any], known: frozenset[str]) -> None:
        """Count the fields that are not among the known ones."""
        if fields.keys() <= known:
            return
        for name in fields.keys() - known:
            self.saw(operation, name, "a field that nobody here knows; nothing depends on it", harmless=True)


class Record:
    """One JSON object of one operation. Every getter raises SchemaDrift naming both and the field."""

    __slots__ = ("_fields", "operation")

    def __init__(self, operation: str, value: object) -> None:
        if not isinstance(value, dict):
            raise SchemaDrift(f"{operation}: an object was expected, not {_kind(value)}")
        self.operation = operation
        self._fields: dict[str, Any] = value

    @property
    def fields(self) -> Mapping[str, Any]:
        return self._fields

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._fields.get(name) is not None

    def text(self, name: str) -> str:
        value = self._required(name)
        if not isinstance(value, str) or not value:
            raise self._drift(name, value, "text")
        return value

    def text_or(self, name: str, default: str) -> str:
        """Text on which no money depends."""
        value = self._fields.get(name)
        return value if isinstance(value, str) else default

    def flag(self, name: str) -> bool:
        value = self._required(name)
        if not isinstance(value, bool):
            raise self._drift(name, value, "true or false")
        return value

    def whole(self, name: str) -> int:
        value = self._required(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._drift(name, value, "a whole number")
        return value

    def decimal(self, name: str) -> Decimal:
        value = self._required(name)
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self._drift(name, value, "a number")
        return Decimal(value)

    def dollars(self, name: str) -> Micros:
        """Dollars as fixed-point text, in micro-dollars."""
        return self._converted(name, units.micros, "dollars as text")

    def cents(self, name: str) -> Micros:
        """A whole number of cents, in micro-dollars."""
        return self.whole(name) * CENT

    def count(self, name: str) -> Centi:
        """Contracts as fixed-point text, in centi-contracts. May be negative."""
        return self._converted(name, units.centi, "contracts as text")

    def size(self, name: str) -> Centi:
        """A count that can't be negative."""
        value = self.count(name)
        if value < 0:
            raise self._drift(name, self._fields[name], "a count that is not negative")
        return value

    def time(self, name: str) -> datetime:
        """RFC 3339 with a zone, in UTC."""
        return self._converted(name, _moment, "a time with its zone")

    def time_ms(self, name: str) -> datetime:
        """Milliseconds since 1970, in UTC."""
        return self._converted(name, _from_ms, "a time in milliseconds")

    def word(self, name: str, words: type[Word]) -> Word:
        """A word of a closed list."""
        return self._converted(name, words, f"one of {', '.join(words)}")

    def items(self, name: str) -> list[Any]:
        value = self._required(name)
        if not isinstance(value, list):
            raise self._drift(name, value, "a list")
        return value

    def record(self, name: str) -> Record:
        return Record(self.operation, self._required(name))

    def _required(self, name: str) -> Any:
        value = self._fields.get(name)
        if value is None:
            raise SchemaDrift(
                f"{self.operation}: the field {name} is missing; nothing is assumed in its place. "
                "Kalshi's API has changed or the answer is damaged: update before trading."
            )
        return value

    def _converted(self, name: str, convert: Callable[[Any], Item], expected: str) -> Item:
        value = self._required(name)
        try:
            return convert(value)
        except (ValueError, OverflowError):
            raise self._drift(name, value, expected) from None

    def _drift(self, name: str, value: object, expected: str) -> SchemaDrift:
        return SchemaDrift(f"{self.operation}: the field {name} holds {repr(value)[:80]}, not {expected}")


def decoded(operation: str, body: bytes) -> Record:
    """A body as a record. Raises SchemaDrift when it is no JSON object."""
    return Record(operation, loads(operation, body))


def loads(operation: str, body: bytes) -> Any:
    """JSON without floats. Raises SchemaDrift."""
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise SchemaDrift(f"{operation}: the answer is no readable JSON ({str(error)[:80]})") from None


def each_readable(
    operation: str, values: list[Any], read: Callable[[Record, Drift], Item], drift: Drift
) -> Iterator[Item]:
    """The items that can be read. The others are counted under ``operation.unreadable`` and left out."""
    for value in values:
        try:
            item = read(Record(operation, value), drift)
        except SchemaDrift as strange:
            drift.saw(operation, UNREADABLE, str(strange))
            continue
        yield item


def _moment(text: object) -> datetime:
    if not isinstance(text, str):
        raise ValueError("no text")  # noqa: TRY004 (one kind of refusal for all that is unreadable)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no zone")
    return moment.astimezone(UTC)


def _from_ms(value: object) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("no whole number")  # noqa: TRY004 (one kind of refusal for all that is unreadable)
    try:
        return datetime.fromtimestamp(value // 1000, UTC).replace(microsecond=value % 1000 * 1000)
    except OSError as error:
        raise ValueError("out of range") from error


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
