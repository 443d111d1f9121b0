from __future__ import annotations

import math
from datetime import timedelta
from importlib.resources import files
from itertools import pairwise

import pytest
from emulator_world import AS_OF, SyntheticOracle, question

from jurymast.domain.probability import brier, clamp, logit, sigmoid
from jurymast.domain.provider import Message, Tier
from jurymast.lab.emulators.fleet import DEFAULT_MODELS
from jurymast.lab.emulators.forecaster import Forecaster
from jurymast.lab.emulators.prompt import Prompt, read_prompt
from jurymast.lab.emulators.skill import (
    LIKENESSES,
    NOISE_WITHOUT_SAMPLE,
    WEIGHTS,
    fit_view,
    likeness,
    measured_skills,
    skill_of,
)

MODELS = [model for models in DEFAULT_MODELS.values() for model in models]
BRIER_TOLERANCE = 0.012
"""About three standard errors of a mean over 3,000 questions."""


def _prompt(ticker: str) -> Prompt:
    return Prompt(text=ticker, ticker=ticker, as_of=AS_OF)


def _probabilities(oracle: SyntheticOracle, model: str, seed: int = 1) -> list[tuple[str, float]]:
    forecaster = Forecaster(oracle, seed)
    return [
        (ticker, forecaster.believe(model, _prompt(ticker)).probability_pct / 100)
        for ticker in oracle.tickers
    ]


def _realised_brier(oracle: SyntheticOracle, model: str) -> float:
    answers = _probabilities(oracle, model)
    return sum(brier(p, bool(oracle.outcome(ticker))) for ticker, p in answers) / len(answers)


def test_skill_table_is_the_published_one() -> None:
    """The shipped skills are ForecastBench's, with licence and changes stated beside them."""
    skills = measured_skills()
    assert len(skills) == 124
    assert (skills["grok-4.3"].questions, skills["grok-4.3"].brier) == (410, 0.157)
    assert (skills["llama-2-70b-chat-hf"].questions, skills["llama-2-70b-chat-hf"].brier) == (124, 0.330)
    notice = files("jurymast.lab.emulators").joinpath("ATTRIBUTION.md").read_text()
    assert "creativecommons.org/licenses/by-sa/4.0/legalcode" in notice
    assert "Changes:" in notice


def test_every_likeness_was_measured() -> None:
    """Every model that a simulated one is compared to is in the table."""
    assert {like.measured for like in LIKENESSES.values()} <= set(measured_skills())
    assert likeness("grok-4.7").measured != likeness("grok-4").measured
    assert likeness("something-new").tier is Tier.SMALL


@pytest.mark.parametrize("model", MODELS)
def test_realised_brier_is_the_measured_one(oracle: SyntheticOracle, model: str) -> None:
    """Over many markets a simulated model scores what the model it resembles scored."""
    market = sum(brier(sigmoid(x), y) for x, y in oracle.calibration_sample()) / len(oracle.tickers)
    target = skill_of(model).brier
    assert market < target, "the synthetic market must be better than the models for this test"
    assert _realised_brier(oracle, model) == pytest.approx(target, abs=BRIER_TOLERANCE)


def test_better_models_are_better(oracle: SyntheticOracle) -> None:
    """A model that was measured to be better answers better here too."""
    ladder = ["claude-opus-5-5", "mistral:7b", "llama3.1:8b", "llama2:7b"]
    scores = [_realised_brier(oracle, model) for model in ladder]
    assert all(better < worse for better, worse in pairwise(scores))


def test_weight_of_the_tier_is_the_best_weight(oracle: SyntheticOracle) -> None:
    """Leaning on a middling model by its weight beats both ignoring it and believing it."""
    forecaster = Forecaster(oracle, 1)
    weight = forecaster.view("gpt-6.1-terra").weight
    assert 0 < weight <= WEIGHTS[Tier.MID]

    answers = _probabilities(oracle, "gpt-6.1-terra")

    def loss(lean: float) -> float:
        total = 0.0
        for ticker, probability in answers:
            market = oracle.log_odds(ticker, AS_OF) or 0.0
            blended = clamp(sigmoid(market + lean * (logit(probability) - market)))
            total -= math.log(blended if oracle.outcome(ticker) else 1 - blended)
        return total / len(oracle.tickers)

    assert loss(weight) < loss(0.0)
    assert loss(weight) < loss(1.0)


def test_small_models_know_nothing_beyond_the_market(oracle: SyntheticOracle) -> None:
    """A small model is the market plus noise: no push towards the truth."""
    view = Forecaster(oracle, 1).view("llama3.1:8b")
    assert view.push == 0.0
    assert view.noise > 0.0


def test_weight_gives_way_to_the_measurement() -> None:
    """Where a tier's weight would make a model too good, the weight is cut and the score is kept."""
    sharp_market = [(4.0, True)] * 98 + [(4.0, False)] * 2
    view = fit_view(0.145, Tier.STRONG, sharp_market)
    assert 0 <= view.weight < WEIGHTS[Tier.STRONG]


def test_market_no_better_than_the_model_is_repeated() -> None:
    """A model can't be made better than measured by noise, so a bad market is just repeated."""
    coin = [(0.0, True), (0.0, False)]
    assert fit_view(0.145, Tier.STRONG, coin).noise == 0.0


def test_no_sample_means_stated_noise() -> None:
    """Without questions to fit on, a model gets a fixed noise and its tier's weight."""
    view = fit_view(0.145, Tier.STRONG, [])
    assert view.noise == NOISE_WITHOUT_SAMPLE
    assert view.weight == pytest.approx(WEIGHTS[Tier.STRONG])


def test_answers_depend_on_seed_model_and_market_only(oracle: SyntheticOracle) -> None:
    """The same seed gives the same opinions in any order; another seed gives others."""
    first = _probabilities(oracle, "grok-4.7")
    forecaster = Forecaster(oracle, 1)
    backwards = [
        (t, forecaster.believe("grok-4.7", _prompt(t)).probability_pct / 100)
        for t in reversed(oracle.tickers)
    ]
    assert first == backwards[::-1]
    assert first != _probabilities(oracle, "grok-4.7", seed=2)


def test_opinions_wander_little_from_day_to_day(oracle: SyntheticOracle) -> None:
    """Within a day an opinion stands still; the next day it may move a little."""
    forecaster = Forecaster(oracle, 1)
    moves = []
    for ticker in oracle.tickers[:200]:
        days = [
            forecaster.believe("gpt-6.1-sol", Prompt(ticker, ticker, AS_OF + delay)).probability_pct
            for delay in (timedelta(), timedelta(hours=3), timedelta(days=1))
        ]
        assert days[0] == days[1]
        moves.append(abs(days[2] - days[0]))
    assert 0 < max(moves) <= 15


def test_beliefs_are_in_order(oracle: SyntheticOracle) -> None:
    """Every belief keeps 1 <= low <= probability <= high <= 99, known market or not."""
    forecaster = Forecaster(oracle, 1)
    for ticker in (*oracle.tickers[:500], "unheard-of"):
        belief = forecaster.believe("llama2", _prompt(ticker))
        assert 1 <= belief.low_pct <= belief.probability_pct <= belief.high_pct <= 99


def test_unknown_market_is_guessed_about(oracle: SyntheticOracle) -> None:
    """About a market nobody knows a model guesses near one half and says it has no evidence."""
    belief = Forecaster(oracle, 1).believe("grok-4.7", read_prompt([Message("user", question("nope"))]))
    assert 35 <= belief.probability_pct <= 65
    assert belief.evidence_quality == "none"
    assert belief.cited == ()
