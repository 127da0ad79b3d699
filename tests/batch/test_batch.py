"""The batch: every job ends once, whatever its consumers and producers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest

from toapis_async import (
    AuthenticationError,
    Backoff,
    Batch,
    BatchClosed,
    Completed,
    Failed,
    GenerationFailed,
    ImageRequest,
    InsufficientBalanceError,
    Job,
    JobState,
    NotFoundError,
    PollDeadlineExceeded,
    RateLimits,
    RequestValidationError,
    RetryPolicy,
    SubmissionUnknown,
    TimedOut,
    ToapisSession,
    Unresolved,
)
from toapis_async._batch.job import JobRecord
from toapis_async.testing import FAIL_MARKER, REJECT_MARKER, Fault, Simulator, faults

pytestmark = pytest.mark.anyio


def foxes(count: int) -> list[ImageRequest]:
    return [ImageRequest(f"fox {number}") for number in range(count)]


async def drain(batch: Batch) -> list[str]:
    return [outcome.key async for outcome in batch]


def accepted(sim: Simulator) -> set[str]:
    return {charge.task_id for charge in sim.charges}


# -- outcomes


async def test_every_request_has_one_outcome(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(foxes(60)) as batch:
        keys = await drain(batch)
    assert sorted(keys, key=int) == [str(number) for number in range(60)]
    assert len(sim.charges) == 60
    assert batch.unfinished == ()


async def test_an_empty_batch_ends_at_once(session: ToapisSession) -> None:
    async with session.open_batch() as batch:
        assert await drain(batch) == []
        assert await drain(batch) == []
    assert batch.progress.total == 0


async def test_outcomes_come_in_the_order_in_which_tasks_end(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.lasts(100, match="slow"))
    async with session.open_batch([ImageRequest("slow"), ImageRequest("quick")]) as batch:
        assert await drain(batch) == ["1", "0"]


async def test_each_kind_of_end_is_an_outcome_of_its_own(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="before", kind="submit", match="lost", times=None))
    sim.add_fault(faults.never_finishes(match="endless"))
    sim.add_fault(faults.urls_missing(float("inf"), match="empty"))
    requests = {
        "good": ImageRequest("good"),
        "fails": ImageRequest(f"x {FAIL_MARKER}"),
        "rejected": ImageRequest(f"x {REJECT_MARKER}"),
        "invalid": ImageRequest("x", n=3),
        "lost": ImageRequest("lost"),
        "endless": ImageRequest("endless"),
        "empty": ImageRequest("empty"),
    }
    async with session.open_batch(requests.items(), poll=Backoff(deadline=200)) as batch:
        outcomes = {outcome.key: outcome async for outcome in batch}
        progress = batch.progress
    kinds = {key: type(outcome).__name__ for key, outcome in outcomes.items()}
    assert kinds == {
        "good": "Completed",
        "fails": "Failed",
        "rejected": "Failed",
        "invalid": "Failed",
        "lost": "Unresolved",
        "endless": "TimedOut",
        "empty": "Unresolved",
    }
    assert (progress.completed, progress.failed, progress.timed_out, progress.unresolved) == (1, 3, 1, 2)
    assert progress.ended == progress.total == 7
    assert outcomes["good"].unwrap().images
    for key, error in (("fails", GenerationFailed), ("lost", SubmissionUnknown), ("endless", PollDeadlineExceeded)):
        with pytest.raises(error) as caught:
            outcomes[key].unwrap()
        assert caught.value.client_business_id == outcomes[key].client_business_id is not None
    assert outcomes["endless"].task_id in accepted(sim)
    assert outcomes["lost"].task_id is None


async def test_a_lost_answer_is_found_and_delivered_as_usual(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="after", kind="submit", times=None, probability=0.5))
    async with session.open_batch(foxes(40)) as batch:
        outcomes = [outcome async for outcome in batch]
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert len(sim.charges) == 40
    assert {outcome.task_id for outcome in outcomes} == accepted(sim)


async def test_attached_tasks_are_waited_for_and_cost_nothing(session: ToapisSession, sim: Simulator) -> None:
    tasks = [await session.submit(request) for request in foxes(5)]
    async with session.open_batch() as batch:
        for task in tasks:
            batch.attach(task.id, key=f"old-{task.id}")
        ghost = batch.attach("tsk_img_nobody")
        outcomes = {outcome.key: outcome async for outcome in batch}
    assert len(sim.charges) == 5
    assert all(isinstance(outcomes[f"old-{task.id}"], Completed) for task in tasks)
    assert isinstance(outcomes[ghost.key], Unresolved)
    with pytest.raises(NotFoundError):
        outcomes[ghost.key].unwrap()


# -- jobs and keys


async def test_submit_only_queues_and_returns_the_job(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch() as batch:
        job = batch.submit(ImageRequest("fox"), key="blue")
        assert (job.state, job.key, job.task_id, job.outcome) == (JobState.QUEUED, "blue", None, None)
        assert not sim.requests
        outcome = await job.wait()
        assert job.state is JobState.COMPLETED
        assert job.outcome is outcome
        assert [seen async for seen in batch] == [outcome]


async def test_submitting_inside_the_loop_goes_on(session: ToapisSession) -> None:
    async with session.open_batch(foxes(1)) as batch:
        seen: list[str] = []
        async for outcome in batch:
            seen.append(outcome.key)
            if len(seen) < 4:
                batch.submit(ImageRequest("again"))
    assert seen == ["0", "1", "2", "3"]


async def test_a_batch_can_be_iterated_again_after_its_end(session: ToapisSession) -> None:
    async with session.open_batch(foxes(2)) as batch:
        assert len(await drain(batch)) == 2
        batch.submit(ImageRequest("late"))
        assert await drain(batch) == ["2"]


async def test_bad_input_raises_at_once_from_submit(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch() as batch:
        batch.submit(ImageRequest("fox", client_business_id="order-1"), key="a")
        attempts: list[Callable[[], Job]] = [
            lambda: batch.submit(ImageRequest("")),
            lambda: batch.submit(ImageRequest("fox"), key="a"),
            lambda: batch.submit(ImageRequest("fox"), key=3),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            lambda: batch.submit(ImageRequest("fox", client_business_id="order-1")),
            lambda: batch.attach("..", key="b"),
            lambda: batch.attach("x", key="a"),
        ]
        for attempt in attempts:
            with pytest.raises(RequestValidationError):
                attempt()
        for source in (3, "fox", ImageRequest("fox")):
            with pytest.raises(TypeError, match="requests"):
                batch.feed(source)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert await drain(batch) == ["a"]
    assert len(sim.charges) == 1


async def test_bad_input_from_a_source_is_a_failed_outcome(session: ToapisSession, sim: Simulator) -> None:
    good = ImageRequest("fox", client_business_id="order-1")
    source: list[Any] = [("a", good), ("a", ImageRequest("x")), ("b", good), "a fox", ("c", "d", "e"), (4, good)]
    async with session.open_batch(source) as batch:
        outcomes = [outcome async for outcome in batch]
    assert sum(isinstance(outcome, Completed) for outcome in outcomes) == len(sim.charges) == 1
    assert sum(isinstance(outcome, Failed) for outcome in outcomes) == 5
    assert len({outcome.key for outcome in outcomes}) == 6


async def test_running_numbers_keep_clear_of_chosen_keys(session: ToapisSession) -> None:
    async with session.open_batch() as batch:
        batch.submit(ImageRequest("fox"), key="1")
        keys = [batch.submit(ImageRequest("fox")).key for _ in range(3)]
        assert keys == ["0", "2", "3"]
        await drain(batch)


@pytest.mark.parametrize("options", [{"max_in_flight": 0}, {"max_in_flight": True}, {"on_exit": "vanish"}])
async def test_impossible_options_are_refused(session: ToapisSession, options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        session.open_batch(**options)


async def test_a_batch_must_be_entered_first(session: ToapisSession) -> None:
    batch = session.open_batch(foxes(1))
    for use in (lambda: batch.submit(ImageRequest("fox")), lambda: batch.feed([]), lambda: batch.attach("x")):
        with pytest.raises(RuntimeError, match="Enter the batch first"):
            use()
    with pytest.raises(RuntimeError, match="Enter the batch first"):
        await anext(batch)


# -- leaving


def check_nothing_lost(batch: Batch, sim: Simulator, delivered: set[str | None]) -> None:
    """Every accepted task is delivered or unfinished, and none is both."""
    left = {job.task_id for job in batch.unfinished} - {None}
    assert delivered | left == accepted(sim)
    assert not delivered & left


async def test_break_loses_nothing(session: ToapisSession, sim: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    delivered: set[str | None] = set()
    async with session.open_batch(foxes(30), max_in_flight=10) as batch:
        async for outcome in batch:
            delivered.add(outcome.task_id)
            break
    check_nothing_lost(batch, sim, delivered)
    assert "Left a batch with" in caplog.text
    assert "session.wait" in caplog.text
    for job in batch.unfinished:
        assert (job.task_id in caplog.text) if job.task_id else (job.state is JobState.QUEUED)


async def test_an_exception_in_the_body_comes_out_as_it_is(session: ToapisSession, sim: Simulator) -> None:
    delivered: set[str | None] = set()
    batch = session.open_batch(foxes(30), max_in_flight=10)
    with pytest.raises(KeyError, match="mine") as caught:
        async with batch:
            async for outcome in batch:
                delivered.add(outcome.task_id)
                if len(delivered) == 3:
                    raise KeyError("mine") from ValueError("cause")
    assert isinstance(caught.value.__cause__, ValueError)
    check_nothing_lost(batch, sim, delivered)


@pytest.mark.parametrize("how", ["asyncio.timeout", "move_on_after", "cancel"])
async def test_cancellation_in_the_middle_loses_nothing(session: ToapisSession, sim: Simulator, how: str) -> None:
    delivered: set[str | None] = set()
    batch = session.open_batch(foxes(60), max_in_flight=20)

    async def run() -> None:
        async with batch:
            async for outcome in batch:
                delivered.add(outcome.task_id)

    if how == "asyncio.timeout":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await run()
    elif how == "move_on_after":
        with anyio.move_on_after(30) as scope:
            await run()
        assert scope.cancelled_caught
    else:
        task = asyncio.create_task(run())
        await sim.wait_for_requests("submit", 25)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    check_nothing_lost(batch, sim, delivered)
    assert batch.unfinished


async def test_leaving_while_requests_are_on_their_way_finishes_them(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.delay(10, when="after", kind="submit", times=None))
    async with session.open_batch(foxes(5)) as batch:
        await sim.wait_for_requests("submit", 5)
    assert len(batch.unfinished) == 5
    assert {job.task_id for job in batch.unfinished} == accepted(sim)
    assert {job.state for job in batch.unfinished} == {JobState.SUBMITTED}


async def test_leaving_stops_sending(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(foxes(100)) as batch:
        await sim.wait_for_requests("submit", 7)
    sent = len(sim.charges)
    assert sent < 40
    await anyio.sleep(100)
    assert len(sim.charges) == sent
    states = [job.state for job in batch.unfinished]
    assert states.count(JobState.SUBMITTED) == sent


async def test_ended_but_undelivered_jobs_are_unfinished(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(foxes(3)) as batch:
        jobs = batch.unfinished or ()
        await anyio.sleep(60)
        jobs = batch.unfinished
        assert await jobs[0].wait()
    assert len(jobs) == 3
    assert batch.unfinished == jobs[1:]
    assert all(job.outcome is not None for job in batch.unfinished)


async def test_after_leaving_nothing_more_goes_in_or_out(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.never_finishes(times=None))
    async with session.open_batch(foxes(1)) as batch:
        await sim.wait_for_requests("submit", 1)
        waiting = asyncio.create_task(batch.unfinished[0].wait())
        consumer = asyncio.create_task(anext(batch))
        await anyio.sleep(1)
    for task in (waiting, consumer):
        with pytest.raises(BatchClosed):
            await task
    with pytest.raises(BatchClosed) as caught:
        await batch.unfinished[0].wait()
    assert caught.value.task_id in accepted(sim)
    for use in (lambda: batch.submit(ImageRequest("fox")), lambda: batch.feed([]), lambda: batch.attach("x")):
        with pytest.raises(BatchClosed):
            use()
    with pytest.raises(BatchClosed):
        await anext(batch)


async def test_drain_finishes_what_was_sent_and_sends_no_more(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(foxes(100), on_exit="drain") as batch:
        await sim.wait_for_requests("submit", 7)
    ended = [job for job in batch.unfinished if job.outcome is not None]
    assert len(ended) == len(sim.charges) < 40
    assert {job.state for job in ended} == {JobState.COMPLETED}


async def test_drain_does_not_outlive_an_exception(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.never_finishes(times=None))
    started = anyio.current_time()
    with pytest.raises(KeyError):
        async with session.open_batch(foxes(3), on_exit="drain"):
            await sim.wait_for_requests("submit", 3)
            raise KeyError
    assert anyio.current_time() - started < 10


def own_tasks() -> set[Any]:
    """All tasks but those in which the simulator serves a connection."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task)}


async def test_drain_ends_when_a_request_on_its_way_is_refused(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.delay(1, when="before", kind="submit", times=None))
    sim.add_fault(faults.throttle(kind="submit", times=None))
    with anyio.fail_after(100):
        async with session.open_batch(foxes(1), on_exit="drain") as batch:
            await anyio.sleep(0.5)
    assert [job.state for job in batch.unfinished] == [JobState.QUEUED]


async def test_no_task_outlives_its_batch(session: ToapisSession) -> None:
    before = own_tasks()
    async with session.open_batch(foxes(10)) as batch:
        async for _ in batch:
            break
    assert own_tasks() == before


# -- consumers


async def test_two_consumers_share_the_outcomes(session: ToapisSession, sim: Simulator) -> None:
    taken: list[list[str]] = [[], []]

    async def consume(batch: Batch, mine: list[str]) -> None:
        async for outcome in batch:
            mine.append(outcome.key)
            await anyio.sleep(1)

    async with session.open_batch(foxes(50)) as batch, anyio.create_task_group() as group:
        for mine in taken:
            group.start_soon(consume, batch, mine)
    assert sorted(taken[0] + taken[1], key=int) == [str(number) for number in range(50)]
    assert taken[0]
    assert taken[1]
    assert not batch.unfinished


async def test_a_cancelled_consumer_loses_nothing(session: ToapisSession, sim: Simulator) -> None:
    delivered: list[str] = []
    async with session.open_batch(foxes(80)) as batch:
        while len(delivered) < 80:
            try:
                delivered.append((await asyncio.wait_for(anext(batch), 0.05)).key)
            except TimeoutError:
                continue
    assert sorted(delivered, key=int) == [str(number) for number in range(80)]


async def test_a_full_batch_does_not_starve_the_loop(session: ToapisSession) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with session.open_batch(foxes(50)) as batch:
        while batch.progress.ended < 50:
            await anyio.sleep(1)
        async with anyio.create_task_group() as group:
            group.start_soon(count)
            assert len(await drain(batch)) == 50
            group.cancel_scope.cancel()
    assert turns >= 50


# -- producers


async def test_hold_keeps_the_iteration_open(session: ToapisSession) -> None:
    async def produce(batch: Batch) -> None:
        with batch.hold():
            for number in range(3):
                await anyio.sleep(100)
                batch.submit(ImageRequest(f"fox {number}"))

    async with session.open_batch() as batch, anyio.create_task_group() as group:
        group.start_soon(produce, batch)
        await anyio.lowlevel.checkpoint()
        assert batch.progress.total is None
        assert len(await drain(batch)) == 3


async def test_a_source_is_never_drained_ahead(session: ToapisSession, sim: Simulator) -> None:
    pulled = 0

    def endless() -> Iterator[ImageRequest]:
        nonlocal pulled
        while True:
            pulled += 1
            yield ImageRequest("fox")

    async with session.open_batch(endless(), max_in_flight=7) as batch:
        taken = 0
        async for _ in batch:
            taken += 1
            assert pulled - taken <= 2 * 7
            if taken == 60:
                break


async def test_a_source_waits_while_nobody_takes_outcomes(session: ToapisSession, sim: Simulator) -> None:
    def endless() -> Iterator[ImageRequest]:
        while True:
            yield ImageRequest("fox")

    async with session.open_batch(endless(), max_in_flight=5) as batch:
        await anyio.sleep(10_000)
        assert len(sim.charges) <= 10
        assert batch.progress.total is None


async def test_max_in_flight_is_never_exceeded(session: ToapisSession, sim: Simulator) -> None:
    async with session.open_batch(foxes(40), max_in_flight=6) as batch:
        for request in foxes(10):
            batch.submit(request)
        async for _ in batch:
            assert batch.progress.running + batch.progress.posting <= 6
            assert len(sim.pending) <= 6
    assert len(sim.charges) == 50


async def test_several_sources_end_together(session: ToapisSession) -> None:
    async def produce() -> AsyncIterator[tuple[str, ImageRequest]]:
        for number in range(3):
            await anyio.sleep(50)
            yield f"slow-{number}", ImageRequest("fox")

    async with session.open_batch(foxes(4)) as batch:
        batch.feed(produce())
        batch.feed(iter(foxes(2)))
        assert len(await drain(batch)) == 9


async def test_an_async_generator_is_closed_when_the_batch_is_left(session: ToapisSession) -> None:
    closed = anyio.Event()

    async def produce() -> AsyncIterator[ImageRequest]:
        try:
            while True:
                yield ImageRequest("fox")
        finally:
            await anyio.sleep(1)
            closed.set()

    async with session.open_batch(produce(), max_in_flight=2) as batch:
        async for _ in batch:
            break
    assert closed.is_set()


async def test_a_source_that_fails_while_it_is_closed_is_only_logged(
    session: ToapisSession, caplog: pytest.LogCaptureFixture
) -> None:
    async def produce() -> AsyncIterator[ImageRequest]:
        try:
            while True:
                yield ImageRequest("fox")
        finally:
            raise OSError("while closing")

    async with session.open_batch(produce(), max_in_flight=2) as batch:
        async for _ in batch:
            break
    assert "while closing" in caplog.text


# -- closed intake


@pytest.mark.parametrize(
    "refusal", [(401, "unauthorized"), (402, "insufficient_quota"), (403, "x"), (200, "insufficient_quota")], ids=str
)
async def test_a_refusal_of_everything_closes_the_intake(
    session: ToapisSession, sim: Simulator, refusal: tuple[int, str]
) -> None:
    sim.add_fault(faults.error(*refusal, kind="submit", nth=4, times=None))
    delivered: set[str | None] = set()
    batch = session.open_batch(foxes(50))
    with pytest.raises(Exception, match="simulated") as caught:
        async with batch:
            async for outcome in batch:
                delivered.add(outcome.task_id)
    assert type(caught.value).__name__ in {
        "AuthenticationError", "InsufficientBalanceError", "PermissionDeniedError",
    }  # fmt: skip
    assert delivered == accepted(sim)
    assert len(delivered) == 3
    assert {job.state for job in batch.unfinished} == {JobState.QUEUED}
    for job in batch.unfinished:
        with pytest.raises(type(caught.value)):
            await job.wait()


async def test_refusals_that_arrive_together_close_it_once(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.delay(1, when="before", kind="submit", times=None))
    sim.add_fault(faults.error(401, "unauthorized", kind="submit", times=None))
    batch = session.open_batch(foxes(30))
    with anyio.fail_after(600), pytest.raises(AuthenticationError):
        async with batch:
            await drain(batch)
    assert len(batch.unfinished) == 30
    assert {job.state for job in batch.unfinished} == {JobState.QUEUED}


async def test_every_consumer_and_the_scope_learn_of_a_closed_intake(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(402, "insufficient_quota", kind="submit", nth=4, times=None))
    async with session.open_batch(foxes(50)) as batch:
        consumers = [asyncio.create_task(drain(batch)) for _ in range(2)]
        await asyncio.wait(consumers)
        for consumer in consumers:
            assert isinstance(consumer.exception(), InsufficientBalanceError)
        with pytest.raises(BatchClosed, match="sends nothing more") as caught:
            batch.submit(ImageRequest("fox"))
        assert isinstance(caught.value.__cause__, InsufficientBalanceError)
    with pytest.raises(InsufficientBalanceError):
        async with session.open_batch(foxes(50)) as batch:
            await anyio.sleep(60)


async def test_a_source_that_raises_closes_the_intake_with_its_error(session: ToapisSession, sim: Simulator) -> None:
    def broken() -> Iterator[ImageRequest]:
        yield from foxes(3)
        raise OSError("the disk is gone")

    delivered: set[str | None] = set()
    batch = session.open_batch(broken())
    with pytest.raises(OSError, match="the disk is gone"):
        async with batch:
            async for outcome in batch:
                delivered.add(outcome.task_id)
    assert delivered == accepted(sim)
    assert {job.state for job in batch.unfinished} <= {JobState.QUEUED}


async def test_a_source_that_is_cancelled_from_inside_closes_the_intake(session: ToapisSession) -> None:
    async def source() -> AsyncIterator[ImageRequest]:
        for request in foxes(3):
            yield request
        helper = asyncio.create_task(anyio.sleep(100))
        helper.cancel()
        await helper

    with anyio.fail_after(1000), pytest.raises(RuntimeError, match="cancelled from inside"):
        async with session.open_batch(source()) as batch:
            await drain(batch)


async def test_a_quiet_source_that_is_cancelled_from_inside_is_not_taken_for_ended(session: ToapisSession) -> None:
    async def source() -> AsyncIterator[ImageRequest]:
        for number, request in enumerate(foxes(10)):
            await anyio.sleep(100)
            if number == 3:
                raise asyncio.CancelledError
            yield request

    delivered: list[str] = []
    with anyio.fail_after(10_000), pytest.raises(RuntimeError, match="cancelled from inside"):
        async with session.open_batch(source()) as batch:
            async for outcome in batch:
                delivered.append(outcome.key)  # noqa: PERF401 - what came before the error counts
    assert delivered == ["0", "1", "2"]


@pytest.mark.parametrize("worker", ["_look_forever", "_send_forever"])
async def test_a_worker_that_is_killed_is_told(session: ToapisSession, worker: str) -> None:
    batch = session.open_batch(foxes(3))
    with anyio.fail_after(1000), pytest.raises(RuntimeError, match="cancelled from outside"):
        async with batch:
            await anyio.sleep(1)
            next(task for task in asyncio.all_tasks() if worker in repr(task)).cancel()
            await drain(batch)
            await anyio.sleep(100)


@pytest.mark.parametrize("steps", range(8))
async def test_a_batch_that_is_being_drained_takes_nothing_more(
    session: ToapisSession, sim: Simulator, steps: int
) -> None:
    taken: list[str] = []

    async def late(batch: Batch, leaving: anyio.Event) -> None:
        await leaving.wait()
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        for take in (lambda: batch.feed(foxes(3)), lambda: batch.submit(ImageRequest("fox"))):
            try:
                take()
            except BatchClosed:
                continue
            taken.append("taken")

    leaving = anyio.Event()
    with anyio.fail_after(1000):
        async with anyio.create_task_group() as group, session.open_batch(foxes(1), on_exit="drain") as batch:
            group.start_soon(late, batch, leaving)
            await sim.wait_for_requests("submit", 1)
            leaving.set()
    assert len(taken) == 2 if steps == 0 and taken else not taken


async def test_a_batch_is_entered_once_even_by_two_at_once(session: ToapisSession) -> None:
    batch = session.open_batch(foxes(2))

    async def use() -> int:
        async with batch:
            return len(await drain(batch))

    first, second = await asyncio.gather(use(), use(), return_exceptions=True)
    assert first == 2
    assert isinstance(second, RuntimeError)


async def test_a_source_whose_length_raises_is_told(session: ToapisSession) -> None:
    class Odd(list[ImageRequest]):
        def __len__(self) -> int:
            raise OSError("no length")

    batch = session.open_batch(Odd())
    with pytest.raises(OSError, match="no length"):
        async with batch:
            pytest.fail("never entered")
    with pytest.raises(BatchClosed):
        batch.submit(ImageRequest("fox"))


async def test_a_page_of_a_gateway_does_not_close_the_intake(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.gateway_page(403, when="before", kind="submit"))
    async with session.open_batch(foxes(4)) as batch:
        outcomes = [outcome async for outcome in batch]
    assert sum(isinstance(outcome, Failed) for outcome in outcomes) == 1
    assert len(sim.charges) == 3


async def test_one_request_that_the_key_may_not_make_fails_alone(session: ToapisSession, sim: Simulator) -> None:
    sim.add_fault(faults.error(403, "modelNotAllowed", kind="submit", nth=2))
    async with session.open_batch(foxes(4)) as batch:
        outcomes = [outcome async for outcome in batch]
    assert sum(isinstance(outcome, Failed) for outcome in outcomes) == 1
    assert len(sim.charges) == 3


# -- the rest


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

    monkeypatch.setattr("toapis_async._batch.stages.ask", broken)
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
