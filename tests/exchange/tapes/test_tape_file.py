"""Tapes as files: whole up to where they were cut off, continued, bounded, and refused when they are none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from tape_world import BYTES_MAX, START_US, Script, T

from jurymast.domain.errors import ConfigError
from jurymast.exchange.tapes.file import VERSION, Head, TapeWriter, read_head, read_rows
from jurymast.exchange.tapes.imports import import_tape
from jurymast.exchange.tapes.reel import load_tape

HEAD = Head(VERSION, "demo", yes_price=True, made_at="2026-11-02T15:00:00Z")
FRAME = '{"type":"ok","sid":1,"seq":7,"msg":{"a":[1.50,"x"]}}'


def writer(path: Path, head: Head = HEAD, bytes_max: int = BYTES_MAX) -> TapeWriter:
    return TapeWriter(path, head, bytes_max=bytes_max)


def test_frames_are_kept_to_the_letter(tmp_path: Path) -> None:
    """What was heard is on the tape as it was spelled, with the time it came at."""
    path = tmp_path / "t.tape"
    with writer(path) as tape:
        tape.mark(1, "opened")
        tape.frame(2, FRAME)
        tape.answer(3, "GET /markets/T", b'{"market":{}}')
    rows = list(read_rows(path))
    assert read_head(path) == HEAD
    assert [row.at_us for row in rows] == [1, 2, 3]
    assert bytes(rows[1].frame).decode() == FRAME
    assert (rows[0].mark, rows[2].rest, bytes(rows[2].answer)) == (
        "opened",
        "GET /markets/T",
        b'{"market":{}}',
    )


@pytest.mark.parametrize("cut", [1, 9, 40, 200])
def test_a_tape_that_was_cut_off_is_read_and_continued(tmp_path: Path, cut: int) -> None:
    """A crash costs the end of a tape and nothing before it, and recording goes on behind what is whole."""
    path = tmp_path / "t.tape"
    with writer(path) as tape:
        for number in range(2_000):
            tape.frame(number, json.dumps({"type": "ok", "seq": number * 7_919 % 10_007}))
            if number == 999:
                tape.flush()
    path.write_bytes(path.read_bytes()[:-cut])
    kept = [row.at_us for row in read_rows(path)]
    assert kept == list(range(len(kept)))
    assert len(kept) >= 1_000
    with writer(path) as tape:
        assert tape.resumed
        tape.frame(5_000, FRAME)
    assert [row.at_us for row in read_rows(path)] == [*kept, 5_000]


def test_a_tape_is_continued_at_its_own_host_only(tmp_path: Path) -> None:
    """Play money and real money do not get onto one tape."""
    path = tmp_path / "t.tape"
    writer(path).close()
    with pytest.raises(ConfigError, match="recorded at demo"):
        writer(path, Head(VERSION, "production", yes_price=True, made_at=""))


def test_a_tape_has_a_bound(tmp_path: Path) -> None:
    """The writer says when the tape is full; a continued one counts what is there."""
    path = tmp_path / "t.tape"
    with writer(path, bytes_max=50_000) as tape:
        number = 0
        while not tape.full:
            tape.flush()
            tape.frame(number, json.dumps({"type": "x", "msg": str(hash(number) * 2**61 % 10**18) * 20}))
            number += 1
            assert number < 100_000
    with writer(path, bytes_max=50_000) as tape:
        assert tape.full


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"plain text", "no gzipped file"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(b"[]\n"), "is none of this program's"),
        (gzip.compress(b'{"tape":99,"host":"x","yes_price":true,"made_at":""}\n'), "newer version"),
        (gzip.compress(b'{"tape":1,"host":"x","yes_price":true,"made_at":""}\n'), "no order book"),
        (gzip.compress(b'{"tape":1,"host":"x","yes_price":true,"made_at":""}\n{"at_us":"?"}\n'), "line 2"),
    ],
    ids=["text", "empty", "other", "newer", "bookless", "damaged"],
)
def test_what_is_no_tape_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    """Every file that can't be played says why."""
    path = tmp_path / "t.tape"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=why):
        load_tape(path)


def recording(tmp_path: Path, *, packed: bool) -> Path:
    """Frames without envelope, as others record them: two subscriptions, one after the other."""
    rows = []
    for begin in (0, 10):
        for seq, (_, frame) in enumerate(
            Script().book(0, [(40, 5)], [(50, 6)]).change(1, "yes", 41, 2).rows[2:], 1
        ):
            at_ns = (START_US + (begin + seq) * 1_000_000) * 1_000
            rows.append(
                json.dumps({"type": frame["type"], "recv_ns": at_ns, "seq": seq, "msg": frame["msg"]})
            )
    text = "\n".join(rows) + "\n"
    path = tmp_path / "recording"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_recordings_without_envelopes_become_tapes(tmp_path: Path, packed: bool) -> None:
    """A number 1 begins a new subscription, which is no gap; times are kept to the microsecond."""
    out = tmp_path / "t.tape"
    assert import_tape(recording(tmp_path, packed=packed), out, bytes_max=BYTES_MAX) == 6
    tape = load_tape(out)
    reel = tape.reels[T]
    assert (tape.missed, tape.start_us, tape.end_us) == (0, START_US + 1_000_000, START_US + 12_000_000)
    assert list(zip(reel.places, reel.changes, strict=True)) == [
        (-500_000, 600),
        (400_000, 500),
        (410_000, 200),
        (410_000, -200),
        (410_000, 200),
    ]


def test_recordings_with_envelopes_become_tapes(tmp_path: Path) -> None:
    """Frames as they came, acknowledgements among them, play without a gap."""
    rows = Script().book(0, [(40, 5)], []).change(1, "yes", 41, 2).rows
    rows.insert(3, (0.5, {"type": "ok", "id": 9, "sid": 1, "seq": 2, "msg": {"market_tickers": [T]}}))
    rows[4][1]["seq"] = 3
    told = [{"received_ms": START_US // 1_000 + int(secs * 1_000), "frame": frame} for secs, frame in rows]
    source = tmp_path / "frames.json"
    source.write_text(json.dumps({"note": "x", "frames": told}, indent=1))
    import_tape(source, tmp_path / "t.tape", bytes_max=BYTES_MAX)
    tape = load_tape(tmp_path / "t.tape")
    assert (tape.missed, list(tape.reels[T].changes)) == (0, [500, 200])


def test_candles_become_tapes(tmp_path: Path) -> None:
    """Each candle is its opening quotes at its beginning and its closing ones at its end; $0 and $1 are
    empty sides."""

    def quotes(opening: str, closing: str) -> dict[str, str]:
        return {"open_dollars": opening, "close_dollars": closing}

    minute = START_US // 60_000_000 * 60
    candles = [
        {
            "end_period_ts": minute + 60,
            "yes_bid": quotes("0.4000", "0.4100"),
            "yes_ask": quotes("0.4500", "0.4600"),
        },
        {
            "end_period_ts": minute + 120,
            "yes_bid": quotes("0.4100", "0.0000"),
            "yes_ask": quotes("0.4600", "1.0000"),
        },
    ]
    source = tmp_path / "candles.json"
    source.write_text(json.dumps({"ticker": T, "candlesticks": candles}))
    import_tape(source, tmp_path / "t.tape", bytes_max=BYTES_MAX)
    reel = load_tape(tmp_path / "t.tape").reels[T]
    at = minute * 1_000_000
    assert list(zip(reel.times_us, reel.places, reel.changes, strict=True)) == [
        (at + 1, -550_000, 10_000),
        (at + 1, 400_000, 10_000),
        (at + 60_000_000, -550_000, -10_000),
        (at + 60_000_000, 400_000, -10_000),
        (at + 60_000_000, -540_000, 10_000),
        (at + 60_000_000, 410_000, 10_000),
        (at + 120_000_000, -540_000, -10_000),
        (at + 120_000_000, 410_000, -10_000),
    ]


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"frames": [{}]}', '{"recv_ns": 1}', '{"candlesticks": [1]}']
)
def test_what_is_no_recording_leaves_no_tape(tmp_path: Path, text: str) -> None:
    """An import that fails says so and leaves nothing behind; a tape that is there is never overwritten."""
    source, out = tmp_path / "source", tmp_path / "t.tape"
    source.write_text(text)
    with pytest.raises(ConfigError, match="source"):
        import_tape(source, out, bytes_max=BYTES_MAX)
    assert not out.exists()
    writer(out).close()
    with pytest.raises(ConfigError, match="exists already"):
        import_tape(source, out, bytes_max=BYTES_MAX)


def test_an_import_has_a_bound(tmp_path: Path) -> None:
    """A recording that makes too long a tape makes none."""
    with pytest.raises(ConfigError, match="more than 10 bytes"):
        import_tape(recording(tmp_path, packed=False), tmp_path / "t.tape", bytes_max=10)
    assert not (tmp_path / "t.tape").exists()
