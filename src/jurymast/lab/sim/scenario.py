"""What is simulated, and the command that does it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jurymast.lab.sim.trace import Trace
from jurymast.policy.failover import FailoverSettings


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is simulated. ``trace`` replays a file instead of making trouble up; then nobody interferes."""

    seed: int = 0
    years: float = 1.0
    per_minute: float = 1.0
    clouds: int = 3
    sticky: bool = False
    trace: Trace | None = None
    trace_path: Path | None = None
    edge_hours: float = 4.0
    policy: str = "jurymast"
    every_second: bool = False
    settings: FailoverSettings = field(default_factory=FailoverSettings)

    @property
    def command(self) -> str:
        """The one command that runs this again."""
        words = ["jurymast sim", f"--seed {self.seed} --seeds 1"]
        words += [f"--trace {self.trace_path}"] if self.trace else [f"--years {self.years:g}"]
        words += [f"--rate {self.per_minute:g} --clouds {self.clouds} --edge-hours {self.edge_hours:g}"]
        words += ["--mode sticky"] if self.sticky else []
        return " ".join(words)
