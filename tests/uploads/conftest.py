"""Fixtures for tests of uploads. Files are read in threads, which virtual time does not see: time is real and short."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from toapis_async import ToapisSession
from toapis_async.testing import Simulator

from .common import CAT, open_session


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    path.write_bytes(CAT)
    return path


@pytest.fixture
async def sim(anyio_backend: object) -> AsyncIterator[Simulator]:
    """A service without rate limits on which a task takes 20 ms."""
    async with Simulator(limits=None, durations=0.02) as simulator:
        yield simulator


@pytest.fixture
async def session(sim: Simulator) -> AsyncIterator[ToapisSession]:
    async with open_session(sim) as opened:
        yield opened
