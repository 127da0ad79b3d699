"""How long tasks take: seconds from their creation to their end, by workload. All seeded.

The three traced workloads are drawn from quantiles of production requests to Stable Diffusion (Alibaba
GenTD26, cluster-trace-v2026-GenAI), succeeded and failed. The trace itself holds six models and the order of
their tasks; it is not part of this repository, so three models are stood in for by their quantiles, and tasks
are independent of each other.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from random import Random
from typing import Final, TypeAlias

from attrs import frozen

from toapis_async._schedule.adaptive import TableKey

TASKS: Final = 60
"""Tasks of a session: all that one client sees, in order, beginning with nothing learned."""
SHORTEST: Final = 0.2

Draw: TypeAlias = Callable[[Random, int], float]
"""The duration of task `number` of a session, in seconds."""

_SHARES: Final = (
    0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1,
)  # fmt: skip
_TRACED: Final[Mapping[str, tuple[float, ...]]] = {
    "M0001": (
        7.5, 8.4, 8.9, 9.8, 12.2, 18.7, 28.2, 32.8, 36.3, 39.8,
        43.5, 48.1, 53.9, 63.3, 74.7, 89.9, 99.9, 114.3, 283.5, 330,
    ),
    "M0002": (
        5.5, 7.2, 7.9, 8.7, 10, 11.5, 13.6, 15, 16.5, 18,
        19.7, 21.6, 24.1, 27.7, 31.1, 35.4, 40.1, 46.9, 79.9, 110,
    ),
    "M0003": (
        3, 6.7, 12.3, 18, 29.4, 37.1, 47.4, 55.1, 61.4, 67.6,
        74.9, 82.2, 89.9, 106.5, 118.7, 132.8, 142.6, 171.2, 371.4, 400,
    ),
}  # fmt: skip


@frozen
class Workload:
    draw: Draw
    kind: str = "image"

    def sample(self, seed: str, tasks: int = TASKS) -> list[float]:
        """Return the durations of one session."""
        random = Random(seed)
        return [max(self.draw(random, number), SHORTEST) for number in range(tasks)]


def traced(model: str) -> Draw:
    """Draw from a model's quantiles, interpolated in the logarithm."""
    logs = [math.log(seconds) for seconds in _TRACED[model]]

    def draw(random: Random, _: int) -> float:
        share = random.random()
        i = bisect_right(_SHARES, share) - 1
        part = (share - _SHARES[i]) / (_SHARES[i + 1] - _SHARES[i])
        return math.exp(logs[i] + part * (logs[i + 1] - logs[i]))

    return draw


def lognormal(random: Random, median: float, spread: float) -> float:
    return median * math.exp(spread * random.gauss())


def _fast_image(random: Random, _: int) -> float:
    return random.uniform(0.5, 3) if random.random() < 0.03 else lognormal(random, 7.7, 0.27)  # some fail early


def _video(random: Random, _: int) -> float:
    return random.uniform(2, 20) if random.random() < 0.04 else 75 + lognormal(random, 30, 0.8)  # some are rejected


def _heavy_tail(random: Random, _: int) -> float:
    if random.random() < 0.1:
        return min(30 * math.exp(random.expovariate(1.2)), 600)  # Pareto stragglers, up to what the docs allow
    return lognormal(random, 12, 0.35)


def _bimodal(random: Random, _: int) -> float:
    return lognormal(random, 45, 0.25) if random.random() < 0.4 else lognormal(random, 4, 0.2)  # cold or warm


def _drift(random: Random, number: int) -> float:
    level = (8, 24, 8, 4, 16)[min(4, 5 * number // TASKS)]
    return lognormal(random, level * (1 + 0.3 * math.sin(6.28 * number / 37)), 0.3)


def _flip(random: Random, number: int) -> float:
    return lognormal(random, 64 if number // 12 % 2 else 8, 0.3)


def _memoryless(random: Random, _: int) -> float:
    return 0.3 + random.expovariate(1 / 20)


SIX: Final[Mapping[str, Workload]] = {
    "fast image": Workload(_fast_image),
    "trace image": Workload(traced("M0002")),
    "slow image": Workload(traced("M0003")),
    "video": Workload(_video, "video"),
    "heavy tail": Workload(_heavy_tail),
    "bimodal": Workload(_bimodal),
}
MOVING: Final[Mapping[str, Workload]] = {
    "drift": Workload(_drift),
    "flip": Workload(_flip),
    "memoryless": Workload(_memoryless),
}
TRACES: Final[Mapping[str, Workload]] = {f"GenTD26 {model}": Workload(traced(model)) for model in _TRACED}
ALL: Final[Mapping[str, Workload]] = {**SIX, **MOVING, **TRACES}


def key_of(name: str) -> TableKey:
    """Return the key under which a client learns about a workload: each is a model of its own."""
    return TableKey(ALL[name].kind, name)


def sessions(name: str, count: int) -> list[list[float]]:
    """Return the durations of `count` sessions: the same for all schedules."""
    return [ALL[name].sample(f"{name} {number}") for number in range(count)]
