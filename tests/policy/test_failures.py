"""The failure taxonomy: every known error reply gets its kind, every kind its treatment."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.provider import Billing, Failure, FailureKind
from jurymast.policy.failures import (
    BILLING,
    DETAIL_CHARS_MAX,
    RETRY_AFTER_SECS_MAX,
    TREATMENTS,
    FailureScope,
    classify_body,
    classify_reply,
    parse_retry_after,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HTML = "<!DOCTYPE html><html><head><title>Error</title></head></html>"


def openai(code: str | None, message: str = "text", kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str = "text") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def xai(message: str, code: str = "Client specified an invalid argument") -> dict[str, Any]:
    return {"code": code, "error": message}


def llama(status: int, kind: str, message: str = "text") -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "type": kind}}


def classify(status: int, body: object, **headers: str) -> Failure:
    raw = (
        body
        if isinstance(body, bytes)
        else body.encode()
        if isinstance(body, str)
        else json.dumps(body).encode()
    )
    return classify_reply(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, now=NOW
    )


RATE_LIMITED = [
    (429, openai("rate_limit_exceeded", kind="tokens")),
    (429, openai("slow_down", kind="requests")),
    (503, openai("slow_down", kind="requests")),
    (
        429,
        openai("rate_limit_exceeded", "Limit reached on API key sk-1, see your credit balance", "requests"),
    ),
    (429, anthropic("rate_limit_error")),
    (429, anthropic("rate_limit_error", "This request would exceed the acceleration limit")),
    (429, xai("Too many requests", "Some resource has been exhausted")),
    (429, {"error": "too many requests"}),
    (
        429,
        anthropic("rate_limit_error", "This request would exceed the rate limit; reduce the prompt length"),
    ),
    (200, xai("Too many requests for team", "Some resource has been exhausted")),
    (429, HTML),
    (429, ""),
]
OVERLOADED = [
    (503, openai("server_is_overloaded", kind="server_error")),
    (200, openai("server_overloaded", kind="server_error")),
    (200, xai("Please try again", "The service is currently unavailable")),
    (529, anthropic("overloaded_error")),
    (503, xai("The model is at capacity", "The service is currently unavailable")),
    (503, {"error": "server busy, please try again. maximum pending requests exceeded"}),
    (503, llama(503, "unavailable_error", "Loading model")),
    (503, "no healthy upstream"),
    (529, ""),
]
QUOTA = [
    (429, openai("insufficient_quota", "You exceeded your current quota", "insufficient_quota")),
    (429, openai(None, "text", "insufficient_quota")),
    (429, openai("credit_balance_exhausted", kind="insufficient_quota")),
    (429, openai("organization_spend_limit_exceeded", kind="insufficient_quota")),
    (429, openai("project_spend_limit_exceeded", kind="insufficient_quota")),
    (429, openai("organization_usage_limit_exceeded", kind="insufficient_quota")),
    (402, anthropic("billing_error")),
    (400, anthropic("invalid_request_error", "Your credit balance is too low to access the API.")),
    (400, anthropic("invalid_request_error", "Your workspace's spend limit reached")),
    (
        429,
        {
            "type": "error",
            "error": {
                "type": "rate_limit_error",
                "message": "text",
                "details": {"error_code": "enforced_spend_limit_reached"},
            },
        },
    ),
    (403, xai("Your newly created team doesn't have any credits yet.")),
    (429, xai("Your team has used all available credits", "Some resource has been exhausted")),
    (402, {"error": "payment required"}),
    (429, openai("billing_not_active", "Your account is not active", "billing_not_active")),
    (200, openai("usage_limit_exceeded")),
    (400, openai("billing_hard_limit_reached", "Billing hard limit has been reached")),
    (
        400,
        anthropic(
            "invalid_request_error",
            "You have reached your specified API usage limits. You will regain access on 2026-12-01.",
        ),
    ),
    (429, {"error": "you (ann) have reached your session usage limit, upgrade for higher limits"}),
]
AUTH = [
    (401, openai("invalid_api_key", "Incorrect API key provided: sk-***")),
    (401, openai("ip_not_authorized")),
    (403, openai("unsupported_country_region_territory", kind="request_forbidden")),
    (401, anthropic("authentication_error", "invalid x-api-key")),
    (403, anthropic("permission_error")),
    (401, xai("No credentials provided", "unauthenticated")),
    (403, xai("Your team is not allowed to do this", "permission denied")),
    (400, xai("Incorrect API key provided: xa***ey.")),
    (401, {"error": "unauthorized"}),
    (401, {"error": "Unauthorized"}),
    (401, openai("account_deactivated", "The account associated with this API key has been deactivated.")),
    (200, openai("account_deactivated")),
    (400, anthropic("invalid_request_error", "This organization has been disabled.")),
    (403, {"error": "this model requires a subscription, upgrade for access"}),
    (200, xai("Denied", "The caller does not have permission to execute the specified operation")),
    (401, llama(401, "authentication_error", "Invalid API Key")),
]
MODEL_GONE = [
    (404, openai("model_not_found", "The model `gpt-4` does not exist")),
    (404, anthropic("not_found_error", "model: claude-3-opus-20240229")),
    (404, xai("The model grok-4 does not exist", "Some requested entity was not found")),
    (404, {"error": "model 'llama2' not found, try pulling it first"}),
    (404, {"error": {"message": "model 'llama2' not found", "type": "not_found_error", "code": None}}),
    (
        404,
        {"object": "error", "message": "The model `a` does not exist.", "type": "NotFoundError", "code": 404},
    ),
    (400, llama(400, "invalid_request_error", "model 'tiny' not found")),
    (410, ""),
]
BAD_REQUEST = [
    (400, openai("unsupported_parameter", "max_tokens is not supported")),
    (400, anthropic("invalid_request_error", "messages: at least one message is required")),
    (413, anthropic("request_too_large")),
    (413, HTML),
    (400, xai("Invalid request content")),
    (415, xai("Expected application/json")),
    (422, xai("Failed to deserialize the JSON body")),
    (400, {"error": "invalid request"}),
    (400, llama(400, "invalid_request_error")),
    (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}),
    (501, llama(501, "not_supported_error", "This server does not support embeddings.")),
    (200, llama(501, "not_supported_error")),
    (501, ""),
    (200, xai("Nonsense", "Client specified an invalid argument")),
    (
        500,
        openai(
            None, "[{'type': 'literal_error', 'loc': ('body', 'response_format')}]", "internal_server_error"
        ),
    ),
    (418, "unknown"),
]
CONTEXT_LENGTH = [
    (400, openai("context_length_exceeded")),
    (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")),
    (400, xai("This model's maximum prompt length is 131072 but the request has more tokens.")),
    (400, llama(400, "exceed_context_size_error")),
    (200, llama(500, "server_error", "Context size has been exceeded.")),
    (
        400,
        anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 19 + 2 > 20"),
    ),
    (
        429,
        openai(
            "rate_limit_exceeded",
            "Request too large for gpt-6.1-sol in organization org-1 on tokens per min (TPM): Limit 30000, "
            "Requested 36278. The input or output tokens must be reduced in order to run successfully.",
            "tokens",
        ),
    ),
    (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens", "code": 400}),
    (
        400,
        {
            "error": {
                "message": "the model's context length is only 1024",
                "type": "BadRequestError",
                "code": 400,
            }
        },
    ),
]
CONTENT_FILTER = [
    (400, openai("content_policy_violation")),
    (400, openai("content_filter")),
    (400, openai("invalid_prompt")),
    (200, openai("bio_policy")),
    (200, openai("cyber_policy")),
    (200, openai("misalignment_policy_violation")),
    (400, anthropic("invalid_request_error", "Output blocked by content filtering policy")),
    (400, openai("invalid_prompt", "Your prompt was flagged as potentially violating our usage policy")),
    (403, xai("Content violates usage guidelines.", "permission denied")),
]
SERVER_ERROR = [
    (500, openai(None, "The server had an error", "server_error")),
    (502, openai(None, "Bad gateway", "server_error")),
    (504, anthropic("timeout_error")),
    (500, anthropic("api_error", "Internal server error")),
    (500, xai("Internal server error", "Internal error")),
    (500, {"error": "llama runner process has terminated"}),
    (500, llama(500, "server_error")),
    (502, ""),
    (599, "unknown"),
    (408, ""),
    (425, ""),
    (500, {"error": "model requires more system memory (5.3 GiB) than is available (3.3 GiB)"}),
    (500, {"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}}),
]
EDGE_ERROR = [
    (403, HTML),
    (500, HTML),
    (502, HTML),
    (503, "  <html>Service unavailable</html>"),
    (522, "error code: 522"),
    (524, ""),
    (530, "error code: 1033"),
    (200, HTML),
    (302, ""),
    (407, "Proxy Authentication Required"),
    (511, "Network Authentication Required"),
    (404, HTML),
]
TABLE = [
    (kind, status, body)
    for kind, rows in {
        FailureKind.RATE_LIMITED: RATE_LIMITED,
        FailureKind.OVERLOADED: OVERLOADED,
        FailureKind.QUOTA: QUOTA,
        FailureKind.AUTH: AUTH,
        FailureKind.MODEL_GONE: MODEL_GONE,
        FailureKind.BAD_REQUEST: BAD_REQUEST,
        FailureKind.CONTEXT_LENGTH: CONTEXT_LENGTH,
        FailureKind.CONTENT_FILTER: CONTENT_FILTER,
        FailureKind.SERVER_ERROR: SERVER_ERROR,
        FailureKind.EDGE_ERROR: EDGE_ERROR,
    }.items()
    for status, body in rows
]


@pytest.mark.parametrize(("kind", "status", "body"), TABLE, ids=lambda value: str(value)[:60])
def test_error_reply_gets_its_kind(kind: FailureKind, status: int, body: object) -> None:
    """Every error a vendor is known to send is recognised in the vendor's own words."""
    failure = classify(status, body)
    assert failure.kind is kind
    assert failure.status == status
    assert failure.billing is BILLING[kind]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (anthropic("overloaded_error"), FailureKind.OVERLOADED),
        (anthropic("invalid_request_error"), FailureKind.BAD_REQUEST),
        (openai(None, "The server had an error", "server_error"), FailureKind.SERVER_ERROR),
        (llama(503, "other_error"), FailureKind.OVERLOADED),
        (openai("insufficient_quota"), FailureKind.QUOTA),
        ({"error": "something broke"}, FailureKind.SERVER_ERROR),
        ({"error": {}}, FailureKind.SERVER_ERROR),
    ],
    ids=str,
)
def test_error_inside_a_success_is_read_by_its_words(body: object, kind: FailureKind) -> None:
    """An error object in an HTTP 200, or in a stream, is classified as if it had a status."""
    assert classify_body(200, json.dumps(body).encode()).kind is kind


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"plain text", b"\xff\xfe", b"[" * 100_000, b"{}"])
def test_success_that_is_no_answer_is_malformed(body: bytes) -> None:
    """A 200 with bytes nobody can read is MALFORMED, however strange, and its cost is unknown."""
    failure = classify_body(200, body)
    assert failure.kind is FailureKind.MALFORMED
    assert failure.billing is Billing.UNKNOWN


def test_html_is_also_known_by_its_content_type() -> None:
    """A gateway that labels its page as HTML is believed, whatever the page starts with."""
    assert (
        classify(503, "Unavailable", content_type="text/html; charset=utf-8").kind is FailureKind.EDGE_ERROR
    )
    assert classify(503, "Unavailable", content_type="text/plain").kind is FailureKind.OVERLOADED


def test_code_comes_before_type_and_status() -> None:
    """A code says more than a type, and a type more than a status."""
    assert classify(500, openai("insufficient_quota", kind="rate_limit_error")).kind is FailureKind.QUOTA
    assert classify(400, openai("unheard_of", kind="rate_limit_error")).kind is FailureKind.RATE_LIMITED


def test_failure_carries_code_detail_and_wait() -> None:
    """A failure keeps the vendor's code, message and wish, on one line of bounded length."""
    failure = classify(429, openai("rate_limit_exceeded", "slow\n  down " + "x" * 1_000), retry_after="7")
    assert failure.code == "rate_limit_exceeded"
    assert failure.detail.startswith("slow down x")
    assert len(failure.detail) == DETAIL_CHARS_MAX
    assert failure.retry_after_secs == 7.0


@pytest.mark.parametrize(
    ("headers", "secs"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "3600"}, 3600.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "-250", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "1e300", "retry-after": "1"}, 1.0),
        ({"retry-after-ms": "0", "retry-after": "1"}, 0.0),
        ({"retry-after-ms": "-250"}, None),
        ({"retry-after": "2764800"}, 2_764_800.0),
        ({"retry-after": "2764801"}, None),
        ({"retry-after": "1795000000"}, None),
        ({"retry-after": "1e308"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, None),
        ({"retry-after": "Mon, 23 Nov 2026 13:00:00 GMT", "date": "Mon, 23 Nov 2026 13:00:30 GMT"}, None),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 13:00:30 GMT", "date": "Mon, 23 Nov 2026 13:00:00 GMT"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 12:00:30 GMT", "date": "garbage"}, 30.0),
        ({"retry-after": "Mon, 23 Nov 2026 11:59:30 GMT"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "in a while"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
    ids=str,
)
def test_retry_after_is_read_in_every_form(headers: dict[str, str], secs: float | None) -> None:
    """Seconds, dates and milliseconds are understood; negative or unreadable waits are no wait."""
    assert parse_retry_after(headers, NOW) == secs


@given(st.text(), st.text(), st.datetimes(timezones=st.just(UTC)))
def test_any_retry_after_is_harmless(text: str, date: str, now: datetime) -> None:
    """No header a server can send makes the bot wait for a negative or endless time, or crash."""
    secs = parse_retry_after({"retry-after": text, "retry-after-ms": date, "date": date}, now)
    assert secs is None or 0 <= secs <= RETRY_AFTER_SECS_MAX


@given(st.integers(200, 599), st.binary(max_size=200))
def test_any_reply_is_classified(status: int, body: bytes) -> None:
    """Whatever comes back, there is a kind for it and a detail of bounded length."""
    failure = classify_body(status, body)
    assert 0 < len(failure.detail) <= DETAIL_CHARS_MAX


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "code", "type", "message", "object", "detail"]), inner)
    ),
    max_leaves=8,
)


@given(st.integers(200, 599), _json)
def test_any_json_is_classified(status: int, body: object) -> None:
    """JSON of any shape in an error reply is classified and never crashes the reader."""
    assert isinstance(classify_body(status, json.dumps(body).encode()).kind, FailureKind)


def test_every_kind_has_a_treatment_and_a_bill() -> None:
    """No kind of failure is without a rule."""
    assert set(TREATMENTS) == set(FailureKind)
    assert set(BILLING) == set(FailureKind)


def test_latched_kinds_are_never_retried_and_always_alert() -> None:
    """What only a person can mend is not asked again at once, and the person is told."""
    latched = {kind for kind, treatment in TREATMENTS.items() if treatment.latch}
    assert latched == {FailureKind.QUOTA, FailureKind.AUTH, FailureKind.MODEL_GONE}
    assert all(TREATMENTS[kind].alert and not TREATMENTS[kind].retry_here for kind in latched)


def test_callers_fault_does_not_hurt_health() -> None:
    """Our queue, bad requests, long prompts, refusals and rate limits say nothing about a route's health."""
    blameless = {kind for kind, treatment in TREATMENTS.items() if treatment.evidence_weight == 0}
    assert blameless == {
        FailureKind.BUSY,
        FailureKind.RATE_LIMITED,
        FailureKind.BAD_REQUEST,
        FailureKind.CONTEXT_LENGTH,
        FailureKind.CONTENT_FILTER,
    }


def test_scope_says_who_shares_the_evidence() -> None:
    """What speaks of a request weighs nothing, and what speaks of an edge came before any reply."""
    scopes = {scope: {k for k, t in TREATMENTS.items() if t.scope is scope} for scope in FailureScope}
    assert all(TREATMENTS[kind].evidence_weight == 0 for kind in scopes[FailureScope.REQUEST])
    assert scopes[FailureScope.ACCESS] == {FailureKind.AUTH, FailureKind.QUOTA}
    assert scopes[FailureScope.EDGE] == {FailureKind.CONNECT, FailureKind.RESET, FailureKind.EDGE_ERROR}
    assert {FailureKind.MODEL_GONE, FailureKind.OVERLOADED} < scopes[FailureScope.MODEL]
    assert {FailureKind.SERVER_ERROR, FailureKind.TIMEOUT} < scopes[FailureScope.PROVIDER]


def test_what_was_not_sent_was_not_billed() -> None:
    """Only what came about before a connection is known to have cost nothing for sure."""
    assert {kind for kind, bill in BILLING.items() if bill is Billing.NOT_SENT} == {
        FailureKind.BUSY,
        FailureKind.CONNECT,
    }


def test_refusals_are_not_shopped_around() -> None:
    """A content filter's no is final; every other failure may be answered by another route."""
    final = {kind for kind, treatment in TREATMENTS.items() if not treatment.fail_over}
    assert final == {FailureKind.CONTENT_FILTER}


def test_date_far_away_is_returned_unclamped() -> None:
    """Clamping is the caller's rule: the failure keeps what the provider said."""
    later = NOW + timedelta(days=2)
    secs = parse_retry_after({"retry-after": later.strftime("%a, %d %b %Y %H:%M:%S GMT")}, NOW)
    assert secs == timedelta(days=2).total_seconds()


def test_error_longer_than_any_is_judged_by_its_status() -> None:
    """A body no vendor's error can have is not parsed for one: that would only take time."""
    huge = {**openai("insufficient_quota"), "padding": "x" * 70_000}
    assert classify(429, huge).kind is FailureKind.RATE_LIMITED
    assert classify(429, openai("insufficient_quota", "x" * 60_000)).kind is FailureKind.QUOTA


PAGE = Path(__file__).resolve().parents[2] / "docs/policies/failures.md"
AGAINST = {
    FailureScope.REQUEST: "nobody",
    FailureScope.MODEL: "the model",
    FailureScope.ACCESS: "the key",
    FailureScope.PROVIDER: "the provider",
    FailureScope.EDGE: "the way there",
}
COST = {
    Billing.NOT_SENT: "nothing, not sent",
    Billing.NOT_BILLED: "nothing",
    Billing.UNKNOWN: "unknown",
    Billing.BILLED: "its usage",
}


def row_of(kind: FailureKind) -> list[str]:
    """What the page must say of a kind, but for what the bot sees."""
    treatment = TREATMENTS[kind]
    told = "at once" if treatment.alert else "when it opens" if treatment.evidence_weight else "nobody"
    return [
        f"`{kind}`",
        "yes" if treatment.retry_here else "no",
        "yes" if treatment.fail_over else "no",
        AGAINST[treatment.scope],
        f"{treatment.evidence_weight:g}" + (", latched" if treatment.latch else ""),
        told,
        COST[BILLING[kind]],
    ]


def test_the_page_of_failures_says_what_the_code_does() -> None:
    """The table people read has a row for each kind, in order, with the rules in force."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [[row[0], *row[2:]] for row in table] == [row_of(kind) for kind in FailureKind]
    assert all(row[1] for row in table)
