"""`toapis simulate`, and the simulator inside `toapis generate --simulate`."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from toapis_async import Backoff, RateLimits, ToapisSession
from toapis_async.testing import Simulator

from .display import Screen
from .exits import Exit
from .results import Output
from .signals import calling_on_interrupt

_FACTOR: Final = 20.0


@asynccontextmanager
async def simulated_session() -> AsyncGenerator[ToapisSession]:
    """Open a session with a simulator of its own, where everything goes twenty times as fast."""
    usual, poll = RateLimits(), Backoff()
    limits = RateLimits(
        submit_per_second=usual.submit_per_second * _FACTOR,
        submit_burst=usual.submit_burst,
        query_per_second=usual.query_per_second * _FACTOR,
        query_burst=usual.query_burst,
    )
    schedule = Backoff(initial=poll.initial / _FACTOR, factor=poll.factor, maximum=poll.maximum / _FACTOR)
    # A new seed each time: with the same task ids, the pictures of the last run would count as saved.
    simulator = Simulator(time_factor=_FACTOR, seed=secrets.randbits(32), record_requests=False)
    async with (
        simulator,
        ToapisSession(simulator.api_key, base_url=simulator.base_url, limits=limits, poll=schedule) as session,
    ):
        yield session


async def serve(*, port: int, time_factor: float, output: Output, screen: Screen) -> Exit:
    """Run a simulator until Ctrl-C."""
    stop = anyio.Event()
    with calling_on_interrupt(lambda _: stop.set()):
        try:
            async with Simulator(port=port, time_factor=time_factor, record_requests=False) as simulator:
                output.write(f"export TOAPIS_BASE_URL={simulator.base_url}")
                output.write(f"export TOAPIS_API_KEY={simulator.api_key}")
                screen.say("A simulated service is running; Ctrl-C ends it.")
                await stop.wait()
        except OSError as error:
            screen.report(f"toapis: cannot listen on port {port}: {error.strerror or error}")
            return Exit.INVALID
    return Exit.OK
