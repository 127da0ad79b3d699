"""How the workers of a batch wait: for news, and for work.

On asyncio's own futures: anyio's events and locks cost several times as much, and each look needs one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from anyio.lowlevel import checkpoint

_BREATH: Final = 0.001


class Signal:
    """Wakes everyone who waits now; costs nothing while nobody does."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: asyncio.Event | None = None

    def notify(self) -> None:
        """Wake all waiters."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait for the next `notify`. Check the condition again afterwards."""
        if self._event is None:
            self._event = asyncio.Event()
        await self._event.wait()


class Bench:
    """Where idle workers sit until there is work for one of them.

    A worker that has finished takes what it finds and sits down only if that is nothing: with a lock that is handed on
    from worker to worker, busy ones would wait for each other, one round of the event loop for each job.
    """

    __slots__ = ("_idle",)

    def __init__(self) -> None:
        self._idle: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        return bool(self._idle)

    def call_one(self) -> None:
        """Wake one worker, if there is an idle one."""
        while self._idle:
            worker = self._idle.pop()
            if not worker.done():
                worker.set_result(None)
                return

    def sit(self) -> Awaitable[None]:
        """Sit down at once; the result is to be awaited, until called.

        Look for work again afterwards: somebody may have taken it.
        """
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(called)
        return self._until(called)

    async def _until(self, called: asyncio.Future[None]) -> None:
        try:
            await called
        except asyncio.CancelledError:
            if not called.cancelled():  # called and cancelled in one step: another one has to go
                self.call_one()
            raise


class Breather:
    """Lets other tasks run, but once in a millisecond at most: done for each item it would cost more than many do.

    In between it does not ask whether its task is cancelled. `clock` is the event loop's; on a virtual one, which
    stands still meanwhile, it gives way once.
    """

    __slots__ = ("_clock", "_last")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = -math.inf

    async def breathe(self) -> None:
        """Give way if it is time to."""
        if self._clock() - self._last >= _BREATH:
            await checkpoint()
            self._last = self._clock()
