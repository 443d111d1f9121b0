"""A process of its own for each message that Apprise delivers: ``python -m jurymast.app.alert_apprise``.

Apprise loads some hundred services and blocks while it sends. Here it can take neither time nor memory from
the bot, and can be killed when it hangs. Reads JSON from standard input: url, title, text and kind.
"""

from __future__ import annotations

import sys
from typing import Final

import msgspec

SENT: Final = 0
NOT_SENT: Final = 3
NOT_UNDERSTOOD: Final = 4
NOT_INSTALLED: Final = 5


def main() -> int:
    """Deliver one message; the exit code says what became of it."""
    try:
        import apprise
    except ImportError:
        return NOT_INSTALLED
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, str])
    way = apprise.Apprise()
    if not way.add(asked["url"]):
        return NOT_UNDERSTOOD
    kind = apprise.NotifyType(asked["kind"])
    return SENT if way.notify(title=asked["title"], body=asked["text"], notify_type=kind) else NOT_SENT


if __name__ == "__main__":
    sys.exit(main())
