"""One budget in one file: across bots, restarts and kills, and closed when the file can't be used."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jurymast.app.clock import SystemClock
from jurymast.domain.errors import JournalError, JournalNewer
from jurymast.domain.money import Micros
from jurymast.intelligence.purse import BudgetSpentError, Purse
from jurymast.journal.books import SqliteBooks
from jurymast.journal.budget_file import BudgetFile, read_accounts
from jurymast.policy.ledger import Account, Cap, Hold, Ledger, Payer, Refused, Scope, Window
from jurymast.testing.clock import START, FakeClock

HERE = Path(__file__).parent
XAI = Payer("xai", "grok-4.3", "KXRAIN", "news")
GPT = Payer("openai", "gpt-6.1-terra", "KXRAIN", "news")
WORST = 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "budget.db"


@asynccontextmanager
async def books_at(
    path: Path, *caps: Cap, clock: FakeClock | None = None, spent: Micros = 0
) -> AsyncIterator[SqliteBooks]:
    books = SqliteBooks.open(path, caps or (Cap(1_000),), clock=clock or FakeClock(), spent=spent)
    try:
        yield books
    finally:
        await books.close()


async def held(books: SqliteBooks, worst: Micros | None = WORST, payer: Payer = XAI) -> Hold:
    outcome = await books.reserve(payer, worst)
    assert isinstance(outcome, Hold), outcome
    return outcome


async def refused(books: SqliteBooks, worst: Micros | None = WORST, payer: Payer = XAI) -> Refused:
    outcome = await books.reserve(payer, worst)
    assert isinstance(outcome, Refused), outcome
    return outcome


async def settled(books: SqliteBooks) -> Account:
    """The day's account when all that was settled is in the file."""
    await refused(books, 10**12)
    return books.accounts()[0]


def now() -> datetime:
    return SystemClock().utc_now()


@contextmanager
def child(script: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HERE / script), *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


class TestInBulk:
    async def burst(self, books: SqliteBooks, count: int, cost: Micros) -> None:
        async def one() -> None:
            hold = await held(books, 1_000)
            await asyncio.sleep(0)
            books.settle(hold, cost)

        for _ in range(count // 20):
            await asyncio.gather(*(one() for _ in range(20)))

    async def test_bursts_are_booked_to_the_micro_dollar(self, path: Path) -> None:
        """Far from the limit a burst takes few transactions, and the sum is exact soon after its end."""
        async with books_at(path, Cap(10_000_000), clock=FakeClock()) as books:
            await self.burst(books, 400, 137)
            assert books._leases._serial < -200, "most were held in bulk"
            async with asyncio.timeout(5.0):
                while (account := await settled(books)).held:
                    await asyncio.sleep(0.05)
            assert (account.spent, account.uncertain) == (400 * 137, 0)

    async def test_what_is_under_way_at_the_end_is_kept_back(self, path: Path) -> None:
        """A stop in the middle of a burst: bills that came count, what never came counts in full."""
        async with books_at(path, Cap(10_000_000)) as books:
            await self.burst(books, 200, 10)
            await asyncio.gather(*(held(books, 1_000) for _ in range(7)))
        async with books_at(path, Cap(10_000_000)) as books:
            account = await settled(books)
            assert account.spent == 2_000
            assert account.uncertain + account.held >= 7 * 1_000 - 1_000
            assert account.taken + account.held <= 2_000 + 10_000_000 * 0.02 * 2

    async def test_near_the_limit_each_asks_for_itself(self, path: Path) -> None:
        """All of the money can be used, and none is passed."""
        async with books_at(path, Cap(100_000)) as books:
            await self.burst(books, 60, 1_000)
            assert books._leases._serial == 0
            account = await settled(books)
            assert (account.spent, account.left) == (60_000, 40_000)
            await asyncio.gather(*(held(books, 1_000) for _ in range(40)))
            await refused(books, 1)


class TestShared:
    async def test_what_was_spent_outlives_the_bot(self, path: Path) -> None:
        """A new run goes on where the last one ended, to the micro-dollar, uncertain and all."""
        async with books_at(path) as books:
            books.settle(await held(books, 600), 250, 150)
        async with books_at(path) as books:
            account = await settled(books)
            assert (account.spent, account.uncertain, account.held, account.left) == (250, 150, 0, 600)
            await refused(books, 601)
            await held(books, 600)

    async def test_only_a_new_file_begins_with_what_the_journal_knows(self, path: Path) -> None:
        """Where there is a file, it alone is believed."""
        for _ in range(2):
            async with books_at(path, spent=700) as books:
                assert (await settled(books)).spent == 700

    async def test_two_bots_have_one_budget(self, path: Path) -> None:
        """What one holds the other can't have, until it is given back."""
        async with books_at(path) as ours, books_at(path) as theirs:
            hold = await held(ours, 700)
            assert (await refused(theirs, 400)).waits
            ours.settle(hold, 100)
            await settled(ours)
            await held(theirs, 900)

    async def test_who_waits_is_served_when_another_bot_gives_back(self, path: Path) -> None:
        """Nobody tells us what another process released: it is looked for."""
        async with books_at(path) as ours, books_at(path) as theirs:
            hold = await held(ours, 1_000)
            purse = Purse(theirs, clock=FakeClock())
            waiting = asyncio.create_task(purse.reserve(XAI, 800, 30.0))
            await asyncio.sleep(0)
            ours.settle(hold, 100)
            assert (await waiting).worst == 800

    async def test_a_cap_that_is_new_knows_what_was_spent_before(self, path: Path) -> None:
        """Settings change at noon: an hour's cap for one provider counts what this hour has seen."""
        async with books_at(path) as books:
            books.settle(await held(books, 300), 300)
            books.settle(await held(books, 300, GPT), 100)
        caps = Cap(1_000), Cap(320, Window.HOUR, Scope.PROVIDER, "xai"), Cap(150, Window.MONTH, Scope.MODEL)
        async with books_at(path, *caps) as books:
            await refused(books, 21)
            await refused(books, 51, GPT)
            await held(books, 50, GPT)

    async def test_a_caller_that_leaves_takes_nothing_along(self, path: Path) -> None:
        """Cancelled while the disk is asked: what was held for it is given back."""
        async with books_at(path) as books:
            leaving = [asyncio.create_task(books.reserve(XAI, 100)) for _ in range(5)]
            await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
            left = [(await settled(books)).held for _ in range(100)]
            assert left[-1] == 0

    async def test_two_hundred_at_once_take_what_there_is(self, path: Path) -> None:
        """Of two hundred worst cases those fit that fit, in the order of asking."""
        async with books_at(path) as books:
            outcomes = await asyncio.gather(*(books.reserve(XAI, WORST) for _ in range(200)))
            assert [isinstance(outcome, Hold) for outcome in outcomes] == [True] * 10 + [False] * 190

    async def test_anybody_can_read_how_it_stands(self, path: Path) -> None:
        """Without a bot, by the caps that were last in force; nothing is changed by it."""
        with pytest.raises(JournalError, match="no budget file"):
            read_accounts(path, START)
        caps = Cap(1_000), Cap(500, Window.MONTH, Scope.PROVIDER), Cap(50, Window.HOUR, hard=False)
        async with books_at(path, *caps) as books:
            books.settle(await held(books, 300), 120, 30)
            await settled(books)
            await held(books, 40, GPT)
            rows = {(a.cap.window, a.cap.scope, a.name): a for a in read_accounts(path, START)}
        assert rows[Window.DAY, Scope.ALL, ""][4:] == (120, 40, 30)
        assert rows[Window.MONTH, Scope.PROVIDER, "xai"][4:] == (120, 0, 30)
        assert rows[Window.MONTH, Scope.PROVIDER, "openai"][4:] == (0, 40, 0)
        assert not rows[Window.HOUR, Scope.ALL, ""].cap.hard


class TestKilled:
    async def test_a_hold_of_a_killed_bot_is_never_given_out_again(self, path: Path) -> None:
        """SIGKILL between hold and bill: it may be billed, so it stays gone for the day; then it is over."""
        with child("spending_child.py", path, 1_000, 4, 3_600) as process:
            assert process.stdout is not None
            for _ in range(4):
                process.stdout.readline()
            assert len(list(path.parent.glob("*.lock"))) == 1
            process.kill()
            process.wait()
        clock = FakeClock(now())
        async with books_at(path, clock=clock) as books:
            account = await settled(books)
            assert (account.spent, account.uncertain, account.held) == (0, 4 * WORST, 0)
            await refused(books, 601)
            clock.advance(2 * 86_400.0)
            await held(books, 1_000)
        assert not list(path.parent.glob("*.lock"))

    async def test_a_hold_of_a_stopped_bot_is_a_hold(self, path: Path) -> None:
        """SIGSTOP is not death: when it goes on it settles, and what it did not spend is there again."""
        with child("spending_child.py", path, 100, 1, 0.5) as process:
            assert process.stdout is not None
            process.stdout.readline()
            os.kill(process.pid, signal.SIGSTOP)
            async with books_at(path, Cap(100), clock=FakeClock(now())) as books:
                books._swept_at = float("-inf")
                account = await settled(books)
                assert account.uncertain == 0
                os.kill(process.pid, signal.SIGCONT)
                process.wait()
                while (await settled(books)).held:
                    await asyncio.sleep(0.01)
                account = await settled(books)
                assert 0 < account.spent <= 100
                assert account.uncertain == 0

    async def test_a_hold_older_than_a_day_was_lost(self, path: Path) -> None:
        """Whoever made it: no request lives so long. It counts as of the end of its first day."""
        clock = FakeClock()
        async with books_at(path, Cap(1_000), Cap(1_000, Window.MONTH), clock=clock) as books:
            hold = await held(books, 300)
            clock.advance(3 * 86_400.0)
            books._swept_at = float("-inf")
            await settled(books)
            day, month = books.accounts()
            assert (day.left, month.uncertain, month.held) == (1_000, 300, 0)
            books.settle(hold, 50)
            await settled(books)
            assert books.accounts()[1].taken == 300, "it is booked in full, once"

    @pytest.mark.parametrize("kills", [0, 3])
    def test_a_storm_of_bots_never_passes_the_cap(self, path: Path, kills: int) -> None:
        """Four processes with fifty requests each at once, some killed in the midst: the vendor's bill stays
        within the limit, and without kills the file agrees with it."""
        limit, billed = 20_000, 0
        children = [
            subprocess.Popen(
                [sys.executable, str(HERE / "spending_child.py"), str(path), str(limit), "50", "0.2"],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        for number, process in enumerate(children):
            assert process.stdout is not None
            if number < kills:
                billed += sum(int(process.stdout.readline() or 0) for _ in range(10))
                process.kill()
        for process in children:
            assert process.stdout is not None
            billed += sum(map(int, process.stdout.read().split()))
            process.stdout.close()
            process.wait()
        account = next(iter(read_accounts(path, now())))
        assert 0 < billed <= limit
        assert account.taken + account.held <= limit
        if not kills:
            assert (account.spent, account.uncertain, account.held) == (billed, 0, 0)


class TestUnusable:
    async def test_a_lock_that_is_kept_refuses_and_holds_up_nobody(self, path: Path) -> None:
        """A stopped process has the write lock: paid requests are refused, the loop and free ones go on."""
        async with books_at(path) as books:
            await held(books)
            with child("lock_holding_child.py", path) as process:
                assert process.stdout is not None
                process.stdout.readline()
                os.kill(process.pid, signal.SIGSTOP)
                asking, ticks = asyncio.create_task(books.reserve(XAI, WORST)), 0
                purse = Purse(books, clock=FakeClock())
                while not asking.done():
                    assert (await purse.reserve(XAI, 0)).worst == 0
                    await asyncio.sleep(0.01)
                    ticks += 1
                assert ticks > 10
                found = asking.result()
                assert isinstance(found, Refused)
                assert "another process has kept its lock" in found.detail
                assert not found.waits
                assert not purse.affords(XAI, 1)
            await held(books)

    async def test_a_damaged_file_refuses_with_its_cure(self, path: Path) -> None:
        """Nothing paid is asked, and it says why. Nothing of the file is written over."""
        path.write_bytes(b"not a database at all" * 100)
        before = path.read_bytes()
        async with books_at(path) as books:
            assert str(path) in (await refused(books)).detail
            assert "not a database" in (await refused(books)).detail
            with pytest.raises(BudgetSpentError, match="can't be accounted for"):
                await Purse(books, clock=FakeClock()).reserve(XAI, 1)
        assert path.read_bytes() == before

    async def test_a_file_damaged_in_its_midst_is_found_at_the_start(self, path: Path) -> None:
        """Half of the spending gone would be money given out twice."""
        async with books_at(path) as books:
            for number in range(2_000):
                payer = XAI._replace(market=f"KX{number}")
                books.settle(Hold(0, payer, 0, START), 1)
            await settled(books)
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(size // 2)
            file.write(os.urandom(size // 4))
        async with books_at(path) as books:
            await refused(books, 1)
            assert books.trouble

    async def test_a_full_disk_refuses_until_there_is_room(self, path: Path) -> None:
        """What could not be written was not held; bills that could not be booked are booked later."""
        async with books_at(path, Cap(10**9)) as books:
            first = await held(books)
            assert books._file is not None
            connection = books._file._connection
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages}")
            holds, found = 1, None
            while found is None:
                outcome = await books.reserve(XAI._replace(market="K" * 500), WORST)
                found, holds = (outcome, holds) if isinstance(outcome, Refused) else (None, holds + 1)
            assert "disk is full" in found.detail
            books.settle(first, 60)
            holds += isinstance(await books.reserve(XAI._replace(market="K" * 500), WORST), Hold)
            connection.execute("PRAGMA max_page_count = 100000")
            await held(books)
            account = await settled(books)
            assert (account.spent, account.held) == (60, holds * WORST), "the first is settled, one is new"

    async def test_a_file_that_was_taken_away_is_not_begun_anew(self, path: Path) -> None:
        """Deleting it under a running bot is no way to a second budget."""
        async with books_at(path) as books:
            await held(books)
            path.unlink()
            assert "removed or replaced" in (await refused(books)).detail
            path.write_bytes(b"")
            assert "replaced" in (await refused(books)).detail
            assert path.read_bytes() == b""

    async def test_other_peoples_and_newer_files_are_left_alone(self, path: Path) -> None:
        """A database of something else, or of a newer version, is refused by name."""
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE holiday_photos (name TEXT)")
        connection.close()
        async with books_at(path) as books:
            assert "something else" in (await refused(books)).detail
        newer = path.with_name("newer.db")
        async with books_at(newer):
            pass
        with sqlite3.connect(newer) as connection:
            connection.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
        connection.close()
        async with books_at(newer) as books:
            assert "newer version" in (await refused(books)).detail
        with pytest.raises(JournalNewer):
            read_accounts(newer, START)

    async def test_a_directory_that_is_missing_refuses(self, tmp_path: Path) -> None:
        """It is tried again with each request, and works once it is there."""
        path = tmp_path / "later" / "budget.db"
        async with books_at(path) as books:
            await refused(books)
            path.parent.mkdir()
            await held(books)

    async def test_what_is_closed_holds_nothing(self, path: Path) -> None:
        """After the end nothing is promised, and nobody hangs."""
        books = SqliteBooks.open(path, [Cap(100)], clock=FakeClock())
        await books.close()
        assert "closed" in (await refused(books)).detail


class TestClock:
    async def test_a_clock_set_right_again_reopens_nothing_and_stays_usable(self, path: Path) -> None:
        """A year ahead by mistake: what was spent there counts until then, all else is as it was."""
        clock = FakeClock()
        async with books_at(path, clock=clock) as books:
            books.settle(await held(books, 400), 400)
            await settled(books)
        ahead = FakeClock(START + timedelta(days=365))
        async with books_at(path, clock=ahead) as books:
            books.settle(await held(books, 300), 300)
            await settled(books)
        async with books_at(path, clock=clock) as books:
            account = await settled(books)
            assert account.spent == 700
            clock.advance(86_400.0)
            await held(books, 700)
            await refused(books, 1)


CAPS = [
    Cap(150),
    Cap(60, Window.MINUTE),
    Cap(90, Window.HOUR, Scope.PROVIDER),
    Cap(300, Window.MONTH, Scope.MARKET, "A"),
]
PAYERS = st.builds(Payer, st.sampled_from(["xai", "openai"]), st.just("m"), st.sampled_from("AB"))
STEPS = st.one_of(
    st.tuples(st.just("hold"), PAYERS, st.integers(0, 80)),
    st.tuples(st.just("settle"), st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.just("wait"), st.sampled_from([1, 20, 60, 3_600, 20_000, 86_400]), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_the_file_keeps_the_same_accounts_as_the_rules(steps: list[tuple[object, ...]]) -> None:
    """Any course of holds, bills and time: what is in the file is what the pure ledger says."""
    with tempfile.TemporaryDirectory() as directory:
        now = START
        ledger = Ledger(CAPS, now)
        file = BudgetFile(Path(directory) / "b.db", CAPS, now)
        pairs: list[tuple[Hold, Hold]] = []
        try:
            for step in steps:
                with file.transaction():
                    match step:
                        case "hold", Payer() as payer, int(worst):
                            if worst == 0:
                                continue
                            ours, theirs = (
                                ledger.reserve(payer, worst, now),
                                file.hold(file.accounts(now), payer, worst),
                            )
                            assert type(ours) is type(theirs)
                            if isinstance(ours, Hold) and isinstance(theirs, Hold):
                                pairs.append((ours, theirs))
                            elif isinstance(ours, Refused) and isinstance(theirs, Refused):
                                assert (ours.waits, ours.frees_at) == (theirs.waits, theirs.frees_at)
                        case "settle", float(share), float(rest) if pairs:
                            ours, theirs = pairs.pop(0)
                            cost = int(ours.worst * share)
                            uncertain = int((ours.worst - cost) * rest)
                            ledger.settle(ours, cost, uncertain, now)
                            file.settle(theirs, cost, uncertain, now)
                        case "wait", int(secs), _:
                            now += timedelta(seconds=secs)
                    accounts = file.accounts(now)
                    for account in ledger.accounts(now):
                        assert accounts.get(account.cap, account.name) == account
        finally:
            file.close()
