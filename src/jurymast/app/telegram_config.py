"""Settings of commands by Telegram. See docs/operate/telegram.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from jurymast.app.settings import bounded, documented
from jurymast.domain.provider import Secret

USERS_MAX: Final = 20
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_TOKEN: Final = re.compile(r"[1-9][0-9]*:[A-Za-z0-9_-]{8,}")


@dataclass(frozen=True, slots=True)
class TelegramSection:
    """Status and control by chat for people on a list, outside the trading path."""

    enabled: bool = documented(False, doc="serve it beside the bot; `jurymast telegram` serves it alone")
    token: Secret = documented(
        Secret(), doc='{ env = "NAME" } or { file = "PATH" }: of your Telegram bot, from @BotFather'
    )
    users: tuple[int, ...] = documented((), doc="Telegram ids of who may ask and command; no one else may")
    api: str = documented(
        "https://api.telegram.org",
        doc="of the Bot API, or of your own server of it; http on this machine only",
    )
    poll_secs: int = bounded(25, low=1, high=50, unit="s", doc="that one request waits for messages")

    def __post_init__(self) -> None:
        if self.enabled and not self.users:
            raise ValueError("users is empty, so nobody could command: write users = [YOUR_TELEGRAM_ID]")
        if len(self.users) > USERS_MAX:
            raise ValueError(f"more than {USERS_MAX} users")
        if any(user <= 0 for user in self.users):
            raise ValueError("users are ids of people, which are above 0; those below are groups")
        try:
            parts = urlsplit(self.api)
            _ = parts.port
        except ValueError:
            raise ValueError("api is no address") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("api is an address such as https://api.telegram.org")
        if parts.username is not None or parts.password is not None:
            raise ValueError("api holds no user and no password")
        if parts.scheme == "http" and parts.hostname not in _HERE:
            raise ValueError("api is plain http, which shows the token on the way: use https")

    @property
    def missing(self) -> str:
        """What keeps it from being served, with the cure; empty when nothing does."""
        if not self.users:
            return "nobody may command: write users = [YOUR_TELEGRAM_ID] under [telegram]"
        if not self.token:
            return "it has no token: set the variable or the file that [telegram] token names"
        if not _TOKEN.fullmatch(self.token.value):
            return "its token is none: @BotFather gives one like 123456:AbC-dEf"
        return ""
