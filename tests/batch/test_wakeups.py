"""Whoever waits in a batch is woken by the one event that lets it go on, also when nothing else happens."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import anyio
import pytest

from toapis_async import (
    Backoff,
    Batch,
    Completed,
    ContentRejectedError,
    ImageRequest,
    RateLimits,
    RequestValidationError,
    RetryPolicy,
    ToapisSession,
)
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio


def foxes(count: int) -> list[ImageRequest]:
    return [ImageRequest(f"fox {number}") for number in range(count)]


async def drain(batch: Batch) -> int:
    with anyio.fail_after(10_000):
        return len([outcome async for outcome in batch])


async def test_a_feeder_goes_on_when_outcomes_are_taken(session: ToapisSession) -> None:
    async with session.open_batch(foxes(30), max_in_flight=3) as batch:
        await anyio.sleep(1000)
        assert batch.progress.ended <= 6
        assert await drain(batch) == 30


async def test_a_feeder_goes_on_when_a_job_ends(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(foxes(30), max_in_flight=4):
        await anyio.sleep(1000)
        assert len(sim.charges) > 4


async def test_a_feeder_goes_on_when_another_one_ends(session: ToapisSession) -> None:
    async def nothing() -> AsyncIterator[ImageRequest]:
        await anyio.sleep(10)
        for request in foxes(0):
            yield request

    async with session.open_batch(nothing(), max_in_flight=1) as batch:
        await anyio.sleep(1)
        batch.feed(foxes(1))
        assert await drain(batch) == 1


async def test_feeders_together_pull_no_more_than_there_is_room_for(session: ToapisSession) -> None:
    pulled = 0

    async def slow() -> AsyncIterator[ImageRequest]:
        nonlocal pulled
        while True:
            await anyio.sleep(1)
            pulled += 1
            yield ImageRequest("fox")

    async with session.open_batch(slow(), max_in_flight=1) as batch:
        batch.feed(slow())
        batch.feed(slow())
        await anyio.sleep(10)
        assert pulled == 1


async def test_queued_jobs_are_sent_as_others_end(session: ToapisSession) -> None:
    async with session.open_batch(max_in_flight=2) as batch:
        for request in foxes(7):
            batch.submit(request)
        assert await drain(batch) == 7


async def test_a_refused_job_is_sent_again_though_it_is_the_only_one(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.throttle(3, kind="submit", times=2))
    async with session.open_batch() as batch:
        batch.submit(ImageRequest("fox"))
        assert await drain(batch) == 1


async def test_the_last_hold_that_is_let_go_ends_the_iteration(session: ToapisSession) -> None:
    async def let_go(batch: Batch, held: anyio.Event) -> None:
        with batch.hold():
            held.set()
            await anyio.sleep(10)

    async with session.open_batch() as batch, anyio.create_task_group() as group:
        held = anyio.Event()
        group.start_soon(let_go, batch, held)
        await held.wait()
        assert await drain(batch) == 0


async def test_a_source_that_will_not_close_is_left_behind(session: ToapisSession) -> None:
    async def stubborn() -> AsyncIterator[ImageRequest]:
        try:
            while True:
                yield ImageRequest("fox")
        finally:
            await anyio.sleep(math.inf)

    async with session.open_batch(stubborn(), max_in_flight=2) as batch:
        async for _ in batch:
            break
        left_at = anyio.current_time()
    assert anyio.current_time() - left_at == pytest.approx(5, abs=1)


async def test_the_total_of_a_sized_source_is_known_from_the_start(session: ToapisSession) -> None:
    async with session.open_batch(foxes(9), max_in_flight=2) as batch:
        await anyio.sleep(1)
        totals = [batch.progress.total]
        async for _ in batch:
            totals.append(batch.progress.total)  # noqa: PERF401 - one look after each outcome
    assert set(totals) == {9}


async def test_a_job_that_others_overtake_is_not_given_up(sim: Simulator) -> None:
    sim.add_fault(faults.throttle(1, kind="submit", match=lambda subject: subject.model == "grok-4-2-image", times=2))
    limits = RateLimits(submit_per_second=2, submit_burst=1)
    retry = RetryPolicy(max_throttle=20)
    session = ToapisSession(sim.api_key, base_url=sim.base_url, limits=limits, retry=retry)
    async with session:  # noqa: SIM117 - the batch needs the open session
        async with session.open_batch() as batch:
            batch.submit(ImageRequest("fox", model="grok-4-2-image"), key="busy")
            for request in foxes(60):
                batch.submit(request)
            outcomes = {outcome.key: outcome async for outcome in batch}
    assert isinstance(outcomes["busy"], Completed)


async def test_ids_that_were_not_used_after_all_are_free_again(session: ToapisSession, sim: Simulator) -> None:
    mine = ImageRequest("fox", client_business_id="order-7")
    sim.add_fault(faults.error(422, "content_policy_violation", kind="submit"))
    async with session.open_batch([mine]) as batch:
        async for outcome in batch:
            with pytest.raises(ContentRejectedError):
                outcome.unwrap()
        batch.submit(mine)  # a rejected request does not use its id up
    async with session.open_batch() as batch:  # nor does one that was never sent
        job = batch.submit(mine)
        assert isinstance(await job.wait(), Completed)
        with pytest.raises(RequestValidationError):
            batch.submit(mine)
        batch.attach(job.task_id or "", key="old")
        with pytest.raises(RequestValidationError, match="'old' was used"):
            batch.attach(job.task_id or "", key="old")


@pytest.mark.parametrize("kind", ["submit", "query"])
async def test_an_answer_ends_the_doubling_of_pauses(session: ToapisSession, sim: Simulator, kind: str) -> None:
    async def ask() -> None:
        await session.submit(ImageRequest("fox"))
        if kind == "query":
            await session.wait(sim.charges[-1].task_id, poll=Backoff())

    for _ in range(3):
        sim.add_fault(faults.throttle(None, kind=kind))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        await ask()
    refused = [record.at for record in sim.requests if record.status == 429]
    following = [min(r.at for r in sim.requests if r.kind == kind and r.at > moment) for moment in refused]
    assert len(refused) == 3
    assert max(after - before for before, after in zip(refused, following, strict=True)) < 3.9
