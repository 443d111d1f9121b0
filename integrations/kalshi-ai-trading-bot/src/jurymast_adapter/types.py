"""The host's data types, field by field and in its order: its callers and tests build them by position."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any


@dataclass
class TradingDecision:
    """``action`` BUY or SKIP, ``side`` YES or NO, ``confidence`` from 0 to 1, prices in cents. The last
    field is ours: what our sizing would stake, in percent of the balance, for callers that look at it."""

    action: str
    side: str
    confidence: float
    limit_price: int | None = None
    reasoning: str | None = None
    stop_loss_cents: int | None = None
    take_profit_cents: int | None = None
    position_size_pct: float | None = None


@dataclass
class DailyUsageTracker:
    """The day's AI money, in dollars."""

    date: str
    total_cost: float = 0.0
    request_count: int = 0
    daily_limit: float = 50.0
    is_exhausted: bool = False
    last_exhausted_time: datetime | None = None


@dataclass
class SizedDecision:
    """The OpenAI client's own decision, which is another class than everybody else's."""

    action: str
    side: str
    confidence: float
    reasoning: str
    position_size_pct: float
    max_price: float | None = None
    stop_loss: float | None = None
    take_profit: float | None = None
    expected_return: float | None = None
    risk_assessment: str | None = None


class ProviderStatus(Enum):
    """Health of a provider."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


class EmergencyMode(Enum):
    """How much an operator wants stopped."""

    CONSERVATIVE = "conservative"
    MINIMAL = "minimal"
    SUSPENDED = "suspended"


@dataclass
class ProviderConfig:
    """One provider. Times in seconds, smaller priority first."""

    name: str
    endpoint: str
    api_key: str
    models: list[str]
    priority: int
    timeout: float
    max_retries: int
    health_check_interval: float = 60.0
    cost_per_token: float = 0.00001
    max_concurrent_requests: int = 5


@dataclass
class HealthCheckResult:
    """One explicit check. ``response_time`` in milliseconds."""

    provider_name: str
    is_healthy: bool
    error_message: str | None = None
    response_time: float = 0.0
    status_code: int | None = None
    timestamp: datetime = field(default_factory=datetime.now)


@dataclass
class FailoverEvent:
    """Another provider answers first."""

    timestamp: datetime
    from_provider: str
    to_provider: str
    reason: str
    response_time_ms: float


@dataclass
class SystemStatus:
    """``mode`` is normal, degraded or emergency. What stands after ``last_failover`` is ours: the mode of the
    ladder and why."""

    mode: str
    healthy_providers: int
    total_providers: int
    degradation_level: float
    emergency_mode_active: bool = False
    emergency_reason: str | None = None
    emergency_until: datetime | None = None
    last_failover: FailoverEvent | None = None
    judgement_mode: str = "normal"
    judgement_reason: str = ""


@dataclass
class EmergencyDecision:
    """What is decided without any provider."""

    action: str
    side: str
    confidence: float
    reasoning: str
    is_cached: bool = False
    cache_timestamp: datetime | None = None


class ProviderType(Enum):
    """The four kinds of provider."""

    XAI = "xai"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    LOCAL = "local"


@dataclass
class AIRequest:
    """A question in chat messages. ``temperature`` and ``stream`` are accepted and left to the provider."""

    messages: list[dict[str, str]]
    model: str | None = None
    temperature: float = 0.7
    max_tokens: int | None = None
    stream: bool = False
    response_format: dict[str, Any] | None = None


@dataclass
class AIResponse:
    """An answer. ``cost_usd`` holds what was spent on it, failed attempts before it included."""

    content: str
    model_used: str
    provider: str
    tokens_used: int
    cost_usd: float
    response_time_ms: float
    finish_reason: str | None = None
    metadata: dict[str, Any] | None = None


@dataclass
class EnhancedConfig:
    """The host's switches. Times in seconds, ``emergency_mode_duration`` in minutes."""

    enable_multi_provider: bool = True
    enable_fallback: bool = True
    enable_emergency_modes: bool = True
    health_check_interval: float = 60.0
    max_failover_attempts: int = 3
    emergency_mode_duration: int = 60
    cache_decisions: bool = True
    cost_optimization: bool = True
