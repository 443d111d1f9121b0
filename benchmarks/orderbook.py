"""How many order-book changes a second are taken in: decoded, numbered, and applied to exact books.

Generated frames of one busy market, a sixth of them with fractional sizes, as on the wire. Jurymast's
stream session against the floor, decoding the same frames and nothing else, and against a script that
keeps a dictionary of floats and checks nothing. Kalshi's busiest recorded second had 588 changes.

With ``--tape FILE``, a tape of ours or a recording that `jurymast record --from` takes, the frames are those:
every book must then be equal to a plain sum in decimals all along, and no gap may be seen that is none.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import msgspec
from measure import Spread, between, dump, parser, ratio, show

from jurymast.domain.errors import ConfigError
from jurymast.domain.money import PAYOUT, USD
from jurymast.exchange.kalshi.live_books import LiveBooks
from jurymast.exchange.kalshi.session import BOOKS, Session
from jurymast.exchange.tapes.file import read_head, read_rows
from jurymast.exchange.tapes.imports import import_tape

FRAMES_MAX = 1_000_000
TICKER = "KXBENCH-26NOV02-T1"
LEVELS = 40
FRACTIONAL_SHARE = 0.16
TARGET_PER_SEC = 100_000
JUDGED_FROM = 10_000
"""Frames: a short tape is mostly snapshots, which are no changes."""
CHECKED_EVERY = 500
"""Frames of a tape between two comparisons of every book."""


@dataclass(slots=True)
class Way:
    """One way to take in frames. ``run`` gets all of them and says how many levels are left."""

    name: str
    run: Callable[[list[str]], int]
    per_sec: list[float] = field(default_factory=list)


def main() -> None:
    options = parser(__doc__, rounds=7)
    options.add_argument(
        "--frames", type=between(1_000, FRAMES_MAX), default=50_000, help="a round, default 50000"
    )
    options.add_argument("--tape", type=Path, help="take the frames of this tape or recording")
    chosen = options.parse_args()
    if chosen.tape is not None:
        _of_tape(chosen.tape, chosen.rounds, as_json=chosen.json)
        return
    frames, left = generated(chosen.frames, random.Random(chosen.seed))
    ways = [
        Way("msgspec decode alone (floor)", _decode),
        Way("json and a dictionary of floats", _script),
        Way("Jurymast", _session),
    ]
    order = random.Random(chosen.seed)
    for _ in range(chosen.rounds):
        for way in order.sample(ways, len(ways)):
            started = time.perf_counter()
            levels = way.run(frames)
            way.per_sec.append(len(frames) / (time.perf_counter() - started))
            if way.run is _session and levels != left:
                raise SystemExit(f"{way.name} has {levels} levels and should have {left}")
    if chosen.json:
        facts = {way.name: {"per_sec": Spread.of(way.per_sec)} for way in ways}
        dump("orderbook", {"frames": chosen.frames, "ways": facts})
        return
    floor = Spread.of(ways[0].per_sec).median
    table = [
        [way.name, Spread.of(way.per_sec).text(0), ratio(Spread.of(way.per_sec).median, floor)]
        for way in ways
    ]
    title = f"Order-book changes taken in, {chosen.frames:,} x {chosen.rounds}: median (low..high)"
    show(title, ["way", "changes a second", "of floor"], table)
    _verdict(ways[-1].per_sec)


def _of_tape(path: Path, rounds: int, *, as_json: bool) -> None:
    """Speed on recorded frames, and whether every book is exact all along."""
    yes_priced, frames = _recorded(path)
    exact = _checked(frames, yes_priced=yes_priced)
    per_sec: list[float] = []
    for _ in range(rounds):
        session = _session_of(frames, yes_priced=yes_priced)
        started = time.perf_counter()
        for frame in frames:
            session.receive(frame)
        per_sec.append(len(frames) / (time.perf_counter() - started))
    if as_json:
        facts = {"tape": path.name, "frames": len(frames), **exact}
        dump("orderbook", facts | {"per_sec": Spread.of(per_sec)})
        return
    print(f"{path.name}: {len(frames):,} frames, {exact['gaps']} gaps")
    print(f"{exact['compared']:,} times a book was compared with the plain sum, and equal")
    print(f"taken in a second: {Spread.of(per_sec).text(0)}")
    if len(frames) >= JUDGED_FROM:
        _verdict(per_sec)


def _verdict(per_sec: list[float]) -> None:
    met = Spread.of(per_sec).median >= TARGET_PER_SEC
    print(f"\ntarget: {TARGET_PER_SEC:,} changes a second: {'met' if met else 'MISSED'}")


def _recorded(path: Path) -> tuple[bool, list[str]]:
    """Frames of a tape; a recording is made into one first."""
    try:
        return read_head(path).yes_price, [bytes(row.frame).decode() for row in read_rows(path) if row.frame]
    except ConfigError:
        with tempfile.TemporaryDirectory() as directory:
            tape = Path(directory) / "made.tape"
            import_tape(path, tape, bytes_max=1 << 30)
            return _recorded(tape)


def _session_of(frames: list[str], *, yes_priced: bool) -> Session:
    tickers = {ticker for frame in frames if (ticker := _message(frame).get("market_ticker"))}
    session = Session(LiveBooks(yes_priced=yes_priced), (BOOKS,), tickers)
    session.start()
    return session


def _message(frame: str) -> dict[str, str]:
    found = json.loads(frame).get("msg")
    return found if isinstance(found, dict) else {}


def _checked(frames: list[str], *, yes_priced: bool) -> dict[str, int]:
    """Each book against a sum in decimals, every so many frames."""
    session, plain, compared = _session_of(frames, yes_priced=yes_priced), {}, 0
    for number, frame in enumerate(frames):
        session.receive(frame)
        told = json.loads(frame)
        if told["type"] == "orderbook_snapshot":
            plain[told["msg"]["market_ticker"]] = dict(_levels(told["msg"]))
        elif told["type"] == "orderbook_delta":
            levels, message = plain[told["msg"]["market_ticker"]], told["msg"]
            place = (message["side"], Decimal(message["price_dollars"]))
            levels[place] = levels.get(place, Decimal(0)) + Decimal(message["delta_fp"])
        if number % CHECKED_EVERY == 0 or number == len(frames) - 1:
            for ticker, levels in plain.items():
                compared += 1
                if _book(session, ticker, yes_priced=yes_priced) != {p: s for p, s in levels.items() if s}:
                    raise SystemExit(f"the book of {ticker} is not the sum of its changes at frame {number}")
    return {"gaps": session.gaps, "repeated": session.repeated, "compared": compared}


def _levels(message: dict[str, list[list[str]]]) -> Iterator[tuple[tuple[str, Decimal], Decimal]]:
    for side in ("yes", "no"):
        for price, size in message.get(f"{side}_dollars_fp", []):
            yield (side, Decimal(price)), Decimal(size)


def _book(session: Session, ticker: str, *, yes_priced: bool) -> dict[tuple[str, Decimal], Decimal]:
    book = session.books.book(ticker)
    if book is None:
        return {}
    found = {("yes", Decimal(each.price) / USD): Decimal(each.count) / 100 for each in book.bids}
    for each in book.asks:
        price = each.price if yes_priced else PAYOUT - each.price
        found["no", Decimal(price) / USD] = Decimal(each.count) / 100
    return found


def generated(count: int, rng: random.Random) -> tuple[list[str], int]:
    """Frames with their numbers, snapshot first, and how many levels they leave in the end."""
    sizes: dict[tuple[str, int], int] = {}
    for step in range(LEVELS):
        sizes["yes", 1 + step] = sizes["no", 99 - step] = 10_000
    sides = {
        f"{side}_dollars_fp": [_level(cents, size) for (of, cents), size in sizes.items() if of == side]
        for side in ("yes", "no")
    }
    frames = [_frame("orderbook_snapshot", 1, {"market_ticker": TICKER, **sides})]
    for seq in range(2, count + 1):
        place = rng.choice(list(sizes)) if rng.random() < 0.5 else _anywhere(rng)
        held = sizes.get(place, 0)
        size = rng.randrange(1, 5_000) * (1 if rng.random() < FRACTIONAL_SHARE else 100)
        change = -held if held and rng.random() < 0.3 else size if rng.random() < 0.6 else -min(size, held)
        change = change or size
        sizes[place] = held + change
        if not sizes[place]:
            del sizes[place]
        message = {
            "market_ticker": TICKER,
            "market_id": "00000000-0000-4000-8000-000000000000",
            "clock": seq,
            "price_dollars": f"{place[1] / 100:.4f}",
            "delta_fp": f"{change / 100:.2f}",
            "side": place[0],
            "ts_ms": 1_793_631_600_000 + seq,
        }
        frames.append(_frame("orderbook_delta", seq, message))
    return frames, len(sizes)


def _anywhere(rng: random.Random) -> tuple[str, int]:
    return ("yes", rng.randrange(1, 50)) if rng.random() < 0.5 else ("no", rng.randrange(51, 100))


def _level(cents: int, size: int) -> list[str]:
    return [f"{cents / 100:.4f}", f"{size / 100:.2f}"]


def _frame(kind: str, seq: int, message: dict[str, object]) -> str:
    return json.dumps({"type": kind, "sid": 1, "seq": seq, "msg": message}, separators=(",", ":"))


def _decode(frames: list[str]) -> int:
    decode = msgspec.json.decode
    for frame in frames:
        decode(frame)
    return 0


def _script(frames: list[str]) -> int:
    book: dict[str, dict[float, float]] = {"yes": {}, "no": {}}
    for frame in frames:
        message = json.loads(frame)["msg"]
        if "side" not in message:
            for side, levels in book.items():
                levels.update((float(price), float(size)) for price, size in message[f"{side}_dollars_fp"])
            continue
        levels = book[message["side"]]
        price = float(message["price_dollars"])
        levels[price] = levels.get(price, 0.0) + float(message["delta_fp"])
        if levels[price] <= 0:
            del levels[price]
    return len(book["yes"]) + len(book["no"])


def _session(frames: list[str]) -> int:
    session = Session(LiveBooks(), (BOOKS,), {TICKER})
    session.start()
    session.receive('{"type":"subscribed","id":1,"msg":{"channel":"orderbook_delta","sid":1}}')
    for frame in frames:
        session.receive(frame)
    book = session.books.book(TICKER)
    return len(book.bids) + len(book.asks) if book is not None and not session.gaps else -1


if __name__ == "__main__":
    main()
