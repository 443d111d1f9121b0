"""Settings that change while the bot runs: what is tunable is taken over, the rest waits for a restart.

The file is looked at once a second. One that can't be read, or that a start would refuse, changes nothing:
the settings of before go on, and people are told. Tunable is what shapes the next cycle, request or message;
who is asked, where orders go and where things are kept is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from jurymast.app.config import Config
from jurymast.app.settings import describe
from jurymast.app.wiring import Bot, cycle_settings, fallback_settings
from jurymast.domain.errors import ConfigError
from jurymast.domain.events import SettingsReloaded
from jurymast.journal.books import SqliteBooks

LOOK_SECS: Final = 1.0
TUNABLE: Final = ("bot.cycle_secs", "trading.", "failover.", "ladder.", "budget.caps.", "alerts.")
"""Settings, and tables of settings, that are taken over."""
FIXED: Final = ("alerts.enabled", "alerts.contacts.")
"""But these of them."""
_ABSENT: Final = "(absent)"


def tunable(path: str) -> bool:
    """Whether a setting is taken over while the bot runs."""
    return path.startswith(TUNABLE) and not path.startswith(FIXED)


def merged(old: Config, new: Config) -> Config:
    """What is in force after a change: the tunable of ``new``, the rest of ``old``. Raises ValueError when
    the two don't go together."""
    return replace(
        old,
        bot=replace(old.bot, cycle_secs=new.bot.cycle_secs),
        trading=new.trading,
        failover=new.failover,
        ladder=new.ladder,
        budget=replace(old.budget, caps=new.budget.caps),
        alerts=replace(new.alerts, enabled=old.alerts.enabled, contacts=old.alerts.contacts),
    )


def changes(old: Config, new: Config) -> Iterator[tuple[str, str]]:
    """Each setting that differs, with a sentence of both values. Secrets are masked, and differ unseen."""
    before, after = ({row.path: row.value for row in describe(each)} for each in (old, new))
    for path in [*after, *(path for path in before if path not in after)]:
        if before.get(path) != after.get(path):
            yield path, f"{path}: {before.get(path, _ABSENT)} -> {after.get(path, _ABSENT)}"


@dataclass(slots=True)
class SettingsFile:
    """Where the settings came from, and how to read them as at the start: ``load`` raises ConfigError."""

    path: Path
    load: Callable[[], Config]
    _seen: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        self._seen = self._mark()

    def changed(self) -> bool:
        """Whether it is another file, or another text, than at the last look."""
        mark, before = self._mark(), self._seen
        self._seen = mark
        return mark != before

    def _mark(self) -> tuple[int, int, int]:
        try:
            found = self.path.stat()
        except OSError:
            return 0, 0, 0
        return found.st_mtime_ns, found.st_ino, found.st_size


class Reloader:
    """Takes over what changes, for one run of a bot. ``tell`` is called after each change that counts."""

    def __init__(self, bot: Bot, file: SettingsFile, tell: Callable[[], None] = lambda: None) -> None:
        self._bot = bot
        self._file = file
        self._tell = tell

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self._bot.clock.sleep(LOOK_SECS)
            if self._file.changed():
                self._bot.recorder.emit(self.take_over())

    def take_over(self) -> SettingsReloaded:
        """Read the file and apply what can be applied; what came of it. Raises nothing of the file's."""
        bot, at = self._bot, self._bot.clock.utc_now()
        try:
            new = self._file.load()
            config = merged(bot.config, new)
        except (ConfigError, ValueError) as error:
            return SettingsReloaded(
                at=at, refused=str(error).replace("nothing was started", "nothing changed")
            )
        found = list(changes(bot.config, new))
        applied = tuple(text for path, text in found if tunable(path))
        waiting = tuple(text for path, text in found if not tunable(path))
        if applied:
            self._apply(config)
        return SettingsReloaded(at=at, applied=applied, waiting=waiting)

    def _apply(self, config: Config) -> None:
        bot = self._bot
        bot.config = config
        bot.heart.quiet_secs = config.cycle_secs_max
        bot.cycle.tune(cycle_settings(config, cap=bot.order_cap))
        bot.fallback.settings = bot.fallback.core.settings = fallback_settings(config)
        bot.fallback.core.health.settings = config.detector
        books = bot.fallback.providers.purse.books
        if isinstance(books, SqliteBooks):
            books.tune(config.caps)
        self._tell()
