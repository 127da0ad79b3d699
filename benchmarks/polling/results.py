"""Everything that is measured, on all cores; the same for the same arguments, but for CPU and memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.pool import Pool
from typing import Final, TypeAlias, TypeVar

from attrs import frozen

from benchmarks.polling import measure, scenarios
from benchmarks.polling.footprint import Footprint, footprint
from benchmarks.polling.measure import FREE, NO_FLOOR, Cost
from benchmarks.polling.optimum import Point
from benchmarks.polling.peers import PEERS
from benchmarks.polling.scenarios import DOCUMENTED, TENTH, Herd, Throttled
from benchmarks.polling.workloads import ALL, MOVING, SIX, TRACES
from toapis_async import AdaptiveBackoff

OURS: Final = "ours, by default"
_SETTINGS: Final = (1, 1.4, 1.9, 2.7, 4, 5, 6, 8, 10, 12, 16, 22, 32, 60)
_FEWER_SETTINGS: Final = (1, 1.4, 2, 3, 5, 6, 8, 12, 18, 40)
_MOST_POLLS: Final = 150  # to meet a peer that asks every second about a video
_MIXED_SETTINGS: Final = (2, 3, 4.5, 6, 8, 11, 16, 24)
HERD_SIZES: Final = (1, 10, 100, 1000, 10_000)
HERD_PEERS: Final = ("openai 1 s", "runwayml 6 s", "google-api-core", "plain 1*2^n", "ToAPIs docs")
EXPONENTIALS: Final[Mapping[str, Callable[[str, int], list[Point]]]] = {
    "x1.5": partial(measure.exponential, factor=1.5),
    "x2": partial(measure.exponential, factor=2.0),
    "by age": measure.by_age,
}

Cell: TypeAlias = tuple[str, str]
"""A schedule and a workload."""
_Key = TypeVar("_Key")
_Found = TypeVar("_Found")


@frozen(kw_only=True)
class Results:
    peers: Mapping[Cell, Cost]
    """As shipped."""
    default: Mapping[str, Cost]
    """Ours as shipped, by workload."""
    curves: Mapping[str, Mapping[float, Cost]]
    """Ours by its `polls`, without a floor."""
    best: Mapping[str, Sequence[Point]]
    fixed: Mapping[str, Sequence[Point]]
    """Fixed intervals, of which one may choose in hindsight."""
    exponentials: Mapping[Cell, Sequence[Point]]
    at_8: Mapping[str, Cost]
    """Ours with `polls=8` and nearly no floor: 0.05 s; 0.5 s on the traces."""
    mixed: Sequence[Cost]
    """Ours by its `polls`."""
    mixed_peers: Mapping[str, Cost]
    batch: Mapping[str, Cost]
    herd: Mapping[tuple[str, int], Herd]
    throttled: Mapping[tuple[str, float], Throttled]
    """By the service's rate."""
    footprint: Footprint


def collect(*, quick: bool) -> Results:
    """Measure everything."""
    usage = footprint()  # first, while nothing else runs
    with multiprocessing.Pool() as pool:
        return _collect(pool, usage, quick=quick)


def _start(
    pool: Pool, run: Callable[..., _Found], jobs: Mapping[_Key, tuple[object, ...]]
) -> Callable[[], dict[_Key, _Found]]:
    """Begin jobs; the returned function waits for what they find."""
    found = pool.starmap_async(run, jobs.values(), chunksize=1)
    return lambda: dict(zip(jobs, found.get(), strict=True))


def _collect(pool: Pool, usage: Footprint, *, quick: bool) -> Results:
    runs, few = (10, 2) if quick else (32, 8)
    names = [*SIX, *MOVING]
    sharp = AdaptiveBackoff(min_interval=NO_FLOOR)
    on_traces = AdaptiveBackoff(min_interval=0.5)
    # The longest first, so that no core is left alone with one of them at the end.
    curves = _start(pool, measure.curve, {name: (name, _settings(name, quick=quick), runs) for name in names})
    peers = _start(pool, measure.peer, {(who, name): (name, who, runs) for who in PEERS for name in names})
    mixed = _start(pool, scenarios.mixed, {polls: (polls, runs) for polls in _MIXED_SETTINGS})
    mixed_peers = _start(pool, scenarios.mixed, {who: (who, runs) for who in PEERS})
    exponentials = {
        label: _start(pool, run, {name: (name, runs) for name in MOVING}) for label, run in EXPONENTIALS.items()
    }
    fixed = _start(pool, measure.tuned_fixed, {name: (name, runs) for name in [*MOVING, *TRACES]})
    best = _start(pool, measure.best, {name: (name, runs) for name in ALL})
    default = _start(pool, measure.ours, {name: (name, AdaptiveBackoff(), runs) for name in names})
    at_8 = _start(
        pool,
        measure.ours,
        {name: (name, on_traces if name in TRACES else sharp, runs, FREE) for name in [*MOVING, *TRACES]},
    )
    batch = _start(pool, scenarios.cold_batch, {name: (name, few) for name in SIX})
    herds = [(OURS, size) for size in HERD_SIZES]
    herds += [(who, size) for who in HERD_PEERS for size in HERD_SIZES if size <= 1000 or not quick]
    herd = _start(pool, scenarios.herd, {(who, size): (size, None if who == OURS else who) for who, size in herds})
    limited = [(who, limit) for limit in (DOCUMENTED, TENTH) for who in [OURS, *PEERS]]
    throttled = _start(
        pool,
        scenarios.throttled,
        {(who, limit[0]): (None if who == OURS else who, limit, few) for who, limit in limited},
    )
    return Results(
        peers=peers(),
        default=default(),
        curves=curves(),
        best=best(),
        fixed=fixed(),
        exponentials={
            (label, name): points for label, found in exponentials.items() for name, points in found().items()
        },
        at_8=at_8(),
        mixed=list(mixed().values()),
        mixed_peers=mixed_peers(),
        batch=batch(),
        herd=herd(),
        throttled=throttled(),
        footprint=usage,
    )


def _settings(name: str, *, quick: bool) -> tuple[float, ...]:
    settings = _FEWER_SETTINGS if quick else _SETTINGS
    return (*settings, _MOST_POLLS) if name in {"slow image", "video"} else settings
