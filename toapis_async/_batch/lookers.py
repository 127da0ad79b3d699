"""The jobs that wait for their end, in a heap of due times, and the pool that looks at them.

A waiting job is an entry in the heap, not a coroutine: thousands cost little, and one pause or one rate budget
holds for all of them.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

from anyio.lowlevel import checkpoint

from .._http.dispatch import Dispatcher
from .._submission import note_accepted
from .._watch import Verdict, Watch, ask, take_turn
from ..errors import ToapisError
from ..models import GenerationTask
from .job import JobRecord
from .signals import Bench

# Answers may take 0.4 s before the 150 questions a second of the vip group are not reached. With 32 senders and
# 4 uploads, those of one batch fit into the 100 connections that a borrowed session has by default.
LOOKERS: Final = 60
_SHORTEST_SLEEP: Final = 0.001


class Lookers:
    """Looks at the waiting jobs of one batch, each when it is due; `end` is told how each wait ended."""

    def __init__(self, dispatcher: Dispatcher, end: Callable[[JobRecord, Verdict], None]) -> None:
        self._dispatcher = dispatcher
        self._end = end
        self._heap: list[tuple[float, int, JobRecord]] = []
        self._bench = Bench()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_for: float | None = None
        self._is_at_gate = False

    def add(self, job: JobRecord, watch: Watch) -> None:
        """Let a job wait until its watch is due."""
        job.watch = watch
        heapq.heappush(self._heap, (watch.due, job.number, job))
        if self._heap[0][2] is job:
            self._arrange_call()

    def stop(self) -> None:
        """Leave no alarm behind: the event loop would keep the batch until it rings."""
        if self._alarm is not None:
            self._alarm.cancel()

    async def look_forever(self) -> None:
        """Do the work of one of `LOOKERS` workers."""
        while True:  # without a name for the job: an idle worker shall not keep its last one
            await self._look(*await self._next_look())

    async def _look(self, job: JobRecord, sent_at: float) -> None:
        watch = job.watch
        assert watch is not None
        verdict = await ask(watch, self._dispatcher, sent_at)
        if verdict is None:
            self.add(job, watch)
            return
        submission = job.submission
        if submission and submission.task is None and submission.entry and isinstance(verdict, GenerationTask):
            await note_accepted(submission.entry, verdict)  # cancelled here, it can still be looked up
        self._end(job, verdict)

    async def _next_look(self) -> tuple[JobRecord, float]:
        while True:
            while (job := self._take_due()) is None:
                called = self._bench.sit()
                self._arrange_call()
                await called
            watch = job.watch
            assert watch is not None
            self._is_at_gate = True
            try:
                turn = await take_turn(watch, self._dispatcher)
            finally:
                self._is_at_gate = False
                self._arrange_call()
            if turn is None:
                self.add(job, watch)
            elif isinstance(turn, ToapisError):
                self._end(job, turn)
            else:
                return job, turn
            await checkpoint()  # thousands may be due in a pause, or overdue

    def _take_due(self) -> JobRecord | None:
        # One worker at a time stands in front of the gate, so that nobody's deadline passes in a queue behind others.
        if self._is_at_gate or not self._heap or self._heap[0][0] > self._dispatcher.clock():
            return None
        return heapq.heappop(self._heap)[2]

    def _arrange_call(self) -> None:
        """Call a worker as soon as the first job is due; whatever changes that moment calls this."""
        if not self._heap or not self._bench or self._is_at_gate:
            return
        due = self._heap[0][0]
        delay = due - self._dispatcher.clock()
        if delay <= 0:
            self._bench.call_one()
        elif due != self._alarm_for:
            self._alarm_for = due
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = asyncio.get_running_loop().call_later(max(delay, _SHORTEST_SLEEP), self._ring)

    def _ring(self) -> None:
        self._alarm_for = None
        self._bench.call_one()
