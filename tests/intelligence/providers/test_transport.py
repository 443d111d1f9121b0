"""The seam to the network: limits that hold, and errors that say whether the request left."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web

from jurymast.intelligence.providers.transport import AiohttpTransport, Stage, TransportError
from jurymast.ports import TimeLimits

from .server import Behaviour, WireServer, body_then, plain, reset, silence, stream

GENEROUS = TimeLimits(total=5.0)
SHORT_SECS = 0.15


async def post(transport: AiohttpTransport, url: str, limits: TimeLimits = GENEROUS) -> tuple[int, bytes]:
    async with transport.send("POST", url, {}, b"{}", limits) as reply:
        return reply.status, await reply.read()


async def lines(transport: AiohttpTransport, url: str, limits: TimeLimits = GENEROUS) -> list[bytes]:
    async with transport.send("POST", url, {}, b"{}", limits) as reply:
        return [line async for line in reply.lines()]


async def failure(transport: AiohttpTransport, url: str, limits: TimeLimits = GENEROUS) -> TransportError:
    with pytest.raises(TransportError) as caught:
        await post(transport, url, limits)
    return caught.value


async def test_reply_has_status_headers_and_body(server: WireServer, transport: AiohttpTransport) -> None:
    """A reply arrives whole, with header names in lower case."""
    server.behaviour = plain("hello", 201, X_Thing="yes")
    async with transport.send("POST", server.url, {"x-asked": "1"}, b"body", GENEROUS) as reply:
        assert (reply.status, reply.headers["x-thing"], await reply.read()) == (201, "yes", b"hello")
    assert server.received[0].body == b"body"
    assert server.received[0].headers["x-asked"] == "1"


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a\r\nb\r\n"], [b"a", b"b"]),
        ([b"da", b"ta: 1\n\nda", b"ta: 2\n"], [b"data: 1", b"", b"data: 2"]),
        ([b"last without an end"], [b"last without an end"]),
        ([b"\xe2\x82", b"\xac\n"], ["\N{EURO SIGN}".encode()]),
        ([b"\n"], [b""]),
        ([], []),
    ],
    ids=str,
)
async def test_lines_are_whole_however_they_arrive(
    server: WireServer, transport: AiohttpTransport, pieces: list[bytes], expected: list[bytes]
) -> None:
    """A line split over packets is one line; line ends are taken off."""
    server.behaviour = stream(*pieces, gap_secs=0.005)
    assert await lines(transport, server.url) == expected


async def test_a_name_that_nobody_knows_is_said_so(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a machine without a network, or a misspelt address, says at first."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await failure(transport, "http://nowhere.invalid/v1")
    assert (error.stage, error.sent, error.detail) == (Stage.REFUSED, False, "Name or service not known")


async def test_refused_connection_was_not_sent(refused_url: str, transport: AiohttpTransport) -> None:
    """Where nobody listens, nothing left: the attempt cost nothing."""
    error = await failure(transport, refused_url)
    assert (error.stage, error.sent) == (Stage.REFUSED, False)


async def test_unknown_host_and_bad_address_were_not_sent(transport: AiohttpTransport) -> None:
    """A name that does not resolve and an address that is none fail before anything is sent."""
    for url in ("http://nowhere.invalid/v1", "not a url", "ftp://127.0.0.1/"):
        error = await failure(transport, url)
        assert (error.stage, error.sent) == (Stage.REFUSED, False)


async def test_slow_connect_was_not_sent(unaccepting_url: str, transport: AiohttpTransport) -> None:
    """A connection that does not come about in time has cost nothing."""
    error = await failure(transport, unaccepting_url, TimeLimits(total=5.0, connect=SHORT_SECS))
    assert (error.stage, error.sent) == (Stage.CONNECT_TIMEOUT, False)


async def test_total_limit_while_connecting_was_not_sent(
    unaccepting_url: str, transport: AiohttpTransport
) -> None:
    """The total limit bounds connecting too, and still knows that nothing left."""
    error = await failure(transport, unaccepting_url, TimeLimits(total=SHORT_SECS))
    assert (error.stage, error.sent) == (Stage.TOTAL_TIMEOUT, False)


async def test_reset_after_the_request_was_sent(server: WireServer, transport: AiohttpTransport) -> None:
    """A connection dropped without an answer may have cost money."""
    server.behaviour = reset
    error = await failure(transport, server.url)
    assert (error.stage, error.sent) == (Stage.RESET, True)


async def test_silent_server_meets_the_first_byte_limit(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """A server that takes the request and says nothing is given up at the first-byte limit."""
    error = await failure(transport, server.url, TimeLimits(total=5.0, first_byte=SHORT_SECS))
    assert (error.stage, error.sent) == (Stage.FIRST_BYTE_TIMEOUT, True)
    await server.settle(0)


async def test_silent_server_meets_the_total_limit(server: WireServer, transport: AiohttpTransport) -> None:
    """Without a first-byte limit the total one ends the silence."""
    error = await failure(transport, server.url, TimeLimits(total=SHORT_SECS))
    assert (error.stage, error.sent) == (Stage.TOTAL_TIMEOUT, True)


async def test_stalled_body_meets_the_idle_limit(server: WireServer, transport: AiohttpTransport) -> None:
    """A body that stops arriving is given up at the idle limit."""
    server.behaviour = body_then(b'{"half":', 100, "stall")
    error = await failure(transport, server.url, TimeLimits(total=5.0, idle=SHORT_SECS))
    assert (error.stage, error.sent) == (Stage.IDLE_TIMEOUT, True)


@pytest.mark.parametrize("behaviour", [body_then(b" ", 10_000, "drip"), stream(then="drip")])
async def test_drip_does_not_escape_the_total_limit(
    server: WireServer, transport: AiohttpTransport, behaviour: Behaviour
) -> None:
    """Bytes that keep trickling in reset the idle limit but never the total one."""
    server.behaviour = behaviour
    error = await failure(transport, server.url, TimeLimits(total=0.3, first_byte=0.2, idle=0.2))
    assert (error.stage, error.sent) == (Stage.TOTAL_TIMEOUT, True)
    await server.settle(0)


@pytest.mark.parametrize("behaviour", [body_then(b'{"half":', 100, "cut"), stream(b"data: 1\n", then="cut")])
async def test_cut_body_is_no_body(
    server: WireServer, transport: AiohttpTransport, behaviour: Behaviour
) -> None:
    """A body that ends before its end is an error, never a shorter body."""
    server.behaviour = behaviour
    error = await failure(transport, server.url)
    assert (error.stage, error.sent) == (Stage.CUT, True)


async def test_body_and_lines_have_bounds(server: WireServer) -> None:
    """A reply larger than allowed is refused while it arrives, a line without end too."""
    transport = AiohttpTransport(body_bytes_max=10_000, line_bytes_max=1_000)
    server.behaviour = plain("x" * 1_001)
    assert (await failure(transport, server.url)).stage is Stage.TOO_LARGE
    server.behaviour = plain("x" * 1_000)
    assert await post(transport, server.url) == (200, b"x" * 1_000)
    for pieces, complaint in (
        ((b"x" * 600, b"x" * 600), "line"),
        ((b"x" * 1_001 + b"\n",), "line"),
        ((b"x\n" * 5_001,), "body"),
    ):
        server.behaviour = stream(*pieces, then="stall", gap_secs=0.01)
        with pytest.raises(TransportError, match=complaint):
            await lines(transport, server.url)
    server.behaviour = stream(b"x\n" * 5_000)
    assert len(await lines(transport, server.url)) == 5_000
    await transport.close()


async def test_redirects_are_not_followed(server: WireServer, transport: AiohttpTransport) -> None:
    """A redirect comes back as it is: a key is never carried to another address."""
    server.behaviour = plain("", 307, Location="/elsewhere")
    assert (await post(transport, server.url))[0] == 307
    assert len(server.received) == 1


async def test_connection_is_kept_for_the_next_request(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """Requests one after the other share a connection, whole bodies and streams alike."""
    seen = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.add(request.transport)
        if len(server.received) % 2:
            return await stream(b"data: 1\n\n")(request)
        return await plain("x")(request)

    server.behaviour = answer
    for _ in range(4):
        await post(transport, server.url)
    assert len(seen) == 1


async def test_request_is_not_repeated_on_a_stale_connection(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """A kept connection that breaks fails the request once: what may be billed is not sent again silently."""
    server.behaviour = plain("x")
    await post(transport, server.url)
    server.behaviour = reset
    error = await failure(transport, server.url)
    assert (error.stage, error.sent) == (Stage.RESET, True)
    assert "kept connection" in error.detail
    assert len(server.received) == 2


async def test_leaving_early_closes_the_connection(server: WireServer, transport: AiohttpTransport) -> None:
    """A stream nobody reads on is hung up on, so that the vendor stops writing."""
    server.behaviour = stream(b"data: 1\n\n", then="stall")
    async with transport.send("POST", server.url, {}, b"{}", GENEROUS) as reply:
        async for _ in reply.lines():
            break
    await server.settle(0)
    assert server.gone == 1


@pytest.mark.parametrize("behaviour", [silence, stream(b"data: 1\n", then="stall")])
async def test_cancelling_closes_the_connection(
    server: WireServer, transport: AiohttpTransport, behaviour: Behaviour
) -> None:
    """A request that is no longer wanted takes its connection with it."""
    server.behaviour = behaviour
    task = asyncio.create_task(post(transport, server.url))
    await server.settle(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.settle(0)


async def test_time_out_of_the_caller_stays_the_callers(
    server: WireServer, transport: AiohttpTransport
) -> None:
    """An error raised while a reply is read comes out as it is."""
    server.behaviour = plain("x")
    with pytest.raises(TimeoutError, match="mine"):
        async with transport.send("POST", server.url, {}, b"{}", GENEROUS):
            raise TimeoutError("mine")


async def test_close_leaves_nothing_and_may_be_repeated(server: WireServer) -> None:
    """Closing ends kept connections; a transport never used closes too."""
    transport = AiohttpTransport()
    await transport.close()
    server.behaviour = plain("x")
    await post(transport, server.url)
    await server.settle(1)
    await transport.close()
    await transport.close()
    await server.settle(0)


async def test_proxy_of_the_environment_is_used_only_when_asked(
    server: WireServer, refused_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy variable left in the environment does not reroute keys and prompts."""
    monkeypatch.setenv("http_proxy", refused_url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.behaviour = plain("x")
    direct, proxied = AiohttpTransport(), AiohttpTransport(trust_env=True)
    assert (await post(direct, server.url))[0] == 200
    assert (await failure(proxied, server.url)).stage is Stage.REFUSED
    await direct.close()
    await proxied.close()
