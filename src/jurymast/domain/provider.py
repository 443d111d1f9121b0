"""Providers, routes, requests, answers and failures, as nouns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jurymast.domain.money import Micros
from jurymast.domain.value import value
from jurymast.domain.word import Word

_VERSION = re.compile(r"[-:@](latest|\d{4}|\d{8}|\d{4}-\d\d-\d\d)$")


class ProviderName(Word):
    """The four providers, in order of default priority."""

    XAI = "xai"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    LOCAL = "local"


class Tier(Word):
    """How much a model's opinion is worth before it has a record of its own."""

    STRONG = "strong"
    MID = "mid"
    SMALL = "small"


class ModelNotice(Word):
    """What people should know about a model that they configured. Closed list."""

    ALIAS = "alias"
    UNLISTED = "unlisted"
    RETIRES = "retires"
    PRICE = "price"
    ROLE_EMPTY = "role_empty"


class Role(Word):
    """What models are there for, by tier: to open risk, to be quick, to be there when no vendor is."""

    STRONG = "strong"
    FAST = "fast"
    LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Secret:
    """A credential that does not show itself in logs, tracebacks or ``repr``."""

    value: str = field(repr=False, default="")

    def __str__(self) -> str:
        return "********" if self.value else "(none)"

    def __bool__(self) -> bool:
        return bool(self.value)


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """How to reach one provider.

    ``base_url`` ends before ``/chat/completions`` or ``/messages`` (``https://api.x.ai/v1``). ``models``
    is ordered by preference. Smaller ``priority`` is asked first. A provider with several keys, regions or
    servers has one configuration per ``instance``; work is shared among them by ``weight``. ``edge`` names
    what stands between us and it: providers behind one edge may fail together. ``context_tokens`` is how much
    its models hold, prompt and answer together; None leaves it to the catalogue, or to the server.
    """

    name: ProviderName
    base_url: str
    models: tuple[str, ...]
    priority: int
    api_key: Secret = Secret()
    max_concurrent: int = 8
    stream: bool = True
    simulated: bool = False
    instance: str = ""
    weight: float = 1.0
    edge: str = "internet"
    context_tokens: int | None = None

    def __post_init__(self) -> None:
        if not self.models:
            raise ValueError(f"provider {self.name}: the list of models is empty")
        if self.max_concurrent < 1:
            raise ValueError(f"provider {self.name}: max_concurrent must be at least 1")
        if self.weight <= 0:
            raise ValueError(f"provider {self.name}: weight must be above 0")


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """One way to an answer: a provider, one of its models, and which of its instances. The key of all health.

    ``instance`` names a key, region or server of a provider that has several; empty for the only one.
    """

    provider: ProviderName
    model: str
    instance: str = ""

    def __hash__(self) -> int:
        return hash(self.model)  # kept by the text itself; few routes share a model

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}" + (f"@{self.instance}" if self.instance else "")


@dataclass(frozen=True, slots=True)
class RankedRoute:
    """A route in the order in which those of equal health are asked, and why it stands where it does.

    A ``refused`` one is not asked at all.
    """

    route: Route
    reason: str
    refused: bool = False


def role_of(provider: ProviderName, tier: Tier) -> Role:
    """The role of a model: a small one may only veto, whoever sells it."""
    if provider is ProviderName.LOCAL:
        return Role.LOCAL
    return Role.FAST if tier is Tier.SMALL else Role.STRONG


@value
class Usage:
    """Tokens as billed, whatever the vendor's own way of counting.

    ``input`` is the whole prompt, what was read from the vendor's cache (``cached_input``) and written to it
    (``cache_written``) included; ``output`` includes ``reasoning``.
    """

    input: int = 0
    output: int = 0
    cached_input: int = 0
    reasoning: int = 0
    cache_written: int = 0


@value
class Message:
    """One turn; ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str


class Format(Word):
    """How a question and its answer are written: whose API that is."""

    CHAT = "chat"
    """Chat completions: OpenAI, xAI and the servers of local models."""
    MESSAGES = "messages"
    """Anthropic's messages."""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A question that another program wrote in a vendor's format, to be handed on as it stands.

    ``bodies`` are the same question in each format it can be told in; a route of another format can't be
    asked. Its answer is handed back as it came, so one that its own limit has cut, a call of a tool and a
    refusal are answers too. ``size_bytes`` is the whole question's. ``stream`` is how the answer is wanted.
    """

    bodies: Mapping[Format, Mapping[str, Any]]
    size_bytes: int
    stream: bool = False


@value
class AIRequest:
    """What is asked, whoever answers.

    ``schema`` is a JSON schema in the subset all vendors accept: every property required,
    ``additionalProperties: false``, no numeric or length bounds. ``verbatim`` stands in for ``messages``.
    """

    messages: tuple[Message, ...]
    schema: Mapping[str, Any] | None = None
    schema_name: str = "answer"
    max_output_tokens: int = 2_000
    verbatim: Verbatim | None = None
    size_bytes: int = field(init=False, compare=False, default=0)
    """Bytes of all messages together."""

    def __post_init__(self) -> None:
        if not self.messages and self.verbatim is None:
            raise ValueError("a request needs at least one message")
        if self.max_output_tokens < 1:
            raise ValueError("max_output_tokens must be at least 1")
        size = 0 if self.verbatim is None else self.verbatim.size_bytes
        for message in self.messages:
            text = message.content
            size += len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
        object.__setattr__(self, "size_bytes", size)


@value
class AIResponse:
    """A complete answer: terminal event seen, good finish reason, text present. Not yet validated.

    ``raw`` is the body as the vendor sent it, in answer to a verbatim question only.
    """

    content: str
    provider: ProviderName
    requested_model: str
    served_model: str
    usage: Usage
    cost: Micros
    latency_secs: float
    first_token_secs: float | None = None
    finish_reason: str = "stop"
    simulated: bool = False
    raw: bytes = b""
    swapped: bool = field(init=False, compare=False)
    """Whether another model answered than was asked; a dated id of the same model is none."""

    def __post_init__(self) -> None:
        served, asked = self.served_model, self.requested_model
        swapped = served != asked and bool(served) and not same_model(served, asked)
        object.__setattr__(self, "swapped", swapped)


class FailureKind(Word):
    """Every way in which asking can fail to give an answer. Closed list."""

    BUSY = "busy"
    CONNECT = "connect"
    RESET = "reset"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105 (a kind of failure, not a password)
    TIMEOUT = "timeout"
    STALLED = "stalled"
    CUT = "cut"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    QUOTA = "quota"
    AUTH = "auth"
    MODEL_GONE = "model_gone"
    BAD_REQUEST = "bad_request"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    TRUNCATED = "truncated"
    SERVER_ERROR = "server_error"
    EDGE_ERROR = "edge_error"
    MALFORMED = "malformed"
    EMPTY = "empty"
    INVALID_ANSWER = "invalid_answer"


class Billing(Word):
    """What a failed attempt may have cost."""

    NOT_SENT = "not_sent"
    NOT_BILLED = "not_billed"
    UNKNOWN = "unknown"
    BILLED = "billed"


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with one attempt. ``retry_after_secs`` is what the provider asked for, unclamped."""

    kind: FailureKind
    detail: str
    billing: Billing = Billing.NOT_BILLED
    status: int | None = None
    code: str | None = None
    retry_after_secs: float | None = None
    usage: Usage | None = None

    def __str__(self) -> str:
        status = f" (HTTP {self.status})" if self.status is not None else ""
        return f"{self.kind}{status}: {self.detail}"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One entry of a provider's model list.

    ``retires_on`` is an ISO date when the provider states one, ``retired`` says that it names the model for
    the record only. ``aliases`` answer as this model. Prices are the provider's own, in micro-dollars per
    million tokens, None where it gives none.
    """

    model: str
    retires_on: str | None = None
    retired: bool = False
    aliases: tuple[str, ...] = ()
    input: Micros | None = None
    cached_input: Micros | None = None
    output: Micros | None = None

    def names(self, model: str) -> bool:
        """Whether a request for ``model`` is one for this entry; a version does not matter."""
        return any(same_model(own, model) for own in (self.model, *self.aliases))


def same_model(one: str, other: str) -> bool:
    """Whether two ids are of one model: equal, or but for a date or version at the end."""
    return one == other or _VERSION.sub("", one) == _VERSION.sub("", other)
