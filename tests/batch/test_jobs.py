"""Jobs, their keys, and waiting for one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from batch.common import drain, foxes

from toapis_async import (
    Completed,
    Failed,
    ImageRequest,
    Job,
    JobState,
    RequestValidationError,
    ToapisSession,
)
from toapis_async.testing import Simulator

pytestmark = pytest.mark.anyio


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
