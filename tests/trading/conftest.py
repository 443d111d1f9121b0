"""Exchanges that a test of trading opened are closed behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from trading_world import HOUSES


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    while HOUSES:
        await HOUSES.pop().close()
