"""Which markets are put to a model, and why the others are not.

Every cheap filter comes first. Lists tell the best prices only, so what looks thin by them is looked at
whole, so many a cycle, before it is called thin. Each market that is dropped leaves its reason when the
reason changes. Memory of markets is bounded by the markets that trade.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

from jurymast.domain.decision import Decision
from jurymast.domain.errors import ExchangeError
from jurymast.domain.events import MarketScreened
from jurymast.domain.market import MarketSnapshot
from jurymast.domain.money import Micros
from jurymast.policy.emergency import ModeRules
from jurymast.policy.screening import Screened, ScreenReason, screen
from jurymast.ports import Clock, Exchange
from jurymast.trading.recorder import Recorder
from jurymast.trading.settings import CycleSettings

SEEN_SECS_MAX: Final = 60.0
"""A market seen longer ago is looked at again before a model is asked about it."""
DEEPER_MAX: Final = 100
"""Markets in a cycle that look thin at their best prices and are looked at whole."""
SCREENED_PAGE: Final = 1_000
"""Reasons journalled at once; the journal's queue is bounded."""

Recall: TypeAlias = Callable[[MarketSnapshot], Decision | None]


@dataclass(frozen=True, slots=True)
class _Asked:
    """When and at which price a market was last put to a model."""

    at: float
    price: Micros


class Selection:
    """Chooses for one cycle after another. Times in seconds on the bot's clock."""

    def __init__(
        self,
        exchange: Exchange,
        recorder: Recorder,
        *,
        clock: Clock,
        decisions_max: int,
        ask_again_secs: float,
        ask_again_move: Micros,
        secs_to_close_max: float,
    ) -> None:
        self._exchange = exchange
        self._recorder = recorder
        self._clock = clock
        self._decisions_max = decisions_max
        self._ask_again_secs = ask_again_secs
        self._ask_again_move = ask_again_move
        self._secs_to_close_max = secs_to_close_max
        self._asked: dict[str, _Asked] = {}
        self._deeper: dict[str, float] = {}
        self._recalled: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._noted: list[MarketScreened] = []

    def tune(self, settings: CycleSettings) -> None:
        """Choose by these from the next cycle on."""
        self._decisions_max = settings.decisions_max
        self._ask_again_secs = settings.ask_again_secs
        self._ask_again_move = settings.ask_again_move
        self._secs_to_close_max = settings.secs_to_close_max

    @property
    def remembered(self) -> frozenset[str]:
        """Markets that were put to a model and may be again."""
        return frozenset(self._asked)

    async def choose(
        self, snapshots: Iterable[MarketSnapshot], rules: ModeRules, recall: Recall
    ) -> tuple[list[MarketSnapshot], int]:
        """Markets to ask about now, the most urgent first, and how many were dropped.

        When the mode asks no model, those on which an opinion can be recalled, each opinion once.
        """
        due_now = self._due if rules.ask_ai else partial(self._kept, recall)
        due: list[MarketSnapshot] = []
        thin: list[MarketSnapshot] = []
        dropped = 0
        for snapshot in snapshots:
            screened = screen(snapshot, rules, self._secs_to_close_max)
            if screened is None:
                due += [snapshot] if due_now(snapshot) else []
                continue
            dropped += 1
            if screened.reason is ScreenReason.BOOK_TOO_THIN:
                thin.append(snapshot)
                if snapshot.ticker in self._deeper:
                    continue
            self._note(snapshot.ticker, screened)
        if thin and len(due) < self._decisions_max:
            for snapshot in await self._whole(thin):
                screened = screen(snapshot, rules, self._secs_to_close_max)
                if screened is not None:
                    self._note(snapshot.ticker, screened)
                    continue
                dropped -= 1
                due += [snapshot] if due_now(snapshot) else []
        await self._record()
        return sorted(due, key=self._urgency)[: self._decisions_max], dropped

    async def seen_lately(self, listed: MarketSnapshot, rules: ModeRules) -> MarketSnapshot | None:
        """The market as it is, if it was listed long ago; None when it is no more worth a question."""
        try:
            age = await self._exchange.now() - listed.as_of
            if age <= timedelta(seconds=SEEN_SECS_MAX * self._exchange.speed):
                return listed
            snapshot = await self._exchange.get_snapshot(listed.ticker)
        except ExchangeError:
            return None
        return None if screen(snapshot, rules, self._secs_to_close_max) else snapshot

    def asked(self, snapshot: MarketSnapshot) -> None:
        """A model is asked about the market at this price now."""
        self._asked[snapshot.ticker] = _Asked(self._clock.monotonic(), snapshot.book.mid)

    def recalled(self, ticker: str, opinion: str) -> None:
        """An opinion of before, by its decision's id, has been considered: it is not a second time."""
        self._recalled[ticker] = opinion

    def _kept(self, recall: Recall, snapshot: MarketSnapshot) -> bool:
        kept = recall(snapshot)
        if kept is None or kept.cached is None:
            return False
        return self._recalled.get(snapshot.ticker) != kept.cached.decision_id

    def forget(self, snapshots: Mapping[str, MarketSnapshot]) -> None:
        """Let go of markets that trade no more."""
        memories: tuple[dict[str, Any], ...] = (self._reasons, self._asked, self._deeper, self._recalled)
        for memory in memories:
            forget_closed(memory, snapshots)

    def _due(self, snapshot: MarketSnapshot) -> bool:
        self._reasons.pop(snapshot.ticker, None)
        asked = self._asked.get(snapshot.ticker)
        if asked is None:
            return True
        moved = abs(snapshot.book.mid - asked.price) >= self._ask_again_move
        return moved or self._clock.monotonic() - asked.at >= self._ask_again_secs

    def _urgency(self, snapshot: MarketSnapshot) -> tuple[float, int, str]:
        """Longest unasked first, then the busiest market."""
        asked = self._asked.get(snapshot.ticker)
        return (asked.at if asked else float("-inf"), -snapshot.volume_24h, snapshot.ticker)

    async def _whole(self, thin: list[MarketSnapshot]) -> list[MarketSnapshot]:
        """Some of these with their whole books: those that were looked at longest ago."""
        chosen = sorted(thin, key=lambda each: (self._deeper.get(each.ticker, 0.0), each.ticker))[:DEEPER_MAX]
        try:
            books = await self._exchange.list_books([snapshot.ticker for snapshot in chosen])
        except ExchangeError:
            return []
        self._deeper |= dict.fromkeys(books, self._clock.monotonic())
        return [replace(each, book=books[each.ticker]) for each in chosen if each.ticker in books]

    def _note(self, ticker: str, screened: Screened) -> None:
        if self._reasons.get(ticker) != screened.reason:
            self._reasons[ticker] = screened.reason
            at = self._clock.utc_now()
            self._noted.append(
                MarketScreened(at=at, ticker=ticker, reason=screened.reason, detail=screened.detail)
            )

    async def _record(self) -> None:
        """Journal the noted reasons, a page at a time: a first look at many markets has many."""
        noted, self._noted = self._noted, []
        for start in range(0, len(noted), SCREENED_PAGE):
            await self._recorder.record(*noted[start : start + SCREENED_PAGE])


def forget_closed(memory: dict[str, Any], snapshots: Mapping[str, MarketSnapshot]) -> None:
    """Drop what is remembered of markets that are not among these."""
    if len(memory) > len(snapshots):
        for ticker in memory.keys() - snapshots.keys():
            del memory[ticker]
