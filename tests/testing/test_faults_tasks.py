"""Faults in what the service knows or tells about its tasks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio
import pytest

from toapis_async.testing import (
    error_reply,
    faults,
    panic_reply,
)
from toapis_async.testing.replies import PANIC

if TYPE_CHECKING:
    from testing.conftest import Running


@pytest.mark.anyio
async def test_urls_may_come_later_than_completion(running: Running) -> None:
    async with running(faults=[faults.urls_missing(4)]) as caller:
        task_id = await caller.submit_id()
        await anyio.sleep(10)
        body = (await caller.get(task_id)).json
        assert (body["status"], body["result"]) == ("completed", {"type": "image", "data": []})
        await anyio.sleep(4)
        assert len((await caller.get(task_id)).json["result"]["data"]) == 1


@pytest.mark.anyio
async def test_the_result_may_be_left_out_for_one_task_only(running: Running) -> None:
    async with running(faults=[faults.urls_missing(math.inf, result_key=False, match="mine")]) as caller:
        for name in ("mine", "other"):
            await caller.submit(client_business_id=name)
        await anyio.sleep(10)
        assert "result" not in (await caller.get("mine")).json
        assert "result" in (await caller.get("other")).json


@pytest.mark.anyio
async def test_a_task_may_be_invisible_under_its_business_id_for_a_while(running: Running) -> None:
    async with running(faults=[faults.invisible(5), faults.unknown_ids_panic()]) as caller:
        task_id = await caller.submit_id(client_business_id="mine")
        assert (await caller.get("mine")).json["error"]["code"] == "task_not_found"
        assert (await caller.get(task_id)).status == 200
        assert (await caller.get("nobody")).body == PANIC
        await anyio.sleep(5)
        assert (await caller.get("mine")).json["id"] == task_id


@pytest.mark.anyio
async def test_an_invisible_task_may_answer_with_a_panic_or_be_missing_by_its_own_id(running: Running) -> None:
    missing = error_reply(400, "task_not_exist", shape="message")
    scripted = [faults.invisible(5, reply=panic_reply(500)), faults.invisible(5, by="id", reply=missing)]
    async with running(faults=scripted) as caller:
        task_id = await caller.submit_id(client_business_id="mine")
        assert ((await caller.get("mine")).status, (await caller.get(task_id)).status) == (500, 400)


@pytest.mark.anyio
async def test_tasks_may_last_fail_or_never_finish(running: Running) -> None:
    scripted = [
        faults.never_finishes(match="first"),
        faults.lasts(3, match="second"),
        faults.fails("no luck", match="third"),
        faults.fails(seconds=1, match="fourth"),
    ]
    async with running(faults=scripted, time_factor=2.0) as caller:
        ids = [await caller.submit_id(name) for name in ("first", "second", "third", "fourth", "fifth")]
        for at, expected in (
            (1, "in_progress in_progress in_progress failed in_progress"),
            (3, "in_progress completed in_progress failed in_progress"),
            (5, "in_progress completed failed failed completed"),
            (86_400, "in_progress completed failed failed completed"),
        ):
            await anyio.sleep(at - caller.simulator.now)
            assert " ".join([(await caller.get(task_id)).json["status"] for task_id in ids]) == expected
        assert (await caller.get(ids[2])).json["error"]["message"] == "no luck"
        caller.simulator.complete(ids[0])
        assert (await caller.get(ids[0])).json["status"] == "completed"


@pytest.mark.anyio
async def test_clocks_may_be_wrong(running: Running) -> None:
    async with running() as caller:
        true = (await caller.submit()).json["created_at"]
        caller.simulator.add_fault(faults.clock_skew(created=-3600, completed=500))
        created = (await caller.submit()).json
        await anyio.sleep(10)
        done = (await caller.get(created["id"])).json
        assert (created["created_at"], done["created_at"]) == (true - 3600, true - 3600)
        assert done["completed_at"] == true + 510
