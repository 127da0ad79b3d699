"""Limits, storms and odd events of a whole batch."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import anyio
import pytest
from batch.common import drain, foxes

from toapis_async import (
    Backoff,
    Completed,
    Failed,
    ImageRequest,
    RateLimits,
    RequestValidationError,
    RetryPolicy,
    TimedOut,
    ToapisSession,
)
from toapis_async._batch.job import JobRecord
from toapis_async.testing import Fault, Simulator, faults

pytestmark = pytest.mark.anyio


async def test_a_result_that_comes_at_once_is_delivered_at_once(session: ToapisSession, sim: Simulator) -> None:
    def inline(body: dict[str, object]) -> object:
        return {"result": {"type": "image", "data": [{"url": "https://a/b.png"}]}, "created_at": body["created_at"]}

    sim.add_fault(faults.edit_json(inline, kind="submit", times=None))
    (outcome,) = await session.generate_many(foxes(1))
    assert outcome.unwrap().images[0].url == "https://a/b.png"
    assert outcome.task_id == outcome.client_business_id == sim.charges[0].client_business_id
    assert (await session.generate(ImageRequest("fox"))).images
    assert {record.kind for record in sim.requests} == {"submit"}


async def test_a_fault_of_ours_comes_out_as_it_is(session: ToapisSession, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("toapis_async._batch.lookers.ask", broken)
    batch = session.open_batch(foxes(3))
    with pytest.raises(KeyError, match="ours"):
        async with batch:
            await drain(batch)
    assert len(batch.unfinished) == 3
    with pytest.raises(ExceptionGroup) as caught:
        async with session.open_batch() as other:
            other.attach("tsk_img_nobody")
            try:
                await anyio.sleep(100)
            finally:
                raise OSError("mine")
    assert [type(error) for error in caught.value.exceptions] == [OSError, KeyError]


async def test_resubmission_works_in_a_batch_too(sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="before", kind="submit", times=3))
    retry = RetryPolicy(resubmit_unknown=True, lookup_window=20)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry) as session:
        outcomes = await session.generate_many(foxes(6))
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert len(sim.charges) == 6
    assert len({charge.client_business_id for charge in sim.charges}) == 6


@pytest.mark.parametrize(
    "fault",
    [
        faults.throttle(290, kind="query", times=None),
        faults.throttle(290, kind="query"),
        faults.hang(when="before", kind="query", times=None),
        None,
    ],
    ids=["pauses", "pause", "hanging", "backlog"],
)
async def test_nothing_delays_a_deadline(session: ToapisSession, sim: Simulator, fault: Fault | None) -> None:
    count = 1000 if fault is None else 200
    sim.add_fault(faults.never_finishes(times=None))
    ids = [(await session.submit(ImageRequest("fox"))).id for _ in range(3)]
    if fault is not None:
        sim.add_fault(fault)
    started = anyio.current_time()
    async with session.open_batch(poll=Backoff(deadline=20)) as batch:
        for number in range(count):
            batch.attach(ids[number % 3])
        outcomes = [outcome async for outcome in batch]
    assert all(isinstance(outcome, TimedOut) for outcome in outcomes)
    assert anyio.current_time() - started <= 20 + 5


async def test_one_busy_model_does_not_hold_up_the_others(sim: Simulator) -> None:
    sim.add_fault(faults.throttle(1, kind="submit", match=lambda subject: subject.model == "busy", times=None))
    retry = RetryPolicy(max_throttle=600)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry) as session:
        started = anyio.current_time()
        async with session.open_batch() as batch:
            for _ in range(100):
                batch.submit(ImageRequest("fox", model="busy"))
            last = [batch.submit(request) for request in foxes(3)]
            for job in last:
                assert isinstance(await job.wait(), Completed | Failed)
            assert anyio.current_time() - started < 600
            refused = [outcome async for outcome in batch if outcome.key not in {job.key for job in last}]
    assert len(refused) == 100
    assert {type(outcome.error).__name__ for outcome in refused if isinstance(outcome, Failed)} == {"RateLimitedError"}


async def test_the_documented_limits_hold_at_default_settings() -> None:
    async with (
        Simulator(limits="default", durations=15.0) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url) as session,
    ):
        async with session.open_batch(foxes(700), max_in_flight=700) as batch:
            keys = await drain(batch)
        assert len(keys) == 700
        assert {record.status for record in sim.requests} == {200}
        assert windows(sim, "submit", 10) <= 50
        assert windows(sim, "submit", 60) <= 300
        assert windows(sim, "query", 10) <= 500
        assert windows(sim, "query", 60) <= 3000


async def test_a_link_with_slow_answers_leaves_nothing_of_the_budget_unused() -> None:
    async with Simulator(limits="vip", durations=1e6) as sim:
        limits = RateLimits.for_group("vip")
        every_second = Backoff(initial=1, factor=1, maximum=1, jitter=0, deadline=8)
        async with ToapisSession(sim.api_key, base_url=sim.base_url, limits=limits, poll=every_second) as session:
            task = await session.submit(ImageRequest("fox"))
            sim.add_fault(faults.delay(0.35, when="after", kind="query", times=None))
            async with session.open_batch() as batch:
                for _ in range(300):
                    batch.attach(task.id)
                await drain(batch)
        assert {record.status for record in sim.requests} == {200}
        asked = sum(record.kind == "query" for record in sim.requests)
        assert asked >= 0.95 * 8 * limits.query_per_second


def windows(sim: Simulator, kind: str, seconds: float) -> int:
    times = sorted(record.at for record in sim.requests if record.kind == kind)
    return max(sum(start <= time <= start + seconds for time in times) for start in times)


async def test_a_storm_of_refusals_passes_and_everybody_finishes() -> None:
    limits = RateLimits(submit_per_second=50, submit_burst=100, query_per_second=500, query_burst=500)
    async with (
        Simulator(limits="default", durations=15.0) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url, limits=limits) as session,
    ):
        outcomes = await session.generate_many(foxes(300))
        assert all(isinstance(outcome, Completed) for outcome in outcomes)
        assert len(sim.charges) == 300
        assert any(record.status == 429 for record in sim.requests)


def test_a_job_shows_itself() -> None:
    job = JobRecord("blue", 0, on_received=lambda _: None, task_id="tsk_1")
    assert repr(job) == "<Job 'blue' queued task_id='tsk_1'>"


async def test_the_alarm_of_a_batch_that_was_left_does_not_keep_it(session: ToapisSession) -> None:
    task = await session.submit(ImageRequest("a red fox"))
    async with session.open_batch() as batch:
        batch.attach(task.id)
        await anyio.sleep(1)
    kept = weakref.ref(batch._stages)  # pyright: ignore[reportPrivateUsage]
    del batch
    gc.collect()
    assert kept() is None


async def test_a_running_number_that_was_used_is_no_key_for_another(session: ToapisSession) -> None:
    async with session.open_batch() as batch:
        assert [batch.submit(ImageRequest("fox")).key for _ in range(3)] == ["0", "1", "2"]
        with pytest.raises(RequestValidationError, match="'1' was used before"):
            batch.submit(ImageRequest("fox"), key="1")
        for key in ("01", "4", "\u0663", "9" * 5000):
            assert batch.submit(ImageRequest("fox"), key=key).key == key
        assert [batch.submit(ImageRequest("fox")).key for _ in range(2)] == ["3", "5"]
