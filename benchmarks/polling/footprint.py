"""CPU and memory of the schedule and the pacer alone, by the clock and the allocator."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Final, NamedTuple

from benchmarks.polling.workloads import key_of, sessions
from toapis_async import AdaptiveBackoff, ImageRequest, RateLimits
from toapis_async._schedule.adaptive import LifeTables, TableKey, task_schedule
from toapis_async._schedule.pacer import Pacer

_WORKLOAD: Final = "trace image"
_REPEATS: Final = 5
_MODELS: Final = 200
_TASKS: Final = 2000


class Footprint(NamedTuple):
    microseconds: float
    """Of CPU for each question: the wait before it, what is learned from it, its turn at the pacer."""
    per_model: float
    """Bytes."""
    per_task: float
    """Bytes."""


def footprint() -> Footprint:
    """Return the best of several measurements: what disturbs them only adds."""
    return Footprint(min(_microseconds() for _ in range(_REPEATS)), _bytes_per_model(), _bytes_per_task())


def _microseconds(runs: int = 20) -> float:
    poll = AdaptiveBackoff()
    random = Random("footprint").random
    limits = RateLimits()
    moments = [datetime.fromtimestamp(second, UTC) for second in range(1000)]
    questions = 0
    every = sessions(_WORKLOAD, runs)
    started = time.process_time()
    for durations in every:
        tables = LifeTables()
        pacer = Pacer(limits.query_per_second, limits.query_burst)
        now = 0.0
        for duration in durations:
            schedule = task_schedule(poll, tables, key_of(_WORKLOAD))
            age = schedule.first_wait(random)
            while True:
                questions += 1
                pacer.delay(now + age)
                pacer.take(now + age)
                schedule.late(0.0)
                if age >= duration:
                    break
                pacer.answered()
                age += schedule.next_wait(age, random)
            schedule.finished(age, moments[0], moments[int(duration)])
            now += age
    return (time.process_time() - started) / questions * 1e6


def _bytes_per_model() -> float:
    tables = LifeTables()
    durations = sessions(_WORKLOAD, 1)[0][:20]

    def learn() -> None:
        for number in range(_MODELS):
            key = TableKey("image", f"model {number}")
            for duration in durations:
                schedule = task_schedule(AdaptiveBackoff(), tables, key)
                schedule.next_wait(duration * 0.9, lambda: 0.5)
                schedule.finished(duration)

    task_schedule(AdaptiveBackoff(), LifeTables(), TableKey("image", "")).first_wait(lambda: 0.5)  # fills caches
    return _allocated(learn) / _MODELS


def _bytes_per_task() -> float:
    tables = LifeTables()
    poll = AdaptiveBackoff()
    request = ImageRequest("a red fox")
    kept: list[object] = [None] * _TASKS

    def wait() -> None:
        for number in range(_TASKS):
            kept[number] = schedule = task_schedule(poll, tables, TableKey.of("image", request))
            schedule.next_wait(5.0 + number / _TASKS, lambda: 0.5)

    return _allocated(wait) / _TASKS


def _allocated(run: Callable[[], None]) -> int:
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    run()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return after - before
