"""The adapter stands where its modules stand in the host: below a directory on the path."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "integrations" / "kalshi-ai-trading-bot"), str(ROOT / "benchmarks")]
