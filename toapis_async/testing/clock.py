"""An event loop whose time jumps to the next timer instead of passing."""

from __future__ import annotations

import asyncio
import selectors
import sys
from typing import TYPE_CHECKING, ClassVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

_Values = TypeVarTuple("_Values")
_THREAD_GRACE = 1.0
"""Real seconds in which another thread may still wake a loop that has no timer, before it is called dead."""


class VirtualClockEventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on virtual time: when nothing is ready, the clock jumps to the next timer.

    `time()` starts at 0.0 and counts virtual seconds, so a test with minutes of `sleep` takes milliseconds
    and gives the same times on every run. With anyio's pytest plugin::

        @pytest.fixture
        def anyio_backend() -> tuple[str, dict[str, object]]:
            return "asyncio", {"loop_factory": VirtualClockEventLoop}

    Sockets on loopback work as long as both ends live in this loop (an in-loop `Simulator` and its client).
    What lives elsewhere is invisible to the clock, which does not wait for it: worker threads, subprocesses,
    other machines. Test those in real time.

    A loop in which every task waits and no timer is set stops with `RuntimeError` instead of hanging.
    """

    grace: ClassVar[float] = 0.0 if sys.platform == "linux" else 0.001
    """Real seconds to look for bytes under way between two sockets before a jump.

    Linux hands loopback data to the receiver within `send`, so 0 is exact there (no late byte in 100,000
    jumps on a machine with three busy processes per core); other kernels may deliver a little later. Each
    jump costs this much.
    """

    def __init__(self) -> None:
        self._virtual_time = 0.0
        super().__init__(_SkippingSelector(self._skip, self.grace))

    def time(self) -> float:
        """Return the virtual time, in seconds since the loop was made."""
        return self._virtual_time

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Values], object],
        *args: *_Values,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call a function at a virtual time."""
        return super().call_at(when, self._ring, when, callback, args, context=context)

    def _ring(self, when: float, callback: Callable[[*_Values], object], values: tuple[*_Values]) -> None:
        # asyncio calls up to a nanosecond early. Who waits for the rest must find that it passes: several of them
        # would keep the loop so busy that it never skips.
        self._virtual_time = max(self._virtual_time, when)
        callback(*values)

    def _skip(self, seconds: float) -> None:
        self._virtual_time += seconds


class _SkippingSelector(selectors.DefaultSelector):
    """A selector that lets virtual time pass where another one would wait."""

    def __init__(self, skip: Callable[[float], None], grace: float) -> None:
        super().__init__()
        self._skip = skip
        self._grace = grace

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready now; if nothing is, skip `timeout` seconds."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        ready = super().select(_THREAD_GRACE if timeout is None else self._grace)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("deadlock: every task waits for an event that nothing will set")
        self._skip(timeout)
        return ready
