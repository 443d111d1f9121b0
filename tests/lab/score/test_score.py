"""The score: any file of resolved questions in, honest numbers out."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jurymast.domain.decision import ForecastRecord
from jurymast.domain.errors import BundleError
from jurymast.domain.events import CanaryFinished, ForecastScored
from jurymast.domain.money import CONTRACT, PAYOUT
from jurymast.domain.provider import ProviderName, Route, Tier
from jurymast.exchange.questions import Question, load_bundle
from jurymast.journal.sqlite import SqliteJournal
from jurymast.lab.score.journal import scored
from jurymast.lab.score.journal import table as journal_table
from jurymast.lab.score.models import CHAIN, ask, decision_on
from jurymast.lab.score.plots import write_plots
from jurymast.lab.score.policies import CERTAIN, EQUITY, NAIVE, WEIGHTED, fold_of, learn, results_of
from jurymast.lab.score.report import figures, table
from jurymast.lab.score.rows import read_rows
from jurymast.policy import fees
from jurymast.testing.clock import START, FakeClock

ROW = {
    "forecast_due_date": "2025-10-26", "source": "manifold", "id": "abc", "question": "Will it rain in May?",
    "background": "", "resolution_criteria": "N/A", "url": "https://example.org", "market_price": 0.3,
    "open_datetime": "2023-11-16T18:37:14+00:00", "close_datetime": "2026-01-01T04:59:00+00:00",
    "freeze_datetime": "2025-10-16T00:00:00+00:00", "resolution_date": "2026-01-01", "outcome": 1,
}  # fmt: skip
WEAK = [f"only {route.model} left" for route in CHAIN[2:]]


def written(path: Path, *rows: dict[str, Any] | str) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """A small score of questions from the bundle."""
    return figures(load_bundle(), seed=3, seeds=2, out=0.5)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_a_file_of_forecastbench_is_read(tmp_path: Path, name: str) -> None:
    """Plain or packed; asked twice counts once, by the earliest freeze; alike titles are one event."""
    later = ROW | {"freeze_datetime": "2025-11-16T00:00:00+00:00", "market_price": 0.9}
    alike = ROW | {
        "id": "d",
        "question": "Will it rain in June 2027?",
        "market_price": 1,
        "close_datetime": "N/A",
    }
    first, second = read_rows(written(tmp_path / name, later, ROW, "", alike))
    assert (first.crowd_probability, first.outcome, first.source_id) == (0.3, True, "abc")
    assert first.event_ticker == second.event_ticker
    assert second.crowd_probability == pytest.approx(0.999)


def test_the_bundled_format_is_read(tmp_path: Path) -> None:
    """The file that ships scores as the bundle itself."""
    from jurymast.exchange.questions import BUNDLE

    assert read_rows(BUNDLE) == load_bundle()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"market_price": ', "truncated"),
        ({key: value for key, value in ROW.items() if key != "question"}, "question"),
        (ROW | {"market_price": 1.2}, "market_price"),
        (ROW | {"market_price": None}, "market_price"),
        (ROW | {"outcome": 0.5}, "outcome"),
        (ROW | {"resolution_date": "soon"}, "soon"),
        (ROW | {"freeze_datetime": "2025-10-16"}, "freeze_datetime"),
        (ROW | {"question": " "}, "title"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_scored(
    tmp_path: Path, row: dict[str, Any] | str, reason: str
) -> None:
    """The file, the line and the fault."""
    path = written(tmp_path / "bad.jsonl", ROW, row)
    with pytest.raises(BundleError, match=rf"bad\.jsonl, line 2: .*{reason}"):
        read_rows(path)


def test_weighted_failover_loses_less_when_only_weak_models_are_left(facts: dict[str, Any]) -> None:
    """By Brier score and log loss beyond their intervals; and it stakes nothing on what they say."""
    for case in WEAK:
        ahead = facts["naive_less_weighted"][case]
        assert ahead["brier"]["low"] > 0
        assert ahead["log_loss"]["low"] > 0
        assert ahead["staked_usd"]["weighted"] == 0 < ahead["staked_usd"]["naive"]


def test_weak_models_alone_cost_money_that_weights_save() -> None:
    """What `jurymast score` publishes: naive failover to a small model loses beyond its interval."""
    told = figures(load_bundle(), seed=0, seeds=8, out=0.5)
    for case in WEAK:
        assert told["naive_less_weighted"][case]["profit_usd"]["low"] > 0


def test_naive_failover_forecasts_worse_than_the_market_and_weighted_does_not(facts: dict[str, Any]) -> None:
    """What is bet on is no worse than the price by more than its interval."""
    policies = facts["policies"]
    assert policies[NAIVE]["brier"]["low"] > policies["market price"]["brier"]["mean"]
    assert policies[WEIGHTED]["brier"]["mean"] < policies["market price"]["brier"]["high"]
    assert policies["market price"]["staked_usd"] == 0


def test_one_seed_is_one_score() -> None:
    """The same questions and seed give the same numbers, to the last digit."""
    some = load_bundle()[:60]
    assert figures(some, seed=1, seeds=1, out=0.5) == figures(some, seed=1, seeds=1, out=0.5)


def test_no_question_teaches_its_own_weight() -> None:
    """What a half of the events learns comes from the other: its own outcomes change nothing."""
    some = load_bundle()[:80]
    flipped = [
        replace(each, outcome=not each.outcome) if fold_of(each.event_ticker) == 0 else each for each in some
    ]
    as_said = ask(some, 0)
    changed = [replace(each, question=other) for each, other in zip(as_said, flipped, strict=True)]
    assert learn(changed)[0] == learn(as_said)[0]
    assert learn(changed)[1] != learn(as_said)[1]


def test_profit_is_what_the_exchange_would_pay() -> None:
    """Contracts times a dollar when it wins, less price and fee; the stake is the bot's own size."""
    asked = ask(load_bundle()[:200], 0)
    learned = learn(asked)
    for each in asked:
        for name, result in results_of(each, learned[fold_of(each.question.event_ticker)], 0, 0.5).items():
            assert 0 <= result.staked <= EQUITY // 10, name
            assert result.profit >= -result.staked
            assert 0.0 <= result.probability <= 1.0
    played = results_of(asked[0], learned[0], 0, 0.0)[f"{CHAIN[0].model} as it is"]
    price = asked[0].snapshot.book.asks[0].price
    assert decision_on(asked[0], asked[0].said[0], weight=CERTAIN, tier=Tier.STRONG).cost > 0
    if played.profit > 0:
        cost = price + fees.fee_per_contract(price)
        assert played.profit % CONTRACT == (played.staked // cost * PAYOUT - played.staked) % CONTRACT


def test_the_score_says_that_it_is_simulated(facts: dict[str, Any], tmp_path: Path) -> None:
    """On the terminal and in every picture."""
    assert facts["simulated"] is True
    assert "SIMULATED" in table(facts)
    for path in write_plots(facts, tmp_path):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("<svg")
        assert "SIMULATED" in text


def test_one_question_has_no_interval() -> None:
    """A mean without a spread is told as one."""
    one: list[Question] = list(load_bundle()[:1])
    told = figures(one, seed=0, seeds=1, out=0.5)
    assert told["policies"]["market price"]["brier"]["low"] is None
    assert table(told)


async def test_a_journal_is_scored_by_model(tmp_path: Path) -> None:
    """Each market once, against the price then; what was scored twice counts once."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, clock=FakeClock())
    for number in range(10):
        record = ForecastRecord(
            f"Q-{number}", f"E-{number}", "world", ProviderName.XAI, "grok-4.7", Tier.STRONG, 80,
            500_000, 0.2, 0.8, START, START, simulated=True,
        )  # fmt: skip
        event = ForecastScored(at=START, record=record, yes=number > 2)
        await journal.append(event, event)
    await journal.close()
    told = scored(path)
    its = told["models"]["grok-4.7"]
    assert (its["forecasts"], its["events"], its["simulated"]) == (10, 10, True)
    assert its["brier"] == pytest.approx((7 * 0.04 + 3 * 0.64) / 10)
    assert its["market_brier"] == pytest.approx(0.25)
    assert its["brier_gain"] == pytest.approx(0.25 - its["blend_brier"])
    assert "SIMULATED" in journal_table(told)


async def test_a_model_that_has_changed_is_scored_anew(tmp_path: Path) -> None:
    """What a canary found ends the record of that name: the score is of what the bot goes by."""
    path = tmp_path / "journal.db"
    journal = SqliteJournal.open(path, clock=FakeClock())
    for number in range(12):
        record = ForecastRecord(
            f"Q-{number}", f"E-{number}", "world", ProviderName.XAI, "grok-4.7", Tier.STRONG, 80,
            500_000, 0.2, 0.8, START, START, simulated=True,
        )  # fmt: skip
        await journal.append(ForecastScored(at=START, record=record, yes=True))
        if number == 9:
            route = Route(ProviderName.XAI, "grok-4.7")
            await journal.append(
                CanaryFinished(
                    at=START, route=route, served="grok-4.7", answers=(), shift=0.9, changed=True, cost=0
                )
            )
    await journal.close()
    assert scored(path)["models"]["grok-4.7"]["forecasts"] == 2
