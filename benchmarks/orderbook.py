"""How many order-book changes a second are taken in: decoded, numbered, and applied to exact books.

Generated frames of one busy market, a sixth of them with fractional sizes, as on the wire. Jurymast's
stream session against the floor, decoding the same frames and nothing else, and against a script that
keeps a dictionary of floats and checks nothing. Kalshi's busiest recorded second had 588 changes.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from measure import Spread, between, dump, parser, ratio, show

from jurymast.exchange.kalshi.live_books import LiveBooks
from jurymast.exchange.kalshi.session import BOOKS, Session

FRAMES_MAX = 1_000_000
TICKER = "KXBENCH-26NOV02-T1"
LEVELS = 40
FRACTIONAL_SHARE = 0.16


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
    chosen = options.parse_args()
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
