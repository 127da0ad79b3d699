"""Consumers and producers: several of them, slow ones, ones that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import anyio
import pytest
from batch.common import drain, foxes

from toapis_async import (
    Batch,
    ImageRequest,
    ToapisSession,
)
from toapis_async.testing import Simulator

pytestmark = pytest.mark.anyio


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
