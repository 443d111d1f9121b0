"""A real Chromium, driven over its own debugging wire. Where there is none its tests are skipped."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_CODES: Final = {"Escape": 27, "Enter": 13, "Tab": 9}
START_SECS: Final = 60.0
CALL_SECS: Final = 60.0
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)  # fmt: skip


def found() -> str | None:
    """Path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page of the browser."""

    def __init__(self, wire: aiohttp.ClientWebSocketResponse) -> None:
        self._wire = wire
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.complaints: list[str] = []
        """What the page and the browser complained of: errors of scripts, things the policy forbade."""

    async def listen(self) -> None:
        """Take what the browser says, until it ends."""
        async for message in self._wire:
            said = json.loads(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif said["method"] == "Runtime.exceptionThrown":
                self.complaints.append(said["params"]["exceptionDetails"]["text"])
            elif said["method"] == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.complaints.append(said["params"]["entry"]["text"])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the browser's."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._wire.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(CALL_SECS):
            said = await answer
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']}")
        result: dict[str, Any] = said["result"]
        return result

    async def open(self, url: str) -> None:
        """Go there and wait until the page is there."""
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    async def run(self, script: str) -> Any:
        """What an expression of JavaScript comes to on the page."""
        said = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in said:
            raise RuntimeError(said["exceptionDetails"]["exception"]["description"])
        return said["result"].get("value")

    async def until(self, script: str, secs: float = CALL_SECS) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(secs):
            while True:
                with suppress(RuntimeError):  # the page is on its way to another
                    if await self.run(script):
                        return
                await asyncio.sleep(0.05)

    async def press(self, key: str) -> None:
        """One key of the keyboard."""
        code: dict[str, Any] = {"text": key} if len(key) == 1 else {"windowsVirtualKeyCode": _CODES[key]}
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **code)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def look(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """The window's size and the reader's taste."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=scheme)

    async def screenshot(self, path: Path) -> None:
        """The page as it looks, whole."""
        said = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(said["data"]))


@asynccontextmanager
async def browsing() -> AsyncIterator[Tab]:
    """A browser with one empty page, its profile in a directory that goes with it."""
    program = found()
    if program is None:
        raise RuntimeError("no Chromium is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program, *FLAGS, f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            port = await _port(Path(profile))
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as reply:
                    pages = [each for each in await reply.json() if each["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as wire:
                    tab = Tab(wire)
                    listener = asyncio.create_task(tab.listen())
                    try:
                        for domain in ("Page", "Runtime", "Log"):
                            await tab.call(f"{domain}.enable")
                        yield tab
                    finally:
                        listener.cancel()
        finally:
            process.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(5.0):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _port(profile: Path) -> int:
    async with asyncio.timeout(START_SECS):
        while True:
            with suppress(OSError, ValueError):
                return int((profile / "DevToolsActivePort").read_text().split()[0])
            await asyncio.sleep(0.05)
