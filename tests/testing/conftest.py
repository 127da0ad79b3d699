"""A simulator in the test's own loop, on virtual time, and two clients that know nothing of the package."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import aiohttp
import anyio
import pytest

from toapis_async.testing import Simulator, VirtualClockEventLoop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualClockEventLoop}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Caller:
    simulator: Simulator
    session: aiohttp.ClientSession

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        url = path if path.startswith("http") else self.simulator.base_url + path
        async with self.session.request(method, url, allow_redirects=False, **options) as response:
            return Answer(response.status, response.headers, await response.read())

    async def submit(self, prompt: str = "a fox", **fields: object) -> Answer:
        body = {"model": "grok-4-1-image", "prompt": prompt, **fields}
        return await self.request("POST", "/images/generations", json=body)

    async def submit_id(self, prompt: str = "a fox", **fields: object) -> str:
        return cast("str", (await self.submit(prompt, **fields)).json["id"])

    async def get(self, reference: str) -> Answer:
        return await self.request("GET", f"/images/generations/{reference}")

    async def raw(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Send one request by hand on a connection of its own; return every byte that comes back until its end."""
        host, _, port = self.simulator.base_url.removeprefix("http://").removesuffix("/v1").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            head = f"{method} /v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.simulator.api_key}\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            return await reader.read(-1)
        finally:
            writer.close()


class Running(Protocol):
    def __call__(self, **options: Any) -> AbstractAsyncContextManager[Caller]: ...


@pytest.fixture
def running() -> Callable[..., AbstractAsyncContextManager[Caller]]:
    """A function that starts a simulator and gives a client of it; the whole may take ten (virtual) days."""

    @asynccontextmanager
    async def start(**options: Any) -> AsyncGenerator[Caller]:
        defaults: dict[str, Any] = {"limits": None, "durations": 10.0}
        with anyio.fail_after(10 * 86_400):
            async with Simulator(**defaults | options) as simulator:
                headers = {"Authorization": f"Bearer {simulator.api_key}"}
                connector = aiohttp.TCPConnector(limit=0)
                timeout = aiohttp.ClientTimeout(total=None)
                async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as session:
                    yield Caller(simulator, session)

    return start
