"""The server of the web page: renders what the files of a data directory say, and keeps pages fresh.

Rendering is done in a thread, once for all who look, and only while somebody does. A page that is open gets
the sections that have changed, as server-sent events. Nothing here can slow the bot but by its share of the
machine; where that matters, `jurymast web` serves the same page from another process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from jurymast.domain.errors import JournalError, JurymastError, PortTaken
from jurymast.faces import controls
from jurymast.faces.view import SPANS, Viewer
from jurymast.faces.web.access import COOKIE, Access, own_page
from jurymast.faces.web.exposition import CONTENT_TYPE
from jurymast.faces.web.metrics import Meter
from jurymast.faces.web.pages import Pages
from jurymast.journal.history import HistoryFile

REFRESH_SECS: Final = 1.0
KEEP_ALIVE_SECS: Final = 15.0
WATCHERS_MAX: Final = 32
"""Pages that are open at once; one more is told to reload later."""
FORM_BYTES_MAX: Final = 16_384
WRONG_TOKEN_SECS: Final = 1.0
"""How long a wrong token waits for its refusal, one after the other."""
SESSION_SECS: Final = 7 * 24 * 3_600
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_STATIC: Final = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
_OPEN_TO_ALL: Final = frozenset({"/status", "/health", "/login", "/badge.svg"})
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class WebServer:
    """Serves one data directory. ``access`` says who may do what."""

    def __init__(self, directory: Path, access: Access) -> None:
        self._directory = directory
        self._access = access
        self._viewer = Viewer(directory)
        self._pages = Pages()
        self._meter = Meter(directory)
        self._watchers: dict[asyncio.Queue[str], str] = {}
        self._sent: dict[str, dict[str, str]] = {}
        self._reading = asyncio.Lock()
        self._refusing = asyncio.Lock()

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=FORM_BYTES_MAX, middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/live", self._live),
                web.get("/why/{ticker}", self._why),
                web.get("/status", self._status),
                web.get("/health", self._health),
                web.get("/api/state", self._state),
                web.get("/metrics", self._metrics),
                web.get("/badge.svg", self._badge),
                web.get("/badge/{provider}.svg", self._badge),
                web.get("/static/{name}", self._file),
                web.post("/login", self._login),
                web.post("/logout", self._logout),
                web.post("/control/{action}", self._control),
            ]
        )
        return app

    async def refresh(self) -> None:
        """Keep open pages fresh, until cancelled."""
        with suppress(JournalError):
            await asyncio.to_thread(HistoryFile(self._directory / "journal.db").catch_up)
        while True:
            await asyncio.sleep(REFRESH_SECS)
            for span in set(self._watchers.values()):
                await self._tell(span)

    async def _tell(self, span: str) -> None:
        """Send the sections of a page that have changed since they were sent last."""
        sections = await self._read(lambda: self._pages.sections(self._viewer.view(span)))
        sent = self._sent.get(span, {})
        changed = {name: html for name, html in sections.items() if sent.get(name) != html}
        self._sent[span] = sections
        if changed:
            message = json.dumps(changed)
            for watcher, wanted in self._watchers.items():
                if wanted == span and not watcher.full():
                    watcher.put_nowait(message)

    async def _read(self, what: Callable[[], Any]) -> Any:
        """Read files and render in a thread, one after the other."""
        async with self._reading:
            return await asyncio.to_thread(what)

    # Pages

    async def _page(self, request: web.Request) -> web.Response:
        span = _span(request)
        trusted = self._access.trusted(request.headers, request.cookies)
        return _html(await self._read(lambda: self._pages.page(self._viewer.view(span), trusted=trusted)))

    async def _why(self, request: web.Request) -> web.Response:
        ticker = request.match_info["ticker"]
        try:
            return _html(await self._read(lambda: self._pages.why(self._directory, ticker)))
        except JurymastError as error:
            return _html(self._pages.message(str(error)), status=404)

    async def _status(self, request: web.Request) -> web.Response:
        span = _span(request)
        return _html(await self._read(lambda: self._pages.status(self._viewer.view(span))))

    async def _health(self, _: web.Request) -> web.Response:
        """For load balancers and uptime monitors: 200 while a bot runs and says so, else 503."""
        view = await self._read(lambda: self._viewer.view("24h"))
        well = view.running and not view.stale
        return web.json_response(
            {"running": view.running, "fresh": not view.stale}, status=200 if well else 503
        )

    async def _state(self, request: web.Request) -> web.Response:
        span = _span(request)
        return web.json_response(await self._read(lambda: self._pages.state(self._viewer.view(span))))

    async def _metrics(self, _: web.Request) -> web.Response:
        """For Prometheus. Like everything but the status page it needs the token from elsewhere."""
        text = await self._read(self._meter.text)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _badge(self, request: web.Request) -> web.Response:
        provider = request.match_info.get("provider")
        body = await self._read(lambda: self._pages.badge(self._viewer.view("90d"), provider))
        if body is None:
            raise web.HTTPNotFound
        return web.Response(text=body, content_type="image/svg+xml")

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _STATIC:
            raise web.HTTPNotFound
        return web.Response(text=self._pages.static(name), content_type=_STATIC[name])

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if len(self._watchers) >= WATCHERS_MAX:
            raise web.HTTPServiceUnavailable(text="too many pages are open")
        span = _span(request)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        watcher: asyncio.Queue[str] = asyncio.Queue(maxsize=8)
        self._watchers[watcher] = span
        self._sent.pop(span, None)  # a page that has just come gets all of it once
        try:
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_SECS):
                        message = await watcher.get()
                except TimeoutError:
                    await response.write(b": still here\n\n")
                else:
                    await response.write(f"data: {message}\n\n".encode())
        except ConnectionError:
            return response
        finally:
            del self._watchers[watcher]

    # What needs the token

    async def _login(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        if not self._access.is_token(str(form.get("token", ""))):
            async with self._refusing:
                await asyncio.sleep(WRONG_TOKEN_SECS)
            return _html(self._pages.login(wrong=True), status=403)
        response = web.HTTPSeeOther("/")
        response.set_cookie(
            COOKIE, self._access.session, httponly=True, samesite="Strict", max_age=SESSION_SECS,
            secure=request.secure,
        )  # fmt: skip
        return response

    async def _logout(self, _: web.Request) -> web.StreamResponse:
        response = web.HTTPSeeOther("/")
        response.del_cookie(COOKIE)
        return response

    async def _control(self, request: web.Request) -> web.StreamResponse:
        if not self._access.trusted(request.headers, request.cookies):
            return _html(self._pages.login(wrong=False), status=403)
        form = {name: str(value) for name, value in (await request.post()).items()}
        action = request.match_info["action"]
        try:
            await asyncio.to_thread(controls.carry_out, self._directory, action, form)
        except controls.Refused as refused:
            return _html(self._pages.message(f"{refused}. Nothing was changed."), status=400)
        except JurymastError as error:
            return _html(self._pages.message(str(error)), status=500)
        return web.HTTPSeeOther("/#controls")

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._access.known(request.headers.get("Host", "")):
            return web.Response(status=421, text="this server does not go by that name", headers=HEADERS)
        if request.method not in {"GET", "HEAD"} and not own_page(request.headers):
            return web.Response(status=403, text="that request comes from another page", headers=HEADERS)
        path = request.path
        closed = path not in _OPEN_TO_ALL and not path.startswith(("/static/", "/badge/"))
        if closed and not self._access.may_look(request.headers, request.cookies):
            response: web.StreamResponse = _html(self._pages.login(wrong=False), status=403)
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = error
        if not response.prepared:
            response.headers.update(HEADERS)
        if isinstance(response, web.HTTPException):
            raise response
        return response


@asynccontextmanager
async def serving(directory: Path, access: Access, port: int) -> AsyncIterator[str]:
    """Serve until the block ends; gives the address. Raises PortTaken."""
    server = WebServer(directory, access)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, access.host, port)
        try:
            await site.start()
        except OSError as error:
            raise PortTaken(
                f"the web page can't listen on {access.host}:{port}: {error.strerror}. Choose another port."
            ) from error
        fresh = asyncio.create_task(server.refresh())
        bound = runner.addresses[0][1]
        try:
            shown = f"[{access.host}]" if ":" in access.host else access.host
            yield f"http://{shown}:{bound}"
        finally:
            fresh.cancel()
            with suppress(asyncio.CancelledError):
                await fresh
    finally:
        await runner.cleanup()


def _span(request: web.Request) -> str:
    span = request.query.get("span", "24h")
    return span if span in SPANS else "24h"


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, content_type="text/html", status=status)
