"""The server: who asks, what is asked, who answers, and how it is told.

The questions of clients go the way of the bot's own: ranked routes, one deadline, hedges, money held for the
worst case, evidence of health. An answer with a schema counts when it conforms, so it is told when it is
complete; free text is passed on as it comes, and what breaks off ends with an error, never as an answer.
"""

from __future__ import annotations

import asyncio
import difflib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from jurymast.domain.decision import AbstainReason
from jurymast.domain.errors import ConfigError, PortTaken
from jurymast.domain.money import USD
from jurymast.domain.provider import (
    AIRequest,
    AIResponse,
    FailureKind,
    Format,
    Route,
    Secret,
    Verbatim,
    same_model,
)
from jurymast.domain.status import EmergencyMode
from jurymast.faces.gateway.asking import BODY_BYTES_MAX, TROUBLES, Api, Asked, BadAsk, Live, Trouble, read
from jurymast.faces.gateway.chat import ChatApi
from jurymast.faces.gateway.messages import MessagesApi
from jurymast.faces.gateway.responses import ResponsesApi
from jurymast.faces.web.access import is_loopback, own_page
from jurymast.intelligence.enhanced_client import EnhancedAIClient
from jurymast.intelligence.fallback_manager import Answered, Unanswered
from jurymast.policy.parsing import Rejected
from jurymast.policy.routing import RouteOrder
from jurymast.policy.schema import problem_with

ANYBODY: Final = "anybody"
"""The client of a gateway that asks for no key."""
ANY_MODEL: Final = "jurymast"
"""The model that means whoever is first."""
QUESTIONS_MAX: Final = 1_000
"""Under way at once; more are told to come again."""
NO_RETRY: Final[Mapping[str, str]] = {"x-should-retry": "false"}
"""For the vendors' SDKs: whoever could answer has been asked."""
ORDERS_KEPT: Final = 256
_LOG: Final = logging.getLogger(__name__)
_JSON: Final = "application/json"
_VENDORS_SAY: Final = frozenset({FailureKind.BAD_REQUEST, FailureKind.CONTEXT_LENGTH})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Who may ask, by name, and for how long. Without keys anybody may who reaches this machine's own
    address; elsewhere keys are demanded. ``output_tokens`` limits an answer whose question does not."""

    host: str = "127.0.0.1"
    port: int = 8_770
    deadline_secs: float = 60.0
    output_tokens: int = 4_096
    keys: Mapping[str, Secret] | None = None
    names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name, key in (self.keys or {}).items():
            if not key:
                raise ConfigError(f"the key of gateway client {name!r} is empty: set it, or leave {name} out")
        if not self.keys and not is_loopback(self.host):
            raise ConfigError(
                f"the gateway would listen on {self.host} without a key: anybody there could spend your AI "
                "money. Name clients under [gateway.clients], each with its key, or listen on 127.0.0.1."
            )


class GatewayServer:
    """Answers clients through one AI layer."""

    def __init__(self, client: EnhancedAIClient, settings: GatewaySettings) -> None:
        self._client = client
        self._fallback = client.fallback_manager
        self._settings = settings
        self._formats = self._fallback.providers.formats()
        self._under_way = 0
        spoken = frozenset(self._formats.values())
        self._chat, self._messages = ChatApi(spoken), MessagesApi(spoken)
        self._responses = ResponsesApi(spoken)
        self._known = lru_cache(maxsize=ORDERS_KEPT)(self._is_ours)
        self._order = lru_cache(maxsize=ORDERS_KEPT)(self._order_of)

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._asked(self._chat)),
                web.post("/v1/messages", self._asked(self._messages)),
                web.post("/v1/responses", self._asked(self._responses)),
                web.get("/v1/models", self._models),
                web.get("/health", self._health),
                web.get("/health/live", self._alive),
            ]
        )
        return app

    # Questions

    def _asked(self, api: Api) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                name = self._client_of(request)
            except BadAsk as error:
                return _refused(api, Trouble(401, "authentication_error", "invalid_api_key", error.message))
            if self._under_way >= QUESTIONS_MAX:
                return _refused(api, Trouble(503, "server_error", "busy", "too many questions are under way"))
            self._under_way += 1
            try:
                asked = read(api, await request.read())
                return await self._answer(api, request, name, asked)
            except BadAsk as error:
                code = "model_not_found" if error.field == "model" else "invalid_request"
                status = 404 if code == "model_not_found" else 400
                trouble = Trouble(status, "invalid_request_error", code, error.message, error.field)
                return _refused(api, trouble)
            except web.HTTPRequestEntityTooLarge:
                large = f"the question is larger than {BODY_BYTES_MAX} bytes"
                return _refused(api, Trouble(413, "invalid_request_error", "too_large", large))
            except ConnectionError:  # the client has left
                raise
            except Exception as error:  # whatever broke in here, the client is not left without a word
                _LOG.exception("a question of gateway client %s could not be dealt with", name)
                return _refused(api, _trouble(AbstainReason.INTERNAL_ERROR, type(error).__name__))
            finally:
                self._under_way -= 1

        return handle

    async def _answer(self, api: Api, request: web.Request, name: str, asked: Asked) -> web.StreamResponse:
        order = self._order(asked.model, tuple(sorted(asked.untold.items())))
        if self._fallback.mode is EmergencyMode.KILLED:
            return _refused(api, _trouble(AbstainReason.EMERGENCY_MODE, "mode KILLED: a person ends it"))
        live = asked.stream and asked.schema is None
        question = AIRequest(
            (),
            max_output_tokens=asked.output_tokens or self._settings.output_tokens,
            verbatim=Verbatim(asked.bodies, asked.size_bytes, stream=live),
        )
        relay = _Relay(request, api, self._formats, asked) if live else None
        asking = self._client.complete(
            question,
            deadline_secs=self._deadline(request.headers),
            validate=_any_answer if asked.schema is None else _conforming(asked.schema),
            purpose="gateway",
            strategy=name,
            order=order,
            relay=relay,
        )
        if relay is not None:
            return await relay.told(asking)
        outcome = await asking
        if isinstance(outcome, Unanswered):
            return _refused(api, _why(outcome))
        told_in = self._formats[outcome.route]
        if asked.stream:
            return _streamed(api, outcome, told_in, asked.usage_wanted)
        body = api.whole(outcome.response, told_in)
        return web.Response(body=body, content_type=_JSON, headers=_told_of(outcome))

    def _deadline(self, headers: Mapping[str, str]) -> float:
        """The operator's, or what the client's SDK says it will wait, if that is less."""
        longest = self._settings.deadline_secs
        if (stated := headers.get("x-stainless-timeout")) is not None:
            with suppress(ValueError):
                return max(0.1, min(longest, float(stated)))
        return longest

    def _client_of(self, request: web.Request) -> str:
        """Who asks. Raises BadAsk for nobody that is known, and for a page of another site."""
        headers = request.headers
        if not own_page(headers):
            raise BadAsk("a web page of another site may not ask here")
        if not self._known(headers.get("host", "")):
            raise BadAsk("this gateway does not go by that name")
        if not self._settings.keys:
            return ANYBODY
        given = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("x-api-key", "")
        found = ""
        for name, key in self._settings.keys.items():
            if hmac.compare_digest(given.encode(errors="replace"), key.value.encode()):
                found = name
        if not found:
            raise BadAsk("no client of this gateway has that key")
        return found

    def _is_ours(self, host_header: str) -> bool:
        """Whether we go by that name. Elsewhere than on this machine a key is what counts."""
        name = (urlsplit(f"//{host_header}").hostname or "").casefold()
        return not is_loopback(self._settings.host) or is_loopback(name) or name in self._settings.names

    # Which routes

    def _order_of(self, model: str, untold: tuple[tuple[Format, str], ...]) -> RouteOrder | None:
        """Who is asked first for a model, and who can't be. Raises BadAsk for a model nobody knows."""
        reasons = {format_: f"can't carry {what}" for format_, what in untold}
        refused = {route: reasons[format_] for route, format_ in self._formats.items() if format_ in reasons}
        wanted = self._wanted(model)
        if not wanted and not refused:
            return None
        places = {route: 0 if route in wanted else 1 for route in self._formats} if wanted else {}
        return RouteOrder(places=places, refused=refused)

    def _wanted(self, model: str) -> frozenset[Route]:
        """The routes that a name means; none when it leaves the choice to us."""
        if model == ANY_MODEL:
            return frozenset()
        catalogue = self._fallback.providers.catalogue
        now, _ = catalogue.resolve(model)
        wanted = frozenset(
            route
            for route in self._formats
            if route.provider == model or same_model(route.model, model) or same_model(route.model, now)
        )
        if wanted:
            return wanted
        try:
            catalogue.price(now)
        except ConfigError:
            names = self._names()
            close = difflib.get_close_matches(model, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(names)}"
            raise BadAsk(f"the model {model!r:.80} is not known; {hint}", "model") from None
        return wanted

    def _names(self) -> list[str]:
        return [ANY_MODEL, *dict.fromkeys(route.model for route in self._formats)]

    async def _models(self, request: web.Request) -> web.Response:
        try:
            self._client_of(request)
        except BadAsk as error:
            api: Api = self._messages if "anthropic-version" in request.headers else self._chat
            return _refused(api, Trouble(401, "authentication_error", "invalid_api_key", error.message))
        owners = {route.model: route.provider.value for route in self._formats}
        names = self._names()
        if "anthropic-version" in request.headers:
            data: list[dict[str, Any]] = [
                {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
                for name in names
            ]
            return web.json_response(
                {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}
            )
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": owners.get(name, ANY_MODEL)}
            for name in names
        ]
        return web.json_response({"object": "list", "data": data})

    # Health

    async def _health(self, _: web.Request) -> web.Response:
        """200 while somebody is believed to answer, else 503; no money in it."""
        status = self._fallback.get_system_status()
        able = self._fallback.get_available_providers()
        well = bool(able) and status.mode is not EmergencyMode.KILLED
        body = {
            "status": "ok" if well else "unavailable",
            "mode": status.mode.value,
            "providers": {name.value: str(state) for name, state in status.providers.items()},
            "first": able[0].value if able else None,
        }
        return web.json_response(body, status=200 if well else 503)

    async def _alive(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})


class _Relay:
    """Passes one answer on while it comes: what the layer hears is queued, and the handler writes it."""

    def __init__(self, request: web.Request, api: Api, formats: Mapping[Route, Format], asked: Asked) -> None:
        self._request = request
        self._api = api
        self._formats = formats
        self._usage_wanted = asked.usage_wanted
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._route: Route | None = None
        self._live: Live | None = None
        self._seen = 0

    def began(self, route: Route) -> None:
        self._route = route
        self._live = self._api.live(self._formats[route], usage_wanted=self._usage_wanted)

    def line(self, line: bytes, texts: Sequence[str]) -> None:
        fresh, self._seen = "".join(texts[self._seen :]), len(texts)
        if self._live is not None and (piece := self._live.line(line, fresh)):
            self._pieces.put_nowait(piece)

    async def told(self, asking: Awaitable[Answered[str] | Unanswered]) -> web.StreamResponse:
        """The answer, from its first token on as it comes; an error reply when there is none."""
        task = asyncio.ensure_future(asking)
        task.add_done_callback(lambda _: self._pieces.put_nowait(None))
        try:
            response = await self._written(task)
        finally:
            if not task.done():  # the client has left
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        return response

    async def _written(self, task: asyncio.Future[Answered[str] | Unanswered]) -> web.StreamResponse:
        response: web.StreamResponse | None = None
        while (piece := await self._pieces.get()) is not None:
            while not self._pieces.empty() and (more := self._pieces.get_nowait()) is not None:
                piece += more
            if response is None:
                response = await self._open()
            await response.write(piece)
            if self._pieces.empty() and task.done():
                break
        outcome = await task
        if isinstance(outcome, Unanswered):
            if response is None:
                return _refused(self._api, _why(outcome))
            await response.write(self._api.broken(_why(outcome)))
        elif self._live is None:
            return _streamed(self._api, outcome, self._formats[outcome.route], self._usage_wanted)
        else:
            response = response or await self._open()  # nothing of it was told before its end
            await response.write(self._live.end(outcome.response))
        await response.write_eof()
        return response

    async def _open(self) -> web.StreamResponse:
        headers = {"content-type": "text/event-stream", "cache-control": "no-store"}
        if self._route is not None:
            headers["x-jurymast-route"] = str(self._route)
        response = web.StreamResponse(headers=headers)
        await response.prepare(self._request)
        return response


@asynccontextmanager
async def serving(client: EnhancedAIClient, settings: GatewaySettings) -> AsyncIterator[str]:
    """Serve until the block ends; gives the address that clients name as base URL. Raises PortTaken."""
    server = GatewayServer(client, settings)
    runner = web.AppRunner(
        server.application(), access_log=None, shutdown_timeout=1.0, handler_cancellation=True
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port)
        try:
            await site.start()
        except OSError as error:
            raise PortTaken(
                f"the gateway can't listen on {settings.host}:{settings.port}: {error.strerror}. "
                "Choose another port."
            ) from error
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        yield f"http://{shown}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _any_answer(response: AIResponse) -> str:
    return response.content


def _conforming(schema: Mapping[str, Any]) -> Callable[[AIResponse], str | Rejected]:
    """Accepts answers that conform. A tool's call, a refusal and one cut by the client's own limit are for
    the client to judge."""

    def judge(response: AIResponse) -> str | Rejected:
        if response.finish_reason not in {"stop", "end_turn", "stop_sequence"} or not response.content:
            return response.content
        try:
            value = msgspec.json.decode(response.content)
        except (msgspec.DecodeError, RecursionError):
            return Rejected("the answer is no JSON")
        problem = problem_with(value, schema)
        return response.content if problem is None else Rejected(problem)

    return judge


def _trouble(reason: AbstainReason, message: str) -> Trouble:
    status, kind = TROUBLES[reason]
    code = "insufficient_quota" if reason is AbstainReason.AI_BUDGET_SPENT else reason.value
    return Trouble(status, kind, code, message)


def _why(outcome: Unanswered) -> Trouble:
    """What a client is told when nobody answered: its own fault where vendors say so, else every cause."""
    sent = [attempt for attempt in outcome.attempts if attempt.sent]
    if sent and all(attempt.failure in _VENDORS_SAY for attempt in sent):
        return Trouble(400, "invalid_request_error", str(sent[0].failure), outcome.detail)
    if not sent and outcome.attempts and all("can't carry" in a.detail for a in outcome.attempts):
        return Trouble(400, "invalid_request_error", "no_route", f"nobody here can answer: {outcome.detail}")
    return _trouble(outcome.reason, outcome.detail or str(outcome.reason))


def _refused(api: Api, trouble: Trouble) -> web.Response:
    return web.Response(
        body=api.trouble(trouble), status=trouble.status, content_type=_JSON, headers=NO_RETRY
    )


def _streamed(api: Api, outcome: Answered[str], told_in: Format, usage_wanted: bool) -> web.Response:
    """An answer that came whole, as the stream that was asked for."""
    body = api.frames(outcome.response, told_in, usage_wanted=usage_wanted)
    return web.Response(body=body, content_type="text/event-stream", headers=_told_of(outcome))


def _told_of(outcome: Answered[str]) -> dict[str, str]:
    """Where an answer came from and what it cost, for who wants to know."""
    headers = {
        "x-jurymast-route": str(outcome.route),
        "x-jurymast-rung": outcome.rung.value,
        "x-jurymast-cost-usd": f"{outcome.cost / USD:.6f}",
        "x-jurymast-sends": str(sum(attempt.sent for attempt in outcome.attempts)),
    }
    if outcome.response.simulated:
        headers["x-jurymast-simulated"] = "true"
    return headers
