"""Which requests a fault hits, in which order, and what adds up."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import anyio
import pytest

from toapis_async.testing import (
    Delivery,
    Fault,
    Reply,
    Reschedule,
    Respond,
    Subject,
    Transform,
    Wait,
    faults,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from testing.conftest import Running

PATH = "/images/generations"


@pytest.mark.anyio
async def test_nth_times_kind_and_match_choose_the_requests(running: Running) -> None:
    async with running(faults=[faults.error(500, "x", kind="query", match="mine", nth=2, times=2)]) as caller:
        task_id = await caller.submit_id(client_business_id="mine")
        other = await caller.submit_id()
        asked = ["mine", other, task_id, other, "mine", "mine"]
        assert [(await caller.get(name)).status for name in asked] == [200, 200, 500, 200, 500, 200]


@pytest.mark.anyio
async def test_a_match_may_be_a_prompt_or_a_function(running: Running) -> None:
    def old(subject: Subject) -> bool:
        return subject.kind == "query" and (subject.age or 0) > 5

    scripted = [faults.error(500, "x", match="hen"), faults.error(502, "x", match=old, times=None)]
    async with running(faults=scripted) as caller:
        assert [(await caller.submit(prompt)).status for prompt in ("a fox", "a hen", "a hen")] == [200, 500, 200]
        task_id = caller.simulator.charges[0].task_id
        assert (await caller.get(task_id)).status == 200
        await anyio.sleep(6)
        assert (await caller.get(task_id)).status == 502


@pytest.mark.anyio
async def test_faults_are_asked_in_order_and_one_that_ends_a_request_hides_it_from_the_rest(running: Running) -> None:
    scripted = [faults.error(500, "x"), faults.error(502, "x", times=2), faults.delay(3, when="before", times=None)]
    async with running(faults=scripted) as caller:
        assert [(await caller.get("x")).status for _ in range(4)] == [500, 502, 502, 404]
        assert caller.simulator.now == 3
        assert [len(record.faults) for record in caller.simulator.requests] == [1, 1, 1, 1]


@pytest.mark.anyio
async def test_faults_that_do_not_end_a_request_add_up(running: Running) -> None:
    async with running() as caller:
        whole = (await caller.get("x")).body
        scripted = [faults.delay(1, when="before"), faults.delay(2, when="after"), faults.glue(b"!"), faults.glue(b"?")]
        for fault in scripted:
            caller.simulator.add_fault(fault)
        assert (await caller.get("x")).body == whole + b"!?"
        assert caller.simulator.now == 3
        assert caller.simulator.requests[-1].faults == tuple(scripted)


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"prompt": 5}', b"\xff"])
async def test_a_fault_that_looks_for_a_prompt_passes_bodies_without_one(running: Running, body: bytes) -> None:
    async with running(faults=[faults.error(500, "x", match="fox")]) as caller:
        assert (await caller.request("POST", PATH, data=body)).status == 400


@pytest.mark.anyio
async def test_a_delayed_request_counts_when_its_fault_begins_and_only_once(running: Running) -> None:
    async with running(faults=[faults.delay(7, when="before")]) as caller, asyncio.TaskGroup() as group:
        group.create_task(caller.submit())
        await caller.simulator.wait_for_requests("submit", 1)
        assert (caller.simulator.now, caller.simulator.charges) == (0, ())
        with anyio.move_on_after(20) as scope:
            await caller.simulator.wait_for_requests("submit", 2)
        assert scope.cancelled_caught
        assert len(caller.simulator.charges) == 1


@pytest.mark.anyio
async def test_probability_is_drawn_from_the_seed(running: Running) -> None:
    async def statuses(seed: int) -> list[int]:
        async with running(seed=seed, faults=[faults.error(500, "x", times=None, probability=0.3)]) as caller:
            return [(await caller.get("x")).status for _ in range(200)]

    first = await statuses(1)
    assert first == await statuses(1)
    assert first != await statuses(2)
    assert 30 < first.count(500) < 90


@pytest.mark.anyio
async def test_faults_can_be_added_and_cleared_while_it_runs(running: Running) -> None:
    async with running() as caller:
        caller.simulator.add_fault(faults.error(500, "x", times=None))
        assert (await caller.get("x")).status == 500
        caller.simulator.clear_faults()
        assert (await caller.get("x")).status == 404


@pytest.mark.parametrize(
    "make",
    [
        lambda: Fault(action=Transform(lambda reply: reply), when="before"),
        lambda: Fault(action=Reschedule(1), when="before", kind="submit"),
        lambda: Fault(action=Reschedule(1), when="after"),
        lambda: Fault(action=Wait(), when="before", nth=0),
        lambda: Fault(action=Wait(), when="before", times=0),
        lambda: Fault(action=Respond(Reply()), when="before", probability=0),
        lambda: Fault(action=Respond(Reply()), when="before", probability=math.nan),
        lambda: Wait(-1),
        lambda: Wait(math.nan),
        lambda: Reschedule(-1),
        lambda: faults.dribble(0),
        lambda: faults.dribble(1, -1),
        lambda: faults.cut(-1),
        lambda: Delivery(interval=1),
    ],
)
def test_impossible_faults_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        make()
