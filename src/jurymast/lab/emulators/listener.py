"""A loopback port that can really go away and come back."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from aiohttp import web

from jurymast.domain.errors import PortTaken

HOST: Final = "127.0.0.1"
SHUTDOWN_SECS: Final = 0.05
"""Grace for handlers of connections that were dropped already."""


class Listener:
    """Serves an application on one port of 127.0.0.1; port 0 lets the system choose.

    While it refuses, the port stays bound but nothing listens: callers get "connection refused" and no
    other program can take the port before it opens again.
    """

    def __init__(self, name: str, port: int, application: Callable[[], web.Application]) -> None:
        self._name = name
        self._port = port
        self._application = application
        self._reserved: socket.socket | None = None
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def listening(self) -> bool:
        return self._runner is not None

    async def open(self) -> None:
        """Listen. Raises PortTaken when another program does."""
        if self._runner is not None:
            return
        runner = web.AppRunner(
            self._application(),
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECS,
        )
        await runner.setup()
        try:
            if self._reserved is None:
                self._reserved = _bound(self._port)
                self._port = self._reserved.getsockname()[1]
            await web.SockSite(runner, _bound(self._port)).start()
        except OSError as error:
            await runner.cleanup()
            self._release()
            raise PortTaken(
                f"the {self._name} emulator can't listen on {HOST}:{self._port} ({error.strerror}). "
                "Stop the program that listens there, or choose another port (0 takes any free one)."
            ) from error
        self._runner = runner

    async def refuse(self) -> None:
        """Stop listening and drop every connection; the port stays ours."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in runner.sites:
            await site.stop()
        if runner.server is not None:
            for connection in runner.server.connections:
                if connection.transport is not None:
                    connection.transport.abort()
        await runner.cleanup()

    async def close(self) -> None:
        """Stop listening and give the port back."""
        await self.refuse()
        self._release()

    def _release(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None


def _bound(port: int) -> socket.socket:
    """A socket bound to the port, not listening. Several may share it as long as one listens at most."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound
