"""Small pictures in memory need no thread, so that users can test with them in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from toapis_async import Completed, ImageRequest, ToapisSession
from toapis_async.testing import Simulator, VirtualClockEventLoop, faults

from .common import CAT, DOG

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualClockEventLoop}


async def test_pictures_in_memory_are_uploaded_in_virtual_time() -> None:
    async with (
        Simulator(limits=None, durations=300.0) as simulator,
        ToapisSession(simulator.api_key, base_url=simulator.base_url) as session,
    ):
        simulator.add_fault(faults.hang(when="before", kind="upload"))
        requests = [ImageRequest(f"fox {n}", images=[CAT, DOG]) for n in range(20)]
        outcomes = await session.generate_many(requests)
        assert {type(outcome) for outcome in outcomes} == {Completed}
        assert len(simulator.uploads) == 2
        assert len(simulator.charges) == 20
        assert simulator.now > 300
