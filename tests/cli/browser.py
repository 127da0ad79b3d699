"""Headless Chromium over its DevTools protocol: pages as a reader sees and uses them."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal

import aiohttp
import pytest
from attrs import define, field
from processes import running

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium)")
_SWITCHES: Final = (
    "--headless",
    "--no-sandbox",  # which root may not use, nor many a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # whatever it wants to ask, nobody is asked
    "--remote-debugging-port=0",
)
_KEYS: Final = {
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "End": 35,
    "Enter": 13,
    "Escape": 27,
    "Home": 36,
    "Tab": 9,
}
_TEXTS: Final = {"Enter": "\r"}
_UNTIL: Final = """new Promise((resolve) => {
  const look = () => (%s) ? resolve(true) : setTimeout(look, 10);
  look();
})"""


@define(eq=False)
class Page:
    """One tab. Every call waits for its answer; the test bounds them all."""

    _socket: aiohttp.ClientWebSocketResponse
    _session_id: str = ""
    _numbers: itertools.count[int] = field(factory=itertools.count)
    requests: list[str] = field(factory=list[str])
    """The URLs that the page asked for."""
    complaints: list[str] = field(factory=list[str])
    """Exceptions, and what the browser wrote to its console."""

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session_id:
            message["sessionId"] = self._session_id
        await self._socket.send_json(message)
        while True:
            answer: dict[str, Any] = await self._socket.receive_json()
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    async def attach(self) -> None:
        """Open the tab, and listen to it."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session_id = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    async def quit(self) -> None:
        """End the browser."""
        self._session_id = ""
        await self.call("Browser.close")

    async def open(self, url: str, *, width: int = 1440, height: int = 900) -> None:
        """Go to a page and wait until its script has run."""
        await self.resize(width, height)
        await self.call("Page.navigate", url=url)
        await self.until(f"location.href === {url!r} && document.readyState !== 'loading'")

    async def resize(self, width: int, height: int) -> None:
        """Take the size of another screen; a narrow one is a phone's."""
        is_phone = width < 600
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_phone
        )

    async def prefer(self, scheme: Literal["light", "dark"]) -> None:
        """Set what the system of the reader prefers."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, once it is there if it is a promise."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true."""
        await self.evaluate(_UNTIL % expression)

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other: names of keys, or characters."""
        for key in keys:
            common: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS.get(key, 0)}
            text = _TEXTS.get(key) or (key if len(key) == 1 else "")
            down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
            await self.call("Input.dispatchKeyEvent", **down, **common)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def click(self, selector: str) -> None:
        """Click in the middle of the first element that fits, with the mouse."""
        x, y = await self.evaluate(
            f"(() => {{ const found = document.querySelector({selector!r}); found.scrollIntoView({{block: 'nearest'}});"
            " const box = found.getBoundingClientRect();"
            " return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def screenshot(self, path: Path) -> None:
        """Save what is to be seen as a PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def _note(self, event: dict[str, Any]) -> None:
        method, about = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(about["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(about["entry"]["text"])


@asynccontextmanager
async def browsing(profile: Path) -> AsyncGenerator[Page]:
    """Start a browser with a new profile and give its only tab; it ends with the block."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *_SWITCHES, f"--user-data-dir={profile}", "about:blank"]
    with running(command) as process:
        assert process.stderr is not None
        url = await asyncio.to_thread(_address, process.stderr)
        async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as socket:
            page = Page(socket)
            await page.attach()
            try:
                yield page
            finally:
                await page.quit()
                await asyncio.to_thread(process.wait)  # or its children would still write to the profile


def _address(lines: IO[bytes]) -> str:
    """Return the address of the browser, from what it says; it is killed if it says nothing for long."""
    seen = b""
    for line in lines:
        if line.startswith(b"DevTools listening on "):
            return line.split()[-1].decode()
        seen += line
    raise AssertionError(f"the browser did not start: {seen.decode(errors='replace')}")
