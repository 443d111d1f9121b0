"""Resting entries must outlive neither the leave nor the judgement that placed them.

  the bot starts                                  unless the mode lets them rest: they are taken back
  the mode falls to one that does not keep them   taken back
  the mode takes no entries                       taken back; after an order that may rest, again
  paused or reduced by hand                       the same
  halted by hand                                  everything that rests is taken back, other hands' too

What is owed stays owed until it is proven: see :meth:`jurymast.trading.gateway.Gateway.withdraw`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from jurymast.domain.status import EmergencyMode, TradingState
from jurymast.policy.emergency import TABLE, ModeRules
from jurymast.trading.gateway import Gateway


class Moody(Protocol):
    """Somebody whose judgement is graded."""

    @property
    def mode(self) -> EmergencyMode: ...


class Guard:
    """Looks at mode and demands and takes back what may not rest. Looking is cheap while nothing is owed."""

    def __init__(
        self, judge: Moody, gateway: Gateway, table: Mapping[EmergencyMode, ModeRules] = TABLE
    ) -> None:
        self._table = table
        self._judge = judge
        self._gateway = gateway
        self._mode = judge.mode
        self._owed = not table[self._mode].keep_resting_entries
        self._turn = asyncio.Lock()

    async def look(self) -> bool:
        """Take back what may not rest now; whether there was anything to do.

        Raises JournalUnwritable, after the orders are gone.
        """
        async with self._turn:
            called_for = self._called_for()
            if called_for is None:
                return False
            reason, everything = called_for
            if await self._gateway.withdraw(reason, everything=everything):
                self._owed = False
            return True

    def _called_for(self) -> tuple[str, bool] | None:
        mode, was = self._judge.mode, self._mode
        self._mode = mode
        rules = self._table[mode]
        if mode.severity > was.severity and not rules.keep_resting_entries:
            self._owed = True
        demands, gateway = self._gateway.demands, self._gateway
        if demands.floor is TradingState.HALTED:
            return None if gateway.proven_clear(everything=True) else ("halted by hand", True)
        unwelcome = demands.floor is not TradingState.ACTIVE or not rules.entries
        if self._owed or (unwelcome and not gateway.proven_clear(everything=False)):
            return ("paused by hand" if demands.floor is not TradingState.ACTIVE else f"mode {mode}"), False
        return None
