"""AI money: reserve the worst case, settle by the bill, never pass a hard cap.

A cap limits what may be spent in one window of UTC (minute, hour, day, month), in all or of one provider,
model, market or strategy. Each keeps an account. The rules:

  1. Invariant: spent + uncertain + held <= limit, in every account of a hard cap, at any moment and any
     concurrency: test and hold are one step with no wait in it.
  2. A hold counts in every window that it is open in, its bill in the one it is settled in. So wherever
     between send and settlement a vendor dates a request, no window of his passes the limit either.
  3. What a failed attempt may have cost stays spent until known better. Of one given up on its way the likely
     cost is spent, what it may cost beyond that is uncertain: not reported as spent, not given out again.
  4. A limit of zero means zero. Free requests are always exempt, requests of unknown price never fit.
  5. What does not fit may wait if it would once all holds are given back; otherwise it is refused, with the
     cap and when that cap frees.
  6. A clock that goes back reopens nothing: windows only go forward.
  7. A soft cap refuses nothing: it is told of, once a window.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

from jurymast.domain.money import Micros
from jurymast.domain.word import Word

ACCOUNTS_KEPT: Final = 10_000
"""Accounts beyond which those of windows gone by are dropped; under a cap of markets each has one."""


class Scope(Word):
    """Whose spending a cap limits."""

    ALL = "all"
    PROVIDER = "provider"
    MODEL = "model"
    MARKET = "market"
    STRATEGY = "strategy"


class Window(Word):
    """Over what a cap counts: calendar units of UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


def start_of(window: Window, at: datetime) -> datetime:
    """When the window began that ``at`` (UTC) lies in."""
    if window is Window.DAY:
        return datetime(at.year, at.month, at.day, tzinfo=UTC)
    if window is Window.MONTH:
        return datetime(at.year, at.month, 1, tzinfo=UTC)
    return at.replace(minute=at.minute if window is Window.MINUTE else 0, second=0, microsecond=0)


def end_of(window: Window, start: datetime) -> datetime:
    """When the window ends that begins at ``start``."""
    match window:
        case Window.MINUTE:
            return start + timedelta(minutes=1)
        case Window.HOUR:
            return start + timedelta(hours=1)
        case Window.DAY:
            return start + timedelta(days=1)
        case Window.MONTH:
            return datetime(start.year + start.month // 12, start.month % 12 + 1, 1, tzinfo=UTC)


class Payer(NamedTuple):
    """What a request is for. An empty name is limited by no cap of that scope."""

    provider: str = ""
    model: str = ""
    market: str = ""
    strategy: str = ""


@dataclass(frozen=True, slots=True)
class Cap:
    """At most ``limit`` micro-dollars in a window. ``of`` names one provider, model, market or strategy;
    empty, each has such a cap of its own. Until ``kept_until_hour`` (UTC) of a day ``kept`` is kept back."""

    limit: Micros
    window: Window = Window.DAY
    scope: Scope = Scope.ALL
    of: str = ""
    hard: bool = True
    kept: Micros = 0
    kept_until_hour: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.kept <= self.limit:
            raise ValueError(f"a cap of {self.limit} can't keep back {self.kept}")
        if self.kept and self.window is not Window.DAY:
            raise ValueError("only a cap of a day can keep something back until an hour")

    def name_of(self, payer: Payer) -> str | None:
        """By which name it concerns ``payer``; None when it does not."""
        if self.scope is Scope.ALL:
            return ""
        name: str = getattr(payer, self.scope)
        return name if name and self.of in {"", name} else None

    def limit_at(self, now: datetime) -> Micros:
        return self.limit - self.kept if self.kept and now.hour < self.kept_until_hour else self.limit


class Account(NamedTuple):
    """What one cap has seen of ``name`` in one window. Micro-dollars."""

    cap: Cap
    name: str
    start: datetime
    ends: datetime
    spent: Micros = 0
    held: Micros = 0
    uncertain: Micros = 0

    @property
    def limit(self) -> Micros:
        return self.cap.limit

    @property
    def taken(self) -> Micros:
        """Gone for this window, whatever is given back."""
        return self.spent + self.uncertain

    @property
    def left(self) -> Micros:
        return self.cap.limit - self.spent - self.uncertain - self.held

    @property
    def used_share(self) -> float:
        return self.taken / self.limit if self.limit else 0.0

    def __str__(self) -> str:
        whose = f" for {self.cap.scope} {self.name}" if self.cap.scope is not Scope.ALL else ""
        return f"the {self.cap.window}'s {self.cap.limit}{whose}"


def opened(cap: Cap, name: str, now: datetime, spent: Micros = 0) -> Account:
    """An account of the window that ``now`` lies in."""
    start = start_of(cap.window, now)
    return Account(cap, name, start, end_of(cap.window, start), spent)


def rolled(account: Account, now: datetime) -> Account:
    """The account as of ``now``: in a new window spending starts anew, what is in flight stays held."""
    if now < account.ends:
        return account
    start = start_of(account.cap.window, now)
    return Account(account.cap, account.name, start, end_of(account.cap.window, start), 0, account.held)


def held(account: Account, amount: Micros) -> Account:
    """The same with ``amount`` (>= 0) held. Whether it fits is for :func:`judged` to say."""
    if amount < 0:
        raise ValueError("a reservation is not negative")
    return Account(
        account.cap, account.name, account.start, account.ends,
        account.spent, account.held + amount, account.uncertain,
    )  # fmt: skip


def settled(account: Account, hold: Micros, cost: Micros, uncertain: Micros = 0) -> Account:
    """Give back a hold, book what it cost and keep back what it may cost beyond that (all >= 0).

    Raises ValueError for more than is held: a hold settled twice would open the budget again.
    """
    if not 0 <= hold <= account.held or cost < 0 or uncertain < 0:
        raise ValueError(f"can't settle {hold} of {account.held} held at a cost of {cost}")
    return Account(
        account.cap, account.name, account.start, account.ends,
        account.spent + cost, account.held - hold, account.uncertain + uncertain,
    )  # fmt: skip


class Hold(NamedTuple):
    """Money set aside for one request. ``crossed`` are accounts of soft caps that were used up before it."""

    serial: int
    payer: Payer
    worst: Micros
    at: datetime
    crossed: tuple[Account, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Why nothing was set aside. ``waits`` when it would fit once holds are given back; ``frees_at`` is when
    ``account``, the fullest, may have room again, None for never."""

    detail: str
    waits: bool = False
    frees_at: datetime | None = None
    account: Account | None = None


Outcome: TypeAlias = Hold | Refused


def judged(accounts: Iterable[Account], worst: Micros | None, now: datetime) -> Refused | None:
    """Why ``worst`` (None when unknown) can't be held in all of these accounts; None when it can."""
    waits: Refused | None = None
    final: Refused | None = None
    for account in accounts:
        if not account.cap.hard:
            continue
        if worst is None:
            return Refused(f"its price is not known, and {account} is a hard limit", account=account)
        limit, taken = account.cap.limit_at(now), account.spent + account.uncertain
        if taken + account.held + worst <= limit:
            continue
        if taken + worst <= limit:
            waits = waits or Refused(_numbers(account, worst, now), waits=True, account=account)
        else:
            found = _final(account, worst, now)
            final = found if final is None or _frees(final) < _frees(found) else final
    return final or waits


def crossed(accounts: Iterable[Account]) -> tuple[Account, ...]:
    """Those of soft caps that are used up."""
    return tuple(a for a in accounts if not a.cap.hard and a.taken >= a.limit)


def _final(account: Account, worst: Micros, now: datetime) -> Refused:
    frees_at: datetime | None = account.ends
    if worst > account.limit:
        frees_at = None
    elif account.taken + worst <= account.limit:
        frees_at = account.start + timedelta(hours=account.cap.kept_until_hour)
    return Refused(_numbers(account, worst, now), frees_at=frees_at, account=account)


def _frees(refused: Refused) -> datetime:
    return refused.frees_at or datetime.max.replace(tzinfo=UTC)


def _numbers(account: Account, worst: Micros, now: datetime) -> str:
    kept = account.limit - account.cap.limit_at(now)
    parts = [f"it may cost {worst} micro-dollars, {account.left} of {account} are left"]
    parts += [f"{account.held} are held for requests under way"] if account.held else []
    parts += [f"{kept} are kept until {account.cap.kept_until_hour}:00 UTC"] if kept else []
    return ", ".join(parts)


class Ledger:
    """The accounts of all caps, in memory. No I/O and no clock: every method takes ``now`` (UTC).

    The first cap is the whole budget of a day; ``spent`` is what earlier runs spent of it.
    """

    def __init__(self, caps: Iterable[Cap], now: datetime, spent: Micros = 0) -> None:
        self.caps = tuple(caps)
        self.open: dict[int, Hold] = {}
        self._accounts: list[tuple[Cap, dict[str, Account]]] = [(cap, {}) for cap in self.caps]
        self._soft = any(not cap.hard for cap in self.caps)
        self._count = 0
        self._serial = 0
        for cap, named in self._accounts:
            if cap.scope is Scope.ALL:
                known = spent if cap.window in {Window.DAY, Window.MONTH} else 0
                named[""] = opened(cap, "", now, known)

    def account(self, cap: Cap, name: str, now: datetime) -> Account:
        """How one account stands."""
        found = self._accounts[self.caps.index(cap)][1].get(name)
        return opened(cap, name, now) if found is None else rolled(found, now)

    def accounts(self, now: datetime) -> list[Account]:
        """Every account that has been used, and those in all."""
        return [rolled(account, now) for _, named in self._accounts for account in named.values()]

    def judged(self, payer: Payer, worst: Micros | None, now: datetime) -> Refused | None:
        """Why ``worst`` would not be held now; None when it would."""
        return None if worst == 0 else judged([a for _, a in self._concerned(payer, now)], worst, now)

    def reserve(self, payer: Payer, worst: Micros | None, now: datetime) -> Outcome:
        """Hold the worst case of a request in every account that it concerns, or say why not."""
        if worst == 0:
            return Hold(0, payer, 0, now)
        concerned = self._concerned(payer, now)
        refused = judged([account for _, account in concerned], worst, now)
        if refused is not None:
            return refused
        amount = worst or 0
        for named, account in concerned:
            named[account.name] = held(account, amount)
        told = crossed(account for _, account in concerned) if self._soft else ()
        self._serial += 1
        hold = Hold(self._serial, payer, amount, now, told)
        self.open[hold.serial] = hold
        return hold

    def settle(self, hold: Hold, cost: Micros, uncertain: Micros, now: datetime) -> None:
        """Give a hold back and book its bill. Raises ValueError for one that is not open."""
        if hold.serial and self.open.pop(hold.serial, None) is None:
            raise ValueError(f"hold {hold.serial} is not open: it was settled before")
        if hold.serial or cost or uncertain:
            for named, account in self._concerned(hold.payer, now):
                named[account.name] = settled(account, hold.worst, cost, uncertain)

    def _concerned(self, payer: Payer, now: datetime) -> list[tuple[dict[str, Account], Account]]:
        """Accounts that a payer concerns, each with where it is kept."""
        concerned = []
        for cap, named in self._accounts:
            name = cap.name_of(payer)
            if name is None:
                continue
            account = named.get(name)
            if account is None:
                account = self._open(cap, named, name, now)
            elif now >= account.ends:
                account = rolled(account, now)
            concerned.append((named, account))
        return concerned

    def _open(self, cap: Cap, named: dict[str, Account], name: str, now: datetime) -> Account:
        self._count += 1
        if self._count > ACCOUNTS_KEPT:
            for each in (kept for _, kept in self._accounts):
                for old in [key for key, a in each.items() if not a.held and a.ends <= now]:
                    del each[old]
            self._count = sum(len(kept) for _, kept in self._accounts) + 1
        account = named[name] = opened(cap, name, now)
        return account
