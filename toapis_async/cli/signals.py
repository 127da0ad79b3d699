"""Ctrl-C as an event: the program decides what to leave and says it, instead of being torn down."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

# The last is a terminal that closes; Windows has none.
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))


@contextmanager
def calling_on_interrupt(handle: Callable[[int], object]) -> Generator[None]:
    """Call `handle` with the signal's number, in the event loop, on each Ctrl-C, SIGTERM and SIGHUP.

    asyncio's own handling cancels the main task once and tears the loop down the second time, with paid
    requests on their way. A signal that the parent process chose to ignore stays ignored.
    """
    loop = asyncio.get_running_loop()

    def receive(number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(handle, number)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, receive)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
