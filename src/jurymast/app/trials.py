"""What only trying shows: ports that can be listened on, and models that answer as they must.

The second costs money and is done when asked for; each answer is held and booked like any other.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from jurymast.app.config import Config
from jurymast.app.doctor import Check, Health
from jurymast.app.wiring import judgement, prepare, provider_configs, questions_of
from jurymast.domain.errors import ConfigError, JournalError, ProviderError
from jurymast.domain.market import Book, MarketSnapshot, MarketStatus
from jurymast.domain.money import format_usd
from jurymast.domain.provider import AIRequest, Route
from jurymast.exchange.questions import BundledEvidence, as_market
from jurymast.intelligence.prompts import forecast_request
from jurymast.intelligence.provider_manager import BudgetSpentError, ProviderManager
from jurymast.journal.queries import JournalReader
from jurymast.policy.parsing import ModelAbstained, Rejected, parse_forecast
from jurymast.ports import Clock

TRIAL_SECS: Final = 60.0
"""For one model's answer: a local one may have to be loaded first."""


def ports(config: Config) -> Iterator[Check]:
    """Whether what `run` serves could listen. Ports that a bot of this directory holds are its own."""
    try:
        with JournalReader(config.journal_path) as journal:
            ours = journal.writer_pid() is not None
    except JournalError:
        ours = False
    wanted = {
        "web": (config.web.enabled, config.web.host, config.web.port),
        "gateway": (config.gateway.enabled, config.gateway.host, config.gateway.port),
        "lab": (config.lab.emulate, "127.0.0.1", config.lab.control_port),
    }
    for name, (enabled, host, port) in wanted.items():
        if not enabled or not port:
            continue
        what = f"port {port} at {host}, for [{name}]"
        if ours:
            yield Check("ports", Health.SKIP, f"{what}: a bot runs here and may hold it")
        elif wrong := _taken(host, port):
            yield Check("ports", Health.FAIL, f"{what}: {wrong}", f"set {name}'s port to another, or to 0")
        else:
            yield Check("ports", Health.OK, f"{what}, is free")


def _taken(host: str, port: int) -> str:
    """Why nothing can listen there; empty when it can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


async def answers(config: Config, *, clock: Clock) -> list[Check]:
    """A row for each model of each provider: asked one real question, its answer must be a forecast.

    Costs what one question costs, within the budget of the day; the row says how much.
    """
    if config.lab.emulate:
        return [Check("answers", Health.SKIP, "emulated, there is nobody to ask")]
    try:
        providers = provider_configs(config, None)
    except ConfigError as error:
        return [Check("answers", Health.FAIL, str(error), "see docs/reference/settings.md")]
    prepare(config.data_dir)
    request, sources = await _question(config)
    async with judgement(config, providers, None, clock=clock, emit=lambda _: None) as client:
        manager = client.fallback_manager.providers
        asked = (_tried(manager, route, request, sources) for route in manager.routes())
        return list(await asyncio.gather(*asked))


async def _question(config: Config) -> tuple[AIRequest, frozenset[str]]:
    """The first question there is, a day after it was listed, and the sources that an answer may cite."""
    questions = questions_of(config)
    at = questions[0].listed_at + timedelta(days=1)
    market = as_market(questions[0])
    snapshot = MarketSnapshot(market, MarketStatus.ACTIVE, Book((), ()), 0, at)
    evidence = await BundledEvidence(questions).evidence_for(market, at)
    return forecast_request(snapshot, evidence), frozenset(item.source_id for item in evidence)


async def _tried(
    manager: ProviderManager, route: Route, request: AIRequest, sources: frozenset[str]
) -> Check:
    try:
        response = await manager.make_request(request, route, timeout_secs=TRIAL_SECS)
    except BudgetSpentError as spent:
        return Check("answers", Health.SKIP, f"{route}: not asked: {spent}", "raise the cap, or wait")
    except ProviderError as error:
        cost = f", {format_usd(error.cost, places=4)}" if error.cost else ""
        return Check(
            "answers", Health.FAIL, f"{route}: {error.failure}{cost}", "see docs/policies/failures.md"
        )
    told = f"{response.latency_secs:.1f} s, {format_usd(response.cost, places=4)}"
    parsed = parse_forecast(response.content, sources)
    if isinstance(parsed, Rejected):
        cure = "use a model that keeps to a schema"
        return Check("answers", Health.FAIL, f"{route}: {parsed.reason}, {told}", cure)
    if response.swapped:
        return Check(
            "answers", Health.WARN, f"{route}: {response.served_model} answered, {told}", "see models"
        )
    said = (
        "says it can't tell, as it may" if isinstance(parsed, ModelAbstained) else "a forecast as it must be"
    )
    return Check("answers", Health.OK, f"{route}: {said}, {told}")
