"""Fixed priority, value and the learned router in four worlds. Models SIMULATED, questions and outcomes real.

uv run python benchmarks/routing.py --seeds 8
"""

from __future__ import annotations

import argparse
import json

from jurymast.exchange.questions import load_bundle
from jurymast.lab.score.routing import figures, table

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    facts = figures(load_bundle(), seed=chosen.seed, seeds=chosen.seeds)
    print(json.dumps(facts) if chosen.json else table(facts))
