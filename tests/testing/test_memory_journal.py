"""MemoryJournal: the order and the refusals of the real journal."""

from __future__ import annotations

import pytest

from jurymast.domain.errors import JournalError, JournalUnwritable
from jurymast.domain.events import CycleFinished, MarketScreened, ProbeSent, RunStopped
from jurymast.domain.provider import ProviderName, Route
from jurymast.testing.clock import START
from jurymast.testing.journal import MemoryJournal


def screened(detail: str) -> MarketScreened:
    return MarketScreened(at=START, ticker="KXRAIN", reason="spread", detail=detail)


async def test_events_keep_the_order_of_the_calls() -> None:
    """Posted and appended events share one numbering from 1."""
    journal = MemoryJournal()
    journal.post(screened("a"))
    await journal.append(screened("b"), screened("c"))
    journal.post(screened("d"))
    assert [(row.seq, row.event) for row in journal.read()] == [
        (place, screened(detail)) for place, detail in enumerate("abcd", start=1)
    ]


async def test_reading_can_be_narrowed() -> None:
    """Kinds and a starting point narrow what is read; sequence numbers stay."""
    journal = MemoryJournal()
    await journal.append(screened("a"), RunStopped(at=START, reason="done"), screened("b"))
    assert [row.seq for row in journal.read([MarketScreened])] == [1, 3]
    assert [row.seq for row in journal.read([MarketScreened], after_seq=1)] == [3]
    assert list(journal.read([CycleFinished])) == []


async def test_what_the_real_journal_refuses_is_refused() -> None:
    """An event with a NaN can't be recorded on disk, nor here, and nothing of its call is kept."""
    journal = MemoryJournal()
    route = Route(ProviderName.XAI, "grok")
    broken = ProbeSent(at=START, route=route, healthy=True, detail="", cost=float("nan"))
    with pytest.raises(JournalError):
        await journal.append(screened("a"), broken)
    assert journal.events == []


async def test_a_closed_journal_takes_nothing() -> None:
    """After close every write raises."""
    journal = MemoryJournal()
    await journal.close()
    with pytest.raises(JournalUnwritable):
        journal.post(screened("a"))
    with pytest.raises(JournalUnwritable):
        await journal.append(screened("a"))
