"""What a trading cycle goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jurymast.domain.money import Micros
from jurymast.domain.status import EmergencyMode
from jurymast.policy import risk
from jurymast.policy.emergency import TABLE, ModeRules
from jurymast.policy.exits import ExitSettings
from jurymast.policy.liquidation import LiquidationSettings


@dataclass(frozen=True, slots=True)
class CycleSettings:
    """Bounds of one cycle. Times in seconds on the bot's clock unless said otherwise."""

    decision_deadline_secs: float = 60.0
    decisions_max: int = 4
    concurrency_max: int = 4
    ask_again_secs: float = 900.0
    ask_again_move: Micros = 50_000
    move_gate: Micros = 100_000
    secs_to_close_max: float = 90 * 86_400.0
    table: Mapping[EmergencyMode, ModeRules] = field(default_factory=lambda: TABLE)
    risk: risk.RiskSettings = field(default_factory=risk.RiskSettings)
    exits: ExitSettings = field(default_factory=ExitSettings)
    liquidation: LiquidationSettings = field(default_factory=LiquidationSettings)
