"""The verbs of a session for one task."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import anyio
import pytest

from toapis_async import (
    AuthenticationError,
    Backoff,
    ContentRejectedError,
    GenerationFailed,
    ImageRequest,
    NotFoundError,
    PollDeadlineExceeded,
    RequestValidationError,
    ResultMissingError,
    ServerError,
    TaskStatus,
    ToapisError,
    ToapisSession,
)
from toapis_async._protocol.endpoints import interpret_query
from toapis_async._protocol.messages import HttpResponse
from toapis_async._submission import Submission
from toapis_async._watch import Watch
from toapis_async.testing import FAIL_MARKER, Simulator, faults

pytestmark = pytest.mark.anyio


FOX = ImageRequest("a red fox")


def queries(sim: Simulator) -> int:
    return sum(record.kind == "query" for record in sim.requests)


async def test_generate_returns_the_pictures(session: ToapisSession, sim: Simulator) -> None:
    task = await session.generate(ImageRequest("a red fox", n=2))
    assert task.status is TaskStatus.COMPLETED
    assert len(task.images) == 2
    assert task.billing is not None
    assert len(sim.charges) == 1
    assert not session.unfinished


async def test_generate_raises_when_the_service_gives_up(session: ToapisSession) -> None:
    with pytest.raises(GenerationFailed) as caught:
        await session.generate(ImageRequest(f"a fox {FAIL_MARKER}"))
    assert caught.value.task.status is TaskStatus.FAILED
    assert caught.value.task_id == caught.value.task.id
    assert caught.value.client_business_id is not None
    assert caught.value.model == "grok-4-1-image"
    assert not session.unfinished


async def test_an_invalid_request_raises_before_anything_is_sent(session: ToapisSession, sim: Simulator) -> None:
    with pytest.raises(RequestValidationError):
        await session.generate(ImageRequest("fox", n=3))
    assert not sim.requests


async def test_the_deadline_of_a_wait_leaves_a_handle(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.never_finishes())
    started = anyio.current_time()
    with pytest.raises(PollDeadlineExceeded) as caught:
        await session.generate(FOX, poll=Backoff(deadline=90))
    assert anyio.current_time() - started == pytest.approx(90, abs=3)
    assert caught.value.task_id == sim.charges[0].task_id
    assert caught.value.task is not None
    assert caught.value.task.status is TaskStatus.IN_PROGRESS
    assert caught.value.client_business_id == sim.charges[0].client_business_id


@pytest.mark.parametrize(
    "fault",
    [
        faults.error(429, "x", headers={"Retry-After": "250"}, kind="query", times=None),
        faults.hang(when="before", kind="query", times=None),
        faults.drop(when="before", kind="query", times=None),
    ],
    ids=["paused", "hanging", "reset"],
)
async def test_the_deadline_holds_whatever_the_service_does(session: ToapisSession, sim: Simulator, fault: Any) -> None:
    sim.add_fault(fault)
    started = anyio.current_time()
    with pytest.raises(PollDeadlineExceeded):
        await session.generate(FOX, poll=Backoff(deadline=60))
    assert 60 <= anyio.current_time() - started <= 63


@pytest.mark.parametrize(
    "fault",
    [
        faults.error(429, "x", kind="query", times=3),
        faults.error(500, "internal_error", kind="query", times=3),
        faults.error(402, "insufficient_quota", kind="query", times=3),
        faults.error(401, "unauthorized", kind="query", times=2),
        faults.gateway_page(504, when="before", kind="query", times=3),
        faults.panic(200, when="before", kind="query", times=3),
        faults.glue(kind="query", times=None),
        faults.truncate(kind="query", times=3),
        faults.drop(when="before", kind="query", times=3),
        faults.hang(when="before", kind="query", times=2),
        faults.content_type("text/plain", kind="query", times=None),
        faults.gzip(kind="query", times=None),
        faults.redirect("http://127.0.0.1:9/", kind="query", times=3),
        faults.error(404, "task_not_found", kind="query", times=2),
        faults.respell({"in_progress": "reticulating"}, kind="query", times=None),
    ],
    ids=lambda fault: repr(fault.action)[:30],
)
async def test_no_failed_look_ends_a_wait(session: ToapisSession, sim: Simulator, fault: Any) -> None:
    sim.add_fault(fault)
    task = await session.generate(FOX)
    assert task.status is TaskStatus.COMPLETED
    assert len(sim.charges) == 1


async def test_a_picture_that_is_late_is_waited_for(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.urls_missing(40))
    started = anyio.current_time()
    task = await session.generate(FOX)
    assert task.images
    assert anyio.current_time() - started >= 60


async def test_a_picture_that_never_comes_is_an_error_of_its_own(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.urls_missing(float("inf")))
    with pytest.raises(ResultMissingError) as caught:
        await session.generate(FOX)
    assert caught.value.task is not None
    assert caught.value.task.raw["status"] == "completed"


async def test_submit_and_wait_are_the_two_halves_of_generate(session: ToapisSession, sim: Simulator) -> None:
    first = await session.submit(FOX)
    assert first.status is TaskStatus.QUEUED
    assert not session.unfinished
    by_id = await session.wait(first.id)
    assert first.client_business_id is not None
    by_own_id = await session.wait(first.client_business_id)
    assert by_id.id == by_own_id.id == first.id
    assert len(sim.charges) == 1


async def test_an_unknown_id_is_told_at_once(session: ToapisSession) -> None:
    started = anyio.current_time()
    for verb in (session.wait, session.get):
        with pytest.raises(NotFoundError) as caught:
            await verb("tsk_img_nobody")
        assert caught.value.task_id == "tsk_img_nobody"
    assert anyio.current_time() - started < 1


async def test_get_returns_a_failed_task_as_a_value(session: ToapisSession) -> None:
    task = await session.submit(ImageRequest(f"a fox {FAIL_MARKER}"))
    await anyio.sleep(30)
    seen = await session.get(task.id)
    assert seen.status is TaskStatus.FAILED
    assert seen.error is not None
    assert seen.error.code == "generation_failed"


async def test_get_asks_once(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(500, "internal_error", kind="query"))
    with pytest.raises(ServerError):
        await session.get("tsk_img_nobody")
    assert queries(sim) == 1


async def test_a_wait_with_a_refused_key_ends_soon(session: ToapisSession, sim: Simulator) -> None:
    task = await session.submit(FOX)
    sim.add_fault(faults.error(401, "unauthorized", kind="query", times=None))
    started = anyio.current_time()
    with pytest.raises(AuthenticationError) as caught:
        await session.wait(task.id)
    assert 10 <= anyio.current_time() - started <= 30
    assert caught.value.task_id == task.id


async def test_pages_of_a_gateway_do_not_count_as_a_refused_key(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.gateway_page(403, when="before", kind="query", times=12))
    assert (await session.generate(FOX)).status is TaskStatus.COMPLETED


async def test_a_failed_look_keeps_nothing_of_its_answer(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.gateway_page(502, when="before", kind="query", times=None))
    before = alive(HttpResponse)
    task = asyncio.create_task(session.generate(FOX))
    await sim.wait_for_requests("query", 3)
    await anyio.sleep(0.1)
    assert alive(HttpResponse) == before
    task.cancel()
    await asyncio.wait([task])


async def test_failed_calls_leave_no_cycles(session: ToapisSession, sim: Simulator) -> None:
    async def fail() -> None:
        sim.add_fault(faults.error(422, "content_policy_violation", kind="submit"))
        with contextlib.suppress(ContentRejectedError):
            await session.generate(FOX)
        with contextlib.suppress(GenerationFailed):
            await session.generate(ImageRequest(f"a fox {FAIL_MARKER}"))
        with contextlib.suppress(NotFoundError):
            await session.wait("tsk_img_nobody")

    await fail()
    before = alive(ToapisError, Submission, Watch)
    gc.disable()
    try:
        await fail()
        assert (
            len([thing for thing in gc.get_objects() if isinstance(thing, ToapisError | Submission | Watch)]) == before
        )
    finally:
        gc.enable()


def alive(*kinds: type) -> int:
    gc.collect()
    return sum(isinstance(thing, kinds) for thing in gc.get_objects())


async def test_a_fault_of_ours_in_reading_ends_no_wait(
    session: ToapisSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = iter([True, True])

    def read(*args: Any, **kwargs: Any) -> Any:
        if next(faulty, False):
            raise KeyError("ours")
        return interpret_query(*args, **kwargs)

    monkeypatch.setattr("toapis_async._http.dispatch.interpret_query", read)
    assert (await session.generate(FOX)).status is TaskStatus.COMPLETED
    assert "Could not read the answer" in caplog.text


async def test_watch_shows_each_visible_change_once(session: ToapisSession) -> None:
    task = await session.submit(FOX)
    shown = [snapshot async for snapshot in session.watch(task.id)]
    states = [(snapshot.raw_status, snapshot.progress) for snapshot in shown]
    assert states == list(dict.fromkeys(states))
    assert shown[0].status in {TaskStatus.QUEUED, TaskStatus.IN_PROGRESS}
    assert shown[-1].status is TaskStatus.COMPLETED
    assert len(shown) >= 3 or states[0][0] == "in_progress"


async def test_watch_ends_with_a_failed_snapshot_and_raises_what_wait_raises(
    session: ToapisSession, sim: Simulator
) -> None:
    task = await session.submit(ImageRequest(f"a fox {FAIL_MARKER}"))
    shown = [snapshot async for snapshot in session.watch(task.id)]
    assert shown[-1].status is TaskStatus.FAILED
    with pytest.raises(NotFoundError):
        async for _ in session.watch("tsk_img_nobody"):
            pytest.fail("there is nothing to show")


async def test_breaking_out_of_watch_leaves_nothing(session: ToapisSession) -> None:
    task = await session.submit(FOX)
    async for _ in session.watch(task.id):
        break
    assert not [left for left in asyncio.all_tasks() if "toapis_async" in repr(left) and "testing" not in repr(left)]
