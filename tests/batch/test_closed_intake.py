"""A closed intake tells the reason that closed it, whatever comes after and whichever job met it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from toapis_async import AuthenticationError, ImageRequest, RetryPolicy, ToapisSession, Unresolved
from toapis_async.testing import Simulator, faults

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox")


async def test_the_first_error_closes_the_intake(session: ToapisSession) -> None:
    async def breaking() -> AsyncIterator[ImageRequest]:
        yield FOX
        await anyio.sleep(5)  # until something runs: the error is raised when that has ended
        raise ValueError("first")

    async def breaking_when_stopped() -> AsyncIterator[ImageRequest]:
        try:
            yield FOX
            await anyio.sleep_forever()
        finally:
            raise KeyError("second")

    with anyio.fail_after(1000), pytest.raises(ValueError, match="first"):
        async with session.open_batch(breaking_when_stopped()) as batch:
            batch.feed(breaking())
            async for _ in batch:
                pass


async def test_a_refused_key_closes_the_intake_for_a_doubtful_request_too(sim: Simulator) -> None:
    sim.add_fault(faults.drop(when="before", kind="submit"))
    sim.add_fault(faults.error(401, "unauthorized", kind="submit", times=None))
    retry = RetryPolicy(resubmit_unknown=True, lookup_window=5)
    async with ToapisSession(sim.api_key, base_url=sim.base_url, retry=retry) as session:
        with anyio.fail_after(1000), pytest.raises(AuthenticationError):
            async with session.open_batch([FOX] * 3, max_in_flight=1) as batch:
                async for outcome in batch:
                    assert isinstance(outcome, Unresolved)
    assert sum(record.kind == "submit" for record in sim.requests) == 2
