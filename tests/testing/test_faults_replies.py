"""Faults that spoil a reply of the service, byte by byte."""

from __future__ import annotations

import gzip
import json
import math
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import pytest

from toapis_async.testing import (
    Delivery,
    Reply,
    Simulator,
    faults,
)
from toapis_async.testing.replies import PANIC

if TYPE_CHECKING:
    from testing.conftest import Running

PATH = "/images/generations"


def split(raw: bytes) -> tuple[bytes, bytes]:
    head, _, body = raw.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.anyio
async def test_a_second_object_can_be_glued_behind_a_good_one(running: Running) -> None:
    async with running(faults=[faults.glue(kind="query"), faults.glue(b"{}", kind="query")]) as caller:
        task_id = await caller.submit_id()
        body = (await caller.get(task_id)).body
        first, end = json.JSONDecoder().raw_decode(body.decode())
        assert first["id"] == task_id
        assert body.decode()[end:].encode() == PANIC + b"{}"


@pytest.mark.anyio
async def test_states_can_be_spelled_otherwise(running: Running) -> None:
    scripted = [faults.respell(str.upper), faults.respell({"queued": ""}), faults.respell({"queued": None})]
    async with running(faults=scripted) as caller:
        created = (await caller.submit()).json
        assert created["status"] == "QUEUED"
    async with running(faults=scripted[1:2]) as caller:
        assert (await caller.submit()).json["status"] == ""
    async with running(faults=scripted[2:]) as caller:
        assert (await caller.submit()).json["status"] is None


@pytest.mark.anyio
async def test_json_can_be_edited_while_pictures_stay_as_they_are(running: Running) -> None:
    def legacy(body: dict[str, object]) -> object:
        return {"code": 200, "data": [body]}

    async with running(faults=[faults.edit_json(legacy, times=None)]) as caller:
        task_id = (await caller.submit()).json["data"][0]["id"]
        await anyio.sleep(10)
        url = (await caller.get(task_id)).json["data"][0]["result"]["data"][0]["url"]
        assert (await caller.request("GET", url)).body[:4] == b"\x89PNG"


@pytest.mark.anyio
async def test_a_truncated_body_is_a_complete_reply_with_broken_json(running: Running) -> None:
    async with running(faults=[faults.truncate(), faults.truncate(0), faults.truncate(5)]) as caller:
        answer = await caller.get("x")
        assert answer.body == b""
        answer = await caller.get("x")
        assert answer.status == 404
        assert len(answer.body) > 20


@pytest.mark.anyio
async def test_truncating_alone_keeps_half_or_the_given_bytes(running: Running) -> None:
    async with running() as caller:
        whole = (await caller.get("x")).body
        for fault, kept in ((faults.truncate(), len(whole) // 2), (faults.truncate(5), 5)):
            caller.simulator.add_fault(fault)
            assert (await caller.get("x")).body == whole[:kept]


@pytest.mark.anyio
async def test_bodies_can_be_padded_compressed_and_mislabelled(running: Running) -> None:
    async with running() as caller:
        whole = (await caller.get("x")).body
        caller.simulator.add_fault(faults.oversize(3_000_000))
        padded = (await caller.get("x")).body
        assert (len(padded), json.loads(padded)) == (3_000_000, json.loads(whole))
        caller.simulator.add_fault(faults.gzip())
        head, body = split(await read_one(caller.raw("GET", f"{PATH}/x"), caller.simulator))
        assert b"Content-Encoding: gzip" in head
        assert gzip.decompress(body) == whole
        caller.simulator.add_fault(faults.content_type("text/plain"))
        assert (await caller.get("x")).headers["Content-Type"] == "text/plain"


async def read_one(raw: Any, simulator: Simulator) -> bytes:
    """Read a reply on a connection that the service closes behind it, so that its end is seen."""
    simulator.add_fault(faults.close_after())
    result: bytes = await raw
    return result


@pytest.mark.anyio
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_can_come_in_drips(running: Running, chunked: bool) -> None:
    async with running() as caller:
        whole = (await caller.get("x")).body
        caller.simulator.add_fault(faults.dribble(10, 2.0, chunked=chunked))
        head, body = split(await read_one(caller.raw("GET", f"{PATH}/x"), caller.simulator))
        assert caller.simulator.now == 2.0 * ((len(whole) - 1) // 10)
        assert (b"Transfer-Encoding: chunked" in head) == chunked
        if chunked:
            assert body.startswith(b"a\r\n" + whole[:10] + b"\r\n")
            assert body.endswith(b"\r\n0\r\n\r\n")
        else:
            assert body == whole


@pytest.mark.anyio
async def test_a_body_can_stop_for_ever(running: Running) -> None:
    async with running(faults=[faults.dribble(10, math.inf)]) as caller:
        url = f"{caller.simulator.base_url}{PATH}/x"
        async with caller.session.get(url) as response:
            assert await response.content.readany()
            with pytest.raises(TimeoutError), anyio.fail_after(1e5):
                await response.content.readany()


@pytest.mark.anyio
@pytest.mark.parametrize("after", [0, 1, 50])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_can_be_cut_short_of_its_announced_length(running: Running, after: int, chunked: bool) -> None:
    async with running() as caller:
        whole = (await caller.get("x")).body
        caller.simulator.add_fault(faults.cut(after, chunked=chunked))
        head, body = split(await caller.raw("GET", f"{PATH}/x"))
        assert (f"Content-Length: {len(whole)}".encode() in head) != chunked
        if chunked:
            expected = f"{after:x}\r\n".encode() + whole[:after] + b"\r\n" if after else b""
            assert body == expected
        else:
            assert body == whole[:after]
        caller.simulator.add_fault(faults.cut(after, reset=True))
        with pytest.raises(aiohttp.ClientError):
            await caller.get("x")


@pytest.mark.anyio
async def test_a_download_can_be_cut_and_resumed(running: Running) -> None:
    async with running(faults=[faults.cut(1000, kind="file")]) as caller:
        task_id = await caller.submit_id()
        await anyio.sleep(10)
        url = (await caller.get(task_id)).json["result"]["data"][0]["url"]
        with pytest.raises(aiohttp.ClientPayloadError):
            await caller.request("GET", url)
        rest = await caller.request("GET", url, headers={"Range": "bytes=1000-"})
        whole = await caller.request("GET", url)
        assert rest.body == whole.body[1000:]
        assert rest.headers["Content-Range"] == f"bytes 1000-{len(whole.body) - 1}/{len(whole.body)}"


@pytest.mark.anyio
async def test_a_connection_can_be_closed_behind_a_reply_with_or_without_a_word(running: Running) -> None:
    async with running(faults=[faults.close_after(), faults.close_after(announce=True, nth=2)]) as caller:
        silent, _ = split(await caller.raw("GET", f"{PATH}/x"))
        assert b"Connection: close" not in silent
        announced, _ = split(await caller.raw("GET", f"{PATH}/x"))
        assert b"Connection: close" in announced


@pytest.mark.anyio
async def test_a_complete_reply_may_be_followed_by_a_reset(running: Running) -> None:
    way = Delivery(end="reset")
    change = faults.transform(lambda reply: Reply(status=reply.status, body=b"all of it", delivery=way))
    async with running(faults=[change]) as caller:
        assert (await caller.get("x")).body == b"all of it"


@pytest.mark.anyio
async def test_a_client_may_leave_in_the_middle_of_a_slow_reply(running: Running) -> None:
    async with running(faults=[faults.dribble(1, 10.0)]) as caller:
        with anyio.move_on_after(35):
            await caller.get("x")
        await anyio.sleep(1000)
        assert (await caller.get("x")).status == 404


@pytest.mark.anyio
async def test_editing_leaves_json_alone_that_is_no_object(running: Running) -> None:
    scripted = [faults.transform(lambda reply: Reply(body=b"[]")), faults.respell(str.upper)]
    async with running(faults=scripted) as caller:
        assert (await caller.get("x")).body == b"[]"
    async with running(faults=[faults.respell(str.upper)]) as caller:
        assert "status" not in (await caller.get("x")).json
