"""The simulator over real sockets: in the test's loop on virtual time, and in a thread of its own."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from toapis_async.testing import GroupLimits, Simulator, VirtualClockEventLoop, faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from testing.conftest import Running


@pytest.mark.anyio
async def test_a_task_can_be_followed_to_its_picture(running: Running) -> None:
    async with running() as caller:
        task_id = await caller.submit_id(n=2, client_business_id="mine")
        assert (await caller.get("mine")).json["status"] == "queued"
        await anyio.sleep(10)
        done = (await caller.get(task_id)).json
        picture = await caller.request("GET", done["result"]["data"][1]["url"])
        assert (picture.status, picture.body[:8]) == (200, b"\x89PNG\r\n\x1a\n")
        assert picture.headers["Content-Type"] == "image/png"


@pytest.mark.anyio
async def test_the_ledger_holds_every_accepted_post(running: Running) -> None:
    async with running(credits=Decimal(100)) as caller:
        task_id = await caller.submit_id("a hen", n=4, client_business_id="mine")
        await caller.submit("x", n=3)
        (charge,) = caller.simulator.charges
        assert (charge.task_id, charge.client_business_id, charge.model) == (task_id, "mine", "grok-4-1-image")
        assert (charge.n, charge.prompt, charge.credits, charge.at) == (4, "a hen", Decimal(16), 0.0)
        assert caller.simulator.balance == 84


@pytest.mark.anyio
async def test_the_request_log_shows_what_the_wire_carried(running: Running) -> None:
    async with running() as caller:
        task_id = await caller.submit_id()
        await anyio.sleep(10)
        await caller.get(task_id + "?x=1")
        await caller.request("GET", f"http://{caller.simulator.base_url[7:-3]}/files/generated/{task_id}-0.png")
        await caller.request("GET", "/nowhere")
        seen = [(record.method, record.kind, record.status, record.at) for record in caller.simulator.requests]
        assert seen == [
            ("POST", "submit", 200, 0.0),
            ("GET", "query", 200, 10.0),
            ("GET", "file", 200, 10.0),
            ("GET", "other", 404, 10.0),
        ]
        submit, query, *_ = caller.simulator.requests
        assert submit.headers["authorization"] == f"Bearer {caller.simulator.api_key}"
        assert json.loads(submit.body)["prompt"] == "a fox"
        assert query.path == f"/v1/images/generations/{task_id}?x=1"
        assert (query.body, query.faults) == (b"", ())


@pytest.mark.anyio
async def test_recording_can_be_switched_off_while_waiting_still_works(running: Running) -> None:
    async with running(record_requests=False) as caller:
        await caller.submit()
        await caller.simulator.wait_for_requests("submit", 1)
        assert caller.simulator.requests == ()
        assert len(caller.simulator.charges) == 1


@pytest.mark.anyio
async def test_waiting_for_requests_ends_when_they_have_been_processed(running: Running) -> None:
    async with (
        running(faults=[faults.hang(when="after", kind="submit", nth=2)]) as caller,
        anyio.create_task_group() as group,
    ):
        group.start_soon(caller.submit)
        group.start_soon(caller.submit)
        await caller.simulator.wait_for_requests("submit", 2)
        assert len(caller.simulator.charges) == 2
        assert [record.status for record in caller.simulator.requests] == [200, None]
        with pytest.raises(TimeoutError), anyio.fail_after(5):
            await caller.simulator.wait_for_requests("submit", 3)
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_tasks_can_be_finished_and_expired_by_hand(running: Running) -> None:
    async with running(durations=1e9) as caller:
        first, second, third = [await caller.submit_id(client_business_id=name) for name in "abc"]
        assert caller.simulator.pending == (first, second, third)
        caller.simulator.complete("a")
        caller.simulator.fail(second, "no luck")
        assert third in caller.simulator.pending
        assert len(caller.simulator.pending) == 1
        done = (await caller.get(first)).json
        assert done["status"] == "completed"
        assert (await caller.get("b")).json["error"]["message"] == "no luck"
        await anyio.sleep(1)
        caller.simulator.expire(first)
        assert (await caller.request("GET", done["result"]["data"][0]["url"])).status == 404
        assert (await caller.get(first)).json["result"]["data"] == []


@pytest.mark.anyio
async def test_finishing_by_hand_refuses_what_is_unknown_or_finished(running: Running) -> None:
    async with running() as caller:
        task_id = await caller.submit_id()
        with pytest.raises(LookupError, match="nobody"):
            caller.simulator.complete("nobody")
        with pytest.raises(ValueError, match="has not completed"):
            caller.simulator.expire(task_id)
        caller.simulator.complete(task_id)
        for again in (caller.simulator.complete, caller.simulator.fail):
            with pytest.raises(ValueError, match="already finished"):
                again(task_id)


@pytest.mark.anyio
async def test_limits_are_enforced_on_the_wire_and_retry_after_is_enough(running: Running) -> None:
    async with running(limits="default") as caller:
        statuses = [(await caller.submit()).status for _ in range(51)]
        assert statuses == [200] * 50 + [429]
        refused = await caller.submit()
        await anyio.sleep(int(refused.headers["Retry-After"]))
        assert (await caller.submit()).status == 200
        assert caller.simulator.now == 10.0


@pytest.mark.anyio
async def test_custom_limits_and_keys_are_honoured(running: Running) -> None:
    limits = GroupLimits(submit_per_minute=9, submit_per_10s=9, query_per_minute=1, query_per_10s=1)
    async with running(limits=limits, api_keys={"sk-b", "sk-a"}) as caller:
        assert caller.simulator.api_key == "sk-a"
        assert [(await caller.get("x")).status for _ in range(2)] == [404, 429]
        answer = await caller.request("GET", "/images/generations/x", headers={"Authorization": "Bearer sk-c"})
        assert answer.status == 401


@pytest.mark.anyio
async def test_the_date_header_follows_the_clock_of_the_service(running: Running) -> None:
    async with running() as caller:
        first = (await caller.get("x")).headers["Date"]
        await anyio.sleep(86_400)
        assert (await caller.get("x")).headers["Date"] != first


@pytest.mark.anyio
async def test_a_body_beyond_a_megabyte_is_too_large(running: Running) -> None:
    async with running() as caller:
        answer = await caller.request("POST", "/images/generations", data=io.BytesIO(b" " * 1_100_000))
        assert (answer.status, caller.simulator.charges) == (413, ())


@pytest.mark.anyio
async def test_a_client_that_stops_in_the_middle_of_its_post_is_not_charged(running: Running) -> None:
    async with running() as caller:
        host, port = caller.simulator.base_url[7:-3].split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        await writer.drain()
        await anyio.sleep(1)
        writer.close()
        await anyio.sleep(1)
        (record,) = caller.simulator.requests
        assert (record.status, caller.simulator.charges) == (None, ())


@pytest.mark.anyio
async def test_leaving_is_immediate_with_connections_that_hang(running: Running) -> None:
    loop = asyncio.get_running_loop()
    hangs = [faults.hang(when="before", kind="query", times=None), faults.dribble(1, 1e6, kind="submit", times=None)]
    body = b'{"model":"grok-4-1-image","prompt":"x"}'
    async with running(faults=hangs) as caller:
        posts = [asyncio.create_task(caller.raw("POST", "/images/generations", body)) for _ in range(5)]
        gets = [asyncio.create_task(caller.raw("GET", "/images/generations/x")) for _ in range(5)]
        await caller.simulator.wait_for_requests("query", 5)
        await caller.simulator.wait_for_requests("submit", 5)
        left = loop.time()
    outcomes = await asyncio.gather(*posts, *gets, return_exceptions=True)
    assert loop.time() - left == 0
    assert all(isinstance(outcome, ConnectionResetError) for outcome in outcomes)


@pytest.mark.anyio
async def test_leaving_does_not_wait_for_a_client_that_does_not_read(running: Running) -> None:
    async with running(faults=[faults.oversize(50_000_000)]) as caller:
        host, port = caller.simulator.base_url[7:-3].split(":")
        _, writer = await asyncio.open_connection(host, int(port), limit=1)
        writer.write(b"GET /v1/images/generations/x HTTP/1.1\r\nHost: x\r\n\r\n")
        await caller.simulator.wait_for_requests("query", 1)
        await anyio.sleep(1)
        left = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - left < 1
    writer.close()


@pytest.mark.anyio
async def test_a_cancelled_test_leaves_no_server_behind() -> None:
    port = 0
    with anyio.move_on_after(1):
        async with Simulator() as simulator:
            port = int(simulator.base_url[:-3].rpartition(":")[2])
            await anyio.sleep_forever()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.anyio
async def test_a_taken_port_is_an_os_error_and_leaves_nothing() -> None:
    async with Simulator() as simulator:
        port = int(simulator.base_url[:-3].rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)):
            async with Simulator(port=port):
                pass
        with pytest.raises(OSError, match=str(port)), Simulator(port=port):
            pass


def test_it_serves_synchronous_code_from_a_thread_and_takes_that_thread_along() -> None:
    before = threading.enumerate()
    with Simulator(durations=1e9, limits=None) as simulator:
        body = json.dumps({"model": "grok-4-1-image", "prompt": "a fox"}).encode()
        headers = {"Authorization": f"Bearer {simulator.api_key}"}
        url = f"{simulator.base_url}/images/generations"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as reply:
            task_id = json.load(reply)["id"]
        simulator.complete(task_id)
        with urllib.request.urlopen(urllib.request.Request(f"{url}/{task_id}", headers=headers)) as reply:
            assert json.load(reply)["status"] == "completed"
        simulator.add_fault(faults.error(500, "internal_error", kind="query"))
        with pytest.raises(urllib.error.HTTPError, match="500") as caught:
            urllib.request.urlopen(urllib.request.Request(f"{url}/{task_id}", headers=headers))
        caught.value.close()
        assert [record.status for record in simulator.requests] == [200, 200, 500]
    assert threading.enumerate() == before
    assert len(simulator.charges) == 1


def test_a_thread_leaves_at_once_with_connections_that_hang() -> None:
    with Simulator(faults=[faults.hang(when="before", times=None)]) as simulator:
        url = f"{simulator.base_url}/images/generations/x"

        def ask() -> None:
            with pytest.raises(ConnectionResetError):
                urllib.request.urlopen(url)

        thread = threading.Thread(target=ask)
        thread.start()
        asyncio.run(asyncio.wait_for(simulator.wait_for_requests("query", 1), 10))
        left = time.monotonic()
    assert time.monotonic() - left < 2
    thread.join(10)
    assert not thread.is_alive()


def test_it_can_be_entered_once_and_has_no_address_before() -> None:
    simulator = Simulator()
    with pytest.raises(RuntimeError, match="has not been entered"):
        _ = simulator.base_url
    with simulator:
        pass
    with pytest.raises(RuntimeError, match="only once"), simulator:
        pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Simulator(time_factor=0), "time_factor"),
        (lambda: Simulator(time_factor=float("nan")), "time_factor"),
        (lambda: Simulator(limits=cast("Any", "gold")), "limits must be one of default, vip, svip"),
        (lambda: Simulator(api_keys=()), "api_keys"),
        (lambda: Simulator(api_keys="sk-one"), "api_keys"),
        (lambda: Simulator(durations={"grok-9": 1.0}), "unknown models"),
    ],
)
def test_impossible_arguments_are_refused(make: Callable[[], Simulator], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_importing_it_and_the_plugin_does_not_import_aiohttp() -> None:
    code = "import sys, toapis_async.testing.pytest_plugin; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_any_number_of_loops_may_use_one_after_another() -> None:
    async def once() -> None:
        async with Simulator() as simulator:
            assert simulator.requests == ()

    for _ in range(3):
        with asyncio.Runner(loop_factory=VirtualClockEventLoop) as runner:
            runner.run(once())
