"""Answers: JSON bodies, pages with cursors, and Kalshi's errors with the status that goes with them.

An error is ``{"error": {"code", "message", "details", "service"}}``; too many requests are a bare text
without ``Retry-After``. Classify by code, not by status: several codes share one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from jurymast.domain.errors import OrderRejected
from jurymast.exchange.embedded.records import SECOND_US

T = TypeVar("T")

_STATUS: Final[Mapping[str, int]] = {
    "authentication_error": 401,
    "header_timestamp_expired": 401,
    "forbidden": 403,
    "market_not_found": 404,
    "not_found": 404,
    "order_already_exists": 409,
    "fill_or_kill_insufficient_resting_volume": 409,
    "trading_is_paused": 409,
    "exchange_is_paused": 409,
    "market_inactive": 409,
    "market_closed": 409,
    "order_group_triggered": 409,
    "deprecated_v1_order_endpoint": 410,
    "internal_error": 500,
    "service_unavailable": 503,
}


def reply(body: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def error_reply(code: str, message: str, *, status: int | None = None) -> web.Response:
    """A refusal in Kalshi's shape; codes without a status of their own are 400."""
    return reply({"error": _error(code, message)}, status or _STATUS.get(code, 400))


def too_many() -> web.Response:
    """One request too many; no word of when to come back."""
    return reply({"error": "too many requests"}, 429)


def refused(error: OrderRejected) -> web.Response:
    """The engine's refusal as an answer."""
    return error_reply(error.code, str(error).partition(": ")[2])


def error_body(error: OrderRejected) -> dict[str, str]:
    """The engine's refusal inside an answer, as batches have it."""
    return _error(error.code, str(error).partition(": ")[2])


def _error(code: str, message: str) -> dict[str, str]:
    return {"code": code, "message": message, "details": "", "service": "simulated-exchange"}


class Query:
    """The query of a request, read strictly: a wrong value is ``bad_request``, an unknown name is ignored."""

    def __init__(self, request: web.Request) -> None:
        self._values = request.query

    def text(self, name: str) -> str:
        return self._values.get(name, "")

    def flag(self, name: str) -> bool:
        return self._values.get(name, "").lower() in {"true", "1"}

    def number(self, name: str, default: int | None = None, *, low: int = 0, high: int = 1 << 62) -> int:
        text = self._values.get(name)
        if text is None or text == "":
            if default is None:
                raise OrderRejected("bad_request", f"{name} is required")
            return default
        try:
            value = int(text)
        except ValueError:
            raise OrderRejected("bad_request", f"{name} {text[:32]!r} is no whole number") from None
        if not low <= value <= high:
            raise OrderRejected("bad_request", f"{name} {value} is not in {low}..{high}")
        return value

    def optional(self, name: str) -> int | None:
        return self.number(name, low=-(1 << 62)) if self._values.get(name) else None

    def time_us(self, name: str) -> int | None:
        """Unix seconds as the engine's time."""
        value = self.optional(name)
        return None if value is None else value * SECOND_US

    def choice(self, name: str, words: Sequence[str]) -> str:
        text = self._values.get(name, "")
        if text and text not in words:
            raise OrderRejected("bad_request", f"{name} {text[:32]!r} is none of {', '.join(words)}")
        return text

    def words(self, name: str, most: int) -> list[str]:
        """A list, separated by commas or by repeating the name."""
        found = [word for text in self._values.getall(name, []) for word in text.split(",") if word]
        if len(found) > most:
            raise OrderRejected("bad_request", f"{name}: more than {most}")
        return found

    def page(self, *, default: int = 100, most: int = 1_000) -> tuple[int, int]:
        """Where the page starts and how long it is."""
        limit = self.number("limit", default, high=most) or default
        return self._place(), limit

    def _place(self) -> int:
        text = self._values.get("cursor", "")
        if not text:
            return 0
        try:
            return int(base64.urlsafe_b64decode(text.encode()).decode().removeprefix("at:"))
        except (ValueError, binascii.Error, UnicodeError):
            raise OrderRejected("bad_request", "the cursor is none of ours") from None


def cursor(place: int | None) -> str:
    """Where the next page starts; empty at the end."""
    return "" if place is None else base64.urlsafe_b64encode(f"at:{place}".encode()).decode()


def newest(rows: Sequence[T], start: int, limit: int, number: Callable[[T], int]) -> tuple[list[T], str]:
    """One page of what has running numbers, newest first; the cursor is the last number shown.

    Rows that arrive between two pages do not shift the next one.
    """
    left = sorted((row for row in rows if not start or number(row) < start), key=number, reverse=True)
    page = left[:limit]
    return page, cursor(number(page[-1]) if len(left) > limit else None)


def body_of(raw: bytes, shape: type[T]) -> T:
    """A request's body. Raises OrderRejected with code ``invalid_parameters``."""
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.MsgspecError as error:
        raise OrderRejected("invalid_parameters", str(error)) from None
