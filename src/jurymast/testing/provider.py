"""A provider that plays a script."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from jurymast.domain.errors import ProviderError
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
from jurymast.ports import Clock, Tap

PROBE: Final = AIRequest(messages=(Message("user", "ping"),), max_output_tokens=1)


@dataclass(frozen=True, slots=True)
class Delay:
    """Keeps the next answer of a script waiting."""

    secs: float


ScriptItem: TypeAlias = AIResponse | Failure | Delay


@dataclass(frozen=True, slots=True)
class Asked:
    """One call as the provider saw it."""

    request: AIRequest
    model: str
    timeout_secs: float
    first_token_secs: float | None = None


class ScriptedProvider:
    """``ports.Provider`` that gives the answers of ``script`` in order and remembers what it was asked.

    Answers come back marked SIMULATED. A Delay that outlasts the time-out, or the first token's limit where
    one is given, is a time-out of that kind, and the answer it kept waiting is lost. Health checks play the
    script like any request. A script that has run out raises AssertionError, which no code under test may
    take for a failing provider. A token costs a micro-dollar.
    """

    def __init__(self, config: ProviderConfig, script: Iterable[ScriptItem], *, clock: Clock) -> None:
        self.config = config
        self.asked: list[Asked] = []
        self._script = deque(script)
        self._clock = clock

    @property
    def format(self) -> Format:
        return Format.CHAT

    @property
    def name(self) -> ProviderName:
        return self.config.name

    @property
    def finished(self) -> bool:
        """Whether the whole script was played."""
        return not self._script

    async def make_request(
        self,
        request: AIRequest,
        *,
        model: str,
        timeout_secs: float,
        first_token_secs: float | None = None,
        tap: Tap | None = None,  # noqa: ARG002 (its answers come whole)
    ) -> AIResponse:
        """The next answer of the script. Raises ProviderError when that is a Failure."""
        self.asked.append(Asked(request, model, timeout_secs, first_token_secs))
        route = Route(self.name, model, self.config.instance)
        delay_secs, answer = self._next()
        limit_secs, kind = timeout_secs, FailureKind.TIMEOUT
        if first_token_secs is not None and first_token_secs < timeout_secs:
            limit_secs, kind = first_token_secs, FailureKind.FIRST_TOKEN_TIMEOUT
        await self._clock.sleep(min(delay_secs, limit_secs))
        if delay_secs >= limit_secs:
            late = Failure(kind, f"no answer within {limit_secs} s", Billing.UNKNOWN)
            raise ProviderError(route, late)
        if isinstance(answer, Failure):
            raise ProviderError(route, answer)
        return replace(answer, simulated=True)

    async def health_check(self, model: str, timeout_secs: float) -> HealthCheckResult:
        """Healthy when the next item of the script is an answer. Never raises ProviderError."""
        started = self._clock.monotonic()
        try:
            response = await self.make_request(PROBE, model=model, timeout_secs=timeout_secs)
        except ProviderError as error:
            secs = self._clock.monotonic() - started
            failure = error.failure
            return HealthCheckResult(
                provider=self.name,
                is_healthy=False,
                secs=secs,
                model=model,
                detail=failure.detail,
                failure=failure.kind,
                retry_after_secs=failure.retry_after_secs,
            )
        secs = self._clock.monotonic() - started
        return HealthCheckResult(self.name, True, secs, model, cost=response.cost)

    async def list_models(self, timeout_secs: float) -> tuple[ModelInfo, ...]:  # noqa: ARG002 (answers at once)
        return tuple(ModelInfo(model) for model in self.config.models)

    def calculate_cost(self, usage: Usage, model: str) -> Micros:  # noqa: ARG002 (one price for all)
        return usage.input + usage.output

    def _next(self) -> tuple[float, AIResponse | Failure]:
        """The next answer and how long it is kept waiting, taken off the script before anybody waits."""
        delay_secs = 0.0
        while self._script:
            item = self._script.popleft()
            if not isinstance(item, Delay):
                return delay_secs, item
            delay_secs += item.secs
        raise AssertionError(f"the script of {self.name} has run out at request {len(self.asked)}")
