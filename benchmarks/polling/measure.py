"""What schedules cost on one workload: means over all tasks of all sessions, each session from cold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from statistics import fmean
from typing import Final, NamedTuple

from benchmarks.polling.clients import Ours
from benchmarks.polling.optimum import Point, optimum, spaced
from benchmarks.polling.peers import PEERS, Wait, fixed, growing, proportional
from benchmarks.polling.simulation import Record, Simulation, Task, round_trip
from benchmarks.polling.workloads import ALL, key_of, sessions
from toapis_async import AdaptiveBackoff, RateLimits

IN_FLIGHT: Final = 4
NO_FLOOR: Final = 0.05  # seconds, where the schedule is compared and not what courtesy costs
FREE: Final = RateLimits(query_per_second=1000, query_burst=1000)  # likewise the pacer: no peer has one
_MANY_POLLS: Final = 50.0  # such a budget costs as much as all others: fewer sessions
_KNOWN: Final = 7200  # durations from which the optimum knows the workload


class Cost(NamedTuple):
    """Means per task; times in seconds."""

    polls: float
    delay: float
    late: float
    """95 of 100 tasks are found in less."""
    relative: float
    """Delay as a share of the duration."""

    @property
    def point(self) -> Point:
        return Point(self.polls, self.delay)


def cost_of(polls: Sequence[int], delays: Sequence[float], durations: Sequence[float]) -> Cost:
    relative = fmean(delay / duration for delay, duration in zip(delays, durations, strict=True))
    return Cost(fmean(polls), fmean(delays), quantile(delays, 0.95), relative)


def quantile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def join(records: Iterable[tuple[Record, Sequence[float]]]) -> Cost:
    """Return the cost over several sessions, each with its tasks' durations."""
    polls: list[int] = []
    delays: list[float] = []
    durations: list[float] = []
    for record, seconds in records:
        polls += record.polls
        delays += (record.delays[number] for number in range(len(seconds)))
        durations += seconds
    return cost_of(polls, delays, durations)


def ours(name: str, poll: AdaptiveBackoff, runs: int, limits: RateLimits | None = None) -> Cost:
    """Run sessions of a workload with the package's schedule, a few tasks in flight."""
    key = key_of(name)
    records: list[tuple[Record, Sequence[float]]] = []
    for number, durations in enumerate(sessions(name, runs)):
        client = Ours(poll, Random(f"schedule {number}"), limits)
        tasks = [Task(seconds, key) for seconds in durations]
        session = Simulation(tasks, client, Random(f"network {number}"), in_flight=IN_FLIGHT)
        records.append((session.run(), durations))
    return join(records)


def curve(name: str, settings: Iterable[float], runs: int) -> dict[float, Cost]:
    """Return what the package's schedule costs by its `polls`, without a floor."""
    costs: dict[float, Cost] = {}
    for polls in settings:
        enough = runs if polls < _MANY_POLLS else max(runs // 4, 2)
        costs[polls] = ours(name, AdaptiveBackoff(polls=polls, min_interval=NO_FLOOR), enough, FREE)
    return costs


def alone(wait: Wait, durations: Sequence[float], sent: list[float] | None = None) -> Cost:
    """Run a schedule that learns nothing: each task is waited for as if there were no other."""
    random = Random("alone")
    polls: list[int] = []
    delays: list[float] = []
    for duration in durations:
        number, now = 0, 0.0
        while True:
            now += wait(number, now, random)
            if sent is not None:
                sent.append(now)
            number += 1
            trip = round_trip(random)
            now += trip
            if now - trip / 2 >= duration:
                break
        polls.append(number)
        delays.append(now - duration)
    return cost_of(polls, delays, durations)


def peer(name: str, label: str, runs: int) -> Cost:
    return alone(PEERS[label].wait(ALL[name].kind), flat(name, runs))


def flat(name: str, runs: int) -> list[float]:
    return [seconds for durations in sessions(name, runs) for seconds in durations]


def tuned_fixed(name: str, runs: int) -> list[Point]:
    """Return what fixed intervals cost, from a few looks a task to many: whoever knows the workload can choose."""
    durations = flat(name, runs)
    mean = fmean(durations)
    return [alone(fixed(interval), durations).point for interval in spaced(1.5 * mean, 0.03 * mean, 20)]


def exponential(name: str, runs: int, factor: float) -> list[Point]:
    """Return what uncapped exponential backoffs cost, by their first wait."""
    durations = flat(name, runs)
    mean = fmean(durations)
    return [alone(growing(first, factor), durations).point for first in spaced(0.5 * mean, 1e-5 * mean, 20)]


def by_age(name: str, runs: int) -> list[Point]:
    """Return what waits in proportion to the age cost, by that proportion."""
    durations = flat(name, runs)
    return [alone(proportional(share), durations).point for share in spaced(2, 0.1, 12)]


def best(name: str, runs: int) -> list[Point]:
    """Return the optimum for a workload whose distribution is known."""
    known = _KNOWN // 60
    return optimum([*flat(name, runs), *(seconds for i in range(known) for seconds in ALL[name].sample(f"known {i}"))])
