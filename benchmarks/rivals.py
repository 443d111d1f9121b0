"""The clients that ``failover.py`` compares. Run as ``python rivals.py NAME SCALE``, one process each.

Reads a story a line, makes a fresh client for it, says that it is ready, waits for the word to start, asks
its questions on time, and prints what became of each. Everybody gets the same routes in the same order, the
same prompt with the same schema, and the same deadline; an answer counts when our own strict parser takes it.

Nobody is left at a disadvantage that its users could undo in a line: the loop, LangChain's chain and the
oracle parse inside, so that a bad answer makes them go on; LiteLLM is there twice, as it comes and tuned.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import compressed
from question import EVIDENCE, RESPONSE_FORMAT, SNAPSHOT
from scenarios import LAST, MODELS, PRIMARY, SIBLING, Regime

from jurymast.domain.decision import Decision, Forecast
from jurymast.domain.market import MarketSnapshot
from jurymast.intelligence.prompts import OUTPUT_TOKENS_MAX, forecast_request
from jurymast.policy.parsing import Rejected, parse_forecast

SOURCE_IDS = frozenset(item.source_id for item in EVIDENCE)
KEY = "bench"
LOG_LINES_MAX = 200


@dataclass(frozen=True, slots=True)
class Way:
    """One way to an answer, in the order of preference."""

    provider: str
    url: str
    model: str


@dataclass(frozen=True, slots=True)
class Setup:
    """What a client is made for."""

    ways: tuple[Way, ...]
    regime: Regime
    desk: str
    streamed: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Question:
    """One question; its ticker tells the server which."""

    serial: int

    @property
    def snapshot(self) -> MarketSnapshot:
        # Each with a title of its own: of two markets with one question only the first is asked about.
        market = SNAPSHOT.market
        title = f"{market.title} (No. {self.serial})"
        return replace(SNAPSHOT, market=replace(market, ticker=f"FAIL-{self.serial}", title=title))

    @property
    def body(self) -> dict[str, Any]:
        request = forecast_request(self.snapshot, EVIDENCE)
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        return {
            "messages": messages,
            "response_format": RESPONSE_FORMAT,
            "max_completion_tokens": OUTPUT_TOKENS_MAX,
        }


class Log:
    """What a client reports as it goes, by the story's clock."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, text: str) -> None:
        if len(self.lines) < LOG_LINES_MAX:
            self.lines.append(f"{_now():.2f} {text}")


Answer: TypeAlias = str | Forecast | None
"""Text as the client hands it over, a forecast that is parsed already, or None: it says that it has none."""
Ask: TypeAlias = Callable[[Question], Awaitable[Answer]]
Tell: TypeAlias = Callable[[str], None]


class UnusableError(Exception):
    """The text is no forecast."""


def checked(text: str) -> str:
    """The text, if it is a forecast."""
    if isinstance(parse_forecast(text, SOURCE_IDS), Rejected):
        raise UnusableError(text[:80])
    return text


def _now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def jurymast(setup: Setup, log: Tell) -> AsyncIterator[Ask]:
    """The AI layer with its shipped settings, probing between decisions as the bot does."""
    from jurymast.app.clock import SystemClock
    from jurymast.app.keeping import RECOVERY_SECS
    from jurymast.domain.events import Event
    from jurymast.domain.money import USD
    from jurymast.domain.provider import ProviderConfig, ProviderName, Secret
    from jurymast.intelligence.assembly import connect
    from jurymast.intelligence.fallback_manager import FallbackSettings

    configs = [
        ProviderConfig(
            name=ProviderName(provider),
            base_url=next(way.url for way in setup.ways if way.provider == provider),
            models=tuple(way.model for way in setup.ways if way.provider == provider),
            priority=priority,
            api_key=Secret(KEY),
            max_concurrent=64,
            simulated=True,
            edge="loopback" if provider == LAST else "internet",
        )
        for priority, provider in enumerate(dict.fromkeys(way.provider for way in setup.ways), start=1)
    ]
    settings = FallbackSettings()
    if setup.regime.attempt_secs != settings.work.attempt_secs_max:
        settings = replace(
            settings,
            work=replace(settings.work, attempt_secs_max=setup.regime.attempt_secs, attempt_secs_min=0.2),
        )

    def emit(event: Event) -> None:
        if type(event).__name__ in {"RouteChanged", "FailedOver", "ModeChanged", "ProbeSent", "EdgeChanged"}:
            log(str(event))

    async with connect(
        configs,
        clock=SystemClock(),
        emit=emit,
        settings=settings,
        budget_per_day=100_000 * USD,
        seed=setup.seed,
    ) as client:

        async def recover() -> None:
            while True:
                await client.fallback_manager.check_recovery()
                await asyncio.sleep(RECOVERY_SECS)

        async def ask(question: Question) -> Answer:
            decided = await client.get_trading_decision(
                question.snapshot, EVIDENCE, deadline_secs=setup.regime.deadline_secs
            )
            if isinstance(decided, Decision):
                return decided.forecast
            log(f"abstained: {decided.reason}: {decided.detail}")
            return None

        probing = asyncio.create_task(recover())
        try:
            yield ask
        finally:
            probing.cancel()


@asynccontextmanager
async def plain(timeout_secs: float) -> AsyncIterator[Callable[[Way, dict[str, Any]], Awaitable[str]]]:
    """One request over aiohttp: the checked text, or an exception."""
    import aiohttp

    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as session:

        async def post(way: Way, body: dict[str, Any]) -> str:
            limits = aiohttp.ClientTimeout(total=timeout_secs)
            sent = session.post(
                f"{way.url}/chat/completions", json={"model": way.model, **body}, timeout=limits
            )
            async with sent as reply:
                reply.raise_for_status()
                found = await reply.json()
            return checked(found["choices"][0]["message"]["content"])

        yield post


@asynccontextmanager
async def loop(setup: Setup, _: Tell) -> AsyncIterator[Ask]:
    """What one writes by hand: each way in turn, a total time-out for each, the answer parsed."""
    async with plain(setup.regime.attempt_secs) as post:

        async def ask(question: Question) -> Answer:
            for way in setup.ways:
                try:
                    return await post(way, question.body)
                except Exception:  # the whole point of such a loop
                    continue
            return None

        yield ask


@asynccontextmanager
async def oracle(setup: Setup, _: Tell) -> AsyncIterator[Ask]:
    """Asks the emulators who is well, and asks that one: what nobody can know outside of a laboratory."""
    import aiohttp

    async with plain(setup.regime.deadline_secs) as post, aiohttp.ClientSession() as session:

        async def ask(question: Question) -> Answer:
            for _ in range(len(setup.ways)):
                async with session.get(f"{setup.desk}/sick") as reply:
                    sick = {(provider, model) for provider, model in await reply.json()}
                well = [w for w in setup.ways if not {(w.provider, None), (w.provider, w.model)} & sick]
                if not well:
                    return None
                try:
                    return await post(well[0], question.body)
                except Exception:  # it broke after it was asked: look again
                    continue
            return None

        yield ask


@asynccontextmanager
async def openai(setup: Setup, _: Tell) -> AsyncIterator[Ask]:
    """The vendor's SDK: the first way alone, its own two retries."""
    from openai import AsyncOpenAI

    way = setup.ways[0]
    async with AsyncOpenAI(base_url=way.url, api_key=KEY, timeout=setup.regime.timeout_secs) as client:

        async def ask(question: Question) -> Answer:
            return await _completed(
                client.chat.completions.create, way.model, question, stream=setup.streamed
            )

        yield ask


@asynccontextmanager
async def litellm(setup: Setup, _: Tell) -> AsyncIterator[Ask]:
    """LiteLLM's Router as it comes: fallbacks in order, everything else its own default."""
    async with _litellm(setup, {}) as ask:
        yield ask


@asynccontextmanager
async def litellm_tuned(setup: Setup, _: Tell) -> AsyncIterator[Ask]:
    """The Router with a breaker that works at any rate, its own time-out, no retries, schemas checked."""
    import litellm

    regime = setup.regime
    tuning = {
        "allowed_fails": 1,
        "cooldown_time": regime.cooldown_secs,
        "timeout": regime.timeout_secs,
        "num_retries": 0,
    }
    litellm.enable_json_schema_validation = True
    async with _litellm(setup, tuning) as ask:
        yield ask


@asynccontextmanager
async def _litellm(setup: Setup, tuning: dict[str, Any]) -> AsyncIterator[Ask]:
    from litellm import Router

    groups = [f"way-{place}" for place in range(len(setup.ways))]
    router = Router(
        model_list=[
            {
                "model_name": group,
                "litellm_params": {"model": f"openai/{way.model}", "api_base": way.url, "api_key": KEY},
            }
            for group, way in zip(groups, setup.ways, strict=True)
        ],
        fallbacks=[{groups[0]: groups[1:]}],
        **tuning,
    )

    async def ask(question: Question) -> Answer:
        return await _completed(router.acompletion, groups[0], question, stream=setup.streamed)

    yield ask
    router.reset()


async def _completed(
    create: Callable[..., Awaitable[Any]], model: str, question: Question, *, stream: bool
) -> str | None:
    """The text of a chat completion, whole or put together from a stream."""
    if not stream:
        reply = await create(model=model, **question.body)
        return reply.choices[0].message.content
    chunks = [chunk async for chunk in await create(model=model, stream=True, **question.body)]
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@asynccontextmanager
async def langchain(setup: Setup, _: Tell) -> AsyncIterator[Ask]:
    """A chain with fallbacks, the parser inside, retries off as its documentation asks for with fallbacks."""
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.runnables import RunnableLambda
    from langchain_openai import ChatOpenAI

    chains = [
        ChatOpenAI(
            model=way.model,
            base_url=way.url,
            api_key=KEY,
            timeout=setup.regime.attempt_secs,
            max_retries=0,
            max_tokens=OUTPUT_TOKENS_MAX,
            streaming=setup.streamed,
        ).bind(response_format=RESPONSE_FORMAT)
        | StrOutputParser()
        | RunnableLambda(checked)
        for way in setup.ways
    ]
    chain = chains[0].with_fallbacks(chains[1:])

    async def ask(question: Question) -> Answer:
        return await chain.ainvoke(question.body["messages"])

    yield ask


Client: TypeAlias = Callable[[Setup, Tell], AbstractAsyncContextManager[Ask]]
CLIENTS: dict[str, Client] = {
    "jurymast": jurymast,
    "oracle": oracle,
    "loop": loop,
    "langchain": langchain,
    "litellm_tuned": litellm_tuned,
    "litellm": litellm,
    "openai": openai,
}
TITLES = {
    "jurymast": "Jurymast",
    "oracle": "oracle",
    "loop": "loop by hand",
    "langchain": "LangChain",
    "litellm_tuned": "LiteLLM tuned",
    "litellm": "LiteLLM",
    "openai": "openai SDK",
}
NEEDS = {
    "langchain": "langchain-openai",
    "litellm_tuned": "litellm",
    "litellm": "litellm",
    "openai": "openai",
}


async def put(ask: Ask, question: Question, deadline_secs: float) -> dict[str, object]:
    """Ask one question; what became of it, in story seconds."""
    asked_at = _now()
    detail = ""
    scope = asyncio.timeout(deadline_secs)
    try:
        async with scope:
            answer = await ask(question)
    except Exception as error:  # rivals raise of everything
        outcome = "late" if scope.expired() else "failed"
        detail = f"{type(error).__name__}: {error}"[:200]
    else:
        if answer is None:
            outcome = "late" if _now() - asked_at >= deadline_secs else "failed"
        elif isinstance(answer, Forecast) or not isinstance(parse_forecast(answer, SOURCE_IDS), Rejected):
            outcome = "valid"
        else:
            outcome, detail = "bad", answer[:200]
    secs = min(_now() - asked_at, deadline_secs)
    return {"serial": question.serial, "at": asked_at, "secs": secs, "outcome": outcome, "detail": detail}


async def tell(ask: Ask, story: dict[str, Any], start_at: float) -> list[dict[str, object]]:
    """Ask every question of a story, on time or as workers come free."""
    deadline_secs = story["regime"]["deadline_secs"]
    asks: list[float] = story["asks"]

    async def on_time(serial: int) -> dict[str, object]:
        await asyncio.sleep(start_at + asks[serial] - _now())
        return await put(ask, Question(serial), deadline_secs)

    if not story["workers"]:
        return list(await asyncio.gather(*map(on_time, range(len(asks)))))
    await asyncio.sleep(start_at - _now())
    left = iter(range(len(asks)))

    async def work() -> list[dict[str, object]]:
        return [await put(ask, Question(serial), deadline_secs) for serial in left]

    done = await asyncio.gather(*(work() for _ in range(story["workers"])))
    return [answer for answers in done for answer in answers]


def ways(urls: dict[str, str], *, siblings: bool) -> tuple[Way, ...]:
    """Every way to an answer, best first."""
    found = [Way(name, urls[name], model) for name, models in MODELS.items() for model in models]
    if siblings:
        found.insert(1, Way(PRIMARY, urls[PRIMARY], SIBLING))
    return tuple(found)


async def main(name: str) -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it fetches its price list from the network
    os.environ["LANGSMITH_TRACING"] = "false"
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    make = CLIENTS[name]
    warm = False
    while line := await asyncio.to_thread(sys.stdin.readline):
        story = json.loads(line)
        setup = Setup(
            ways(story["urls"], siblings=story["siblings"]),
            Regime(**story["regime"]),
            story["desk"],
            story["streamed"],
            story["seed"],
        )
        if not warm:  # the first request imports half of a library, and that is another benchmark
            async with make(setup, lambda _: None) as ask:
                await put(ask, Question(0), setup.regime.deadline_secs)
            warm = True
        log = Log()
        async with make(setup, log) as ask:
            print(json.dumps({"ready": name}), flush=True)
            start_at = float(await asyncio.to_thread(sys.stdin.readline))
            answers = await tell(ask, story, start_at)
        print(json.dumps({"answers": answers, "log": log.lines}), flush=True)


if __name__ == "__main__":
    compressed.run(lambda: main(sys.argv[1]), float(sys.argv[2]))
