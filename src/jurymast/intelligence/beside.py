"""One question to one route beside a decision: it counts for nothing but what its asker makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from jurymast.domain.errors import ProviderError
from jurymast.domain.money import Micros
from jurymast.domain.provider import AIRequest, AIResponse, Billing, Failure, FailureKind
from jurymast.intelligence.provider_manager import ProviderManager
from jurymast.intelligence.purse import BudgetSpentError
from jurymast.intelligence.run import Validate, Value
from jurymast.policy.failover import Failover
from jurymast.policy.health import prompt_class
from jurymast.policy.parsing import Rejected
from jurymast.policy.record import Record
from jurymast.ports import Clock


@dataclass(frozen=True, slots=True)
class Beside(Generic[Value]):
    """What a route said. ``value`` is None where it gave no valid answer."""

    response: AIResponse | None
    value: Value | None
    failure: Failure | None
    secs: float
    cost: Micros
    estimated: bool = False
    """Whether nobody has counted what it cost."""


async def ask_beside(
    providers: ProviderManager,
    core: Failover,
    clock: Clock,
    record: Record,
    request: AIRequest,
    validate: Validate[Value],
    timeout_secs: float,
    market: str = "",
) -> Beside[Value] | None:
    """Ask once; what comes of it is evidence of the route's health. None where money does
    not cover it. ``market`` is whose caps of AI money count."""
    started, cost, estimated = clock.monotonic(), 0, False
    response: AIResponse | None = None
    value: Value | Rejected | None = None
    failure: Failure | None = None
    try:
        hold = await providers.hold(request, record.route, market=market)
        response = await providers.make_request(request, record.route, timeout_secs=timeout_secs, hold=hold)
        cost, value = response.cost, validate(response)
    except BudgetSpentError:
        return None
    except ProviderError as error:
        failure, cost = error.failure, error.cost
        estimated = cost > 0 and failure.usage is None
    if isinstance(value, Rejected):
        failure, value = Failure(FailureKind.INVALID_ANSWER, value.reason, Billing.BILLED), None
    now = clock.monotonic()
    core.shadowed(record, now, now - started, prompt_class(request.size_bytes), failure)
    return Beside(response, value, failure, now - started, cost, estimated)
