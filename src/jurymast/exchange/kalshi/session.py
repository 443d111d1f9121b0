"""The protocol of one websocket connection, without the connection: frames in, events and commands out.

Rules
  1. Every channel has one subscription; Kalshi names it by a ``sid``. Its frames are numbered from 1
     without a break across all its markets, and ``ok`` frames are numbered with them.
  2. A number that comes twice is a repetition and changes nothing.
  3. A number left out is a gap. Books of that subscription are stale until a snapshot; it is asked for.
     On another channel the gap is told, and what was missed has to be read over REST.
  4. Errors 10 and 25 end a subscription: its books are stale, and it is subscribed anew.
  5. A snapshot that does not come is asked for again, a few times; then the connection is given up.
  6. ``fill`` and ``user_orders`` are not numbered: whoever needs to be sure reconciles after a break.

This module doesn't know sockets or clocks; time is handed in, in monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from jurymast.domain.errors import SchemaDrift
from jurymast.exchange.kalshi.account import KalshiFill, KalshiOrder, read_fill, read_order
from jurymast.exchange.kalshi.frames import Delta, Other, Snapshot, read_frame
from jurymast.exchange.kalshi.live_books import LiveBooks
from jurymast.exchange.kalshi.reading import UNREADABLE, Drift, Record

BOOKS: Final = "orderbook_delta"
FILLS: Final = "fill"
ORDERS: Final = "user_orders"
TRADES: Final = "trade"
"""Executions of everybody in the markets that were followed when the connection opened."""
SNAPSHOT_SECS: Final = 5.0
"""How long a snapshot may take before it is asked for again."""
SNAPSHOT_TRIES: Final = 3
COMMAND_GAP_SECS: Final = 0.5
"""Commands about one subscription are at least this far apart: error 27 is too many of them."""
RESUBSCRIBES_MAX: Final = 5
"""In one connection and for one channel; then the connection is given up."""
COMMANDS_KEPT: Final = 1_000
"""So many commands can be answered by number."""
TERMINAL: Final = frozenset({7, 10, 25})
"""7 is a subscription that Kalshi doesn't know (any more)."""
PASSING: Final = frozenset({18, 27})
"""Command time-out and too many commands: asking again later is all there is to do."""


@dataclass(frozen=True, slots=True)
class BookChanged:
    """A book changed, or became one to believe again."""

    ticker: str


@dataclass(frozen=True, slots=True)
class Filled:
    """We traded."""

    fill: KalshiFill


@dataclass(frozen=True, slots=True)
class OrderUpdated:
    """An order of ours changed, with the reason where Kalshi gives one."""

    order: KalshiOrder


@dataclass(frozen=True, slots=True)
class Told:
    """Any other message of a subscribed channel, by the type of its frame."""

    kind: str
    record: Record


@dataclass(frozen=True, slots=True)
class Missed:
    """Something of a channel was missed, or could not be read: ask for it over REST."""

    channel: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Kalshi refused a command for good; the channel stays silent."""

    channel: str
    code: int
    words: str


Event = BookChanged | Filled | OrderUpdated | Told | Missed | Refused


class SessionBroken(Exception):
    """The connection can't be repaired from within: make a new one."""


@dataclass(slots=True)
class _Subscription:
    channel: str
    sid: int | None = None
    seq: int = 0
    resubscribes: int = 0
    asked_at: float | None = None
    tries: int = 0
    coming: bool = False
    """Kalshi sends snapshots unasked: after subscribing and for markets that were added."""
    command_at: float = float("-inf")


@dataclass(slots=True)
class Session:
    """One connection's subscriptions. ``tickers`` are the markets whose books are followed."""

    books: LiveBooks
    channels: tuple[str, ...]
    tickers: set[str]
    drift: Drift = field(default_factory=Drift)
    repeated: int = 0
    gaps: int = 0
    _unreadable: set[str] = field(default_factory=set)
    """Markets whose last snapshot made no sense: asking again would not help until something changes."""
    _commands: list[dict[str, Any]] = field(default_factory=list)
    _next_id: int = 1
    _by_channel: dict[str, _Subscription] = field(default_factory=dict)
    _by_sid: dict[int, _Subscription] = field(default_factory=dict)
    _by_id: dict[int, _Subscription] = field(default_factory=dict)

    def start(self) -> None:
        """The connection is open: subscribe to everything. No book of before is believed."""
        self.books.spoil(self.tickers)
        self.books.follow(self.tickers)
        for channel in self.channels:
            self._by_channel[channel] = _Subscription(channel)
            self._subscribe(self._by_channel[channel])

    def commands(self) -> list[dict[str, Any]]:
        """What is to be sent now, each once."""
        commands, self._commands = self._commands, []
        return commands

    def follow(self, tickers: Iterable[str]) -> None:
        """Follow the books of these markets and of no others."""
        wanted = set(tickers)
        added, removed = sorted(wanted - self.tickers), sorted(self.tickers - wanted)
        self.tickers = wanted
        self.books.follow(added)
        self.books.forget(removed)
        subscription = self._by_channel.get(BOOKS)
        if subscription is None:
            return
        if subscription.sid is None:
            if added:
                self._subscribe(subscription)
            return
        if added:
            subscription.coming = True
            self._update(subscription, "add_markets", added)
        if removed:
            self._update(subscription, "delete_markets", removed)

    def receive(self, text: str) -> tuple[Event, ...]:
        """Take in one frame. Raises SessionBroken."""
        try:
            frame = read_frame(text)
        except SchemaDrift as drift:
            self.drift.saw("stream", UNREADABLE, str(drift))
            self.shed()  # it may have been about any of them
            return (Missed("", str(drift)),)
        missed: tuple[Event, ...] = ()
        if frame.sid is not None and frame.seq is not None:
            subscription = self._by_sid.get(frame.sid)
            if subscription is not None and frame.seq != subscription.seq + 1:
                if frame.seq <= subscription.seq:
                    self.repeated += 1
                    return ()
                missed = self._gap(subscription, frame.seq)
            if subscription is not None:
                subscription.seq = frame.seq
        if isinstance(frame, Delta):
            return missed + self._delta(frame)
        if isinstance(frame, Snapshot):
            return missed + self._snapshot(frame)
        return missed + self._other(frame)

    def shed(self) -> None:
        """Market data was missed or thrown away before it was taken in: no book is to be believed."""
        self.books.spoil(self.tickers)
        self._unreadable.clear()
        if (subscription := self._by_channel.get(BOOKS)) is not None:
            # A snapshot that was on its way may be among what is gone.
            subscription.asked_at, subscription.tries, subscription.coming = None, 0, False

    def heal(self, now: float) -> None:
        """Ask for the snapshots that are missing. Call after frames, and at least once a second.

        Raises SessionBroken when they don't come.
        """
        subscription = self._by_channel.get(BOOKS)
        if subscription is None or subscription.sid is None:
            return
        stale = sorted((self.books.stale & self.tickers) - self._unreadable)
        if not stale:
            subscription.asked_at, subscription.tries, subscription.coming = None, 0, False
            return
        if subscription.coming:
            subscription.asked_at, subscription.coming = now, False
        if subscription.asked_at is not None and now - subscription.asked_at < SNAPSHOT_SECS:
            return
        if now - subscription.command_at < COMMAND_GAP_SECS:
            return
        if subscription.tries >= SNAPSHOT_TRIES:
            raise SessionBroken(f"{len(stale)} books get no snapshot, first of them {stale[0]}")
        subscription.asked_at, subscription.command_at = now, now
        subscription.tries += 1
        self._update(subscription, "get_snapshot", stale)

    def _gap(self, subscription: _Subscription, seq: int) -> tuple[Event, ...]:
        self.gaps += 1
        if subscription.channel == BOOKS:
            self.shed()
        return (Missed(subscription.channel, f"frames {subscription.seq + 1} to {seq - 1} did not come"),)

    def _delta(self, frame: Delta) -> tuple[Event, ...]:
        if frame.sid not in self._by_sid:
            return ()
        try:
            changed = self.books.change(frame.msg)
        except SchemaDrift as drift:
            self.drift.saw(BOOKS, "impossible", str(drift))
            return (Missed(BOOKS, str(drift)),)
        return (BookChanged(frame.msg.market_ticker),) if changed else ()

    def _snapshot(self, frame: Snapshot) -> tuple[Event, ...]:
        if frame.sid not in self._by_sid:
            return ()
        try:
            known = self.books.reset(frame.msg)
        except SchemaDrift as drift:
            self.drift.saw(BOOKS, "snapshot", str(drift))
            self.books.spoil([frame.msg.market_ticker])
            self._unreadable.add(frame.msg.market_ticker)
            return (Missed(BOOKS, str(drift)),)
        return (BookChanged(frame.msg.market_ticker),) if known else ()

    def _other(self, frame: Other) -> tuple[Event, ...]:
        try:
            match frame.type:
                case "subscribed":
                    self._subscribed(Record("subscribed", frame.msg))
                case "ok" | "unsubscribed":
                    self._by_id.pop(frame.id or 0, None)
                case "error":
                    return self._error(frame, Record("error", frame.msg))
                case _:
                    return (self._told(frame),)
        except SchemaDrift as drift:
            raise SessionBroken(str(drift)) from None
        return ()

    def _subscribed(self, message: Record) -> None:
        subscription = self._by_channel.get(message.text("channel"))
        if subscription is None:
            return
        if subscription.sid is not None:
            self._by_sid.pop(subscription.sid, None)
        subscription.sid = message.whole("sid")
        subscription.seq = 0
        subscription.asked_at, subscription.tries, subscription.coming = None, 0, True
        self._by_sid[subscription.sid] = subscription

    def _error(self, frame: Other, message: Record) -> tuple[Event, ...]:
        code, words = message.whole("code"), message.text_or("msg", "")
        subscription = self._by_sid.get(frame.sid or 0) or self._by_id.get(frame.id or 0)
        if subscription is None:
            raise SessionBroken(f"error {code} about nothing we know: {words}")
        if code in PASSING:
            return ()
        if code not in TERMINAL:
            return (Refused(subscription.channel, code, words),)
        if subscription.resubscribes >= RESUBSCRIBES_MAX:
            raise SessionBroken(f"{subscription.channel} ended {RESUBSCRIBES_MAX} times: {words}")
        subscription.resubscribes += 1
        if subscription.sid is not None:
            self._by_sid.pop(subscription.sid, None)
            subscription.sid = None
        if subscription.channel == BOOKS:
            self.shed()
        self._subscribe(subscription)
        return (Missed(subscription.channel, f"error {code}: {words}; subscribed anew"),)

    def _told(self, frame: Other) -> Event:
        try:
            record = Record(frame.type, frame.msg)
            match frame.type:
                case "fill":
                    return Filled(read_fill(record, self.drift))
                case "user_order":
                    return OrderUpdated(read_order(record, self.drift))
                case _:
                    return Told(frame.type, record)
        except SchemaDrift as drift:
            self.drift.saw("stream", frame.type, str(drift))
            return Missed(frame.type, str(drift))

    def _subscribe(self, subscription: _Subscription) -> None:
        params: dict[str, Any] = {"channels": [subscription.channel]}
        if subscription.channel == BOOKS:
            if not self.tickers:
                return  # a book channel without markets is refused; see follow()
            params["market_tickers"] = sorted(self.tickers)
            params["use_yes_price"] = self.books.yes_priced
        elif subscription.channel == TRADES and self.tickers:
            params["market_tickers"] = sorted(self.tickers)
        self._send(subscription, "subscribe", params)

    def _update(self, subscription: _Subscription, action: str, tickers: list[str]) -> None:
        self._send(
            subscription,
            "update_subscription",
            {"sids": [subscription.sid], "market_tickers": tickers, "action": action},
        )

    def _send(self, subscription: _Subscription, command: str, params: dict[str, Any]) -> None:
        self._by_id[self._next_id] = subscription
        self._by_id.pop(self._next_id - COMMANDS_KEPT, None)
        self._commands.append({"id": self._next_id, "cmd": command, "params": params})
        self._next_id += 1
