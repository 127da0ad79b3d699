"""Connections: none is waited for in vain, no cookie is kept, and one that is not made costs nothing."""

from __future__ import annotations

import asyncio
import socket
import warnings
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from toapis_async import (
    Backoff,
    GeneratedImage,
    GenerationTask,
    ImageRequest,
    RateLimits,
    RetryPolicy,
    ServerError,
    TaskStatus,
    ToapisSession,
    TransportError,
)
from toapis_async.testing import Reply, Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")
FAST = RateLimits(submit_per_second=1000, submit_burst=200)
TWICE = RetryPolicy(attempts=2)


class DeafResolver(AbstractResolver):
    """Never finds a host."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        await anyio.sleep_forever()
        return []

    async def close(self) -> None: ...


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # names are resolved by threads, which virtual time does not see
async def test_no_cookies_are_kept(sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toapis_async._files.fetching._BACKOFF", Backoff(initial=0.001, maximum=0.001))
    cookie = Reply(status=503, headers={"Set-Cookie": "track=1; Path=/"})
    sim.add_fault(faults.reply_with(cookie, when="before", kind="query", times=2))
    # By name: aiohttp keeps no cookies of hosts that are IP addresses anyway.
    base_url = sim.base_url.replace("127.0.0.1", "localhost")
    async with ToapisSession(sim.api_key, base_url=base_url) as session:
        task = await session.submit(FOX)
        for _ in range(2):
            with pytest.raises(ServerError):
                await session.get(task.id)
        sim.complete(task.id)
        url = (await session.get(task.id)).images[0].url.replace("127.0.0.1", "localhost")
        sim.add_fault(faults.reply_with(cookie, when="before", kind="file", times=2))
        done = GenerationTask(id="t", status=TaskStatus.COMPLETED, images=(GeneratedImage(url=url),))
        assert await session.download(done, tmp_path)
    for kind in ("query", "file"):
        records = [record for record in sim.requests if record.kind == kind]
        assert [record.status for record in records] == [503, 503, 200]
        assert not [record for record in records if "cookie" in record.headers]
        assert {record.headers["host"].partition(":")[0] for record in records} == {"localhost"}


async def test_requests_do_not_wait_for_a_connection(sim: Simulator) -> None:
    sim.add_fault(faults.delay(30, when="before", kind="submit", times=None))
    async with ToapisSession(sim.api_key, base_url=sim.base_url, limits=FAST) as session:
        async with anyio.create_task_group() as group:
            for _ in range(120):  # aiohttp's own limit is 100
                group.start_soon(session.submit, FOX)
        assert len(sim.requests) == 120
        assert max(record.at for record in sim.requests) < 5


async def test_a_connection_is_given_up_after_ten_seconds_and_was_certainly_not_sent_over() -> None:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=DeafResolver())) as http,
        ToapisSession("sk-simulated", base_url="http://nowhere.invalid", http=http, retry=TWICE) as session,
    ):
        started = anyio.current_time()
        with anyio.fail_after(200), pytest.raises(TransportError) as caught:
            await session.submit(FOX)
        assert caught.value.sent is False
        assert 20 <= anyio.current_time() - started <= 23
        assert not session.unfinished


async def test_a_request_that_the_proxy_did_not_let_through_was_certainly_not_sent() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connects.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    connects: list[bytes] = []
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        aiohttp.ClientSession(proxy=f"http://127.0.0.1:{port}") as http,
        ToapisSession("sk-simulated", base_url="https://nowhere.invalid", http=http, retry=TWICE) as session,
    ):
        with anyio.fail_after(200), pytest.raises(TransportError) as caught:
            await session.submit(FOX)
        assert caught.value.sent is False
        assert not session.unfinished
    assert len(connects) == 2
    assert not [head for head in connects if b"sk-simulated" in head]


async def test_a_hook_that_fails_before_the_request_is_made_costs_nothing(sim: Simulator) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("no")

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(fail)
    async with (
        aiohttp.ClientSession(trace_configs=[trace]) as http,
        ToapisSession(sim.api_key, base_url=sim.base_url, http=http, retry=TWICE) as session,
    ):
        with pytest.raises(TransportError) as caught:
            await session.submit(FOX)
        assert caught.value.sent is False
        assert not session.unfinished
    assert not sim.requests


async def test_the_timeouts_of_a_borrowed_session_lose_no_answer(sim: Simulator) -> None:
    sim.add_fault(faults.delay(5, when="after", kind="submit"))
    impatient = aiohttp.ClientTimeout(total=1, sock_read=1)
    async with (
        aiohttp.ClientSession(timeout=impatient) as http,
        ToapisSession(sim.api_key, base_url=sim.base_url, http=http) as session,
    ):
        task = await session.submit(FOX)
    assert task.id == sim.charges[0].task_id
    assert len(sim.requests) == 1


async def test_a_session_that_leaves_our_middleware_out_pays_once(sim: Simulator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # aiohttp discourages it; people do it all the same

        class House(aiohttp.ClientSession):
            async def _request(self, *arguments: Any, **options: Any) -> aiohttp.ClientResponse:
                return await super()._request(*arguments, **{**options, "middlewares": ()})

    sim.add_fault(faults.drop(when="after", kind="submit", times=None))
    async with House() as http, ToapisSession(sim.api_key, base_url=sim.base_url, http=http) as session:
        task = await session.generate(FOX)
    assert task.id == sim.charges[0].task_id
    assert len(sim.charges) == 1
