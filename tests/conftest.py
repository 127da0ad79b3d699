"""Fixtures for the whole suite. Time is virtual unless a module asks for the real clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import settings

from toapis_async import ToapisSession
from toapis_async.testing import Simulator, VirtualClockEventLoop

settings.register_profile("suite", deadline=None)  # how long an example takes is the machine's business
settings.load_profile("suite")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": VirtualClockEventLoop}


@pytest.fixture
async def sim(anyio_backend: object) -> AsyncIterator[Simulator]:
    """A service without rate limits on which every task takes 20 seconds."""
    async with Simulator(limits=None, durations=20.0) as simulator:
        yield simulator


@pytest.fixture
async def session(sim: Simulator) -> AsyncIterator[ToapisSession]:
    async with ToapisSession(sim.api_key, base_url=sim.base_url) as opened:
        yield opened
