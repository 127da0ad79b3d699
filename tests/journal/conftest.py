"""Fixtures for tests of the journal. Its thread is invisible to virtual time, so time is real and short here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from toapis_async import Backoff, RateLimits, RetryPolicy, ToapisSession
from toapis_async.testing import Simulator

FAST = RateLimits(submit_per_second=2000, submit_burst=200, query_per_second=2000, query_burst=200)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fox.db"


@pytest.fixture
async def sim(anyio_backend: object) -> AsyncIterator[Simulator]:
    """A service without rate limits on which a task takes 50 ms."""
    async with Simulator(limits=None, durations=0.05) as simulator:
        yield simulator


@pytest.fixture
async def session(sim: Simulator) -> AsyncIterator[ToapisSession]:
    async with open_session(sim) as opened:
        yield opened


def open_session(sim: Simulator, *, resubmit_unknown: bool = False, lookup_window: float = 0.5) -> ToapisSession:
    return ToapisSession(
        sim.api_key,
        base_url=sim.base_url,
        limits=FAST,
        poll=Backoff(initial=0.02, maximum=0.1),
        retry=RetryPolicy(lookup_window=lookup_window, resubmit_unknown=resubmit_unknown),
    )
