"""A year of trading with outages: real questions, books that balance, policies true to their names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jurymast.domain.decision import Decision, EvidenceQuality, Forecast, ResolutionRisk, Rung
from jurymast.domain.market import Book, Level, Market, MarketSnapshot, MarketStatus, Side
from jurymast.domain.money import CENT, CONTRACT, PAYOUT
from jurymast.domain.order import Action, OrderIntent, Purpose, TimeInForce
from jurymast.domain.provider import Tier
from jurymast.domain.status import EmergencyMode
from jurymast.exchange.questions import load_bundle
from jurymast.lab.year.account import Account
from jurymast.lab.year.listings import ROUND_DAYS, START, listed
from jurymast.lab.year.outages import Outages, Status, lived_through, routes, scheduled
from jurymast.lab.year.policies import JURYMAST, POLICIES, Look, Policy, Trader
from jurymast.lab.year.replay import Lived, Outcome, Scenario, live
from jurymast.lab.year.report import figures, interval, table
from jurymast.policy.cached import rules_hash

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MARKET = Market("T-1", "E-1", "politics", "Will it?", "", NOW - timedelta(days=9), NOW + timedelta(days=30))
FIRST = routes()[0]
STRONG = next(place for place in routes() if place.spec.tier is Tier.STRONG)
SKIP, IGNORE, SELL, CEILING = POLICIES[1:]
TROUBLED = Scenario(seed=2, years=0.04, outages=10, longer=8.0)


def snapshot(
    bid_cents: int = 49, at: datetime = NOW, *, spread: int = 1, count: int = 9_000
) -> MarketSnapshot:
    def level(cents: int) -> Level:
        return Level(cents * CENT, count * CONTRACT)

    bids = tuple(level(bid_cents - depth) for depth in range(3) if bid_cents - depth > 0)
    asks = tuple(level(bid_cents + spread + depth) for depth in range(3) if bid_cents + spread + depth < 100)
    return MarketSnapshot(MARKET, MarketStatus.ACTIVE, Book(bids, asks), 50_000 * CONTRACT, at)


def opinion(of: MarketSnapshot, percent: int) -> Decision:
    """What a strong model says, very sure."""
    forecast = Forecast(
        percent, percent, percent, 50, EvidenceQuality.STRONG, ResolutionRisk.LOW, (), ""
    )  # fmt: skip
    return Decision(
        f"d-{percent}-{of.as_of:%H%M}", of.ticker, forecast, Rung.PRIMARY, STRONG.route, Tier.STRONG,
        STRONG.route.model, EmergencyMode.NORMAL, 0, 0.0, of.book.mid, of.as_of, of.as_of, "SIMULATED",
        rules_hash=rules_hash(of.market), spread=of.book.spread, volume_24h=of.volume_24h,
    )  # fmt: skip


def in_mode(mode: EmergencyMode, *, blind: bool = True) -> Status:
    return Status(0.0, mode, answers=None if blind else FIRST)


def answered(percent: int, of: MarketSnapshot | None = None) -> Look:
    """All is well, and the model says so much."""
    seen = of or snapshot()
    said = opinion(seen, percent)
    return Look(
        seen, "E-1", in_mode(EmergencyMode.NORMAL, blind=False), said, said, None, True, True
    )  # fmt: skip


def holding(policy: Policy) -> Trader:
    """A trader that has bought on a good answer."""
    trader = Trader(policy)
    trader.look(answered(98))
    assert trader.account.position("T-1") is not None
    return trader


def blind_look(
    mode: EmergencyMode, percent: int = 98, *, minutes: int = 10, then_cents: int = 49, bid_cents: int = 49
) -> Look:
    """Nobody answers; so much was said some minutes before."""
    now = snapshot(bid_cents, NOW + timedelta(minutes=minutes))
    return Look(
        now, "E-1", in_mode(mode), kept=opinion(snapshot(then_cents), percent), ceiling=opinion(now, percent)
    )


class TestTheQuestions:
    """A year is made of the bundle and of nothing else."""

    def test_every_listing_is_a_real_question_moved_by_whole_days(self) -> None:
        """Crowd price, outcome, life and time of day are the bundle's; only the day and the name are new."""
        bundle = {question.ticker: question for question in load_bundle()}
        listings = listed(load_bundle(), 4, 1.0)
        assert len({listing.question.ticker for listing in listings}) == len(listings)
        for listing in listings:
            ticker, _, number = listing.question.ticker.rpartition("-")
            real = bundle[ticker]
            by = listing.question.listed_at - real.listed_at
            assert by == timedelta(days=by.days)
            assert listing.event == real.event_ticker
            assert replace(
                listing.question, ticker=ticker, event_ticker=real.event_ticker, listed_at=real.listed_at,
                close_time=real.close_time, resolves_at=real.resolves_at,
            ) == real  # fmt: skip
            assert listing.question.resolves_at - real.resolves_at == by
            assert (
                listing.question.listed_at.date() == (START + timedelta(days=ROUND_DAYS * int(number))).date()
            )

    def test_a_year_has_a_round_every_two_weeks_and_other_seeds_draw_others(self) -> None:
        """The rounds of a year are drawn by the seed."""
        first, again, other = (listed(load_bundle(), seed, 1.0) for seed in (1, 1, 2))
        assert first == again
        assert first != other
        assert len({listing.question.listed_at.date() for listing in first}) == 27


class TestTheBooks:
    """Money is counted twice, and settlement is by what happened."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["buy", "sell", "settle"]),
                st.integers(0, 3),
                st.sampled_from(Side),
                st.integers(5, 95),
                st.integers(1, 20_000),
                st.sampled_from(EmergencyMode),
                st.booleans(),
            ),
            max_size=40,
        )
    )
    def test_cash_and_positions_balance_to_the_micro_dollar(self, steps: list[tuple[Any, ...]]) -> None:
        """Whatever happens: cash and cost of positions are start and profit, by mode and by event."""
        account = Account(10_000 * PAYOUT)
        for turn, (what, number, side, bid_cents, contracts, mode, outcome) in enumerate(steps):
            market = replace(MARKET, ticker=f"T-{number}")
            seen = replace(snapshot(bid_cents), market=market, as_of=NOW + timedelta(minutes=turn))
            held = account.position(market.ticker)
            if what == "settle":
                cash, size = account.cash, held.size if held else 0
                wins = held is not None and held.side is (Side.YES if outcome else Side.NO)
                account.settle(market.ticker, outcome, seen.as_of)
                assert account.cash - cash == (PAYOUT * size // CONTRACT if wins else 0)
                assert account.position(market.ticker) is None
            elif what == "buy":
                bought = held.side if held else side
                account.execute(
                    order(seen, bought, Action.BUY, contracts, turn), seen, mode, f"E-{number % 2}"
                )
            elif held is not None:
                count = min(contracts, held.size // CONTRACT)
                account.execute(
                    order(seen, held.side, Action.SELL, count, turn), seen, mode, f"E-{number % 2}"
                )
            assert account.imbalance == 0
        account.close()
        assert sum(account.earned.by_mode.values()) == account.equity - account.start
        assert sum(account.earned.by_event.values()) == account.equity - account.start

    def test_an_order_takes_what_is_displayed_at_its_price_and_pays_the_fee(self) -> None:
        """Two levels within the limit are taken, and a round trip costs money."""
        account = Account(10_000 * PAYOUT)
        seen = snapshot(49, count=10)
        buy = replace(order(seen, Side.YES, Action.BUY, 25, 1), limit_price=51 * CENT)
        assert account.execute(buy, seen, EmergencyMode.NORMAL, "E-1") == 20 * CONTRACT
        paid = 10 * (50 + 51) * CENT
        assert account.start - account.cash > paid
        account.execute(order(seen, Side.YES, Action.SELL, 10, 2), seen, EmergencyMode.MINIMAL, "E-1")
        assert account.earned.by_mode[EmergencyMode.NORMAL] < 0
        assert account.earned.by_mode[EmergencyMode.MINIMAL] == 0


def order(seen: MarketSnapshot, side: Side, action: Action, contracts: int, turn: int) -> OrderIntent:
    levels = seen.book.offers(side) if action is Action.BUY else seen.book.takers(side)
    purpose = Purpose.ENTRY if action is Action.BUY else Purpose.EXIT
    return OrderIntent(
        f"c-{turn}", f"d-{turn}", seen.ticker, seen.market.event_ticker, purpose, side, action,
        contracts * CONTRACT, levels[-1].price, TimeInForce.IMMEDIATE_OR_CANCEL, "",
    )  # fmt: skip


class TestThePolicies:
    """Each does what it is called."""

    @pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
    def test_all_trade_alike_while_all_is_well(self, policy: Policy) -> None:
        """Without an outage there is no difference between them."""
        assert holding(policy).account.cash == holding(JURYMAST).account.cash

    @pytest.mark.parametrize("mode", list(EmergencyMode)[3:])
    def test_jurymast_opens_nothing_and_sells_nothing_without_judgement(self, mode: EmergencyMode) -> None:
        """From MINIMAL on the best opinion of before opens nothing, and what is held is held."""
        trader, bought = Trader(JURYMAST), holding(JURYMAST)
        before = bought.account.position("T-1")
        trader.look(blind_look(mode, then_cents=20, bid_cents=20))  # which CACHED would enter on
        bought.look(blind_look(mode))
        assert trader.account.cash == trader.account.start
        assert bought.account.position("T-1") == before

    def test_jurymast_opens_a_little_on_a_cached_opinion_once(self) -> None:
        """In CACHED a good opinion of ten minutes ago opens a quarter of a percent at most, and not again."""
        trader = Trader(JURYMAST)
        look = blind_look(EmergencyMode.CACHED, then_cents=20, bid_cents=20)
        quarter = replace(look.status, share=0.25)  # less than the cap, so that a second time would show
        trader.look(replace(look, status=quarter))
        position = trader.account.position("T-1")
        assert position is not None
        assert 0 < position.cost <= trader.account.start * 25 // 10_000
        later = blind_look(EmergencyMode.CACHED, minutes=12, then_cents=20, bid_cents=20)
        trader.look(replace(later, status=quarter))
        assert trader.account.position("T-1") == position

    def test_jurymast_lets_an_opinion_go_once_the_market_has_moved(self) -> None:
        """Eleven cents later the opinion of before is void."""
        trader = Trader(JURYMAST)
        trader.look(blind_look(EmergencyMode.CACHED, then_cents=31, bid_cents=20))
        assert trader.account.cash == trader.account.start

    @pytest.mark.parametrize("mode", list(EmergencyMode)[:5])
    def test_always_skip_does_nothing_while_nobody_answers(self, mode: EmergencyMode) -> None:
        """It opens nothing, and it closes nothing, not even at 98 cents."""
        trader, bought = Trader(SKIP), holding(SKIP)
        before = bought.account.position("T-1")
        trader.look(blind_look(mode))
        bought.look(blind_look(mode, bid_cents=98))
        assert trader.account.cash == trader.account.start
        assert bought.account.position("T-1") == before

    @pytest.mark.parametrize("mode", list(EmergencyMode)[:5])
    def test_ignoring_the_outage_bets_full_size_on_old_news(self, mode: EmergencyMode) -> None:
        """In any mode, two days later, it bets as much on what was said as if it were said now."""
        trader, now = Trader(IGNORE), Trader(IGNORE)
        trader.look(blind_look(mode, minutes=2 * 24 * 60))
        now.look(answered(98))
        assert trader.account.cash == now.account.cash < trader.account.start
        assert trader.account.earned.entries == Counter({mode: 1})

    def test_selling_everything_sells_when_minimal_begins(self) -> None:
        """In CACHED it still holds; in MINIMAL it sells all of it, at a loss."""
        trader = holding(SELL)
        trader.look(blind_look(EmergencyMode.CACHED, minutes=2 * 24 * 60))
        assert trader.account.position("T-1") is not None
        trader.look(blind_look(EmergencyMode.MINIMAL))
        assert trader.account.position("T-1") is None
        assert trader.account.equity < trader.account.start

    def test_never_an_outage_goes_on_at_full_size(self) -> None:
        """The ceiling hears its first choice while nobody else hears anything."""
        trader = Trader(CEILING)
        trader.look(replace(blind_look(EmergencyMode.MINIMAL), ceiling_worth=True))
        assert trader.account.cash < trader.account.start

    def test_the_loss_of_a_day_stops_everybody(self) -> None:
        """Half of the day's cap lost calls for MINIMAL under every policy: no entry, answers or not."""
        for policy in POLICIES:
            trader = Trader(policy)
            trader.look(answered(98))
            trader.account.settle("T-1", outcome=False, at=NOW)
            trader._day_equity = trader.account.equity * 20 // 19 + PAYOUT
            cash = trader.account.cash
            trader.look(answered(98, snapshot(at=NOW + timedelta(minutes=5))))
            assert trader.account.cash == cash, policy.name


class TestTheOutages:
    """What the core made of the weather can be asked for any time."""

    def test_without_outages_all_is_normal(self) -> None:
        """No incident, no mode but NORMAL, and the first choice answers."""
        outages = lived_through(1, scheduled(1, 0.1, outages=0, longer=1.0))
        assert list(outages) == [Status(0.0, answers=FIRST)]
        assert set(outages.secs_in()) == {EmergencyMode.NORMAL}

    def test_more_outages_are_more_and_longer_ones_longer(self) -> None:
        """The knobs do what they are called."""
        one, ten = (scheduled(1, 0.5, outages=times, longer=1.0).incidents for times in (1, 10))
        stretched = scheduled(1, 0.5, outages=1, longer=4.0).incidents
        assert 4 * len(one) < len(ten) < 25 * len(one)
        before, after = (sum(each.end - each.start for each in found) for found in (one, stretched))
        assert after == pytest.approx(4 * before)

    def test_the_last_answer_is_the_end_of_the_last_time_that_somebody_answered(self) -> None:
        """A mode that asks nobody and a question that nobody answered are both blind."""
        minimal = Status(300.0, EmergencyMode.MINIMAL, answers=FIRST)
        outages = Outages(
            [Status(0.0, answers=FIRST), Status(100.0, answers=STRONG), Status(200.0), minimal], 400.0
        )
        assert outages.last_answer(50.0) == (50.0, FIRST)
        assert outages.last_answer(150.0) == (150.0, STRONG)
        assert outages.last_answer(250.0) == outages.last_answer(350.0) == (200.0, STRONG)
        assert outages.secs_in() == {EmergencyMode.NORMAL: 300.0, EmergencyMode.MINIMAL: 100.0}


@cache
def troubled() -> Lived:
    return live(TROUBLED, load_bundle())


class TestAWholeYear:
    """Two weeks of it, with outages enough to matter."""

    def test_everything_is_accounted_for(self) -> None:
        """Every profit has its mode and its event, no micro-dollar is missing, and no rule was broken."""
        lived = troubled()
        assert lived.violations == 0
        assert lived.blind > 0
        assert lived.secs_in[EmergencyMode.MINIMAL] > 0
        for name, outcome in lived.outcomes.items():
            assert outcome.imbalance == 0
            assert sum(outcome.earned.by_mode.values()) == outcome.pnl, name
            assert sum(outcome.earned.by_event.values()) == outcome.pnl, name
            assert sum(outcome.earned.entries.values()) > 0, name

    def test_no_entry_without_judgement(self) -> None:
        """Jurymast and its panicking twin enter nothing from MINIMAL on, always SKIP from CACHED on."""
        outcomes = troubled().outcomes
        blind = [mode for mode in EmergencyMode if mode.severity >= EmergencyMode.MINIMAL.severity]
        for mode in blind:
            assert outcomes[JURYMAST.name].earned.entries[mode] == 0
            assert outcomes[SELL.name].earned.entries[mode] == 0
        for mode in (EmergencyMode.CACHED, *blind):
            assert outcomes[SKIP.name].earned.entries[mode] == 0
        assert sum(outcomes[IGNORE.name].earned.entries[mode] for mode in (EmergencyMode.CACHED, *blind)) > 0

    def test_without_outages_the_policies_are_one(self) -> None:
        """What differs between them is the outage and nothing else."""
        outcomes = list(live(replace(TROUBLED, outages=0), load_bundle()).outcomes.values())
        assert all(outcome.equities == outcomes[0].equities for outcome in outcomes)
        assert outcomes[0].pnl != 0

    def test_one_seed_is_one_year_in_any_process(self) -> None:
        """`jurymast year --json` says SIMULATED, and the same seed gives the same figures."""
        first, second, other = (told("2", "1"), told("2", "2"), told("3", "1"))
        assert first["simulated"] is True
        assert first == second
        assert first["policies"] != other["policies"]


def told(seed: str, hash_seed: str) -> dict[str, Any]:
    words = ["--seeds", "1", "--seed", seed, "--years", "0.02", "--outages", "10", "--longer", "8", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "jurymast", "year", *words],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


class TestTheReport:
    """Figures with their intervals, and no interval where there is none."""

    def test_an_interval_holds_its_mean_and_one_value_has_none(self) -> None:
        """The bootstrap is seeded; of one value nothing is claimed."""
        found = interval([1.0, 2.0, 3.0, 10.0])
        assert found == interval([1.0, 2.0, 3.0, 10.0])
        assert found["low"] is not None
        assert found["high"] is not None
        assert 1.0 <= found["low"] < found["mean"] == 4.0 < found["high"] <= 10.0
        assert interval([5.0]) == {"mean": 5.0, "low": None, "high": None}

    def test_differences_are_paired_and_falls_are_from_the_peak(self) -> None:
        """Two seeds in which jurymast is $2 ahead have an interval of nothing around $2."""
        lives = []
        for ours in (10, -30):
            outcomes = {
                name: Outcome(100 * PAYOUT, [150 * PAYOUT, (100 + ours - behind) * PAYOUT])
                for name, behind in ((JURYMAST.name, 0), (SKIP.name, 2))
            }
            for outcome in outcomes.values():
                outcome.earned.by_event["E"] = outcome.pnl
            lives.append(Lived(Scenario(), outcomes, {}, 0, 0))
        facts = figures(lives)
        ahead = facts["jurymast_ahead_of"][SKIP.name]
        assert ahead["pnl_usd"] == {"mean": 2.0, "low": 2.0, "high": 2.0}
        assert ahead["seeds_ahead"] == 2
        ours = facts["policies"][JURYMAST.name]
        assert ours["seeds_at_a_loss"] == 1
        assert ours["largest_drawdown"]["worst"] == pytest.approx(80 / 150)
        assert ours["worst_day"]["worst"] == pytest.approx(-80 / 150)
        assert "SIMULATED" in table(facts)
