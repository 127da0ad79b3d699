"""Sessions that are not one workload: mixed models, a cold batch, a herd, and a service that says 429."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from random import Random
from statistics import fmean
from typing import Final, NamedTuple

from attrs import evolve

from benchmarks.polling.clients import Ours, PeerClient
from benchmarks.polling.measure import FREE, IN_FLIGHT, NO_FLOOR, Cost, join, quantile
from benchmarks.polling.peers import PEERS
from benchmarks.polling.simulation import Bucket, Client, Record, Simulation, Task
from benchmarks.polling.workloads import SHORTEST, SIX, key_of, lognormal
from toapis_async import AdaptiveBackoff

DOCUMENTED: Final = (50.0, 500.0)  # status queries a second, and at once
TENTH: Final = (5.0, 20.0)  # with even less at once than a tenth
_MIX: Final = {"fast image": 0.5, "trace image": 0.25, "video": 0.25}
_MIXED_TASKS: Final = 120
_BATCH: Final = 100
_HISTORY: Final = 20


class _Maker:
    """Makes the client of a session: ours by its settings, or a peer by its name."""

    def __init__(self, who: AdaptiveBackoff | str, *, paced: bool = True) -> None:
        self._who = who
        self._paced = paced

    def __call__(self, random: Random) -> Client:
        if isinstance(self._who, str):
            return PeerClient(PEERS[self._who], random)
        return Ours(self._who, random, None if self._paced else FREE)


def _run_all(sessions: Sequence[Sequence[Task]], make: _Maker, in_flight: int | None = IN_FLIGHT) -> Cost:
    records: list[tuple[Record, Sequence[float]]] = []
    for number, tasks in enumerate(sessions):
        client = make(Random(f"schedule {number}"))
        session = Simulation(tasks, client, Random(f"network {number}"), in_flight=in_flight)
        records.append((session.run(), [task.duration for task in tasks]))
    return join(records)


def mixed(who: float | str, runs: int) -> Cost:
    """Run sessions of three models in one client; ours by its `polls`, a peer by its name."""
    sessions: list[list[Task]] = []
    for number in range(runs):
        random = Random(f"mixed {number}")
        names = random.choices(list(_MIX), list(_MIX.values()), k=_MIXED_TASKS)
        sessions.append([Task(max(SIX[name].draw(random, 0), SHORTEST), key_of(name)) for name in names])
    poll = who if isinstance(who, str) else AdaptiveBackoff(polls=who, min_interval=NO_FLOOR)
    return _run_all(sessions, _Maker(poll, paced=False))


def cold_batch(name: str, runs: int) -> Cost:
    """Submit a hundred tasks of an unseen model at once, all else by default."""
    sessions = [
        [Task(seconds, key_of(name)) for seconds in SIX[name].sample(f"batch {number}", _BATCH)]
        for number in range(runs)
    ]
    return _run_all(sessions, _Maker(AdaptiveBackoff()), in_flight=None)


class Herd(NamedTuple):
    polls: float
    delay: float
    in_100_ms: int
    in_10_s: int
    in_60_s: int


def herd(size: int, who: str | None = None) -> Herd:
    """Attach `size` running tasks at once, of a model that ours has seen some tasks of."""
    random = Random(f"herd {size}")
    key = key_of("trace image")
    durations = SIX[key.model].sample(f"herd {size}", size)
    tasks = [Task(seconds, key, age=seconds * random.random(), attached=True) for seconds in durations]
    client: Client = PeerClient(PEERS[who], Random("schedule")) if who else _experienced("trace image")
    record = Simulation(tasks, client, Random("network")).run()
    sent = sorted(record.sent)
    return Herd(
        fmean(record.polls),
        fmean(record.delays.values()),
        busiest(sent, 0.1),
        busiest(sent, 10),
        busiest(sent, 60),
    )


def _experienced(name: str) -> Ours:
    client = Ours(AdaptiveBackoff(), Random("schedule"))
    client.learn(key_of(name), SIX[name].sample("history", _HISTORY))
    return client


def busiest(ordered: Sequence[float], seconds: float) -> int:
    """Return the most requests in any window."""
    return max(bisect_left(ordered, start + seconds) - i for i, start in enumerate(ordered))


class Throttled(NamedTuple):
    polls: float
    delay: float
    late: float
    refusals: float
    """429s for each task."""
    lost: float
    """Share of the waits that the client gave up."""


def throttled(who: str | None, limit: tuple[float, float], runs: int) -> Throttled:
    """Submit bursts to a queue with few workers, where the service limits questions; None is ours by default."""
    polls: list[int] = []
    delays: list[float] = []
    refusals = 0
    for number in range(runs):
        tasks = _bursts(Random(f"queue {number}"))
        client = _Maker(who or AdaptiveBackoff())(Random(f"schedule {number}"))
        record = Simulation(tasks, client, Random(f"network {number}"), limit=Bucket(*limit)).run()
        polls += record.polls
        delays += record.delays.values()
        refusals += record.refusals
    tasks_in_all = len(polls)
    return Throttled(
        fmean(polls), fmean(delays), quantile(delays, 0.95), refusals / tasks_in_all, 1 - len(delays) / tasks_in_all
    )


def _bursts(random: Random, bursts: int = 3, size: int = 150, workers: int = 12) -> list[Task]:
    arrivals = sorted(160 * burst + random.uniform(0, 30) for burst in range(bursts) for _ in range(size))
    return list(_queued(arrivals, workers, random))


def _queued(arrivals: Iterable[float], workers: int, random: Random) -> Iterable[Task]:
    free = [0.0] * workers
    task = Task(0.0, key_of("fast image"))
    for arrival in arrivals:
        end = max(arrival, heapq.heappop(free)) + lognormal(random, 8, 0.25)
        heapq.heappush(free, end)
        yield evolve(task, arrives=arrival, duration=end - arrival)
