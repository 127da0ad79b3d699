"""The time limits of all exchanges that are under way, on one timer.

A timer for each costs 5 to 9 % of the CPU of a question, anyio's `fail_after` about three times as much.
"""

from __future__ import annotations

import asyncio
import math


class Timeouts:
    """Lets each `asyncio.Timeout` that was started expire when its time has come.

    Not sooner than in the round of the event loop after that: a limit of asyncio's own cancels at once, even if the
    answer came meanwhile to a loop that was held up.
    """

    __slots__ = ("_alarm", "_due", "_loop")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[asyncio.Timeout, float] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def start(self, limit: asyncio.Timeout, seconds: float) -> None:
        """Let a limit that is entered, and has no time of its own, expire after so many seconds."""
        due = self._due[limit] = self._loop.time() + seconds
        if self._alarm is None or due < self._alarm.when():
            self._set_alarm(due)

    def stop(self, limit: asyncio.Timeout) -> None:
        """Forget a limit. Without any, no timer is left in the event loop."""
        self._due.pop(limit, None)
        if not self._due and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _set_alarm(self, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._loop.call_at(due, self._ring, due)

    def _ring(self, due: float) -> None:
        self._alarm = None
        now = max(due, self._loop.time())  # in a loop that was held up many may be overdue
        for limit in [limit for limit, end in self._due.items() if end <= now]:
            del self._due[limit]
            limit.reschedule(-math.inf)
        if self._due:
            self._set_alarm(min(self._due.values()))
