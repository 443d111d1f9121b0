"""Which exchange the bot trades at: the same client whatever the host, and the gates before real money.

Embedded, the exchange runs in this process on a loopback port of its own, or in another process that the
settings name. Its time runs faster than ours. A key is looked up by host, so none reaches another's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from jurymast.app.config import Config
from jurymast.domain.errors import ConfigError, ExchangeError
from jurymast.domain.money import CONTRACT, USD
from jurymast.exchange.embedded.catalogue import shifted
from jurymast.exchange.embedded.exchange import EmbeddedExchange
from jurymast.exchange.embedded.server.keys import KeyRing
from jurymast.exchange.embedded.server.server import TICK_SECS, ExchangeServer
from jurymast.exchange.embedded.server.site import WireSettings
from jurymast.exchange.kalshi.exchange import KalshiExchange, KalshiSettings
from jurymast.exchange.kalshi.hosts import (
    DEMO,
    PRODUCTION,
    Credentials,
    Environment,
    Host,
    embedded,
    embedded_at,
)
from jurymast.exchange.kalshi.http import KalshiHttp
from jurymast.exchange.kalshi.listener import Listener
from jurymast.exchange.kalshi.pace import KALSHI_PACE, Pace
from jurymast.exchange.kalshi.reading import Drift, Strange
from jurymast.exchange.kalshi.rest import KalshiRest
from jurymast.exchange.kalshi.signing import Signer, generate_pem
from jurymast.exchange.kalshi.stream import KalshiStream
from jurymast.exchange.questions import Question
from jurymast.exchange.tapes.opening import TICK_SECS as TAPE_TICK_SECS
from jurymast.exchange.tapes.opening import open_tape
from jurymast.policy.interlocks import Words, unsaid
from jurymast.ports import Clock

LIVE_VARIABLE: Final = "JURYMAST_LIVE"
LIVE_WORD: Final = "yes"
PLAY_KEY: Final = "play-key"
STATE_SECS: Final = 5.0


@dataclass(slots=True)
class Venue:
    """An open exchange. ``house`` and ``server`` are the embedded one where it runs in this process.

    ``questions`` and ``seed`` are those of the embedded exchange, dates moved as it has moved them.
    """

    exchange: KalshiExchange
    listener: Listener
    questions: tuple[Question, ...]
    seed: int
    house: EmbeddedExchange | None = None
    server: ExchangeServer | None = None

    async def stand_still(self) -> None:
        """Stop the crowd of an exchange in this process, so that the last look is the last word."""
        if self.server is not None:
            await self.server.stand_still()

    @property
    def real_money(self) -> bool:
        """Whether what is lost here is lost."""
        return not self.simulated

    @property
    def simulated(self) -> bool:
        return self.exchange.environment is not Environment.PRODUCTION


async def open_exchange(
    config: Config,
    questions: Sequence[Question],
    *,
    clock: Clock,
    environ: Mapping[str, str],
    stack: AsyncExitStack,
    tell: Callable[[Strange], None] = lambda _: None,
    ticking: bool = True,
    account: str = "",
) -> Venue:
    """Open what the settings name; ``stack`` closes it. ``tell`` hears what nobody here knows of its answers.
    With ``ticking`` off the crowd of an exchange in this process acts when it is told to.

    Raises ConfigError for a host without its key, and for real money that nobody has armed.
    """
    check_armed(config, environ, account)
    section = config.exchange
    house, server = None, None
    seed, pace = config.bot.seed, KALSHI_PACE
    if section.host is not Environment.EMBEDDED:
        host = DEMO if section.host is Environment.DEMO else PRODUCTION
        key = _configured_key(config)
    elif section.url:
        host, key = embedded_at(section.url), _configured_key(config)
        state = await _state_of(host)
        pace = Pace(state.speed, clock.utc_now(), state.exchange_time)
        seed, questions = state.seed, shifted(questions, timedelta(days=state.shift_days))
    else:
        pem = generate_pem()
        house, server = await _start(config, questions, pem, clock, stack, ticking=ticking)
        host, key = embedded(server.port), Credentials(Environment.EMBEDDED, Signer(PLAY_KEY, pem))
        pace = Pace(section.speed, clock.utc_now(), house.now())
        if section.tape:
            questions = house.catalogue.questions
    http = KalshiHttp(host, key, clock=clock)
    drift = Drift(tell)
    rest = KalshiRest(http, drift=drift)
    listener = Listener(KalshiStream(http, clock=clock, drift=drift))
    settings = KalshiSettings(series=section.series, group_limit=section.group_contracts_max * CONTRACT)
    exchange = KalshiExchange(rest, clock=clock, settings=settings, pace=pace, listener=listener)
    stack.push_async_callback(exchange.close)
    with suppress(ExchangeError):  # then the limits of the lowest tier hold, which every account has
        await rest.learn_limits()
    return Venue(exchange, listener, tuple(questions), seed, house, server)


async def open_reach(
    config: Config, *, clock: Clock, stack: AsyncExitStack, own_key: bool = True
) -> KalshiExchange | None:
    """The exchange of the settings with the watchdog's own key (or the bot's), for looking and cancelling;
    None for one that lives inside the bot's process and ends with it.

    Needs no arming: whoever only takes orders back can't risk money. Raises ConfigError without a key.
    """
    section = config.exchange
    if section.host is Environment.EMBEDDED and not section.url:
        return None
    own = config.watchdog.keys.get(section.host) if own_key else None
    key = (
        _configured_key(config)
        if own is None
        else Credentials(section.host, Signer(own.id, own.private_key.value))
    )
    pace = KALSHI_PACE
    if section.host is Environment.EMBEDDED:
        host = embedded_at(section.url)
        state = await _state_of(host)
        pace = Pace(state.speed, clock.utc_now(), state.exchange_time)
    else:
        host = DEMO if section.host is Environment.DEMO else PRODUCTION
    rest = KalshiRest(KalshiHttp(host, key, clock=clock))
    exchange = KalshiExchange(rest, clock=clock, pace=pace)
    stack.push_async_callback(exchange.close)
    with suppress(ExchangeError):
        await rest.learn_limits()
    return exchange


def check_armed(config: Config, environ: Mapping[str, str], account: str = "") -> None:
    """Real money takes words in three places: settings, environment, and ``account`` as somebody typed it.

    Raises ConfigError with every gate that is shut. The others are asked by :mod:`jurymast.app.arming`.
    """
    section = config.exchange
    if section.host is not Environment.PRODUCTION:
        if section.live:
            raise ConfigError(
                f"exchange.live means real money, but exchange.host is {section.host}: nothing was started. "
                'Set host = "production", or take live away.'
            )
        return
    key = section.keys.get(Environment.PRODUCTION)
    shut = unsaid(
        Words(
            live=section.live,
            word=environ.get(LIVE_VARIABLE, ""),
            words=frozenset({LIVE_WORD, key.id} if key is not None else {LIVE_WORD}),
            account=section.account,
            typed_account=account,
            emulated=config.lab.emulate,
        )
    )
    if shut:
        raise ConfigError(
            "exchange.host is production: orders would be real and cost real money. Nothing was started. "
            "If that is meant, open every gate; for paper trading leave host out.\n  "
            + "\n  ".join(map(str, shut))
        )


def _configured_key(config: Config) -> Credentials:
    host = config.exchange.host
    key = config.exchange.keys.get(host)
    if key is None or not key.private_key:
        others = ", ".join(sorted(set(config.exchange.keys) - {host}))
        hint = f" (there is one of {others}, which is refused at {host})" if others else ""
        raise ConfigError(
            f"exchange.host is {host} and there is no key of {host}{hint}. Nothing was started. Set id and "
            f'private_key = {{ file = "PATH" }} under [exchange.keys.{host}].'
        )
    return Credentials(host, Signer(key.id, key.private_key.value))


async def _start(
    config: Config,
    questions: Sequence[Question],
    pem: str,
    clock: Clock,
    stack: AsyncExitStack,
    *,
    ticking: bool,
) -> tuple[EmbeddedExchange, ExchangeServer]:
    """The embedded exchange in this process, on a key that nobody else has."""
    section = config.exchange
    if section.tape:
        house = open_tape(
            Path(section.tape),
            clock=clock,
            database=config.exchange_path,
            speed=section.speed,
            cash=section.cash_usd * USD,
        )
    else:
        house = EmbeddedExchange(
            questions,
            clock=clock,
            start=section.start,
            database=config.exchange_path,
            seed=config.bot.seed,
            speed=section.speed,
            cash=section.cash_usd * USD,
        )
    stack.callback(house.close)
    keys = KeyRing()
    keys.add(PLAY_KEY, pem)
    server = ExchangeServer(
        house,
        clock=clock,
        keys=keys,
        port=section.port,
        settings=WireSettings(tier=section.tier),
        ticking=ticking,
        tick_secs=TAPE_TICK_SECS if section.tape else TICK_SECS,
    )
    await stack.enter_async_context(server)
    return house, server


@dataclass(frozen=True, slots=True)
class _State:
    """What an embedded exchange says about itself at its control desk."""

    exchange_time: datetime
    speed: float
    seed: int
    shift_days: int


async def _state_of(host: Host) -> _State:
    """Raises ConfigError when no embedded exchange answers there."""
    import aiohttp

    try:
        timeout = aiohttp.ClientTimeout(STATE_SECS)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{host.rest_origin}/control/state") as answer,
        ):
            facts: Any = json.loads(await answer.text())
            return _State(
                datetime.fromisoformat(facts["exchange_time"]),
                float(facts["speed"]),
                int(facts["seed"]),
                int(facts["shift_days"]),
            )
    except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"no embedded exchange answers at {host.rest_origin} ({type(error).__name__}). Nothing was "
            "started. Start one with `jurymast exchange serve`, or leave exchange.url out."
        ) from error
