"""The configuration of a bot that plays a story: emulators, an embedded exchange, virtual time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from jurymast.app.config import BotSection, Config, FailoverSection, LabSection, TradingSection
from jurymast.app.models_config import ModelsSection
from jurymast.exchange.embedded.server.limits import UNLIMITED

CYCLE_SECS: Final = 30.0
CASH_USD: Final = 10_000


def staged(
    directory: Path, seed: int, *, speed: float, failover: FailoverSection, latency_scale: float = 0.0
) -> Config:
    """The defaults of real use but for time-outs of the network, in a directory of its own. ``speed`` is the
    exchange's seconds per second, ``latency_scale`` that of the emulated models."""
    base = Config()
    return replace(
        base,
        bot=BotSection(data_dir=str(directory), seed=seed, cycle_secs=CYCLE_SECS),
        exchange=replace(base.exchange, cash_usd=CASH_USD, speed=speed, tier=UNLIMITED),
        trading=TradingSection(
            decision_deadline_secs=8.0, decisions_per_cycle=4, ask_again_secs=600.0, concurrency=1
        ),
        failover=replace(
            failover, attempt_secs_max=2.0, attempt_secs_min=0.2, probe_timeout_secs=2.0,
            shadow_secs=0.0, shadow_free_secs=0.0,
        ),
        models=ModelsSection(canary_days=0.0),
        lab=LabSection(emulate=True, weather=False, control_port=0, latency_scale=latency_scale),
    )  # fmt: skip
