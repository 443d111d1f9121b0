"""The move from another decision maker: who decides, when it goes on, when it steps back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jurymast.domain.market import Side
from jurymast.domain.money import USD
from jurymast.domain.rollout import Comparison, Decider, Phase, Rollout, Verdict
from jurymast.policy.rollout import (
    Limits,
    Scope,
    Tally,
    compares,
    decider,
    lacking,
    marks,
    regression,
    stepped_back,
    stepped_on,
    tally,
)

NOW = datetime(2026, 11, 29, tzinfo=UTC)
OURS, THEIRS = Decider.OURS, Decider.THEIRS
LIMITS, ANYWHERE = Limits(), Scope()
GRADUAL = Rollout(Phase.GRADUAL, 10, NOW)
YES, NO = Side.YES, Side.NO
tickers = st.text(min_size=1, max_size=20)


def who(
    rollout: Rollout, ticker: str = "M", scope: Scope = ANYWHERE, value: int = 0, category: str = ""
) -> Decider:
    return decider(rollout, scope, ticker=ticker, category=category, value=value)


def compared(
    ours: Side | None = None,
    theirs: Side | None = None,
    *,
    ours_error: str = "",
    theirs_error: str = "",
    secs: tuple[float, float] = (1.0, 1.0),
    cost: tuple[int | None, int | None] = (None, None),
    ticker: str = "M",
    price: int = 500_000,
) -> Comparison:
    return Comparison(
        ticker, price, Phase.SHADOW, THEIRS,
        Verdict(ours, secs[0], cost[0], ours_error),
        Verdict(theirs, secs[1], cost[1], theirs_error),
    )  # fmt: skip


class TestWhoDecides:
    @given(tickers)
    def test_the_ends_are_clear(self, ticker: str) -> None:
        """Theirs in SHADOW; ours in TUNED and FULL."""
        phases = [Rollout(phase, 50) for phase in Phase]
        assert [who(each, ticker) for each in (phases[0], *phases[2:])] == [THEIRS, OURS, OURS]

    @given(tickers, st.integers(1, 99), st.integers(1, 99))
    def test_a_market_keeps_its_decider_and_a_larger_share_only_adds(
        self, ticker: str, a: int, b: int
    ) -> None:
        """Sticky by its ticker: what is ours at a share stays ours at every larger one."""
        small, large = sorted((a, b))
        at_small = who(replace(GRADUAL, share_pct=small), ticker)
        assert at_small is who(replace(GRADUAL, share_pct=small, serial=9), ticker)
        if at_small is OURS:
            assert who(replace(GRADUAL, share_pct=large), ticker) is OURS

    def test_the_share_is_the_share(self) -> None:
        """Ten percent of many markets are about ten percent."""
        ours = sum(who(GRADUAL, f"KX-{n}") is OURS for n in range(10_000))
        assert 900 < ours < 1_100

    def test_categories_and_values_narrow_it(self) -> None:
        """At a share of all, only what is named and small enough is ours."""
        everything = replace(GRADUAL, share_pct=100)
        scope = Scope(frozenset({"weather"}), 50 * USD)
        assert who(everything, scope=scope, category=" Weather ", value=50 * USD) is OURS
        assert who(everything, scope=scope, category="politics") is THEIRS
        assert who(everything, scope=scope, category="weather", value=51 * USD) is THEIRS

    def test_who_is_compared(self) -> None:
        """Everything in the first two phases, a sample in TUNED, nothing in FULL."""
        scope = Scope(beside_pct=10)
        names = [f"KX-{n}" for n in range(2_000)]
        shares = [sum(compares(Rollout(phase), scope, name) for name in names) / 2_000 for phase in Phase]
        assert shares[0] == shares[1] == 1
        assert 0.07 < shares[2] < 0.13
        assert shares[3] == 0

    def test_who_is_compared_is_drawn_apart_from_who_decides(self) -> None:
        """The tenth that TUNED compares is not the tenth that GRADUAL began with."""
        names = [f"KX-{n}" for n in range(5_000)]
        tuned = Rollout(Phase.TUNED)
        both = sum(who(GRADUAL, n) is OURS and compares(tuned, Scope(beside_pct=10), n) for n in names)
        assert both < 100, "fifty by chance, five hundred if they were drawn alike"


class TestEvidence:
    def test_it_adds_up(self) -> None:
        """Agreement, errors, opposite sides, percentiles and means, unknown ones left unknown."""
        rows = [
            compared(YES, YES, secs=(1, 2), cost=(100, None)),
            compared(YES, NO, secs=(3, 2), cost=(300, None)),
            compared(None, None, secs=(2, 2)),
            compared(None, YES, ours_error="down", secs=(9, 2)),
            compared(YES, None, theirs_error="down", secs=(1, 2)),
        ]
        assert tally(rows) == Tally(5, 3, 2, 1, 1, 1, 9, 2, 200, None)
        assert tally([]) == Tally()

    def test_bets_are_marked_to_what_the_market_thought_later(self) -> None:
        """A bet of each side gains or loses with the last price seen; a market seen once says nothing."""
        rows = [
            compared(YES, NO, price=500_000),
            compared(None, None, price=560_000),
            compared(YES, YES, ticker="ONCE"),
        ]
        ours, theirs = marks(rows)
        assert (ours.bets, ours.mean) == (1, 60_000)
        assert (theirs.bets, theirs.mean) == (1, -60_000)


class TestSteppingBack:
    @pytest.mark.parametrize(
        ("row", "word"),
        [
            (compared(ours_error="nobody answered"), "no answer"),
            (compared(secs=(40.0, 5.0)), "takes 40.0 s"),
            (compared(YES, NO), "opposite sides"),
            (compared(cost=(300_000, 20_000)), "costs $0.3000"),
        ],
    )
    def test_each_regression_is_found_once_there_is_enough(self, row: Comparison, word: str) -> None:
        """Nineteen of a kind are an anecdote, twenty a reason."""
        assert regression(tally([row] * (LIMITS.count_min - 1)), LIMITS) is None
        found = regression(tally([row] * LIMITS.count_min), LIMITS)
        assert found is not None
        assert word in found

    @pytest.mark.parametrize(
        "row",
        [
            compared(YES, YES),
            compared(ours_error="down", theirs_error="down"),
            compared(secs=(9.0, 1.0)),
            compared(secs=(40.0, 20.0)),
            compared(cost=(300_000, None)),
            compared(cost=(40_000, 1_000)),
            compared(YES, None),
        ],
    )
    def test_what_is_no_regression(self, row: Comparison) -> None:
        """Failing no more than theirs, slow below the floor, dear with theirs unknown, bolder: none of
        them."""
        assert regression(tally([row] * 50), LIMITS) is None

    def test_one_step_at_a_time_and_never_past_the_first(self) -> None:
        """By rule from FULL to TUNED, from SHADOW to SHADOW."""
        state = Rollout(Phase.FULL)
        seen = []
        for _ in range(4):
            state = stepped_back(state, reason="r", now=NOW, by_hand=False, share_pct=10)
            seen.append((state.phase, state.share_pct))
        assert seen == [(Phase.TUNED, 100), (Phase.GRADUAL, 10), (Phase.SHADOW, 0), (Phase.SHADOW, 0)]
        assert (state.by_hand, state.reason, state.since) == (False, "r", NOW)

    def test_back_is_back(self) -> None:
        """A person may go back several steps at once, and not on by going back."""
        full = Rollout(Phase.FULL)
        there = stepped_back(full, to=Phase.SHADOW, reason="r", now=NOW, by_hand=True, share_pct=10)
        assert there.phase is Phase.SHADOW
        with pytest.raises(ValueError, match="not behind"):
            stepped_back(there, to=Phase.TUNED, reason="r", now=NOW, by_hand=True, share_pct=10)


class TestGoingOn:
    def test_it_wants_count_time_and_no_regression(self) -> None:
        """Each of the three by itself holds it up, and says so."""
        young = Rollout(Phase.SHADOW, 0, NOW)
        old = NOW + timedelta(days=2)
        good, bad = tally([compared(YES, YES)] * 60), tally([compared(YES, NO)] * 60)
        assert lacking(young, good, LIMITS, old) == ()
        assert "0 markets compared" in lacking(young, Tally(), LIMITS, old)[0]
        assert "0.0 h" in lacking(young, good, LIMITS, NOW)[0]
        assert "opposite" in lacking(young, bad, LIMITS, old)[0]
        assert lacking(Rollout(Phase.FULL), good, LIMITS, old)

    def test_the_way_is_one_way(self) -> None:
        """SHADOW, GRADUAL with its share, TUNED, FULL, and no further."""
        state, seen = Rollout(Phase.SHADOW, 0), []
        for _ in range(3):
            state = stepped_on(state, share_pct=10, reason="ok", now=NOW)
            seen.append((state.phase, state.share_pct))
        assert seen == [(Phase.GRADUAL, 10), (Phase.TUNED, 100), (Phase.FULL, 100)]
        with pytest.raises(ValueError, match="complete"):
            stepped_on(state, share_pct=10, reason="ok", now=NOW)
