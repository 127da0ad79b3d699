"""The adapter: owned or borrowed session, what was certainly not sent, bounded answers, a key that stays home."""

from __future__ import annotations

import asyncio
import gzip
import logging
import pickle
import time
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp.client_reqrep import ConnectionKey

from toapis_async import ToapisError, TransportError
from toapis_async._http.transport import AiohttpTransport
from toapis_async._protocol.messages import HttpRequest
from toapis_async.testing import Reply, Simulator, faults

pytestmark = pytest.mark.anyio

KEY = "sk-simulated"
QUERY = HttpRequest(method="GET", path="/images/generations/nobody")
SUBMIT = HttpRequest(method="POST", path="/images/generations", body=b'{"model":"grok-4-1-image","prompt":"fox"}')


@asynccontextmanager
async def transport_to(base_url: str, http: aiohttp.ClientSession | None = None) -> AsyncGenerator[AiohttpTransport]:
    transport = AiohttpTransport(base_url, KEY, http)
    try:
        yield transport
    finally:
        await transport.close()


async def test_a_request_carries_key_body_and_agent(sim: Simulator) -> None:
    async with transport_to(sim.base_url) as transport:
        response = await transport.send(SUBMIT, timeout=60)
    assert response.status == 200
    record = sim.requests[0]
    assert record.headers["authorization"] == f"Bearer {KEY}"
    assert record.headers["content-type"] == "application/json"
    assert record.headers["user-agent"].startswith("toapis-async/")
    assert record.body == SUBMIT.body


async def test_a_hostile_borrowed_session_changes_nothing(sim: Simulator) -> None:
    sent = 0

    async def resend(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        nonlocal sent
        sent += 1
        await handler(request)
        return await handler(request)

    async with (
        aiohttp.ClientSession(
            headers={"Authorization": "Bearer other", "Content-Type": "text/plain"},
            cookies={"a": "b"},
            raise_for_status=True,
            middlewares=(resend,),
            auto_decompress=False,
            base_url="http://127.0.0.1:9/",
        ) as http,
        transport_to(sim.base_url, http) as transport,
    ):
        sim.add_fault(faults.gzip(kind="query"))
        accepted = await transport.send(SUBMIT, timeout=60)
        missing = await transport.send(QUERY, timeout=60)
        await transport.close()
        assert not http.closed
    assert (accepted.status, missing.status) == (200, 404)
    assert missing.body.startswith(b"{")
    assert sent == 0
    assert len(sim.charges) == 1
    assert sim.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_redirect_is_an_answer_and_is_not_followed(sim: Simulator) -> None:
    async with Simulator() as elsewhere, transport_to(sim.base_url) as transport:
        sim.add_fault(faults.redirect(elsewhere.base_url + "/images/generations/x", kind="query"))
        response = await transport.send(QUERY, timeout=60)
        assert response.status == 302
        assert not elsewhere.requests


async def test_a_refused_connection_was_certainly_not_sent() -> None:
    async with Simulator() as gone:
        url = gone.base_url
    async with transport_to(url) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(SUBMIT, timeout=60)
    assert caught.value.sent is False


CONNECTION = ConnectionKey("a", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "may_have_sent"),
    [
        (aiohttp.ClientConnectorError(CONNECTION, OSError()), False),
        (aiohttp.ClientConnectorDNSError(CONNECTION, OSError()), False),
        (aiohttp.ClientProxyConnectionError(CONNECTION, OSError()), False),
        (aiohttp.ClientConnectorSSLError(CONNECTION, OSError()), False),
        (aiohttp.ConnectionTimeoutError(), False),
        (aiohttp.ServerFingerprintMismatch(b"a", b"b", "a", 443), False),
        (aiohttp.InvalidURL("x"), False),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientOSError(), True),
        (aiohttp.ClientPayloadError(), True),
        (TimeoutError(), False),  # aiohttp makes a ConnectionTimeoutError of it here
        (ValueError(), True),
        (KeyError(), True),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_only_a_failure_to_connect_is_proof_that_nothing_was_sent(
    sim: Simulator, error: Exception, may_have_sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise error

    async with transport_to(sim.base_url) as transport:
        monkeypatch.setattr(aiohttp.TCPConnector, "connect", fail)
        with pytest.raises(TransportError) as caught:
            await transport.send(SUBMIT, timeout=60)
    assert caught.value.sent is may_have_sent


async def test_a_closed_borrowed_session_sends_nothing(sim: Simulator) -> None:
    async with aiohttp.ClientSession() as http:
        pass
    async with transport_to(sim.base_url, http) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(SUBMIT, timeout=60)
    assert caught.value.sent is False


@pytest.mark.parametrize(
    "fault",
    [
        faults.drop(when="before"),
        faults.drop(when="after"),
        faults.drop(when="after", reset=False),
        faults.hang(when="before"),
        faults.hang(when="after"),
        faults.cut(5),
        faults.cut(5, reset=True),
        faults.cut(5, chunked=True),
        faults.dribble(5, float("inf")),
        faults.oversize(20_000_000),
    ],
    ids=["reset", "accepted-reset", "accepted-close", "hang", "accepted-hang", "cut", "cut-reset", "cut-chunked",
         "stalled", "20 MB"],
)  # fmt: skip
async def test_a_broken_answer_may_have_been_sent(sim: Simulator, fault: Any) -> None:
    sim.add_fault(fault)
    async with transport_to(sim.base_url) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(SUBMIT, timeout=60)
    assert caught.value.sent is True


async def test_a_dropped_question_is_not_repeated_behind_the_pacer(sim: Simulator) -> None:
    async with transport_to(sim.base_url) as transport:
        await transport.send(QUERY, timeout=60)  # from here on the connection is a used one
        for reset in (True, False):
            sim.add_fault(faults.drop(when="after", reset=reset, kind="query", times=None))
            before = len(sim.requests)
            with pytest.raises(TransportError) as caught:
                await transport.send(QUERY, timeout=60)
            assert caught.value.__context__ is None
            assert len(sim.requests) == before + 1
            sim.clear_faults()
            await transport.send(QUERY, timeout=60)


async def test_an_attempt_ends_when_its_time_is_up(sim: Simulator) -> None:
    sim.add_fault(faults.hang(when="after"))
    async with transport_to(sim.base_url) as transport:
        started = anyio.current_time()
        with pytest.raises(TransportError, match="No answer within 7 s"):
            await transport.send(SUBMIT, timeout=7)
        assert anyio.current_time() - started == pytest.approx(7)


def test_an_answer_that_came_while_the_loop_was_held_up_is_taken() -> None:
    async def main(base_url: str) -> int:
        async with transport_to(base_url) as transport:
            asyncio.get_running_loop().call_later(0.1, time.sleep, 0.8)  # from before the answer to after the limit
            return (await transport.send(QUERY, timeout=0.5)).status

    with Simulator(limits=None) as sim:
        sim.add_fault(faults.delay(0.3, when="before"))
        assert asyncio.run(main(sim.base_url)) in {400, 404}


async def test_compressed_answers_are_read(sim: Simulator) -> None:
    sim.add_fault(faults.gzip(kind="query"))
    async with transport_to(sim.base_url) as transport:
        response = await transport.send(QUERY, timeout=60)
    assert b"error" in response.body


async def test_a_bomb_is_not_unpacked_to_the_end(sim: Simulator) -> None:
    bomb = gzip.compress(b" " * 200_000_000, 9, mtime=0)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    sim.add_fault(faults.reply_with(Reply(body=bomb, headers=headers), when="before"))
    async with transport_to(sim.base_url) as transport:
        with pytest.raises(TransportError):
            await transport.send(QUERY, timeout=60)


async def test_a_key_that_the_service_repeats_is_cut_out(sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    sim.add_fault(faults.reply_with(Reply(status=401, body=f"bad key {KEY}!".encode()), when="before"))
    async with transport_to(sim.base_url) as transport:
        response = await transport.send(QUERY, timeout=60)
    assert response.body == b"bad key [key]!"
    assert KEY not in caplog.text


@pytest.mark.parametrize("fault", [faults.drop(when="before", times=None), faults.cut(5), faults.hang(when="before")])
async def test_the_key_is_in_no_error_and_no_log(sim: Simulator, fault: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sim.add_fault(fault)
    async with transport_to(sim.base_url) as transport:
        try:
            await transport.send(QUERY, timeout=5)
        except ToapisError as error:
            assert error.__cause__ is None
            assert error.__context__ is None
            assert KEY not in "".join(traceback.format_exception(error))
            assert KEY.encode() not in pickle.dumps(error)
            assert KEY not in repr(vars(error))
        else:
            pytest.fail("nothing was raised")
        assert KEY not in repr(transport)
    assert KEY not in caplog.text
