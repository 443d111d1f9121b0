"""One simulated provider: routes requests through faults, wire, forecaster and delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from aiohttp import web

from jurymast.domain.provider import ProviderName
from jurymast.lab.emulators.answers import REFUSAL_TEXT, write_answer, write_constant, write_wrong_schema
from jurymast.lab.emulators.chance import token, uniform
from jurymast.lab.emulators.chat_wire import ChatWire
from jurymast.lab.emulators.delivery import Pacing, hang_up, never, send_stream, send_whole
from jurymast.lab.emulators.faults import Fault, FaultBoard, FaultSpec, retry_after_headers
from jurymast.lab.emulators.forecaster import Forecaster
from jurymast.lab.emulators.language_models import LanguageModelsWire
from jurymast.lab.emulators.ledger import Ledger
from jurymast.lab.emulators.messages_wire import MessagesWire
from jurymast.lab.emulators.ollama_wire import VERSION, OllamaWire, same_model
from jurymast.lab.emulators.prompt import read_prompt
from jurymast.lab.emulators.refusals import Refusal, has_wording, refusal
from jurymast.lab.emulators.tariff import micros, tariff_of
from jurymast.lab.emulators.tempo import answer_secs, count_tokens, cut_to_tokens, reasoning_tokens, shortened
from jurymast.lab.emulators.wire import Ask, Finish, Reply, Wire, compact

SIMULATED_HEADER: Final = "x-jurymast-simulated"
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
REFUSAL_SHARE: Final = 0.05
"""Errors come back in this share of the time of an answer (assumption)."""

UNLISTED_MODEL: Final = "unlisted-model-0"
RETRAINED: Final = " retrained"
RETIRING_DAYS: Final = 20

PORTAL_PAGE: Final = "<!doctype html><title>Sign in</title><p>SIMULATED captive portal: sign in to go on."
EDGE_PAGE: Final = "<html><head><title>502 Bad Gateway</title></head><body>SIMULATED edge: 502</body></html>"

_REQUEST_ID: Final = web.RequestKey("request_id", str)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Named(msgspec.Struct):
    model: str


@dataclass(slots=True)
class _Call:
    """One inference request while it is answered."""

    request: web.Request
    wire: Wire
    serial: int
    request_id: str
    spec: FaultSpec | None

    @property
    def fault(self) -> Fault | None:
        return self.spec.fault if self.spec else None


class ProviderEmulator:
    """The behaviour of one vendor's servers, whatever port they listen on."""

    def __init__(
        self,
        provider: ProviderName,
        models: tuple[str, ...],
        *,
        forecaster: Forecaster,
        board: FaultBoard,
        seed: int,
        latency_scale: float,
        redirects: Mapping[str, str],
    ) -> None:
        self.provider = provider
        self.models = models
        self.ledger = Ledger()
        self._forecaster = forecaster
        self._board = board
        self._seed = seed
        self._latency_scale = latency_scale
        self._redirects = redirects

    def knows(self, model: str) -> bool:
        """Whether requests for ``model`` are answered, as itself or redirected."""
        return self._served(model) is not None

    def application(self) -> web.Application:
        """A fresh application: a port that was closed can't open the old one again."""
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.on_response_prepare.append(self._stamp)
        router = application.router
        if self.provider is ProviderName.ANTHROPIC:
            messages = MessagesWire()
            router.add_post("/v1/messages", self._inference(messages))
            router.add_get("/v1/models", self._listing(messages))
            return application
        chat = ChatWire(self.provider)
        router.add_post("/v1/chat/completions", self._inference(chat))
        router.add_get("/v1/models", self._listing(chat))
        if self.provider is ProviderName.XAI:
            router.add_get("/v1/language-models", self._listing(LanguageModelsWire(self.provider)))
        if self.provider is ProviderName.LOCAL:
            native = OllamaWire()
            router.add_post("/api/chat", self._inference(native))
            router.add_get("/api/tags", self._listing(native))
            router.add_get("/api/version", _ollama_version)
            router.add_get("/", _ollama_greeting)
        return application

    async def _stamp(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers[SIMULATED_HEADER] = "true"
        if _REQUEST_ID in request:
            name = "request-id" if self.provider is ProviderName.ANTHROPIC else "x-request-id"
            response.headers[name] = request[_REQUEST_ID]

    def _inference(self, wire: Wire) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.ledger = self.ledger.arrived()
            serial = self.ledger.requests
            body = await request.read()
            drawn = uniform(self._seed, "fault", self.provider, serial)
            spec = self._board.strike(self.provider, self._asked_model(body), drawn)
            request_id = request[_REQUEST_ID] = f"req_{token(self._seed, self.provider, serial)[:24]}"
            return await self._answer(_Call(request, wire, serial, request_id, spec), body)

        return handle

    def _listing(self, wire: Wire) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.ledger = self.ledger.listed()
            spec = self._board.strike(self.provider, None, 0.5)
            drawn = token(self._seed, self.provider, "list", self.ledger.model_lists)
            request_id = request[_REQUEST_ID] = f"req_{drawn[:24]}"
            call = _Call(request, wire, 0, request_id, spec)
            try:
                if spec is not None and spec.fault.hits_model_list:
                    page = await self._misbehave(call, "")
                    if page is not None:
                        return page
                wire.check_key(request.headers)
            except Refusal as refused:
                return _refusal_response(call, refused)
            return web.json_response(wire.model_list(*self._shown()))

        return handle

    def _shown(self) -> tuple[list[str], dict[str, str]]:
        """The models that the list has, and when those of them end that are to retire."""
        faults = {model: self._board.strike(self.provider, model, 0.0) for model in self.models}
        told = {model: spec.fault for model, spec in faults.items() if spec is not None}
        end = (datetime.now(UTC) + timedelta(days=RETIRING_DAYS)).date().isoformat()
        # A vendor that drops these has others.
        shown = [model for model in self.models if told.get(model) is not Fault.UNLISTED] or [UNLISTED_MODEL]
        return (
            shown,
            {model: end for model, fault in told.items() if fault is Fault.RETIRING},
        )

    async def _answer(self, call: _Call, body: bytes) -> web.StreamResponse:
        secs = self._latency_scale * answer_secs(self.provider, self._seed, call.serial)
        try:
            page = await self._misbehave(call, self._asked_model(body) or "")
            if page is not None:
                await asyncio.sleep(REFUSAL_SHARE * secs)
                return page
            call.wire.check_key(call.request.headers)
            ask = call.wire.read(call.request.headers, body)
            if call.fault is Fault.STREAM_ERROR and not ask.stream:
                raise refusal(self.provider, Fault.UNAVAILABLE, model=ask.model)
            reply = self._reply(call, ask, secs)
        except Refusal as refused:
            await asyncio.sleep(REFUSAL_SHARE * secs)
            return _refusal_response(call, refused)
        bill = 0
        if reply.output_tokens or reply.finish is not Finish.REFUSED:  # a refusal unread is free
            bill = micros(reply.ticks)
            self.ledger = self.ledger.charged(reply)
        try:
            return await self._deliver(call, ask, reply, secs)
        except (asyncio.CancelledError, ConnectionError):
            self.ledger = self.ledger.lost(bill)
            raise

    async def _deliver(self, call: _Call, ask: Ask, reply: Reply, secs: float) -> web.StreamResponse:
        pacing = Pacing(shortened(secs, reply.visible_tokens), self._latency_scale, call.fault)
        if not ask.stream:
            return await send_whole(call.request, compact(call.wire.whole(reply)), pacing)
        broken = refusal(self.provider, Fault.OVERLOADED, model=ask.model).wording
        error_frame = call.wire.error_frame(broken, call.request_id)
        return await send_stream(call.request, call.wire.frames(ask, reply), error_frame, pacing)

    async def _misbehave(self, call: _Call, model: str) -> web.StreamResponse | None:
        """What a fault does before the request is looked at; None lets the request through."""
        spec = call.spec
        if spec is None:
            return None
        if has_wording(self.provider, spec.fault):
            headers = retry_after_headers(spec.retry_after, datetime.now(UTC))
            raise refusal(self.provider, spec.fault, model=model, headers=headers)
        match spec.fault:
            case Fault.RESET:
                await hang_up(call.request, reset=True)
            case Fault.HANG:
                await never()
            case Fault.HTML:
                return web.Response(text=PORTAL_PAGE, content_type="text/html")
            case Fault.HTML_502:
                headers = {"Server": "cloudflare"}
                return web.Response(text=EDGE_PAGE, content_type="text/html", status=502, headers=headers)
            case Fault.ERROR_OBJECT:
                broken = refusal(self.provider, Fault.SERVER_ERROR, model=model).wording
                return web.json_response(call.wire.error(broken, call.request_id))
        return None

    def _reply(self, call: _Call, ask: Ask, secs: float) -> Reply:
        """What the model answers. Raises Refusal for a model that is not served."""
        served = self._served(ask.model)
        if served is None:
            raise refusal(self.provider, Fault.MODEL_GONE, model=ask.model)
        text, finish = self._text(call.fault, ask, served)
        schema = compact(ask.schema).decode() if ask.schema is not None else ""
        input_tokens = count_tokens(schema, *(message.content for message in ask.messages))
        thinking = reasoning_tokens(self.provider, input_tokens, self._seed, call.serial)
        limit = ask.output_tokens_max
        if limit is not None and thinking + (count_tokens(text) if text else 0) > limit:
            thinking = min(thinking, limit)
            text, finish = cut_to_tokens(text, limit - thinking), Finish.LENGTH
        refused = finish is Finish.REFUSED and self.provider is ProviderName.ANTHROPIC
        if refused:
            text, thinking = "", 0
        read, written = _cache(input_tokens) if call.fault is Fault.CACHED else (0, 0)
        reply = Reply(
            reply_id=token(self._seed, self.provider, "reply", call.serial),
            created=int(datetime.now(UTC).timestamp()),
            model=UNLISTED_MODEL if call.fault is Fault.SWAPPED_MODEL else served,
            text=text,
            finish=finish,
            input_tokens=input_tokens,
            visible_tokens=count_tokens(text) if text else 0,
            reasoning_tokens=thinking,
            secs=secs,
            choices=call.fault is not Fault.NO_CHOICES and not refused,
            cache_read_tokens=read,
            cache_written_tokens=0 if self.provider is ProviderName.XAI else written,
        )
        return replace(reply, ticks=tariff_of(served).ticks(reply))

    def _text(self, fault: Fault | None, ask: Ask, served: str) -> tuple[str, Finish]:
        if fault is Fault.CONTENT_FILTER:
            return REFUSAL_TEXT, Finish.REFUSED
        if fault is Fault.EMPTY:
            return "", Finish.STOP
        if fault is Fault.WRONG_SCHEMA:
            return write_wrong_schema(), Finish.STOP
        prompt = read_prompt(ask.messages)
        if fault is Fault.OBEDIENT and prompt.ordered:
            return prompt.ordered, Finish.STOP
        # Another model of the same likeness: its opinions differ, its skill does not.
        mind = f"{served}{RETRAINED}" if fault is Fault.SHIFTED else served
        text = write_answer(self._forecaster, mind, prompt, ask.schema)
        if fault is Fault.CONSTANT:
            return write_constant(text), Finish.STOP
        if fault is Fault.TRUNCATED:
            return text[: len(text) // 2], Finish.LENGTH
        return text, Finish.STOP

    def _served(self, asked: str) -> str | None:
        asked = self._redirects.get(asked, asked)
        if self.provider is ProviderName.LOCAL:
            return next((model for model in self.models if same_model(model, asked)), None)
        return asked if asked in self.models else None

    def _asked_model(self, body: bytes) -> str | None:
        """The model that the body names, under its listed name, for faults of one model."""
        try:
            asked = msgspec.json.decode(body, type=_Named).model
        except msgspec.MsgspecError:
            return None
        return asked if asked in self._redirects else self._served(asked) or asked


def _cache(input_tokens: int) -> tuple[int, int]:
    """Of a prompt, the tokens read from a cache and those written to it (an assumption of round shares)."""
    return input_tokens // 2, input_tokens // 5


def _refusal_response(call: _Call, refused: Refusal) -> web.Response:
    return web.json_response(
        call.wire.error(refused.wording, call.request_id),
        status=refused.wording.status,
        headers=refused.headers,
    )


async def _ollama_version(_: web.Request) -> web.Response:
    return web.json_response({"version": VERSION})


async def _ollama_greeting(_: web.Request) -> web.Response:
    return web.Response(text="Ollama is running")
