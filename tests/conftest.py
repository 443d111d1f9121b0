"""What all tests share: random cases that are the same in every run."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=60, stateful_step_count=30)
settings.load_profile("ci")
