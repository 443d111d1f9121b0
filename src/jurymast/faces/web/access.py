"""Who may see and who may do what.

- On a loopback address anybody who reaches it may look; elsewhere looking needs the token too, but for the
  public status page and the badges, which hold no money.
- Whatever changes something needs the token, from anywhere: as ``Authorization: Bearer``, or as the cookie
  that a browser gets for it.
- A request is answered under the names we go by only, so that no foreign name can be made to point here.
  What changes something must come from our own page.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from jurymast.domain.errors import JurymastError

COOKIE: Final = "jurymast"
TOKEN_FILE: Final = "web-token"  # noqa: S105 (the name of a file)
TOKEN_CHARS_MIN: Final = 16
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one server. ``host`` is the address it listens on, ``names`` what else it goes by."""

    token: str
    host: str
    names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(self.token) < TOKEN_CHARS_MIN:
            raise JurymastError(
                f"the token of the web page has fewer than {TOKEN_CHARS_MIN} characters: it could be guessed"
            )

    @property
    def session(self) -> str:
        """What a browser keeps instead of the token."""
        return hmac.new(self.token.encode(), b"jurymast web session", hashlib.sha256).hexdigest()

    def known(self, host_header: str) -> bool:
        """Whether this is a name of ours."""
        name = (urlsplit(f"//{host_header}").hostname or "").casefold()
        return name in {self.host, *self.names} or (is_loopback(self.host) and name in _LOOPBACK_NAMES)

    def trusted(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
        """Whether the token, or what stands for it, came along."""
        given = headers.get("Authorization", "").removeprefix("Bearer ")
        return _same(given, self.token) or _same(cookies.get(COOKIE, ""), self.session)

    def may_look(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> bool:
        return is_loopback(self.host) or self.trusted(headers, cookies)

    def is_token(self, given: str) -> bool:
        return _same(given, self.token)


def own_page(headers: Mapping[str, str]) -> bool:
    """Whether a request that changes something comes from our own page, or from no page at all."""
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == headers.get("Host", "")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def token_of(directory: Path) -> str:
    """The token kept in a data directory, made at the first call. Only this user can read it."""
    path = directory / TOKEN_FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text(encoding="ascii").strip()
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise JurymastError(
            f"the token of the web page can't be read from {path}: {error}. Delete the file, or set one."
        ) from error


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
