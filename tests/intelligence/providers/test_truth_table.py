"""Every way a vendor can fail us over a real socket, and what we make of it: kind, bill, wish to wait.

Three tables. What the lab's emulators can break comes from them, on all four wires; what they can't comes
from a hand-made server, on both wire formats; what is not even HTTP comes from a bare socket. Each row holds
for the whole and for the streamed form unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from jurymast.domain.provider import Billing, Failure, FailureKind, ProviderName, Route
from jurymast.intelligence.providers.transport import AiohttpTransport
from jurymast.lab.emulators.faults import Fault
from jurymast.lab.emulators.fleet import EmulatorFleet
from jurymast.lab.emulators.ledger import Ledger

from .raw import HEAD, JSON_HEAD, RawServer, Script, bomb, chunk, chunks, endless, once
from .samples import (
    CHAT,
    CHAT_FINISH,
    CHAT_OPENING,
    CHAT_TEXT,
    MESSAGES,
    MODELS,
    SAMPLES,
    TEXT,
    Sample,
    ask,
    chat_chunk,
    failing,
    provider,
)
from .server import Behaviour, WireServer, body_then, plain, sse, stream

XAI, OPENAI, ANTHROPIC, LOCAL = ProviderName
LIMIT_SECS = 0.5
UNHURRIED_SECS = 10.0
TIMED = {FailureKind.TIMEOUT, FailureKind.FIRST_TOKEN_TIMEOUT, FailureKind.STALLED}
FORMS = {False: "whole", True: "stream"}


@dataclass(frozen=True)
class Verdict:
    """What must come out of a row. ``asked_secs`` is the wait asked for: at least, at most."""

    kind: FailureKind
    billing: Billing
    asked_secs: tuple[float, float] | None = None

    def agrees_with(self, failure: Failure) -> None:
        assert (failure.kind, failure.billing) == (self.kind, self.billing), failure
        if self.asked_secs is None:
            assert failure.retry_after_secs is None
        else:
            assert failure.retry_after_secs is not None
            assert self.asked_secs[0] <= failure.retry_after_secs <= self.asked_secs[1]

    @property
    def limit_secs(self) -> float:
        return LIMIT_SECS if self.kind in TIMED else UNHURRIED_SECS


def not_sent(kind: FailureKind) -> Verdict:
    return Verdict(kind, Billing.NOT_SENT)


def free(kind: FailureKind, asked_secs: tuple[float, float] | None = None) -> Verdict:
    return Verdict(kind, Billing.NOT_BILLED, asked_secs)


def billed(kind: FailureKind) -> Verdict:
    return Verdict(kind, Billing.BILLED)


def unknown(kind: FailureKind) -> Verdict:
    return Verdict(kind, Billing.UNKNOWN)


# What the emulators break

EMULATED: dict[Fault, Verdict] = {
    Fault.REFUSE: not_sent(FailureKind.CONNECT),
    Fault.RESET: unknown(FailureKind.RESET),
    Fault.HANG: unknown(FailureKind.FIRST_TOKEN_TIMEOUT),
    Fault.SERVER_ERROR: unknown(FailureKind.SERVER_ERROR),
    Fault.UNAVAILABLE: free(FailureKind.OVERLOADED),
    Fault.OVERLOADED: free(FailureKind.OVERLOADED),
    Fault.RATE_LIMITED: free(FailureKind.RATE_LIMITED),
    Fault.SLOW_DOWN: free(FailureKind.RATE_LIMITED),
    Fault.QUOTA: free(FailureKind.QUOTA),
    Fault.AUTH: free(FailureKind.AUTH),
    Fault.WRONG_KEY: free(FailureKind.AUTH),
    Fault.FORBIDDEN: free(FailureKind.AUTH),
    Fault.MODEL_GONE: free(FailureKind.MODEL_GONE),
    Fault.BAD_REQUEST: free(FailureKind.BAD_REQUEST),
    Fault.CONTEXT_LENGTH: free(FailureKind.CONTEXT_LENGTH),
    Fault.SLOW_FIRST_TOKEN: unknown(FailureKind.FIRST_TOKEN_TIMEOUT),
    Fault.DRIP: unknown(FailureKind.STALLED),
    Fault.CUT: unknown(FailureKind.CUT),
    Fault.STREAM_ERROR: unknown(FailureKind.OVERLOADED),
    Fault.HTML: unknown(FailureKind.EDGE_ERROR),
    Fault.HTML_502: unknown(FailureKind.EDGE_ERROR),
    Fault.ERROR_OBJECT: unknown(FailureKind.SERVER_ERROR),
    Fault.EMPTY: billed(FailureKind.EMPTY),
    Fault.NO_CHOICES: billed(FailureKind.EMPTY),
    Fault.TRUNCATED: billed(FailureKind.TRUNCATED),
    Fault.INVALID_JSON: unknown(FailureKind.MALFORMED),
    Fault.CONTENT_FILTER: billed(FailureKind.CONTENT_FILTER),
}
ONE_VENDOR: dict[tuple[Fault, ProviderName], Verdict] = {
    # Ollama has one answer to every kind of rush.
    (Fault.SLOW_DOWN, LOCAL): free(FailureKind.OVERLOADED),
    # xAI refuses with a 403 and may charge its fee, Anthropic says that no token was written.
    (Fault.CONTENT_FILTER, XAI): unknown(FailureKind.CONTENT_FILTER),
    (Fault.CONTENT_FILTER, ANTHROPIC): free(FailureKind.CONTENT_FILTER),
    # A cold local server may take the whole time-out for its first token.
    (Fault.HANG, LOCAL): unknown(FailureKind.TIMEOUT),
    (Fault.SLOW_FIRST_TOKEN, LOCAL): unknown(FailureKind.TIMEOUT),
}
WHOLE: dict[Fault, Verdict] = {
    # One reply has no first token, and a drip of blanks is not silent.
    Fault.HANG: unknown(FailureKind.TIMEOUT),
    Fault.SLOW_FIRST_TOKEN: unknown(FailureKind.TIMEOUT),
    Fault.DRIP: unknown(FailureKind.TIMEOUT),
    Fault.STREAM_ERROR: free(FailureKind.OVERLOADED),
}
ANSWERS = {
    Fault.WRONG_SCHEMA,
    Fault.CONSTANT,
    Fault.SWAPPED_MODEL,
    Fault.OBEDIENT,
    Fault.SHIFTED,
    Fault.CACHED,
}
"""Complete on the wire: others find out that they are worth nothing."""
LISTINGS = {Fault.UNLISTED, Fault.RETIRING}
"""Of the model list alone: answers are as ever."""
PLAIN_WORDS = (Fault.CONTENT_FILTER, LOCAL)
"""A local model refuses in an ordinary answer; the parser of decisions refuses that."""
ALIKE = {Fault.HANG, Fault.SLOW_FIRST_TOKEN, Fault.DRIP}
"""Waits that xAI's wire stands for OpenAI's in."""


def emulated_verdict(fault: Fault, name: ProviderName, *, streaming: bool) -> Verdict:
    if not streaming and fault in WHOLE:
        return WHOLE[fault]
    return ONE_VENDOR.get((fault, name), EMULATED[fault])


def books_cover(failure: Failure, ledger: Ledger) -> bool:
    """Whether what a failure is booked at is what the vendor charges, or more."""
    match failure.billing:
        case Billing.NOT_SENT | Billing.NOT_BILLED:
            return ledger.billed == 0
        case Billing.BILLED:
            assert failure.usage is not None
            return (failure.usage.input, failure.usage.output) == (ledger.input_tokens, ledger.output_tokens)
        case Billing.UNKNOWN:
            return failure.usage is None  # the whole reservation stays booked


def test_every_fault_of_the_lab_has_its_row() -> None:
    """A fault added to the lab needs its verdict here."""
    assert set(EMULATED) | ANSWERS | LISTINGS == set(Fault)


@pytest.mark.parametrize(
    ("fault", "name", "streaming"),
    [
        pytest.param(fault, name, streaming, id=f"{fault}-{name}-{form}")
        for fault in EMULATED
        for name in ProviderName
        for streaming, form in FORMS.items()
        if (fault, name) != PLAIN_WORDS and not (fault in ALIKE and name is OPENAI)
    ],
)
async def test_fault_of_an_emulator(
    fleet: EmulatorFleet, transport: AiohttpTransport, fault: Fault, name: ProviderName, streaming: bool
) -> None:
    """What the lab breaks is named correctly after one request, and never booked below the vendor's bill."""
    await fleet.set_fault(name, fault)
    verdict = emulated_verdict(fault, name, streaming=streaming)
    asked = provider(name, fleet.base_urls[name], transport, stream=streaming)
    failure = (await failing(asked, verdict.limit_secs)).failure
    verdict.agrees_with(failure)
    assert fleet.ledger(name).requests == (0 if fault is Fault.REFUSE else 1)
    assert books_cover(failure, fleet.ledger(name))


@pytest.mark.parametrize("streaming", FORMS, ids=FORMS.get)
@pytest.mark.parametrize("fault", sorted(ANSWERS))
@pytest.mark.parametrize("name", list(ProviderName))
async def test_answer_that_is_complete_passes(
    fleet: EmulatorFleet, transport: AiohttpTransport, fault: Fault, name: ProviderName, streaming: bool
) -> None:
    """An answer that is whole is handed on whatever it says, with the model that gave it."""
    await fleet.set_fault(name, fault)
    asked = provider(name, fleet.base_urls[name], transport, stream=streaming)
    response = await ask(asked, UNHURRIED_SECS)
    assert response.swapped is (fault is Fault.SWAPPED_MODEL)
    assert response.requested_model == MODELS[name]


# What only a hand-made server does


@dataclass(frozen=True)
class Row:
    """One behaviour of a server and its verdict. ``samples`` and ``forms`` leave out what differs nowhere."""

    fault: str
    behave: Callable[[Sample], Behaviour]
    verdict: Verdict
    forms: tuple[bool, ...] = (False, True)
    samples: tuple[Sample, ...] = SAMPLES


WHOLE_ONLY, STREAM_ONLY = (False,), (True,)
HALF_JSON = b'{"id": "msg_1", "choices": [{"mess'


def error_body(sample: Sample, kind: str, message: str = "text") -> dict[str, object]:
    error = {"type": kind, "message": message}
    return {"error": error} if sample.name is OPENAI else {"type": "error", "error": error}


def textless(sample: Sample) -> dict[str, object]:
    if sample.name is ANTHROPIC:
        return {**sample.whole, "content": [{"type": "thinking", "thinking": "hm"}]}
    return {**sample.whole, "choices": [{"message": {"content": None}, "finish_reason": "stop"}]}


def limited(**headers: str) -> Callable[[Sample], Behaviour]:
    return lambda sample: plain(error_body(sample, "rate_limit_error"), 429, **headers)


def after(kept: str, then: str) -> Callable[[Sample], Behaviour]:
    return lambda sample: stream(getattr(sample, kept), then=then)


def one_letter(sample: Sample) -> bytes:
    if sample is CHAT:
        return sse([chat_chunk({"content": "x"})])
    return sse([{"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}], named=True)


def nothing_new(sample: Sample) -> bytes:
    """Chunks that name the role, or say nothing, again and again."""
    if sample is CHAT:
        return sse([CHAT_OPENING])
    return sse([{"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}}], named=True)


ROWS = [
    Row(
        "stalled body", lambda _: body_then(HALF_JSON, 500, "stall"), unknown(FailureKind.STALLED), WHOLE_ONLY
    ),
    Row(
        "whole body that stalls where a stream was asked for",
        lambda _: body_then(HALF_JSON, 500, "stall"),
        unknown(FailureKind.TIMEOUT),
        STREAM_ONLY,
        (CHAT,),
    ),
    Row("200 without text", lambda s: plain(textless(s)), billed(FailureKind.EMPTY)),
    Row("200 with nothing at all", lambda _: plain(b""), unknown(FailureKind.MALFORMED)),
    Row("204", lambda _: plain(b"", 204), unknown(FailureKind.MALFORMED)),
    Row("stream that ends without an end", after("half", "end"), unknown(FailureKind.CUT), STREAM_ONLY),
    Row(
        "head and then silence",
        after("opening", "stall"),
        unknown(FailureKind.FIRST_TOKEN_TIMEOUT),
        STREAM_ONLY,
    ),
    Row(
        "comments instead of tokens",
        after("opening", "drip"),
        unknown(FailureKind.FIRST_TOKEN_TIMEOUT),
        STREAM_ONLY,
    ),
    Row(
        "empty chunks instead of tokens",
        lambda s: stream(s.opening, then="drip", nothing=nothing_new(s)),
        unknown(FailureKind.FIRST_TOKEN_TIMEOUT),
        STREAM_ONLY,
    ),
    Row("silence after the first token", after("half", "stall"), unknown(FailureKind.STALLED), STREAM_ONLY),
    Row("comments after the first token", after("half", "drip"), unknown(FailureKind.STALLED), STREAM_ONLY),
    Row(
        "empty chunks after the first token",
        lambda s: stream(s.half, then="drip", nothing=nothing_new(s)),
        unknown(FailureKind.STALLED),
        STREAM_ONLY,
    ),
    Row(
        "text that never ends",
        lambda s: stream(s.half, then="drip", nothing=one_letter(s)),
        unknown(FailureKind.TIMEOUT),
        STREAM_ONLY,
    ),
    Row(
        "our mistake as a 500",
        lambda s: plain(error_body(s, "internal_server_error", "[{'loc': ('body', 'model')}]"), 500),
        free(FailureKind.BAD_REQUEST),
    ),
    Row(
        "answer blocked half-way",
        lambda s: plain(error_body(s, "invalid_request_error", "Output blocked by content filtering"), 400),
        unknown(FailureKind.CONTENT_FILTER),
    ),
    Row("redirect", lambda _: plain("", 302, Location="/login"), unknown(FailureKind.EDGE_ERROR)),
    Row("proxy that wants a password", lambda _: plain("", 407), unknown(FailureKind.EDGE_ERROR)),
    Row(
        "error whose body stalls",
        lambda _: body_then(b'{"error":', 100, "stall", status=429),
        free(FailureKind.RATE_LIMITED),
    ),
    Row("429: seconds", limited(retry_after="7"), free(FailureKind.RATE_LIMITED, (7, 7))),
    Row("429: milliseconds", limited(retry_after_ms="1500"), free(FailureKind.RATE_LIMITED, (1.5, 1.5))),
    Row(
        "429: both, the exact one counts",
        limited(retry_after_ms="250", retry_after="1"),
        free(FailureKind.RATE_LIMITED, (0.25, 0.25)),
    ),
    Row(
        "429: both, one unreadable",
        limited(retry_after_ms="-1", retry_after="2"),
        free(FailureKind.RATE_LIMITED, (2, 2)),
    ),
    Row(
        "429: a date on the server's clock",
        limited(retry_after="Mon, 23 Nov 2026 13:00:30 GMT", Date="Mon, 23 Nov 2026 13:00:00 GMT"),
        free(FailureKind.RATE_LIMITED, (30, 30)),
    ),
    Row(
        "429: a date gone by",
        limited(retry_after="Mon, 23 Nov 2020 13:00:30 GMT"),
        free(FailureKind.RATE_LIMITED),
    ),
    Row("429: negative", limited(retry_after="-5"), free(FailureKind.RATE_LIMITED)),
    Row("429: absurd", limited(retry_after="1795000000"), free(FailureKind.RATE_LIMITED)),
    Row("429: words", limited(retry_after="in a while"), free(FailureKind.RATE_LIMITED)),
    Row(
        "503 with a wish to wait",
        lambda s: plain(error_body(s, "overloaded_error"), 503, retry_after="20"),
        free(FailureKind.OVERLOADED, (20, 20)),
    ),
]


@pytest.mark.parametrize(
    ("row", "sample", "streaming"),
    [
        pytest.param(row, sample, streaming, id=f"{row.fault}-{sample.name}-{FORMS[streaming]}")
        for row in ROWS
        for sample in row.samples
        for streaming in row.forms
    ],
)
async def test_fault_of_a_server(
    server: WireServer, transport: AiohttpTransport, row: Row, sample: Sample, streaming: bool
) -> None:
    """A fault on the wire is the failure the table says, sent once, and leaves no connection in use."""
    server.behaviour = row.behave(sample)
    asked = provider(sample.name, server.url, transport, stream=streaming)
    limit_secs = LIMIT_SECS if "stalls" in row.fault else row.verdict.limit_secs
    row.verdict.agrees_with((await failing(asked, limit_secs)).failure)
    assert len(server.received) == 1
    await transport.close()
    await server.settle(0)


# What is hardly HTTP

SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = bomb(16 * 2**20)
PACKED = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
RAW: dict[str, tuple[Script, Verdict]] = {
    "closed without a word": (once(), unknown(FailureKind.RESET)),
    "closed in the head": (once(b"HTTP/1.1 200 OK\r\nContent-"), unknown(FailureKind.RESET)),
    "silent in the head": (once(b"HTTP/1.1 200", stall=True), unknown(FailureKind.FIRST_TOKEN_TIMEOUT)),
    "dripping head": (
        endless(b"HTTP/1.1 200 OK\r\n", b"X-More: y\r\n", 0.02),
        unknown(FailureKind.FIRST_TOKEN_TIMEOUT),
    ),
    "endless head": (
        endless(b"HTTP/1.1 200 OK\r\n", b"X-More: yes\r\n" * 500),
        unknown(FailureKind.MALFORMED),
    ),
    "continue for ever": (
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
        unknown(FailureKind.FIRST_TOKEN_TIMEOUT),
    ),
    "another protocol": (once(b"SSH-2.0-OpenSSH_9.2\r\n", stall=True), unknown(FailureKind.MALFORMED)),
    "body shorter than promised": (
        once(JSON_HEAD, b"Content-Length: 500\r\n\r\n{"),
        unknown(FailureKind.CUT),
    ),
    # The HTTP library drops the connection and tells nobody: the idle limit finds out.
    "broken chunk": (
        once(HEAD, chunk(CHAT.half), b"zz\r\n{}\r\n", gap_secs=0.05),
        unknown(FailureKind.STALLED),
    ),
    "endless body": (
        endless(JSON_HEAD + b"Connection: close\r\n\r\n", b" " * 65_536),
        unknown(FailureKind.MALFORMED),
    ),
    "endless line": (endless(HEAD, chunk(b"x" * 65_536)), unknown(FailureKind.MALFORMED)),
    "endless comments": (endless(HEAD, chunk(b": ping\n\n" * 10_000)), unknown(FailureKind.MALFORMED)),
    "endless error": (
        endless(b"HTTP/1.1 500 Broken\r\n" + CHUNKED, chunk(b" " * 65_536)),
        unknown(FailureKind.SERVER_ERROR),
    ),
    "bomb": (once(JSON_HEAD, PACKED % len(BOMB), BOMB), unknown(FailureKind.MALFORMED)),
    "bomb in a stream": (once(SSE_HEAD, PACKED % len(BOMB), BOMB), unknown(FailureKind.MALFORMED)),
    "packed rubbish": (once(JSON_HEAD, PACKED % 16, b"nothing gzip yet"), unknown(FailureKind.CUT)),
}


@pytest.mark.parametrize("streaming", FORMS, ids=FORMS.get)
@pytest.mark.parametrize("fault", RAW)
async def test_fault_below_http(transport: AiohttpTransport, fault: str, streaming: bool) -> None:
    """Bytes that are no proper reply end in time, with the kind the table says and the connection closed."""
    script, verdict = RAW[fault]
    if not streaming and verdict.kind is FailureKind.FIRST_TOKEN_TIMEOUT:
        verdict = replace(verdict, kind=FailureKind.TIMEOUT)
    async with RawServer(script) as server:
        asked = provider(OPENAI, server.url, transport, stream=streaming)
        verdict.agrees_with((await failing(asked, verdict.limit_secs)).failure)
        assert server.requests == 1
        await transport.close()
        await server.settle(0)


@pytest.mark.parametrize("size", [1, 7, 4_096])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_answer_in_tiny_chunks(transport: AiohttpTransport, sample: Sample, size: int) -> None:
    """A stream is understood however it is cut up, byte by byte included."""
    async with RawServer(once(HEAD, chunks(sample.streamed, size))) as server:
        assert (await ask(provider(sample.name, server.url, transport))).content == TEXT
        await transport.close()


# Where nothing comes about


@pytest.mark.parametrize("name", list(ProviderName))
async def test_refused_connection_costs_nothing(
    refused_url: str, transport: AiohttpTransport, name: ProviderName
) -> None:
    """Where nobody listens, the failure says that nothing was sent."""
    not_sent(FailureKind.CONNECT).agrees_with((await failing(provider(name, refused_url, transport))).failure)


@pytest.mark.parametrize("streaming", FORMS, ids=FORMS.get)
async def test_slow_connect_costs_nothing(
    unaccepting_url: str, transport: AiohttpTransport, streaming: bool
) -> None:
    """A connection that does not come about is known not to have been billed."""
    asked = provider(XAI, unaccepting_url, transport, stream=streaming)
    not_sent(FailureKind.CONNECT).agrees_with((await failing(asked, 0.3)).failure)


async def test_unknown_host_costs_nothing(transport: AiohttpTransport) -> None:
    """A name that can't be resolved is no connection."""
    asked = provider(XAI, "http://nowhere.invalid/v1", transport)
    not_sent(FailureKind.CONNECT).agrees_with((await failing(asked)).failure)


async def test_plain_server_behind_https_costs_nothing(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """A handshake that fails is no connection: the key has not left."""
    asked = provider(XAI, server.url.replace("http:", "https:"), transport)
    not_sent(FailureKind.CONNECT).agrees_with((await failing(asked)).failure)
    assert not server.received


# What must not be taken for a fault


@pytest.mark.parametrize("then", ["end", "stall", "drip", "cut"])
async def test_complete_stream_without_done_is_an_answer(
    server: WireServer, transport: AiohttpTransport, then: str
) -> None:
    """A finish reason completes a chat stream, whatever happens to its connection afterwards."""
    server.behaviour = stream(sse([CHAT_OPENING, *CHAT_TEXT, CHAT_FINISH]), then=then)
    response = await ask(provider(OPENAI, server.url, transport), 0.6)
    assert response.content == TEXT


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_complete_answer_is_not_held_up_by_what_follows(
    server: WireServer, transport: AiohttpTransport, sample: Sample
) -> None:
    """A server that keeps talking after the end of its answer does not delay it."""
    server.behaviour = stream(sample.streamed, then="drip")
    response = await ask(provider(sample.name, server.url, transport), UNHURRIED_SECS)
    assert response.latency_secs < UNHURRIED_SECS / 2


async def test_answer_complete_at_the_last_moment_counts(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """Waiting for the usage of an answer never costs the answer its time-out."""
    server.behaviour = stream(CHAT.half, sse(CHAT_TEXT[1:]), sse([CHAT_FINISH]), then="stall", gap_secs=0.6)
    response = await ask(provider(OPENAI, server.url, transport), 1.4)
    assert response.content == TEXT


async def test_pings_keep_a_thinking_stream_alive(server: WireServer, transport: AiohttpTransport) -> None:
    """A model that thinks longer than the idle limit is not given up while its server pings."""
    first, *rest = MESSAGES.streamed.split(b"\n\n")[3:]
    pieces = [MESSAGES.opening, first + b"\n\n", *[b": ping\n\n"] * 12, b"\n\n".join(rest)]
    server.behaviour = stream(*pieces, gap_secs=0.05)
    response = await ask(provider(ANTHROPIC, server.url, transport), 0.95)
    assert response.content == TEXT


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_stream_asked_for_but_not_given_is_read_whole(
    server: WireServer, transport: AiohttpTransport, sample: Sample
) -> None:
    """A server that ignores the wish to stream still gives an answer."""
    server.behaviour = plain(sample.whole)
    assert (await ask(provider(sample.name, server.url, transport))).content == TEXT


async def test_error_names_the_route_that_failed(server: WireServer, transport: AiohttpTransport) -> None:
    """Whoever reads a failure sees which provider, model and instance it came from."""
    server.behaviour = plain("", 500)
    error = await failing(provider(ANTHROPIC, server.url, transport, instance="eu"))
    assert error.route == Route(ANTHROPIC, MODELS[ANTHROPIC], "eu")
    assert str(error).startswith(f"{ANTHROPIC}/{MODELS[ANTHROPIC]}@eu: server_error (HTTP 500)")
