"""AI money: what is spent, uncertain and held never passes a hard cap, whatever comes in which order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from jurymast.domain.money import Micros
from jurymast.policy.ledger import (
    ACCOUNTS_KEPT,
    Account,
    Cap,
    Hold,
    Ledger,
    Payer,
    Refused,
    Scope,
    Window,
    end_of,
    start_of,
)

NOON = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
XAI = Payer("xai", "grok-4.3", "KXRAIN", "news")
GPT = Payer("openai", "gpt-6.1-terra", "KXRAIN", "news")
MINUTE, HOUR, DAY, MONTH = Window


def held(ledger: Ledger, worst: Micros | None, payer: Payer = XAI, now: datetime = NOON) -> Hold:
    outcome = ledger.reserve(payer, worst, now)
    assert isinstance(outcome, Hold), outcome
    return outcome


def refused(ledger: Ledger, worst: Micros | None, payer: Payer = XAI, now: datetime = NOON) -> Refused:
    outcome = ledger.reserve(payer, worst, now)
    assert isinstance(outcome, Refused), outcome
    return outcome


def account(ledger: Ledger, place: int = 0, name: str = "", now: datetime = NOON) -> Account:
    return ledger.account(ledger.caps[place], name, now)


class TestOneCap:
    def test_the_worst_case_is_held_and_the_bill_is_booked(self) -> None:
        """A request holds what it may cost at most and gives the difference back."""
        ledger = Ledger([Cap(100)], NOON)
        hold = held(ledger, 60)
        assert (account(ledger).held, account(ledger).spent, account(ledger).left) == (60, 0, 40)
        ledger.settle(hold, 25, 0, NOON)
        assert (account(ledger).held, account(ledger).spent, account(ledger).left) == (0, 25, 75)

    def test_what_may_yet_be_billed_is_neither_spent_nor_given_out(self) -> None:
        """Of a request given up on its way the likely cost is spent, the rest is kept back until midnight."""
        ledger = Ledger([Cap(100)], NOON)
        ledger.settle(held(ledger, 60), 25, 35, NOON)
        books = account(ledger)
        assert (books.spent, books.uncertain, books.held, books.left) == (25, 35, 0, 40)
        assert not refused(ledger, 41).waits
        assert account(ledger, now=NOON + timedelta(days=1)).left == 100

    def test_what_does_not_fit_is_refused(self) -> None:
        """The last micro-dollar can be held, the one after it can't."""
        ledger = Ledger([Cap(100)], NOON)
        held(ledger, 100)
        refused(ledger, 1)
        refused(Ledger([Cap(100)], NOON), 101)

    def test_zero_means_zero(self) -> None:
        """A limit of nothing lets free models through and nothing else, for ever."""
        ledger = Ledger([Cap(0)], NOON)
        assert refused(ledger, 1).frees_at is None
        assert held(ledger, 0).worst == 0

    def test_free_requests_fit_even_when_too_much_was_spent(self) -> None:
        """A bill beyond its hold stops paid requests, not free ones."""
        ledger = Ledger([Cap(100)], NOON)
        ledger.settle(held(ledger, 100), 150, 0, NOON)
        assert account(ledger).left == -50
        refused(ledger, 1)
        ledger.settle(held(ledger, 0), 0, 0, NOON)

    def test_a_bill_without_a_hold_is_booked(self) -> None:
        """A cost that nobody expected is spent all the same."""
        ledger = Ledger([Cap(100)], NOON)
        ledger.settle(held(ledger, 0), 5, 0, NOON)
        assert account(ledger).spent == 5

    def test_an_unknown_price_is_refused_under_a_hard_cap_only(self) -> None:
        """What can't be limited is not spent; where nothing is limited, it may be."""
        assert "price is not known" in refused(Ledger([Cap(100)], NOON), None).detail
        ledger = Ledger([Cap(100, hard=False)], NOON)
        ledger.settle(held(ledger, None), 30, 0, NOON)
        assert account(ledger).spent == 30

    @pytest.mark.parametrize(("cost", "uncertain"), [(-1, 0), (0, -1)])
    def test_a_negative_bill_is_an_error(self, cost: Micros, uncertain: Micros) -> None:
        """It would make money out of nothing."""
        ledger = Ledger([Cap(100)], NOON)
        with pytest.raises(ValueError, match="can't settle"):
            ledger.settle(held(ledger, 60), cost, uncertain, NOON)

    def test_a_hold_is_settled_once(self) -> None:
        """The second time would open the budget again."""
        ledger = Ledger([Cap(100)], NOON)
        hold = held(ledger, 60)
        ledger.settle(hold, 60, 0, NOON)
        with pytest.raises(ValueError, match="settled before"):
            ledger.settle(hold, 0, 0, NOON)

    def test_a_reservation_is_not_negative(self) -> None:
        """A negative worst case is a bug of the caller, not a refund."""
        with pytest.raises(ValueError, match="negative"):
            Ledger([Cap(100)], NOON).reserve(XAI, -1, NOON)


class TestManyCaps:
    def test_every_cap_that_concerns_a_payer_must_have_room(self) -> None:
        """A spent provider stops itself, not the others; the total stops all."""
        ledger = Ledger([Cap(100), Cap(50, scope=Scope.PROVIDER, of="xai")], NOON)
        held(ledger, 50)
        assert refused(ledger, 1).account == account(ledger, 1, "xai")
        held(ledger, 50, GPT)
        assert refused(ledger, 1, GPT).account == account(ledger)

    def test_without_a_name_each_has_a_cap_of_its_own(self) -> None:
        """One limit for every market; who has no market is not limited by it."""
        ledger = Ledger([Cap(1_000), Cap(50, scope=Scope.MARKET)], NOON)
        held(ledger, 50)
        refused(ledger, 1)
        held(ledger, 50, XAI._replace(market="KXSNOW"))
        held(ledger, 500, XAI._replace(market=""))

    @pytest.mark.parametrize("scope", [Scope.PROVIDER, Scope.MODEL, Scope.MARKET, Scope.STRATEGY])
    def test_a_named_cap_is_of_that_name_only(self, scope: Scope) -> None:
        """A cap of one provider, model, market or strategy knows it by its name."""
        mine = Ledger([Cap(10, scope=scope, of=getattr(XAI, scope))], NOON)
        refused(mine, 11)
        held(Ledger([Cap(10, scope=scope, of="another")], NOON), 11)

    def test_nothing_is_held_anywhere_when_one_refuses(self) -> None:
        """A refusal leaves every account as it was."""
        ledger = Ledger([Cap(100), Cap(50, scope=Scope.PROVIDER)], NOON)
        refused(ledger, 60)
        assert all(books.held == 0 for books in ledger.accounts(NOON))

    def test_the_refusal_names_the_cap_that_frees_last(self) -> None:
        """Two full windows: what is told is when a request could fit again."""
        ledger = Ledger([Cap(100, DAY), Cap(100, HOUR)], NOON)
        ledger.settle(held(ledger, 100), 100, 0, NOON)
        found = refused(ledger, 10)
        assert (found.waits, found.frees_at) == (False, datetime(2026, 4, 1, tzinfo=UTC))
        assert "the day's 100" in found.detail

    def test_what_holds_alone_keep_out_may_wait(self) -> None:
        """It would fit once others give back, unless another cap is spent for good."""
        ledger = Ledger([Cap(100)], NOON)
        held(ledger, 70)
        assert refused(ledger, 60).waits
        ledger = Ledger([Cap(100), Cap(50, HOUR)], NOON)
        ledger.settle(held(ledger, 50), 50, 0, NOON)
        assert not refused(ledger, 20).waits
        ledger = Ledger([Cap(100)], NOON)
        held(ledger, 10)
        assert not refused(ledger, 101).waits, "no release makes it fit"

    def test_a_soft_cap_is_told_of_and_refuses_nothing(self) -> None:
        """From the request after it is used up its holds say so."""
        ledger = Ledger([Cap(100), Cap(10, hard=False)], NOON)
        first = held(ledger, 30)
        assert first.crossed == ()
        ledger.settle(first, 20, 0, NOON)
        assert [books.spent for books in held(ledger, 30).crossed] == [20]

    def test_a_share_of_the_day_is_kept_for_its_hours(self) -> None:
        """Before the hours nobody gets at it, from their beginning everybody does."""
        ledger = Ledger([Cap(100, kept=40, kept_until_hour=14)], NOON)
        found = refused(ledger, 61)
        assert (found.waits, found.frees_at) == (False, NOON.replace(hour=14))
        assert "40 are kept until 14:00 UTC" in found.detail
        held(ledger, 61, now=NOON.replace(hour=14))

    @pytest.mark.parametrize("kept", [-1, 101])
    def test_no_more_is_kept_than_there_is(self, kept: Micros) -> None:
        """Nonsense is refused at birth."""
        with pytest.raises(ValueError, match="keep back"):
            Cap(100, kept=kept, kept_until_hour=3)
        with pytest.raises(ValueError, match="of a day"):
            Cap(100, HOUR, kept=1, kept_until_hour=3)


class TestWindows:
    @pytest.mark.parametrize(
        ("window", "start", "end"),
        [
            (MINUTE, "2026-12-31T23:59", "2027-01-01T00:00"),
            (HOUR, "2026-12-31T23:00", "2027-01-01T00:00"),
            (DAY, "2026-12-31T00:00", "2027-01-01T00:00"),
            (MONTH, "2026-12-01T00:00", "2027-01-01T00:00"),
        ],
    )
    def test_windows_are_those_of_the_calendar(self, window: Window, start: str, end: str) -> None:
        """Minutes, hours, days and months as UTC counts them, also over the end of a year."""
        at = datetime(2026, 12, 31, 23, 59, 30, 5, tzinfo=UTC)
        began = datetime.fromisoformat(start + "+00:00")
        assert start_of(window, at) == began
        assert end_of(window, began) == datetime.fromisoformat(end + "+00:00")

    def test_a_new_window_starts_anew_but_keeps_what_is_in_flight(self) -> None:
        """At midnight UTC spending is forgotten, holds are not; the bill is the new day's."""
        ledger = Ledger([Cap(100)], NOON)
        ledger.settle(held(ledger, 50), 40, 0, NOON)
        hold, tomorrow = held(ledger, 30), NOON + timedelta(days=1)
        books = account(ledger, now=tomorrow)
        assert (books.spent, books.held, books.left) == (0, 30, 70)
        ledger.settle(hold, 20, 0, tomorrow)
        assert account(ledger, now=tomorrow).spent == 20

    def test_a_clock_that_goes_back_reopens_nothing(self) -> None:
        """Yesterday's date brings neither yesterday's nor a second today's budget."""
        ledger = Ledger([Cap(100)], NOON)
        ledger.settle(held(ledger, 90), 90, 0, NOON)
        refused(ledger, 11, now=NOON - timedelta(days=1))
        assert account(ledger, now=NOON).spent == 90

    def test_accounts_of_the_past_are_forgotten(self) -> None:
        """Memory is bounded by the markets that trade within a window."""
        ledger = Ledger([Cap(10**9), Cap(10, MINUTE, Scope.MARKET)], NOON)
        for number in range(2 * ACCOUNTS_KEPT):
            now = NOON + timedelta(seconds=number / 10)
            ledger.settle(held(ledger, 1, XAI._replace(market=str(number)), now), 1, 0, now)
        assert len(ledger.accounts(now)) <= ACCOUNTS_KEPT + 1
        assert account(ledger, now=now).spent == 2 * ACCOUNTS_KEPT


AMOUNTS = st.integers(0, 120)
CAPS = st.lists(
    st.builds(
        Cap,
        AMOUNTS,
        st.sampled_from(Window),
        st.sampled_from(Scope),
        st.sampled_from(["", "xai", "gpt-6.1-terra", "A"]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda cap: (cap.window, cap.scope, cap.of),
)
PAYERS = st.builds(
    Payer, st.sampled_from(["xai", "openai"]), st.just("gpt-6.1-terra"), st.sampled_from("AB"), st.just("s")
)
STEPS = st.sampled_from([-60.0, -1.0, 0.0, 1.0, 30.0, 60.0, 3_600.0, 86_400.0, 31 * 86_400.0])


class AnyInterleaving(RuleBasedStateMachine):
    """Requests that overlap in any way and windows that end meanwhile, under any caps.

    The vendor dates each request at its send, at its end, or anywhere between; the caps hold for his bill
    in each of his windows all the same.
    """

    holds = Bundle("holds")

    @initialize(caps=CAPS)
    def begin(self, caps: list[Cap]) -> None:
        self.now = NOON
        self.ledger = Ledger(caps, NOON)
        self.bills: list[tuple[Payer, Micros, datetime]] = []

    @rule(target=holds, payer=PAYERS, worst=AMOUNTS)
    def a_request_begins(self, payer: Payer, worst: Micros) -> Hold | None:
        outcome = self.ledger.reserve(payer, worst, self.now)
        if isinstance(outcome, Hold):
            return outcome
        assert worst > 0
        assert outcome.account is not None
        full = outcome.account
        assert full.left < worst
        assert outcome.waits == (full.taken + worst <= full.limit)
        return None

    @rule(hold=consumes(holds), cost=st.floats(0, 1), uncertain=st.floats(0, 1), dated=st.floats(0, 1))
    def a_request_ends(self, hold: Hold | None, cost: float, uncertain: float, dated: float) -> None:
        if hold is None:
            return
        paid = int(hold.worst * cost)
        self.ledger.settle(hold, paid, int((hold.worst - paid) * uncertain), self.now)
        if self.now >= hold.at:
            self.bills.append((hold.payer, paid, hold.at + (self.now - hold.at) * dated))

    @rule(secs=STEPS)
    def time_passes(self, secs: float) -> None:
        self.now += timedelta(seconds=secs)

    @invariant()
    def the_caps_hold(self) -> None:
        for books in self.ledger.accounts(self.now):
            assert books.spent + books.uncertain + books.held <= books.limit, books
            assert min(books.spent, books.uncertain, books.held) >= 0

    @invariant()
    def holds_are_those_that_are_open(self) -> None:
        for books in self.ledger.accounts(self.now):
            mine = [h.worst for h in self.ledger.open.values() if books.cap.name_of(h.payer) == books.name]
            assert books.held == sum(mine)

    @invariant()
    def so_do_the_vendors_bills(self) -> None:
        for cap in self.ledger.caps:
            totals: dict[tuple[str, datetime], Micros] = {}
            for payer, paid, at in self.bills:
                if (name := cap.name_of(payer)) is not None:
                    key = name, start_of(cap.window, at)
                    totals[key] = totals.get(key, 0) + paid
            assert all(total <= cap.limit for total in totals.values())


TestAnyInterleaving = AnyInterleaving.TestCase
