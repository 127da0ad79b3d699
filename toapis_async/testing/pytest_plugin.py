"""The pytest plugin: a running `Simulator` as a fixture. Loading it does not import aiohttp."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .server import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

TIME_FACTOR = 100.0
"""How many times faster than the real service the fixture is: an image takes about 0.15 s."""


@pytest.fixture
def toapis_simulator() -> Iterator[Simulator]:
    """A simulated ToAPIs service in a thread of its own: 100 times as fast, without rate limits.

    Works in synchronous and asynchronous tests alike; give `toapis_simulator.base_url` and `.api_key` to the
    client.
    """
    with Simulator(time_factor=TIME_FACTOR, limits=None) as simulator:
        yield simulator
