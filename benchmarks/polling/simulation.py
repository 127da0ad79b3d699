"""A client and a service in virtual time: no sockets, no event loop, only the order in which things happen."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count, islice
from random import Random
from typing import Final, NamedTuple, Protocol

from attrs import define, evolve, field, frozen

from toapis_async._schedule.adaptive import TableKey
from toapis_async._schedule.pacer import Pacer

ROUND_TRIP: Final = 0.15  # seconds, median
_ROUND_TRIP_SPREAD: Final = 0.25
MEAN_ROUND_TRIP: Final = ROUND_TRIP * math.exp(_ROUND_TRIP_SPREAD**2 / 2)
RETRY_AFTER: Final = 1.0
_EPOCH: Final = 1_760_000_000


def round_trip(random: Random) -> float:
    return ROUND_TRIP * math.exp(_ROUND_TRIP_SPREAD * random.gauss())


@frozen
class Task:
    """A task that a client accepts at `arrives`, or attaches there at an `age` that only the service knows."""

    duration: float
    key: TableKey
    arrives: float = 0.0
    age: float = 0.0
    attached: bool = False

    @property
    def created_at(self) -> float:
        return self.arrives - self.age

    @property
    def completed_at(self) -> float:
        return self.created_at + self.duration


class Answer(NamedTuple):
    """What the service says of a task, its times in whole seconds."""

    model: str
    now: int
    created_at: int
    completed_at: int | None


class Watch(Protocol):
    """One client's wait for one task; `due` is when it wants to ask next."""

    due: float

    def begin(self, sent_at: float) -> None:
        """Take note that the question goes out."""
        ...

    def pending(self, answer: Answer, sent_at: float, now: float) -> bool:
        """Set the next `due`; False if the client gives up."""
        ...

    def refused(self, sent_at: float, now: float) -> bool:
        """Set the next `due` after a 429; False if the client gives up."""
        ...

    def finished(self, answer: Answer, sent_at: float, now: float) -> None:
        """Take note of the end."""
        ...


class Client(Protocol):
    @property
    def pacer(self) -> Pacer | None: ...

    def watch(self, task: Task) -> Watch: ...


class Bucket:
    """The service's rate limit."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, 0.0

    def take(self, now: float) -> bool:
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        if self._left < 1:
            return False
        self._left -= 1
        return True


@define
class Record:
    """What became of the tasks of a session."""

    polls: list[int]
    delays: dict[int, float] = field(factory=dict[int, float])
    """Seconds from a task's end to the client knowing of it; those that were given up are missing."""
    sent: list[float] = field(factory=list[float])
    refusals: int = 0


class Simulation:
    """One session: all tasks at their arrival, or the next whenever fewer than `in_flight` are running."""

    def __init__(
        self,
        tasks: Sequence[Task],
        client: Client,
        random: Random,
        *,
        in_flight: int | None = None,
        limit: Bucket | None = None,
    ) -> None:
        self._tasks = list(tasks)
        self._client = client
        self._random = random
        self._in_flight = in_flight
        self._limit = limit
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._unstarted = iter(range(len(tasks)))
        self._watches: dict[int, Watch] = {}
        self._queue: deque[int] = deque()
        self._gate_taken = False
        self._record = Record([0] * len(tasks))

    def run(self) -> Record:
        """Let everything happen; returns once no task is waited for."""
        if self._in_flight is None:
            for number in self._unstarted:
                self._at(self._tasks[number].arrives, partial(self._start, number))
        else:
            for number in islice(self._unstarted, self._in_flight):
                self._start(number)
        while self._events:
            self._now, _, happen = heapq.heappop(self._events)
            happen()
        return self._record

    def _at(self, moment: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), happen))

    def _start(self, number: int) -> None:
        if self._in_flight is not None:
            self._tasks[number] = evolve(self._tasks[number], arrives=self._now)
        self._watches[number] = self._client.watch(self._tasks[number])
        self._wait(number)

    def _wait(self, number: int) -> None:
        self._at(self._watches[number].due, partial(self._line_up, number))

    def _leave(self, number: int) -> None:
        del self._watches[number]
        if self._in_flight is not None and (following := next(self._unstarted, None)) is not None:
            self._start(following)

    # -- the gate: in a pause all go back and wait for its end, else they pass in the order in which they came

    def _line_up(self, number: int) -> None:
        self._queue.append(number)
        if not self._gate_taken:
            self._let_through()

    def _let_through(self) -> None:
        self._gate_taken = False
        pacer = self._client.pacer
        while self._queue:
            if pacer is not None:
                delay = pacer.delay(self._now)
                if delay > 0 and pacer.paused_until > self._now:
                    self._sit_out(pacer.paused_until)
                    return
                if delay > 0:
                    self._gate_taken = True
                    self._at(self._now + delay, self._let_through)
                    return
                pacer.take(self._now)
            self._send(self._queue.popleft())

    def _sit_out(self, pause_end: float) -> None:
        for number in self._queue:
            self._watches[number].due = pause_end
            self._wait(number)
        self._queue.clear()

    def _send(self, number: int) -> None:
        self._watches[number].begin(self._now)
        self._record.polls[number] += 1
        self._record.sent.append(self._now)
        trip = round_trip(self._random)
        arrives = self._now + trip / 2
        refused = self._limit is not None and not self._limit.take(arrives)
        self._at(self._now + trip, partial(self._receive, number, self._now, arrives, refused=refused))

    def _receive(self, number: int, sent_at: float, read_at: float, *, refused: bool) -> None:
        watch, task = self._watches[number], self._tasks[number]
        if refused:
            self._record.refusals += 1
            goes_on = watch.refused(sent_at, self._now)
        elif read_at < task.completed_at:
            goes_on = watch.pending(_answer(task, read_at), sent_at, self._now)
        else:
            self._record.delays[number] = self._now - task.completed_at
            watch.finished(_answer(task, read_at), sent_at, self._now)
            goes_on = False
        if goes_on:
            self._wait(number)
        else:
            self._leave(number)


def _answer(task: Task, now: float) -> Answer:
    ended = task.completed_at <= now
    return Answer(
        task.key.model,
        math.floor(_EPOCH + now),
        math.floor(_EPOCH + task.created_at),
        math.floor(_EPOCH + task.completed_at) if ended else None,
    )
