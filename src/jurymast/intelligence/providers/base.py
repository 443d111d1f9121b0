"""One vendor, asked over HTTP: what the four providers share.

A request waits for a slot (the wait counts), is sent once, and comes back as a complete answer or as
ProviderError. Nothing is retried here. Cancelling a request closes its connection and frees its slot.

How the limits follow each other, each a share of the time-out ``T`` with a bound of its own:

    slot        SLOT_SHARE of T: a request that waited longer would be blamed for our own queue
    connection  CONNECT_SECS_MAX, or the first token's limit if that is shorter
    first token as the caller says, else the class's share of what is left of T
    then        idle: no byte for IDLE_SHARE; pings count
                progress: the answer grows in PROGRESS_SHARE by a character a second; pings don't
    all         T, whatever arrives

A whole reply has no first token: connection, idle and T bound it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import ClassVar, Final

from jurymast.domain.errors import ConfigError, ProviderError
from jurymast.domain.money import Micros
from jurymast.domain.provider import (
    AIRequest,
    AIResponse,
    Billing,
    Failure,
    FailureKind,
    Format,
    Message,
    ModelInfo,
    ProviderConfig,
    ProviderName,
    Route,
    Usage,
)
from jurymast.domain.status import HealthCheckResult
from jurymast.intelligence.alarms import Alarms
from jurymast.intelligence.providers.catalogue import Catalogue, default_catalogue
from jurymast.intelligence.providers.listing import model_info
from jurymast.intelligence.providers.reading import StreamLimits, read_stream
from jurymast.intelligence.providers.transport import AiohttpTransport, Stage, TransportError
from jurymast.intelligence.providers.wire import Completion, Wire, decode_object
from jurymast.policy.failures import BILLING, classify_reply
from jurymast.ports import HttpReply, Tap, TimeLimits, Transport

CONNECT_SECS_MAX: Final = 5.0
SLOT_SHARE: Final = 0.5
IDLE_SHARE: Final = 0.6
IDLE_SECS_MAX: Final = 20.0
PROGRESS_SHARE: Final = 0.75
PROGRESS_SECS_MAX: Final = 90.0
"""Generous: models think for minutes, and not all show it."""
PROGRESS_CHARS_PER_SEC: Final = 1.0
"""At this pace a short forecast takes minutes; the slowest model worth asking writes three times as fast."""
MODELS_LISTED_MAX: Final = 1_000
SIMULATED_HEADER: Final = "x-jurymast-simulated"

NOTHING_USED: Final = Usage()
PROBE: Final = AIRequest(
    messages=(Message("user", "Reply with the single word ok."),),
    # A reasoning model may spend them all before its first word; it is alive all the same.
    max_output_tokens=16,
)

_KINDS: Final[Mapping[Stage, FailureKind]] = {
    Stage.REFUSED: FailureKind.CONNECT,
    Stage.RESET: FailureKind.RESET,
    Stage.CONNECT_TIMEOUT: FailureKind.CONNECT,
    Stage.FIRST_BYTE_TIMEOUT: FailureKind.FIRST_TOKEN_TIMEOUT,
    Stage.IDLE_TIMEOUT: FailureKind.STALLED,
    Stage.TOTAL_TIMEOUT: FailureKind.TIMEOUT,
    Stage.CUT: FailureKind.CUT,
    Stage.NOT_HTTP: FailureKind.MALFORMED,
    Stage.TOO_LARGE: FailureKind.MALFORMED,
}


class BaseProvider:
    """Implements :class:`jurymast.ports.Provider` for one wire.

    ``transport`` may be shared and then stays its owner's to close; without one the provider opens and
    closes its own. Raises ConfigError for a model without a price: its cost could not be limited.
    """

    wire: ClassVar[Wire]
    provider: ClassVar[ProviderName]
    models_path: ClassVar[str] = "/models"
    first_token_share: ClassVar[float] = 0.6
    """Share of the time-out a stream may stay silent; the rest is for the next route to use."""

    def __init__(
        self,
        config: ProviderConfig,
        transport: Transport | None = None,
        prices: Catalogue | None = None,
    ) -> None:
        if config.name is not self.provider:
            raise ConfigError(f"{type(self).__name__} was given the configuration of {config.name}")
        if not (config.api_key.value.isascii() and config.api_key.value.isprintable()):
            raise ConfigError(
                f"the API key of {config.name} has line ends or other characters no key has; copy it again"
            )
        self.config = config
        self._prices = prices or default_catalogue()
        self._own_transport: AiohttpTransport | None = None
        if transport is None:
            transport = self._own_transport = AiohttpTransport()
        self._transport = transport
        self._slots = asyncio.Semaphore(config.max_concurrent)
        self._alarms = Alarms()
        self._base_url = config.base_url.rstrip("/")
        self._url = self._base_url + self.wire.path
        self._headers = {"content-type": "application/json", **self.wire.headers(config.api_key)}
        self._priced: set[str] = set()
        for model in config.models:
            self._check_price(model)

    @property
    def name(self) -> ProviderName:
        return self.config.name

    @property
    def format(self) -> Format:
        return self.wire.format

    async def make_request(
        self,
        request: AIRequest,
        *,
        model: str,
        timeout_secs: float,
        first_token_secs: float | None = None,
        tap: Tap | None = None,
    ) -> AIResponse:
        """Ask once. Raises ProviderError only.

        ``first_token_secs`` is counted from the send and replaces the class's share of the time-out; it
        means nothing to a provider that does not stream.
        """
        started = asyncio.get_running_loop().time()
        try:
            if model not in self._priced:
                self._check_price(model)
            if self._slots.locked():
                async with asyncio.timeout(SLOT_SHARE * timeout_secs):
                    await self._slots.acquire()
            else:
                await self._slots.acquire()
        except ConfigError as error:
            raise self._failed(model, _unsent(FailureKind.BAD_REQUEST, str(error))) from error
        except TimeoutError:
            waited_secs = SLOT_SHARE * timeout_secs
            detail = f"all {self.config.max_concurrent} slots stayed busy for {waited_secs:.3g} s"
            raise self._failed(model, _unsent(FailureKind.BUSY, detail)) from None
        try:
            answer = await self._ask(request, model, started, timeout_secs, first_token_secs, tap)
        except TransportError as error:
            raise self._failed(model, _failure_below_http(error)) from error
        finally:
            self._slots.release()
        if isinstance(answer, Failure):
            raise self._failed(model, answer)
        return answer

    async def health_check(self, model: str, timeout_secs: float) -> HealthCheckResult:
        """Ask a tiny question the way real ones are asked. Never raises.

        An answer cut off by its length limit proves the route as well as a whole one.
        """
        started = _now()
        try:
            response = await self.make_request(PROBE, model=model, timeout_secs=timeout_secs)
        except ProviderError as error:
            failure = error.failure
            healthy = failure.kind is FailureKind.TRUNCATED
            cost = self._cost_of_failure(failure, model)
            return HealthCheckResult(
                provider=self.name,
                is_healthy=healthy,
                secs=_now() - started,
                model=model,
                detail=str(failure),
                failure=None if healthy else failure.kind,
                cause=None if healthy else failure,
                cost=cost,
                retry_after_secs=failure.retry_after_secs,
                estimated=cost > 0 and failure.usage is None,
            )
        return HealthCheckResult(
            self.name, True, response.latency_secs, model, response.served_model, cost=response.cost
        )

    async def list_models(self, timeout_secs: float) -> tuple[ModelInfo, ...]:
        """What the vendor says it serves. Free, and proof of the key, but not of the models' health."""
        return await self._listed(self.models_path, "data", timeout_secs)

    async def _listed(self, path: str, field: str, timeout_secs: float) -> tuple[ModelInfo, ...]:
        """The entries that a GET of ``path`` gives under ``field``."""
        limits = TimeLimits(total=timeout_secs, connect=min(CONNECT_SECS_MAX, timeout_secs))
        headers = self.wire.headers(self.config.api_key)
        model = self.config.models[0]
        try:
            async with self._transport.send("GET", self._base_url + path, headers, None, limits) as reply:
                body = await reply.read()
        except TransportError as error:
            raise self._failed(model, _failure_below_http(error)) from error
        listed = (decode_object(body) or {}).get(field)
        if not 200 <= reply.status < 300 or not isinstance(listed, list):
            raise self._failed(model, _classify(reply, body))
        infos = map(model_info, listed[:MODELS_LISTED_MAX])
        return tuple(info for info in infos if info is not None)

    def calculate_cost(self, usage: Usage, model: str) -> Micros:
        """Micro-dollars. Raises ConfigError for a model without a price."""
        return self._prices.price(model).cost(usage)

    def _check_price(self, model: str) -> None:
        """Raises ConfigError for a model without a price."""
        self.calculate_cost(NOTHING_USED, model)
        self._priced.add(model)

    async def close(self) -> None:
        """Close the provider's own connections; a transport handed in is its owner's."""
        self._alarms.close()
        if self._own_transport is not None:
            await self._own_transport.close()

    async def _model_id(self, model: str, deadline: float) -> str:  # noqa: ARG002 (the local server is asked)
        """The id to send for a configured model."""
        return model

    async def _ask(
        self,
        request: AIRequest,
        model: str,
        started: float,
        timeout_secs: float,
        first_token_secs: float | None,
        tap: Tap | None,
    ) -> AIResponse | Failure:
        deadline, time = started + timeout_secs, asyncio.get_running_loop().time
        model = await self._model_id(model, deadline)
        verbatim = request.verbatim is not None
        streamed = self.config.stream if request.verbatim is None else request.verbatim.stream
        try:
            body = self.wire.encode(request, model, stream=streamed)
        except ValueError as error:
            return _unsent(FailureKind.BAD_REQUEST, f"the request can't be encoded: {error}")
        sent_at = time()
        timeout_secs = deadline - sent_at
        # After the first word of a probe only its end is to come: no silence of it says anything.
        idle_secs = timeout_secs if request is PROBE else min(IDLE_SHARE * timeout_secs, IDLE_SECS_MAX)
        if first_token_secs is None:
            first_token_secs = self.first_token_share * timeout_secs
        if first_token_secs >= timeout_secs:
            first_token_secs = math.inf  # the time-out itself ends the wait, and says so
        limits = TimeLimits(
            total=timeout_secs,
            connect=min(CONNECT_SECS_MAX, first_token_secs),
            first_byte=first_token_secs if streamed and first_token_secs < math.inf else None,
            # A stream's gaps are timed by its tokens: see reading.
            idle=None if streamed else idle_secs,
        )
        async with self._transport.send("POST", self._url, self._headers, body, limits) as reply:
            if not 200 <= reply.status < 300:
                return _classify(reply, await _error_body(reply, idle_secs))
            first_token_at, raw = None, b""
            if "text/event-stream" in reply.headers.get("content-type", ""):
                stream_limits = _stream_limits(sent_at + first_token_secs, idle_secs, timeout_secs, deadline)
                outcome, first_token_at = await read_stream(
                    reply, self.wire.stream(verbatim=verbatim), stream_limits, self._alarms, tap
                )
            else:
                raw = await reply.read()
                outcome = self.wire.decode(raw, verbatim=verbatim)
        if isinstance(outcome, Failure):
            return outcome
        # Without usage the answer is booked at the most it can have cost: a token is at least a byte.
        usage = outcome.usage or Usage(input=len(body), output=request.max_output_tokens)
        return AIResponse(
            content=outcome.text,
            provider=self.provider,
            requested_model=model,
            served_model=outcome.served_model or model,
            usage=usage,
            cost=self._cost(outcome, usage, model),
            latency_secs=time() - started,
            first_token_secs=None if first_token_at is None else first_token_at - sent_at,
            finish_reason=outcome.finish_reason,
            simulated=self.config.simulated or SIMULATED_HEADER in reply.headers,
            raw=raw if verbatim else b"",
        )

    def _cost(self, completion: Completion, usage: Usage, model: str) -> Micros:
        """The vendor's own bill, else the price of the model that answered, else of the one asked."""
        if completion.billed is not None:
            return completion.billed
        try:
            return self.calculate_cost(usage, completion.served_model)
        except ConfigError:
            return self.calculate_cost(usage, model)

    def _cost_of_failure(self, failure: Failure, model: str) -> Micros:
        if failure.usage is not None:
            return self.calculate_cost(failure.usage, model)
        if failure.billing in {Billing.NOT_SENT, Billing.NOT_BILLED}:
            return 0
        asked = len(self.wire.encode(PROBE, model, stream=True))
        return self.calculate_cost(Usage(input=asked, output=PROBE.max_output_tokens), model)

    def _failed(self, model: str, failure: Failure) -> ProviderError:
        return ProviderError(Route(self.name, model, self.config.instance), failure)


def _stream_limits(
    first_token_at: float, idle_secs: float, timeout_secs: float, deadline: float
) -> StreamLimits:
    progress_secs = min(PROGRESS_SHARE * timeout_secs, PROGRESS_SECS_MAX)
    return StreamLimits(
        first_token_at=first_token_at,
        idle_secs=idle_secs,
        progress_secs=progress_secs,
        progress_chars=max(1, int(PROGRESS_CHARS_PER_SEC * progress_secs)),
        deadline=deadline,
    )


async def _error_body(reply: HttpReply, wait_secs: float) -> bytes:
    """The body of an error reply; the status alone says enough when it can't be had soon."""
    try:
        async with asyncio.timeout(wait_secs):
            return await reply.read()
    except (TransportError, TimeoutError):
        return b""


def _classify(reply: HttpReply, body: bytes) -> Failure:
    return classify_reply(reply.status, reply.headers, body, now=datetime.now(UTC))


def _failure_below_http(error: TransportError) -> Failure:
    kind = _KINDS[error.stage]
    if error.sent:
        return Failure(kind, error.detail, BILLING[kind])
    kind = kind if kind is FailureKind.TIMEOUT else FailureKind.CONNECT
    return _unsent(kind, error.detail)


def _unsent(kind: FailureKind, detail: str) -> Failure:
    return Failure(kind, detail, Billing.NOT_SENT)


def _now() -> float:
    return asyncio.get_running_loop().time()
