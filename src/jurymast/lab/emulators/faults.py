"""Faults a simulated provider can be told to have: a closed list, each with what happens on the wire.

A fault belongs to a provider or to one of its models; the model's own comes first. Setting one replaces
the one before at the same place. Faults of the network and of the whole site also hit the model list,
the others leave it well: a free look at the list is no health probe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Final

from jurymast.domain.provider import ProviderName

ALL: Final = "all"
"""Word for every provider at once."""

CLEAR: Final = "clear"
"""Word for no fault."""

FAULT_SECS_MAX: Final = 86_400.0


class Fault(StrEnum):
    """What goes wrong. ``meaning`` says what happens on the wire."""

    meaning: str

    def __new__(cls, word: str, meaning: str) -> Fault:
        fault = str.__new__(cls, word)
        fault._value_ = word
        fault.meaning = meaning
        return fault

    REFUSE = "refuse", "the port is closed: connections are refused, open ones are dropped"
    RESET = "reset", "TCP reset after the request was read"
    HANG = "hang", "the request is read and never answered"
    SERVER_ERROR = "500", "HTTP 500 with the vendor's error body"
    UNAVAILABLE = "503", "HTTP 503, overloaded, with the vendor's error body"
    OVERLOADED = "529", "HTTP 529, overloaded_error at Anthropic"
    RATE_LIMITED = "429", "HTTP 429; retry_after chooses the header (none without it)"
    SLOW_DOWN = "slow_down", "HTTP 429 for growing too fast (503 at Ollama)"
    QUOTA = "quota", "no money: 429 insufficient_quota OpenAI, 402 Anthropic and Ollama, 403 xAI"
    AUTH = "auth", "HTTP 401, the key is not accepted"
    WRONG_KEY = "wrong_key", "as auth, but xAI's 400 for a key it does not know"
    FORBIDDEN = "forbidden", "HTTP 403, not allowed for this account"
    MODEL_GONE = "model_gone", "HTTP 404, the model is gone"
    BAD_REQUEST = "bad_request", "HTTP 400, the request is called invalid"
    CONTEXT_LENGTH = "context_length", "HTTP 400, the prompt is called too long"
    CONTENT_FILTER = (
        "content_filter",
        ("a refusal: `refusal` text OpenAI, stop_reason refusal Anthropic, 403 xAI, plain words Ollama"),
    )
    SLOW_FIRST_TOKEN = "slow_first_token", "silence before the first byte of the answer"
    DRIP = "drip", "HTTP 200 and bytes that never end: pings, comments or blanks"
    CUT = "cut", "the connection is closed half-way through the answer"
    STREAM_ERROR = "stream_error", "HTTP 200, half the stream, then an error event (503 when not streamed)"
    HTML = "html", "HTTP 200 with a web page, as of a captive portal"
    HTML_502 = "html_502", "HTTP 502 with a web page, as of an edge in front of the vendor"
    ERROR_OBJECT = "error_object", "HTTP 200 with the vendor's error object as JSON"
    EMPTY = "empty", "a complete answer with empty text"
    NO_CHOICES = "no_choices", "a complete answer without any choice or content block"
    TRUNCATED = "truncated", "half the text, finish reason length"
    INVALID_JSON = "invalid_json", "HTTP 200 and a body, or stream event, cut inside its JSON"
    WRONG_SCHEMA = "wrong_schema", "valid JSON text with other fields than were asked for"
    CONSTANT = "constant", "every number in the answer is the same, whatever was asked"
    OBEDIENT = "obedient", "does as a quoted text says: its answer is what stands there after `ANSWER:`"
    SWAPPED_MODEL = "swapped_model", "the answer says that an unlisted model gave it"
    SHIFTED = "shifted", "the model has other opinions than before under the same name, and says nothing"
    CACHED = (
        "cached",
        "half of each prompt is read from the vendor's cache and a part written to it, and billed so",
    )
    UNLISTED = "unlisted", "the models are missing from the model list, but answer"
    RETIRING = (
        "retiring",
        "the model list says that the models end in 20 days (xAI and Ollama state no dates)",
    )

    @property
    def hits_model_list(self) -> bool:
        return self in _WHOLE_SITE


_WHOLE_SITE: Final = frozenset(
    {
        Fault.REFUSE,
        Fault.RESET,
        Fault.HANG,
        Fault.SERVER_ERROR,
        Fault.AUTH,
        Fault.WRONG_KEY,
        Fault.FORBIDDEN,
        Fault.HTML,
        Fault.HTML_502,
    }
)


_FAULTS: Final = {str(fault): fault for fault in Fault}


def parse_fault(word: str) -> Fault:
    """The fault named ``word``. Raises ValueError with the whole list."""
    fault = _FAULTS.get(word)
    if fault is None:
        raise ValueError(f"unknown fault {word!r}; known are {', '.join(Fault)}")
    return fault


def parse_providers(word: str) -> tuple[ProviderName, ...]:
    """The provider named ``word``, or every one for ``all``. Raises ValueError with the list."""
    if word == ALL:
        return tuple(ProviderName)
    try:
        return (ProviderName(word),)
    except ValueError:
        known = ", ".join((*ProviderName, ALL))
        raise ValueError(f"unknown provider {word!r}; known are {known}") from None


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A fault at a place.

    ``probability`` is the share of requests that it hits. ``for_secs`` is after how long it heals by itself,
    None for never. ``retry_after`` is for 429: see :func:`retry_after_headers`.
    """

    provider: ProviderName
    fault: Fault
    model: str | None = None
    probability: float = 1.0
    for_secs: float | None = None
    retry_after: str | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.probability <= 1.0:
            raise ValueError("probability is a share of requests: above 0, at most 1")
        if self.for_secs is not None and not 0.0 < self.for_secs <= FAULT_SECS_MAX:
            raise ValueError(f"for_secs is above 0 and at most {FAULT_SECS_MAX:.0f}")
        if self.fault is Fault.REFUSE and (self.model is not None or self.probability < 1.0):
            raise ValueError("refuse closes the whole port: it takes no model and no probability")
        if self.retry_after is not None:
            if self.fault not in {Fault.RATE_LIMITED, Fault.SLOW_DOWN}:
                raise ValueError("retry_after goes with 429 and slow_down only")
            _parse_retry_after(self.retry_after)


class FaultBoard:
    """The faults in force, one per place."""

    def __init__(self) -> None:
        self._specs: dict[tuple[ProviderName, str | None], FaultSpec] = {}

    def set(self, spec: FaultSpec) -> None:
        self._specs[spec.provider, spec.model] = spec

    def clear(self, providers: Iterable[ProviderName], model: str | None = None) -> tuple[FaultSpec, ...]:
        """Take the faults off these providers, or off one model of theirs; gives what was taken off."""
        chosen = set(providers)
        gone = [place for place in self._specs if place[0] in chosen and (model is None or place[1] == model)]
        return tuple(self._specs.pop(place) for place in gone)

    def remove(self, spec: FaultSpec) -> None:
        """Take off this one fault, if it is still the one at its place."""
        if self._specs.get((spec.provider, spec.model)) is spec:
            del self._specs[spec.provider, spec.model]

    def strike(self, provider: ProviderName, model: str | None, drawn: float) -> FaultSpec | None:
        """The fault that hits a request, where ``drawn`` in (0, 1) is its luck."""
        for place in ((provider, model), (provider, None)):
            spec = self._specs.get(place)
            if spec is not None and drawn < spec.probability:
                return spec
        return None

    def active(self) -> tuple[FaultSpec, ...]:
        return tuple(self._specs.values())


_RETRY_AFTER: Final = re.compile(r"(date:)?(\d+(?:\.\d+)?)(s|ms)?")
_RETRY_AFTER_FORMS: Final = "30 or 30s (seconds), 1500ms (retry-after-ms), date:30 (HTTP date), garbage"


def _parse_retry_after(text: str) -> tuple[str, float]:
    found = _RETRY_AFTER.fullmatch(text)
    if text == "garbage":
        return "garbage", 0.0
    if found is None or (found[1] and found[3]):
        raise ValueError(f"unknown retry_after {text!r}; known forms are {_RETRY_AFTER_FORMS}")
    return ("date" if found[1] else found[3] or "s"), float(found[2])


def retry_after_headers(text: str | None, now: datetime) -> dict[str, str]:
    """Response headers that ask a client to wait. ``now`` is UTC.

    Forms: ``30`` or ``30s`` seconds, ``1500ms`` the retry-after-ms header, ``date:30`` an HTTP date so many
    seconds ahead, ``garbage`` a value no client can read, None no header at all. Raises ValueError.
    """
    if text is None:
        return {}
    form, amount = _parse_retry_after(text)
    match form:
        case "garbage":
            return {"Retry-After": "in a while"}
        case "date":
            return {"Retry-After": format_datetime(now + timedelta(seconds=amount), usegmt=True)}
        case "ms":
            return {"retry-after-ms": f"{amount:g}"}
        case _:
            return {"Retry-After": f"{amount:g}"}
