"""Files of questions: the bundled one and one's own."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jurymast.domain.errors import BundleError
from jurymast.exchange import questions as module
from jurymast.exchange.questions import BundledEvidence, as_market, load_bundle, load_questions
from question_world import START, question

ROW: dict[str, Any] = {
    "ticker": "Q-1",
    "source": "metaculus",
    "source_id": "1",
    "title": "Will it happen?",
    "category": "world",
    "rules": "YES if it happens.",
    "background": "It has not happened yet.",
    "url": "https://example.org/1",
    "listed_at": "2025-11-01T02:00:00+02:00",
    "close_time": "2026-01-01T00:00:00Z",
    "resolves_at": "2025-12-01T00:00:00Z",
    "crowd_probability": 0.25,
    "outcome": 0,
}


def written(path: Path, *rows: dict[str, Any] | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_the_bundle_is_whole() -> None:
    """The package brings 643 different resolved questions that satisfy every rule of the format."""
    bundle = load_bundle()
    assert len(bundle) == len({q.ticker for q in bundle}) == 643
    assert {q.source for q in bundle} == {"polymarket", "manifold", "metaculus", "infer"}
    assert 0.05 < sum((q.crowd_probability - q.outcome) ** 2 for q in bundle) / len(bundle) < 0.08


def test_the_bundle_carries_its_licence_and_its_origin() -> None:
    """Whoever gets the questions gets the licence and the names of those who collected them."""
    folder = module.BUNDLE.parent
    assert "Attribution-ShareAlike 4.0" in (folder / "LICENSE").read_text(encoding="utf-8")
    origin = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert all(word in origin for word in ("ForecastBench", "2409.19839", "CC BY-SA 4.0", "643"))


def test_questions_of_one_contest_share_an_event() -> None:
    """Teams that compete for one title stand in one event, so a limit per event covers them together."""
    finals = {q.event_ticker for q in load_bundle() if "win the 2026 NBA Finals" in q.title}
    cup = {q.event_ticker for q in load_bundle() if "win the 2026 FIFA World Cup?" in q.title}
    assert len(finals) == 1
    assert len(cup) == 1
    assert finals != cup


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    """A plain file gives the questions in its order, with times in UTC and an event of their own."""
    path = written(tmp_path / "own.jsonl", ROW, ROW | {"ticker": "Q-2", "event_ticker": "EV-9", "extra": 1})
    first, second = load_questions(path)
    assert (first.ticker, first.event_ticker, first.outcome) == ("Q-1", "EV-Q-1", False)
    assert first.listed_at.isoformat() == "2025-11-01T00:00:00+00:00"
    assert second.event_ticker == "EV-9"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"ticker": ', "truncated"),
        ("\ufeffgarbage", "malformed"),
        ({key: value for key, value in ROW.items() if key != "title"}, "`title`"),
        (ROW | {"crowd_probability": 1.0}, "crowd_probability"),
        (ROW | {"crowd_probability": 0}, "crowd_probability"),
        (ROW | {"crowd_probability": "0.5"}, "crowd_probability"),
        (ROW | {"outcome": 2}, "outcome"),
        (ROW | {"outcome": True}, "outcome"),
        (ROW | {"ticker": "Q 2"}, "letters, digits"),
        (ROW | {"event_ticker": "EV_2"}, "letters, digits"),
        (ROW | {"title": ""}, "title"),
        (ROW | {"category": "misc"}, "category"),
        (ROW | {"listed_at": "2025-11-01T00:00:00"}, "timezone"),
        (ROW | {"resolves_at": "2025-10-01T00:00:00Z"}, "out of order"),
        (ROW | {"close_time": "2025-11-20T00:00:00Z"}, "out of order"),
        (ROW, "twice"),
        ("", "truncated"),
    ],
)
def test_a_damaged_line_is_named_and_nothing_is_loaded(
    tmp_path: Path, row: dict[str, Any] | str, reason: str
) -> None:
    """A file with one bad line is refused with the file, the line and the fault."""
    path = written(tmp_path / "bad.jsonl", ROW, row)
    with pytest.raises(BundleError, match=rf"bad\.jsonl, line 2: .*{reason}"):
        load_questions(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A line that is not UTF-8 is named like any other damage."""
    path = tmp_path / "bytes.jsonl"
    path.write_bytes(json.dumps(ROW).replace("It has", "\x80").encode("latin-1") + b"\n")
    with pytest.raises(BundleError, match="line 1"):
        load_questions(path)


@pytest.mark.parametrize("keep", [0, 5, 60, -1, -8])
def test_a_cut_archive_is_refused(tmp_path: Path, keep: int) -> None:
    """An archive that lost its end, wherever it was cut, loads nothing."""
    path = tmp_path / "cut.jsonl.gz"
    whole = gzip.compress(
        b"".join(json.dumps(ROW | {"ticker": f"Q-{n}"}).encode() + b"\n" for n in range(50))
    )
    path.write_bytes(whole[:keep])
    with pytest.raises(BundleError, match=r"cut\.jsonl\.gz"):
        load_questions(path)


@pytest.mark.parametrize("position", [1, 12, 100, -5])
def test_a_corrupted_archive_is_refused(tmp_path: Path, position: int) -> None:
    """An archive with a flipped byte in its head, body or checksum loads nothing."""
    path = tmp_path / "flipped.jsonl.gz"
    data = bytearray(module.BUNDLE.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"flipped\.jsonl\.gz"):
        load_questions(path)


def test_an_absent_or_empty_file_is_refused(tmp_path: Path) -> None:
    """No file and no question are errors, not an exchange without markets."""
    with pytest.raises(BundleError, match=r"gone\.jsonl"):
        load_questions(tmp_path / "gone.jsonl")
    with pytest.raises(BundleError, match="no question"):
        load_questions(written(tmp_path / "empty.jsonl"))


def test_an_endless_line_is_refused(tmp_path: Path) -> None:
    """A line beyond the bound is damage, read no further than the bound."""
    path = written(tmp_path / "long.jsonl", ROW | {"background": "x" * module.MAX_LINE_BYTES})
    with pytest.raises(BundleError, match="line 1"):
        load_questions(path)


def test_too_many_questions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with more questions than the bound is refused at the first one too many."""
    monkeypatch.setattr(module, "MAX_QUESTIONS", 2)
    path = written(tmp_path / "many.jsonl", *(ROW | {"ticker": f"Q-{n}"} for n in range(3)))
    with pytest.raises(BundleError, match="line 3: more than 2"):
        load_questions(path)


def test_a_market_shows_nothing_of_its_outcome() -> None:
    """YES and NO questions list as the same market, whenever they resolved."""
    early = question(outcome=True)
    late = question(outcome=False, resolves_at=START + timedelta(days=31))
    assert as_market(early) == as_market(late)
    assert as_market(question(rules="")).rules == "No rules were published beyond the title."


async def test_evidence_is_the_dated_background() -> None:
    """A question's background is one item, bounded, dated when the question was listed."""
    known = question(background="b" * 10_000)
    (item,) = await BundledEvidence((known,)).evidence_for(as_market(known), START)
    assert item.published_at == START
    assert item.text == "b" * module.MAX_EVIDENCE_CHARS
    assert item.source_id == "polymarket:q-1"


async def test_the_crowds_price_is_no_evidence() -> None:
    """A question without background brings nothing: models are asked blind to the price."""
    known = question(crowd_probability=0.125)
    assert await BundledEvidence((known,)).evidence_for(as_market(known), START) == ()


async def test_evidence_never_comes_from_the_future() -> None:
    """Before the day of listing there is no evidence, and none for markets that are not ours."""
    evidence = BundledEvidence((question(background="b"),))
    assert await evidence.evidence_for(as_market(question()), START - timedelta(seconds=1)) == ()
    assert len(await evidence.evidence_for(as_market(question()), START)) == 1
    assert await evidence.evidence_for(as_market(question("Q-2")), START) == ()
