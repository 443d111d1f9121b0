"""Every way a vendor can fail us over a real socket, and what we make of it.

Each row is one fault with the kind and the bill it must get, on both wires, whole and streamed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from jurymast.domain.provider import Billing, FailureKind, ProviderName
from jurymast.intelligence.providers.transport import AiohttpTransport

from .samples import CHAT, CHAT_FINISH, CHAT_OPENING, CHAT_TEXT, SAMPLES, TEXT, Sample, ask, failing, provider
from .server import Behaviour, WireServer, body_then, plain, reset, silence, sse, stream

LIMIT_SECS = 0.5
UNHURRIED_SECS = 10.0
TIMED = {FailureKind.TIMEOUT, FailureKind.FIRST_TOKEN_TIMEOUT, FailureKind.STALLED}
HTML = "<!doctype html><html><title>Sign in</title></html>"


@dataclass(frozen=True)
class Row:
    """One fault: how the server behaves and what must come out.

    ``samples`` leaves out a wire that can make no difference, to save the wait.
    """

    fault: str
    behave: Callable[[Sample], Behaviour]
    kind: FailureKind
    billing: Billing
    streams: tuple[bool, ...] = (False, True)
    samples: tuple[Sample, ...] = SAMPLES


def error_body(sample: Sample, kind: str, message: str = "text") -> dict[str, object]:
    error = {"type": kind, "message": message}
    return {"error": error} if sample.name is ProviderName.OPENAI else {"type": "error", "error": error}


def whole(sample: Sample, **changes: object) -> dict[str, object]:
    return {**sample.whole, **changes}


def finished(sample: Sample, *, chat: str, messages: str) -> dict[str, object]:
    if sample.name is ProviderName.ANTHROPIC:
        return whole(sample, stop_reason=messages)
    return whole(sample, choices=[{"message": {"content": TEXT}, "finish_reason": chat}])


def textless(sample: Sample) -> dict[str, object]:
    if sample.name is ProviderName.ANTHROPIC:
        return whole(sample, content=[])
    return whole(sample, choices=[{"message": {"content": None}, "finish_reason": "stop"}])


HALF_JSON = b'{"id": "msg_1", "choices": [{"mess'
ROWS = [
    Row("reset before the head", lambda _: reset, FailureKind.RESET, Billing.UNKNOWN),
    Row("cut body", lambda _: body_then(HALF_JSON, 500, "cut"), FailureKind.CUT, Billing.UNKNOWN),
    Row("200 with half a JSON", lambda _: plain(HALF_JSON), FailureKind.MALFORMED, Billing.UNKNOWN),
    Row(
        "200 with a web page",
        lambda _: plain(HTML, content_type="text/html"),
        FailureKind.EDGE_ERROR,
        Billing.UNKNOWN,
    ),
    Row("502 with a web page", lambda _: plain(HTML, 502), FailureKind.EDGE_ERROR, Billing.UNKNOWN),
    Row(
        "200 with an error object",
        lambda sample: plain(error_body(sample, "server_error")),
        FailureKind.SERVER_ERROR,
        Billing.UNKNOWN,
    ),
    Row(
        "200 without choices",
        lambda s: plain(whole(s, choices=[], content=[])),
        FailureKind.EMPTY,
        Billing.BILLED,
    ),
    Row("200 without text", lambda sample: plain(textless(sample)), FailureKind.EMPTY, Billing.BILLED),
    Row(
        "200 cut off by its limit",
        lambda sample: plain(finished(sample, chat="length", messages="max_tokens")),
        FailureKind.TRUNCATED,
        Billing.BILLED,
    ),
    Row(
        "200 with a refusal",
        lambda sample: plain(finished(sample, chat="content_filter", messages="refusal")),
        FailureKind.CONTENT_FILTER,
        Billing.BILLED,
    ),
    Row("silence", lambda _: silence, FailureKind.TIMEOUT, Billing.UNKNOWN, (False,), (CHAT,)),
    Row("silence", lambda _: silence, FailureKind.FIRST_TOKEN_TIMEOUT, Billing.UNKNOWN, (True,), (CHAT,)),
    Row(
        "stalled body",
        lambda _: body_then(HALF_JSON, 500, "stall"),
        FailureKind.STALLED,
        Billing.UNKNOWN,
        (False,),
    ),
    Row(
        "dripping body",
        lambda _: body_then(b" ", 9_999, "drip"),
        FailureKind.TIMEOUT,
        Billing.UNKNOWN,
        (False, True),
        (CHAT,),
    ),
    Row(
        "stream that ends without an end",
        lambda sample: stream(sample.half),
        FailureKind.CUT,
        Billing.UNKNOWN,
        (True,),
    ),
    Row(
        "stream that is cut",
        lambda sample: stream(sample.half, then="cut"),
        FailureKind.CUT,
        Billing.UNKNOWN,
        (True,),
    ),
    Row(
        "error event in the stream",
        lambda sample: stream(sample.half, sample.error_event, then="stall"),
        FailureKind.OVERLOADED,
        Billing.UNKNOWN,
        (True,),
    ),
    Row(
        "head and then silence",
        lambda sample: stream(sample.opening, then="stall"),
        FailureKind.FIRST_TOKEN_TIMEOUT,
        Billing.UNKNOWN,
        (True,),
    ),
    Row(
        "comments instead of tokens",
        lambda sample: stream(sample.opening, then="drip"),
        FailureKind.FIRST_TOKEN_TIMEOUT,
        Billing.UNKNOWN,
        (True,),
    ),
    Row(
        "stall after the first token",
        lambda sample: stream(sample.half, then="stall"),
        FailureKind.STALLED,
        Billing.UNKNOWN,
        (True,),
    ),
    Row(
        "comments after the first token",
        lambda sample: stream(sample.half, then="drip"),
        FailureKind.TIMEOUT,
        Billing.UNKNOWN,
        (True,),
    ),
    Row(
        "429 rate limit",
        lambda sample: plain(error_body(sample, "rate_limit_error"), 429, retry_after="7"),
        FailureKind.RATE_LIMITED,
        Billing.NOT_BILLED,
    ),
    Row(
        "429 without money",
        lambda sample: plain(error_body(sample, "insufficient_quota"), 429),
        FailureKind.QUOTA,
        Billing.NOT_BILLED,
    ),
    Row(
        "529",
        lambda s: plain(error_body(s, "overloaded_error"), 529),
        FailureKind.OVERLOADED,
        Billing.NOT_BILLED,
    ),
    Row(
        "401",
        lambda s: plain(error_body(s, "authentication_error"), 401),
        FailureKind.AUTH,
        Billing.NOT_BILLED,
    ),
    Row(
        "404",
        lambda s: plain(error_body(s, "not_found_error"), 404),
        FailureKind.MODEL_GONE,
        Billing.NOT_BILLED,
    ),
    Row(
        "our mistake as a 500",
        lambda s: plain(error_body(s, "internal_server_error", "[{'loc': ('body', 'model')}]"), 500),
        FailureKind.BAD_REQUEST,
        Billing.NOT_BILLED,
    ),
    Row("redirect", lambda _: plain("", 302, Location="/login"), FailureKind.EDGE_ERROR, Billing.UNKNOWN),
]
CASES = [
    pytest.param(row, sample, streaming, id=f"{row.fault}-{sample.name}-{'stream' if streaming else 'whole'}")
    for row in ROWS
    for sample in row.samples
    for streaming in row.streams
]


@pytest.mark.parametrize(("row", "sample", "streaming"), CASES)
async def test_fault_gets_its_kind_and_bill(
    server: WireServer, transport: AiohttpTransport, row: Row, sample: Sample, streaming: bool
) -> None:
    """A fault on the wire is the failure the table says, sent once, and leaves no connection in use."""
    server.behaviour = row.behave(sample)
    asked = provider(sample.name, server.url, transport, stream=streaming)
    error = await failing(asked, LIMIT_SECS if row.kind in TIMED else UNHURRIED_SECS)
    assert (error.failure.kind, error.failure.billing) == (row.kind, row.billing)
    assert len(server.received) == 1
    await transport.close()
    await server.settle(0)


@pytest.mark.parametrize("name", list(ProviderName))
async def test_refused_connection_costs_nothing(
    refused_url: str, transport: AiohttpTransport, name: ProviderName
) -> None:
    """Where nobody listens, the failure says that nothing was sent."""
    failure = (await failing(provider(name, refused_url, transport))).failure
    assert (failure.kind, failure.billing) == (FailureKind.CONNECT, Billing.NOT_SENT)


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
async def test_error_whose_body_stalls_is_known_by_its_status(
    server: WireServer, transport: AiohttpTransport, streaming: bool
) -> None:
    """A refusal is not waited out to the end: its status says what it is."""
    server.behaviour = body_then(b'{"error":', 100, "stall", status=429)
    asked = provider(ProviderName.XAI, server.url, transport, stream=streaming)
    assert (await failing(asked, LIMIT_SECS)).failure.kind is FailureKind.RATE_LIMITED


async def test_slow_connect_costs_nothing(unaccepting_url: str, transport: AiohttpTransport) -> None:
    """A connection that does not come about is known not to have been billed."""
    failure = (await failing(provider(ProviderName.XAI, unaccepting_url, transport), 0.3)).failure
    assert (failure.kind, failure.billing) == (FailureKind.CONNECT, Billing.NOT_SENT)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_wish_to_wait_is_kept(server: WireServer, transport: AiohttpTransport, sample: Sample) -> None:
    """What a rate limit asks us to wait reaches the caller."""
    server.behaviour = plain(error_body(sample, "rate_limit_error"), 429, retry_after="7")
    assert (await failing(provider(sample.name, server.url, transport))).failure.retry_after_secs == 7.0


@pytest.mark.parametrize("then", ["end", "stall", "drip", "cut"])
async def test_complete_stream_without_done_is_an_answer(
    server: WireServer, transport: AiohttpTransport, then: str
) -> None:
    """A finish reason completes a chat stream, whatever happens to its connection afterwards."""
    server.behaviour = stream(sse([CHAT_OPENING, *CHAT_TEXT, CHAT_FINISH]), then=then)
    response = await ask(provider(ProviderName.OPENAI, server.url, transport), 0.6)
    assert response.content == TEXT


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_complete_answer_is_not_held_up_by_what_follows(
    server: WireServer, transport: AiohttpTransport, sample: Sample
) -> None:
    """A server that keeps talking after the end of its answer does not delay it."""
    server.behaviour = stream(sample.streamed, then="drip")
    response = await ask(provider(sample.name, server.url, transport), UNHURRIED_SECS)
    assert response.latency_secs < UNHURRIED_SECS / 2


async def test_pings_keep_a_thinking_stream_alive(server: WireServer, transport: AiohttpTransport) -> None:
    """A model that thinks longer than the idle limit is not given up while its server pings."""
    first, *rest = SAMPLES[1].streamed.split(b"\n\n")[3:]
    pieces = [SAMPLES[1].opening, first + b"\n\n", *[b": ping\n\n"] * 10, b"\n\n".join(rest)]
    server.behaviour = stream(*pieces, gap_secs=0.04)
    response = await ask(provider(ProviderName.ANTHROPIC, server.url, transport), 0.9)
    assert response.content == TEXT


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_stream_asked_for_but_not_given_is_read_whole(
    server: WireServer, transport: AiohttpTransport, sample: Sample
) -> None:
    """A server that ignores the wish to stream still gives an answer."""
    server.behaviour = plain(sample.whole)
    assert (await ask(provider(sample.name, server.url, transport))).content == TEXT
