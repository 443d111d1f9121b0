"""What went wrong, and what to do about it.

A reply that is no answer becomes a :class:`Failure` of one kind, and the kind says what to do:
:data:`TREATMENTS` and :data:`BILLING` hold one row per kind and nothing else decides.

Vendors agree on no error format, so words are read from the most to the least specific:
``error.details.error_code`` (Anthropic's spend cap calls itself a rate limit otherwise), ``error.code``,
then ``error.type``, then phrases of the message (xAI answers a wrong key with a bare 400, Anthropic an
empty account, a closed one and a blocked answer with ``invalid_request_error``), then the HTTP status
where it is telling, then general words, then the status for what it is. An unknown 4xx is our fault until
proven otherwise, an unknown 5xx theirs.
Sources: the vendors' error guides and SDKs, and replies recorded in public issue trackers.

This module knows nothing of sockets: failures without a reply get their kind in the providers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from jurymast.domain.provider import Billing, Failure, FailureKind

DETAIL_CHARS_MAX: Final = 300
HTML_SNIFF_BYTES: Final = 256
_MESSAGE_CHARS_MAX: Final = 4_000
_ERROR_BYTES_MAX: Final = 64 * 1024
"""What is longer is no error object; parsing it would only take time."""


class FailureScope(StrEnum):
    """Whom a failure speaks of, and so which other routes share its evidence."""

    REQUEST = "request"
    """This request, or us: nobody's health."""
    MODEL = "model"
    """One model; its siblings may be well."""
    ACCESS = "access"
    """The key or the account: every model behind it."""
    PROVIDER = "provider"
    """The provider or the way to it."""
    EDGE = "edge"
    """Perhaps an edge that several providers stand behind, or our own way out."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a kind of failure asks for.

    ``scope``: whom it speaks of. ``retry_here``: the same request may succeed on the same route at once or
    after Retry-After. ``fail_over``: another route may answer it. ``evidence_weight``: how much it says
    about the health of the route, in units of one plain failure. ``latch``: time does not mend it, a
    person does. ``alert``: tell the operator each time, not only when it has changed the state of a route.
    """

    scope: FailureScope
    retry_here: bool
    fail_over: bool
    evidence_weight: float
    latch: bool = False
    alert: bool = False


# A truncated answer is repeated only with a larger limit, an invalid one only with a repair prompt: the
# same request again is money lost, so neither is retried here. Truncation weighs as much as an invalid
# answer: a route that does nothing else is useless and dear, whoever chose the limit. Overload and rate
# limits are counted per model by every vendor, and half of the outages on record hit one model only.
TREATMENTS: Final[Mapping[FailureKind, Treatment]] = MappingProxyType(
    {
        FailureKind.BUSY: Treatment(FailureScope.REQUEST, False, True, 0.0),
        FailureKind.CONNECT: Treatment(FailureScope.EDGE, True, True, 1.0),
        FailureKind.RESET: Treatment(FailureScope.EDGE, True, True, 1.0),
        FailureKind.FIRST_TOKEN_TIMEOUT: Treatment(FailureScope.PROVIDER, False, True, 1.0),
        FailureKind.TIMEOUT: Treatment(FailureScope.PROVIDER, False, True, 1.0),
        FailureKind.STALLED: Treatment(FailureScope.PROVIDER, False, True, 1.0),
        FailureKind.CUT: Treatment(FailureScope.PROVIDER, False, True, 1.0),
        FailureKind.RATE_LIMITED: Treatment(FailureScope.MODEL, True, True, 0.0),
        FailureKind.OVERLOADED: Treatment(FailureScope.MODEL, True, True, 1.0),
        FailureKind.QUOTA: Treatment(FailureScope.ACCESS, False, True, 1.0, latch=True, alert=True),
        FailureKind.AUTH: Treatment(FailureScope.ACCESS, False, True, 1.0, latch=True, alert=True),
        FailureKind.MODEL_GONE: Treatment(FailureScope.MODEL, False, True, 1.0, latch=True, alert=True),
        FailureKind.BAD_REQUEST: Treatment(FailureScope.REQUEST, False, True, 0.0, alert=True),
        FailureKind.CONTEXT_LENGTH: Treatment(FailureScope.REQUEST, False, True, 0.0),
        FailureKind.CONTENT_FILTER: Treatment(FailureScope.REQUEST, False, False, 0.0),
        FailureKind.TRUNCATED: Treatment(FailureScope.MODEL, False, True, 0.7),
        FailureKind.SERVER_ERROR: Treatment(FailureScope.PROVIDER, True, True, 1.0),
        FailureKind.EDGE_ERROR: Treatment(FailureScope.EDGE, False, True, 1.0, alert=True),
        FailureKind.MALFORMED: Treatment(FailureScope.PROVIDER, False, True, 0.7),
        FailureKind.EMPTY: Treatment(FailureScope.MODEL, False, True, 0.7),
        FailureKind.INVALID_ANSWER: Treatment(FailureScope.MODEL, False, True, 0.7),
    }
)

BILLING: Final[Mapping[FailureKind, Billing]] = MappingProxyType(
    {
        FailureKind.BUSY: Billing.NOT_SENT,
        FailureKind.CONNECT: Billing.NOT_SENT,
        FailureKind.RESET: Billing.UNKNOWN,
        FailureKind.FIRST_TOKEN_TIMEOUT: Billing.UNKNOWN,
        FailureKind.TIMEOUT: Billing.UNKNOWN,
        FailureKind.STALLED: Billing.UNKNOWN,
        FailureKind.CUT: Billing.UNKNOWN,
        FailureKind.RATE_LIMITED: Billing.NOT_BILLED,
        FailureKind.OVERLOADED: Billing.NOT_BILLED,
        FailureKind.QUOTA: Billing.NOT_BILLED,
        FailureKind.AUTH: Billing.NOT_BILLED,
        FailureKind.MODEL_GONE: Billing.NOT_BILLED,
        FailureKind.BAD_REQUEST: Billing.NOT_BILLED,
        FailureKind.CONTEXT_LENGTH: Billing.NOT_BILLED,
        # xAI charges a fee for a refused prompt, Anthropic the answer it blocked half-way.
        FailureKind.CONTENT_FILTER: Billing.UNKNOWN,
        FailureKind.TRUNCATED: Billing.BILLED,
        FailureKind.SERVER_ERROR: Billing.UNKNOWN,
        FailureKind.EDGE_ERROR: Billing.UNKNOWN,
        FailureKind.MALFORMED: Billing.UNKNOWN,
        FailureKind.EMPTY: Billing.BILLED,
        FailureKind.INVALID_ANSWER: Billing.BILLED,
    }
)
"""What each kind may have cost, unless the attempt itself knows better."""

_SPECIFIC_WORDS: Final[Mapping[str, FailureKind]] = MappingProxyType(
    {
        "rate_limit_exceeded": FailureKind.RATE_LIMITED,
        "rate_limit_error": FailureKind.RATE_LIMITED,
        "slow_down": FailureKind.RATE_LIMITED,
        "server_is_overloaded": FailureKind.OVERLOADED,
        "server_overloaded": FailureKind.OVERLOADED,
        "overloaded_error": FailureKind.OVERLOADED,
        "unavailable_error": FailureKind.OVERLOADED,
        "insufficient_quota": FailureKind.QUOTA,
        "credit_balance_exhausted": FailureKind.QUOTA,
        "organization_spend_limit_exceeded": FailureKind.QUOTA,
        "project_spend_limit_exceeded": FailureKind.QUOTA,
        "organization_usage_limit_exceeded": FailureKind.QUOTA,
        "usage_limit_exceeded": FailureKind.QUOTA,
        "enforced_spend_limit_reached": FailureKind.QUOTA,
        "billing_hard_limit_reached": FailureKind.QUOTA,
        "billing_not_active": FailureKind.QUOTA,
        "billing_error": FailureKind.QUOTA,
        "invalid_api_key": FailureKind.AUTH,
        "authentication_error": FailureKind.AUTH,
        "account_deactivated": FailureKind.AUTH,
        "unsupported_country_region_territory": FailureKind.AUTH,
        "model_not_found": FailureKind.MODEL_GONE,
        "context_length_exceeded": FailureKind.CONTEXT_LENGTH,
        "exceed_context_size_error": FailureKind.CONTEXT_LENGTH,
        "content_filter": FailureKind.CONTENT_FILTER,
        "content_policy_violation": FailureKind.CONTENT_FILTER,
        "invalid_prompt": FailureKind.CONTENT_FILTER,
        "bio_policy": FailureKind.CONTENT_FILTER,
        "cyber_policy": FailureKind.CONTENT_FILTER,
        "misalignment_policy_violation": FailureKind.CONTENT_FILTER,
    }
)

_TOO_LARGE_FOR_LIMIT: Final = re.compile(r"request too large for|tokens must be reduced")
"""OpenAI calls a prompt that no minute's allowance can hold a rate limit too: waiting never helps."""

_PHRASES: Final[tuple[tuple[re.Pattern[str], FailureKind], ...]] = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"credit balance|available credits|any credits|current quota", FailureKind.QUOTA),
        (r"(spend|spending|usage) limit(?! per)", FailureKind.QUOTA),
        (r"(incorrect|invalid|missing) (x-)?api[ -]key|(organization|account) has been (dis|deac)",
         FailureKind.AUTH),
        (r"usage (guidelines|policy|policies)|content (policy|filter)", FailureKind.CONTENT_FILTER),
        (r"context (length|window|size|limit)|(prompt|input) is too long|maximum prompt length",
         FailureKind.CONTEXT_LENGTH),
        (r"\bmodel\b.* (not found|does not exist)", FailureKind.MODEL_GONE),
        (r"at capacity|overloaded|server busy", FailureKind.OVERLOADED),
        # llama-cpp-python answers a request that fails its validation with a 500.
        (r"'loc': \('body'", FailureKind.BAD_REQUEST),
    )
)  # fmt: skip

_GENERAL_WORDS: Final[Mapping[str, FailureKind]] = MappingProxyType(
    {
        "not_found_error": FailureKind.MODEL_GONE,
        "NotFoundError": FailureKind.MODEL_GONE,
        "permission_error": FailureKind.AUTH,
        "invalid_request_error": FailureKind.BAD_REQUEST,
        "BadRequestError": FailureKind.BAD_REQUEST,
        "request_too_large": FailureKind.BAD_REQUEST,
        "api_error": FailureKind.SERVER_ERROR,
        "server_error": FailureKind.SERVER_ERROR,
        "timeout_error": FailureKind.SERVER_ERROR,
        "internal_server_error": FailureKind.SERVER_ERROR,
        # xAI's gRPC texts, all there is to go by when the error comes inside a stream.
        "Some resource has been exhausted": FailureKind.RATE_LIMITED,
        "The service is currently unavailable": FailureKind.OVERLOADED,
        "The caller does not have permission to execute the specified operation": FailureKind.AUTH,
        "Client specified an invalid argument": FailureKind.BAD_REQUEST,
    }
)

_STATUSES: Final[Mapping[int, FailureKind]] = MappingProxyType(
    {
        401: FailureKind.AUTH,
        402: FailureKind.QUOTA,
        403: FailureKind.AUTH,
        404: FailureKind.MODEL_GONE,
        408: FailureKind.SERVER_ERROR,
        410: FailureKind.MODEL_GONE,
        413: FailureKind.BAD_REQUEST,
        425: FailureKind.SERVER_ERROR,
        429: FailureKind.RATE_LIMITED,
        501: FailureKind.BAD_REQUEST,
        503: FailureKind.OVERLOADED,
        529: FailureKind.OVERLOADED,
    }
)

_PLAIN_STATUSES: Final = frozenset({413, 429})
"""Statuses that mean the same whoever answers, so that an HTML body changes nothing."""
_EDGE_STATUSES: Final = frozenset({407, 511, *range(520, 528), 530})
"""A proxy's, a captive portal's, Cloudflare's own."""

RETRY_AFTER_SECS_MAX: Final = 32 * 86_400.0
"""No limit lasts longer than a month; what asks for more is mistaken, as when a time of day is sent."""


def classify_reply(status: int, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Failure:
    """The failure an HTTP reply stands for.

    Called with every reply that is not 2xx, and with a 2xx whose body is no answer. ``headers`` have
    lower-case names. ``now`` (UTC) serves Retry-After dates.
    """
    html = "text/html" in headers.get("content-type", "")
    return _classify(status, body, html=html, retry_after_secs=parse_retry_after(headers, now))


def classify_body(status: int, body: bytes) -> Failure:
    """As :func:`classify_reply`, from the body alone: a 200 that is no answer, an error in a stream."""
    return _classify(status, body, html=False, retry_after_secs=None)


def parse_retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds a reply asks us to wait, as it says; None when it says nothing usable.

    Reads ``retry-after-ms``, then ``retry-after`` as seconds or as an HTTP date. A date is measured
    against the reply's own ``date`` when it has one, so that our clock may be wrong. Values that are
    negative, unreadable or beyond RETRY_AFTER_SECS_MAX say nothing, and neither does a date gone by.
    """
    millis = _sensible(_number(headers.get("retry-after-ms")) / 1_000)
    if millis is not None:
        return millis
    text = headers.get("retry-after", "")
    secs = _sensible(_number(text))
    until = _parse_date(text) if secs is None else None
    if until is None:
        return secs
    return _sensible((until - (_parse_date(headers.get("date", "")) or now)).total_seconds())


def _number(text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def _sensible(secs: float) -> float | None:
    return secs if 0 <= secs <= RETRY_AFTER_SECS_MAX else None


def _parse_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _classify(status: int, body: bytes, *, html: bool, retry_after_secs: float | None) -> Failure:
    error = _error_of(body)
    code = next(iter(_words(error)), None)
    if error:
        kind, detail = _kind_of(status, error), str(error.get("message") or code or "no message")
    elif status in _EDGE_STATUSES or (status not in _PLAIN_STATUSES and (html or _is_html(body))):
        kind, detail = FailureKind.EDGE_ERROR, "not the API answered but something in front of it"
    elif 300 <= status < 400:
        kind, detail = FailureKind.EDGE_ERROR, "redirected; check base_url, or a portal is in the way"
    else:
        kind, detail = _kind_of_status(status), body[:DETAIL_CHARS_MAX].decode(errors="replace")
    return Failure(
        kind=kind,
        detail=" ".join(detail.split())[:DETAIL_CHARS_MAX] or "no body",
        billing=BILLING[kind],
        status=status,
        code=code,
        retry_after_secs=retry_after_secs,
    )


def _error_of(body: bytes) -> dict[str, Any]:
    """The error object of any vendor as one with ``code``, ``type`` and ``message``; empty when none.

    OpenAI and most nest it, Anthropic too; xAI has ``{"code", "error": text}``, Ollama ``{"error":
    text}``, old vLLM is flat with ``"object": "error"``, FastAPI says ``detail``.
    """
    if len(body) > _ERROR_BYTES_MAX:
        return {}
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(reply, dict):
        return {}
    error = reply.get("error")
    if isinstance(error, dict):
        return error or {"message": "an empty error object"}
    if isinstance(error, str):
        return {"code": reply.get("code"), "type": reply.get("type"), "message": error}
    if reply.get("object") == "error":
        return reply
    return {"message": reply["detail"]} if "detail" in reply else {}


def _kind_of(status: int, error: Mapping[str, Any]) -> FailureKind:
    words = _words(error)
    message = str(error.get("message", ""))[:_MESSAGE_CHARS_MAX].lower()
    if _TOO_LARGE_FOR_LIMIT.search(message):
        return FailureKind.CONTEXT_LENGTH
    for word in words:
        if word in _SPECIFIC_WORDS:
            return _SPECIFIC_WORDS[word]
    for pattern, kind in _PHRASES:
        if pattern.search(message):
            return kind
    if status in _STATUSES:
        return _STATUSES[status]
    for word in words:
        if word in _GENERAL_WORDS:
            return _GENERAL_WORDS[word]
    # Inside a 200 the status says nothing, but local servers put theirs where OpenAI has a code.
    if status < 400:
        stated = error.get("code")
        status = stated if type(stated) is int and 400 <= stated < 600 else 500
    return _kind_of_status(status)


def _kind_of_status(status: int) -> FailureKind:
    if status in _STATUSES:
        return _STATUSES[status]
    if status < 400:
        return FailureKind.MALFORMED
    return FailureKind.BAD_REQUEST if status < 500 else FailureKind.SERVER_ERROR


def _words(error: Mapping[str, Any]) -> list[str]:
    """The machine-readable words of an error, the most specific first."""
    details = error.get("details")
    inner = details.get("error_code") if isinstance(details, dict) else None
    stated = (inner, error.get("code"), error.get("type"))
    return [word[:DETAIL_CHARS_MAX] for word in stated if isinstance(word, str) and word]


def _is_html(body: bytes) -> bool:
    head = body[:HTML_SNIFF_BYTES].lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html"))
