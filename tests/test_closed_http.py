"""An HTTP session that is closed under its users: no request can be sent any more, so every wait ends at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import aiohttp
import anyio
import pytest

from toapis_async import (
    ImageRequest,
    JobState,
    RateLimits,
    SubmissionUnknown,
    ToapisError,
    ToapisSession,
    TransportError,
    Unresolved,
)
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio


@pytest.fixture
async def http(anyio_backend: object) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as lent:
        yield lent


@pytest.fixture
async def session(sim: Simulator, http: aiohttp.ClientSession) -> AsyncIterator[ToapisSession]:
    async with ToapisSession(sim.api_key, base_url=sim.base_url, http=http) as opened:
        yield opened


async def test_a_batch_names_what_it_cannot_ask_for_and_sends_nothing_more(
    session: ToapisSession, http: aiohttp.ClientSession, sim: Simulator
) -> None:
    tasks = [await session.submit(ImageRequest(f"fox {number}")) for number in range(3)]
    sim.add_fault(faults.hang(when="before", kind="query"))
    with anyio.fail_after(60):
        async with session.open_batch() as batch:
            for task in tasks:
                batch.attach(task.id)
            await sim.wait_for_requests("query", 1)
            await http.close()
            outcomes = [outcome async for outcome in batch]
            late = batch.submit(ImageRequest("a late fox"))
            with pytest.raises(TransportError, match="is closed") as caught:
                await late.wait()
            with pytest.raises(TransportError, match="is closed"):
                await anext(batch)
    assert caught.value.closed
    assert late.state is JobState.QUEUED
    assert {outcome.task_id for outcome in outcomes} == {task.id for task in tasks}
    for outcome in outcomes:
        assert isinstance(outcome, Unresolved)
        assert f"session.wait({outcome.task_id!r})" in str(outcome.error)
    assert len(sim.charges) == 3


async def test_single_calls_raise_with_the_handle(
    session: ToapisSession, http: aiohttp.ClientSession, sim: Simulator
) -> None:
    task = await session.submit(ImageRequest("a red fox"))
    sim.add_fault(faults.hang(when="after", kind="submit"))
    async with anyio.create_task_group() as group:
        group.start_soon(raises, session.wait(task.id), TransportError, task.id)
        group.start_soon(
            raises, session.generate(ImageRequest("a blue fox", client_business_id="blue")), SubmissionUnknown, "blue"
        )
        await sim.wait_for_requests("submit", 2)
        await http.close()
    assert len(sim.charges) == 2


async def test_a_request_that_cannot_be_sent_fails_at_once(
    session: ToapisSession, http: aiohttp.ClientSession, sim: Simulator
) -> None:
    await http.close()
    await raises(session.submit(ImageRequest("a red fox")), TransportError, None)
    assert not sim.requests


async def raises(verb: Awaitable[object], kind: type[ToapisError], handle: str | None) -> None:
    with anyio.fail_after(30), pytest.raises(kind) as caught:
        await verb
    assert (caught.value.task_id or caught.value.client_business_id) == handle
    assert (handle is None) == ("session.wait(" not in str(caught.value))


async def test_nothing_is_sent_after_the_session_was_left_though_the_lent_one_stays_open(
    http: aiohttp.ClientSession, sim: Simulator
) -> None:
    slow = RateLimits(submit_per_second=0.5, submit_burst=1)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, http=http, limits=slow) as session:
        waiting = [asyncio.create_task(session.submit(ImageRequest("a fox"))) for _ in range(4)]
        batch = session.open_batch([ImageRequest("a late fox")])
        await anyio.sleep(1)
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ended[1:]] == [TransportError] * 3
    with pytest.raises(TransportError, match="is closed"):
        async with batch:
            await anext(batch)
    assert len(sim.charges) == 1


async def test_what_a_closed_session_ended_stays_on_the_list(sim: Simulator) -> None:
    async with ToapisSession(sim.api_key, base_url=sim.base_url) as session:
        waiting = asyncio.gather(*(session.generate(ImageRequest("a fox")) for _ in range(3)), return_exceptions=True)
        await sim.wait_for_requests("query", 3)
    errors = await waiting
    assert all(isinstance(error, TransportError) and error.closed for error in errors)
    assert {left.task_id for left in session.unfinished} == {charge.task_id for charge in sim.charges}
    assert len(session.unfinished) == 3
