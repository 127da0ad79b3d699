"""Uploads inside a batch: a pool of their own, in which nothing is paid."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from toapis_async import (
    AuthenticationError,
    Completed,
    Failed,
    ImageRequest,
    InvalidRequestError,
    JobState,
    ServerError,
    ToapisSession,
)
from toapis_async._batch import intake
from toapis_async._files.references import Checked, check_request
from toapis_async.testing import Simulator, faults

from .common import CAT, kinds, open_session

pytestmark = pytest.mark.anyio


@pytest.fixture
def slow_check(monkeypatch: pytest.MonkeyPatch) -> SlowCheck:
    """Checks of files go on only when they are told to."""
    check = SlowCheck()
    monkeypatch.setattr(intake, "check_request", check)
    return check


class SlowCheck:
    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.go_on = threading.Event()
        self._loop_thread = threading.current_thread()

    def __call__(self, request: Any, **options: Any) -> Checked:
        if threading.current_thread() is not self._loop_thread:
            anyio.from_thread.run_sync(self.begun.set)
            assert self.go_on.wait(10)
        return check_request(request, **options)


def pictured(count: int) -> list[ImageRequest]:
    """Return requests each of which has a picture of its own."""
    return [ImageRequest(f"fox {n}", images=[CAT + n.to_bytes(2, "big")]) for n in range(count)]


async def test_pictures_go_up_only_when_their_requests_can_soon_be_sent(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(max_in_flight=2) as batch:
        for request in pictured(12):
            batch.submit(request)
        async for _ in batch:
            # In flight, in the queue, and on its way up for the slot that this end has freed.
            assert len(sim.uploads) <= len(sim.charges) + 4
    assert len(sim.uploads) == len(sim.charges) == 12


async def test_slow_uploads_do_not_hold_up_requests_without_pictures(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.hang(when="before", kind="upload", times=None))
    async with session.open_batch() as batch:
        for request in pictured(100):
            batch.submit(request)
        plain = [batch.submit(ImageRequest(f"whale {n}")) for n in range(50)]
        with anyio.fail_after(10):
            for job in plain:
                assert isinstance(await job.wait(), Completed)
        assert kinds(sim).count("upload") == 4
        assert batch.progress.queued == 100
    assert len(batch.unfinished) == 100
    assert {job.state for job in batch.unfinished} == {JobState.QUEUED}
    assert len(sim.charges) == 50


async def test_leaving_while_pictures_go_up_pays_nothing(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.hang(when="before", kind="upload", times=None))
    async with session.open_batch(pictured(3)) as batch:
        await sim.wait_for_requests("upload", 3)
    assert [job.state for job in batch.unfinished] == [JobState.QUEUED] * 3
    assert sim.charges == ()
    assert session.unfinished == ()


async def test_a_source_is_not_drained_while_pictures_go_up(session: ToapisSession, sim: Simulator) -> None:
    pulled = 0

    def source() -> Iterator[ImageRequest]:
        nonlocal pulled
        for request in pictured(100):
            pulled += 1
            yield request

    sim.add_fault(faults.hang(when="before", kind="upload", times=None))
    async with session.open_batch(source(), max_in_flight=10):
        await sim.wait_for_requests("upload", 4)
        await anyio.sleep(0.1)
        assert pulled == 10


async def test_a_failed_upload_is_the_outcome_of_its_job_alone(sim: Simulator) -> None:
    sim.add_fault(faults.error(400, "", "Unsupported image type", shape="success", kind="upload"))
    sim.add_fault(faults.error(500, "internal_error", kind="upload"))
    async with open_session(sim, attempts=1) as session:
        one_by_one = [await session.generate_many([request]) for request in pictured(3)]
    ((refused,), (broken,), (fine,)) = one_by_one
    assert isinstance(refused, Failed)
    assert isinstance(refused.error, InvalidRequestError)
    assert (refused.task_id, refused.error.client_business_id) == (None, None)
    assert isinstance(broken, Failed)
    assert isinstance(broken.error, ServerError)
    assert isinstance(fine, Completed)
    assert len(sim.charges) == 1


async def test_a_refused_key_closes_the_intake(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch() as batch:
        running = batch.submit(ImageRequest("a fox"))
        await sim.wait_for_requests("submit", 1)
        sim.add_fault(faults.error(401, "unauthorized", kind="upload", times=None))
        job, other = (batch.submit(request) for request in pictured(2))
        with pytest.raises(AuthenticationError):
            await other.wait()
        outcomes: list[str] = []
        with pytest.raises(AuthenticationError, match="Could not upload"):
            async for outcome in batch:
                outcomes.append(outcome.key)  # noqa: PERF401 - it ends with an error
        with pytest.raises(AuthenticationError):
            await job.wait()
    assert outcomes == [running.key]
    assert [left.state for left in batch.unfinished] == [JobState.QUEUED] * 2
    assert len(sim.charges) == 1


async def test_an_item_that_was_pulled_is_not_lost_when_the_batch_is_left_during_its_check(
    session: ToapisSession, cat: Path, slow_check: SlowCheck
) -> None:
    requests = [ImageRequest("a fox", images=[cat]), ImageRequest("a whale", images=[cat])]
    async with session.open_batch(requests) as batch:
        with anyio.fail_after(10):
            await slow_check.begun.wait()
        threading.Timer(0.05, slow_check.go_on.set).start()
    (job,) = batch.unfinished
    assert job.state is JobState.QUEUED
    assert job.request == requests[0]


async def test_an_item_that_is_checked_while_the_intake_closes_hears_why(
    session: ToapisSession, sim: Simulator, cat: Path, slow_check: SlowCheck
) -> None:
    sim.add_fault(faults.error(401, "unauthorized", kind="submit"))
    async with session.open_batch([ImageRequest("a fox", images=[cat])]) as batch:
        with anyio.fail_after(10):
            await slow_check.begun.wait()
            refused = batch.submit(ImageRequest("a whale"))
            with pytest.raises(AuthenticationError):
                await refused.wait()
            slow_check.go_on.set()
            with pytest.raises(AuthenticationError):
                async for _ in batch:
                    pass
            while len(batch.unfinished) < 2:
                await anyio.sleep(0.01)
            _, job = batch.unfinished
            with pytest.raises(AuthenticationError):
                await job.wait()
    assert sim.charges == ()


async def test_an_item_that_is_not_valid_is_a_failed_outcome(session: ToapisSession, tmp_path: Path) -> None:
    requests = [ImageRequest("a fox", images=[tmp_path / "gone.png"]), ImageRequest("a fox", images=[CAT])]
    first, second = await session.generate_many(requests)
    assert isinstance(first, Failed)
    assert "gone.png does not exist" in str(first.error)
    assert isinstance(second, Completed)
