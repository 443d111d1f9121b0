"""How each vendor words its refusals: status, type, code, message.

Sources: the vendors' error guides (OpenAI "Error codes", Anthropic "Errors", xAI "Debugging errors"), bodies
quoted in public bug reports, and Ollama's openai/openai.go. xAI puts the gRPC status text into ``code`` and a
bare string into ``error``. Where no body is on record the wording is ours, in the vendor's form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.faults import Fault


@dataclass(frozen=True, slots=True)
class Wording:
    """One vendor's words for one refusal. ``{model}`` in the message is filled in."""

    status: int
    kind: str
    message: str
    code: str | None = None
    param: str | None = None


class Refusal(Exception):
    """The server answers with an error. ``headers`` go out with it."""

    def __init__(self, wording: Wording, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(wording.message)
        self.wording = wording
        self.headers = dict(headers or {})


_INVALID: Final = "invalid_request_error"

_OPENAI: Final[Mapping[Fault, Wording]] = {
    Fault.SERVER_ERROR: Wording(
        500, "server_error", "The server had an error while processing your request."
    ),
    Fault.UNAVAILABLE: Wording(503, "server_error", "The server is overloaded.", "server_is_overloaded"),
    Fault.OVERLOADED: Wording(529, "server_error", "The server is overloaded.", "server_is_overloaded"),
    Fault.RATE_LIMITED: Wording(
        429, "requests", "Rate limit reached for {model} on requests per min (RPM).", "rate_limit_exceeded"
    ),
    Fault.SLOW_DOWN: Wording(429, "requests", "Your request rate grew too fast. Slow down.", "slow_down"),
    Fault.QUOTA: Wording(
        429,
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
    ),
    Fault.AUTH: Wording(401, _INVALID, "Incorrect API key provided.", "invalid_api_key"),
    Fault.WRONG_KEY: Wording(401, _INVALID, "Incorrect API key provided.", "invalid_api_key"),
    Fault.FORBIDDEN: Wording(
        403,
        "request_forbidden",
        "Country, region, or territory not supported",
        "unsupported_country_region_territory",
    ),
    Fault.MODEL_GONE: Wording(
        404,
        _INVALID,
        "The model `{model}` does not exist or you do not have access to it.",
        "model_not_found",
    ),
    Fault.BAD_REQUEST: Wording(400, _INVALID, "Invalid value for 'messages'.", "invalid_value", "messages"),
    Fault.CONTEXT_LENGTH: Wording(
        400,
        _INVALID,
        "Your input exceeds the context window of this model.",
        "context_length_exceeded",
        "messages",
    ),
}

_XAI_ARGUMENT: Final = "Client specified an invalid argument"
_XAI_PERMISSION: Final = "The caller does not have permission to execute the specified operation"
_XAI_EXHAUSTED: Final = "Some resource has been exhausted"
_XAI_CREDENTIALS: Final = "The request does not have valid authentication credentials for the operation"
_XAI_DOWN: Final = "The service is currently unavailable"

_XAI: Final[Mapping[Fault, Wording]] = {
    Fault.SERVER_ERROR: Wording(500, "Internal error", "Internal server error."),
    Fault.UNAVAILABLE: Wording(503, _XAI_DOWN, "The model is at capacity and cannot serve this request."),
    Fault.OVERLOADED: Wording(529, _XAI_DOWN, "The model is at capacity and cannot serve this request."),
    Fault.RATE_LIMITED: Wording(429, _XAI_EXHAUSTED, "Too many requests for model {model}."),
    Fault.SLOW_DOWN: Wording(429, _XAI_EXHAUSTED, "Too many requests per second. Slow down."),
    Fault.QUOTA: Wording(
        403,
        _XAI_PERMISSION,
        "Your team has either used all available credits or reached its monthly spending limit. To continue "
        "making API requests, please purchase more credits or raise your spending limit.",
    ),
    Fault.AUTH: Wording(401, _XAI_CREDENTIALS, "No or invalid credentials provided."),
    Fault.WRONG_KEY: Wording(
        400,
        _XAI_ARGUMENT,
        "Incorrect API key provided: xa***ey. You can obtain an API key from https://console.x.ai.",
    ),
    Fault.FORBIDDEN: Wording(403, _XAI_PERMISSION, "Your API key is blocked or lacks the permission."),
    Fault.MODEL_GONE: Wording(
        404,
        "Some requested entity was not found",
        "The model {model} does not exist or your team does not have access to it.",
    ),
    Fault.BAD_REQUEST: Wording(400, _XAI_ARGUMENT, "Invalid request content."),
    Fault.CONTEXT_LENGTH: Wording(
        400, _XAI_ARGUMENT, "This model's maximum prompt length is 131072 but the request has more tokens."
    ),
    Fault.CONTENT_FILTER: Wording(403, _XAI_PERMISSION, "Content violates usage guidelines."),
}

_ANTHROPIC: Final[Mapping[Fault, Wording]] = {
    Fault.SERVER_ERROR: Wording(500, "api_error", "Internal server error"),
    Fault.UNAVAILABLE: Wording(503, "overloaded_error", "Overloaded"),
    Fault.OVERLOADED: Wording(529, "overloaded_error", "Overloaded"),
    Fault.RATE_LIMITED: Wording(
        429, "rate_limit_error", "This request would exceed your organization's rate limit."
    ),
    Fault.SLOW_DOWN: Wording(
        429, "rate_limit_error", "This request would exceed your organization's acceleration limit."
    ),
    Fault.QUOTA: Wording(
        402,
        "billing_error",
        "Your credit balance is too low to access the Anthropic API. "
        "Please go to Plans & Billing to upgrade or purchase credits.",
    ),
    Fault.AUTH: Wording(401, "authentication_error", "invalid x-api-key"),
    Fault.WRONG_KEY: Wording(401, "authentication_error", "invalid x-api-key"),
    Fault.FORBIDDEN: Wording(403, "permission_error", "Your API key may not use this resource."),
    Fault.MODEL_GONE: Wording(404, "not_found_error", "model: {model}"),
    Fault.BAD_REQUEST: Wording(400, _INVALID, "messages: Input should be a valid list"),
    Fault.CONTEXT_LENGTH: Wording(400, _INVALID, "prompt is too long: 210000 tokens > 200000 maximum"),
}

_OLLAMA: Final[Mapping[Fault, Wording]] = {
    Fault.SERVER_ERROR: Wording(500, "api_error", "llama runner process has terminated: exit status 2"),
    Fault.UNAVAILABLE: Wording(
        503, "api_error", "server busy, please try again. maximum pending requests exceeded"
    ),
    Fault.OVERLOADED: Wording(
        529, "api_error", "server busy, please try again. maximum pending requests exceeded"
    ),
    Fault.RATE_LIMITED: Wording(429, "api_error", "too many requests"),
    Fault.SLOW_DOWN: Wording(
        503, "api_error", "server busy, please try again. maximum pending requests exceeded"
    ),
    Fault.QUOTA: Wording(402, "api_error", "usage limit reached"),
    Fault.AUTH: Wording(401, "api_error", "unauthorized"),
    Fault.WRONG_KEY: Wording(401, "api_error", "unauthorized"),
    Fault.FORBIDDEN: Wording(403, "api_error", "forbidden"),
    Fault.MODEL_GONE: Wording(404, "not_found_error", "model '{model}' not found"),
    Fault.BAD_REQUEST: Wording(400, _INVALID, "invalid request"),
    Fault.CONTEXT_LENGTH: Wording(400, _INVALID, "the input length exceeds the context length"),
}

_WORDINGS: Final[Mapping[ProviderName, Mapping[Fault, Wording]]] = {
    ProviderName.XAI: _XAI,
    ProviderName.OPENAI: _OPENAI,
    ProviderName.ANTHROPIC: _ANTHROPIC,
    ProviderName.LOCAL: _OLLAMA,
}

_LIMIT_HEADERS: Final[Mapping[ProviderName, Mapping[str, str]]] = {
    ProviderName.OPENAI: {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
    },
    ProviderName.ANTHROPIC: {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
    },
}


def has_wording(provider: ProviderName, fault: Fault) -> bool:
    """Whether this fault is a plain error answer at this vendor."""
    return fault in _WORDINGS[provider]


def refusal(
    provider: ProviderName,
    fault: Fault,
    *,
    model: str = "",
    message: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    """The vendor's refusal for ``fault``; ``message`` replaces its usual words."""
    usual = _WORDINGS[provider][fault]
    wording = Wording(
        usual.status,
        usual.kind,
        message or usual.message.replace("{model}", model),
        usual.code,
        usual.param,
    )
    limits = _LIMIT_HEADERS.get(provider, {}) if fault is Fault.RATE_LIMITED else {}
    return Refusal(wording, {**limits, **(headers or {})})
