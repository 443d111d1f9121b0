"""The gates before real money, asked of the running bot. On play money there are none to open."""

from __future__ import annotations

from jurymast.app.doctor import Health, examine
from jurymast.app.wiring import Bot
from jurymast.domain.errors import ConfigError
from jurymast.domain.money import USD
from jurymast.policy.interlocks import Findings, unfit


async def check_fit(bot: Bot) -> None:
    """Look before the first order: doctor, books, funds. Raises ConfigError with every gate that is shut, and
    then nothing was sent but questions."""
    if not bot.venue.real_money:
        return
    checks = await examine(bot.config, clock=bot.clock, exchange=bot.exchange)
    differences = await bot.cycle.square_books()
    stake = sum(position.max_loss for position in bot.portfolio.positions.values())
    shut = unfit(
        Findings(
            ailments=tuple(f"{c.name}: {c.finding}" for c in checks if c.health is Health.FAIL),
            differences=differences,
            worth=bot.portfolio.cash + stake,
            funded_max=bot.config.exchange.funded_usd_max * USD,
        )
    )
    if shut:
        raise ConfigError(
            "real money is meant and not every gate is open: no order was sent.\n  "
            + "\n  ".join(map(str, shut))
        )
