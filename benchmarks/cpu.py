"""CPU per status query: a batch of this package beside the loop most people would write by hand.

A batch asks by the default schedule, made so impatient that it asks as often as the loop: of tasks that are a second
old, because its life table plans from an age of half a second on. No wait is shorter than a fiftieth of the age, so
that few tasks are asked less often; beside it, the same batch with equal waits.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from attrs import frozen

from benchmarks.processes import Figures, interleave, measure
from benchmarks.server import status_server
from benchmarks.table import Point, Report, Row

CLIENTS: Final = ("by hand", "batch", "batch, equal waits", "tuned by hand")
BASE: Final = "by hand"


@frozen
class Workload:
    label: str
    tasks: int
    """At the same time."""
    waves: int = 1
    """One after the other, in one session."""
    looks: int = 8
    interval: float = 0.001
    """Seconds between two questions about one task."""
    target: float | None = None
    stretch: float | None = None


WORKLOADS: Final = (
    Workload("N = 10", 10, waves=50),
    Workload("N = 100", 100, waves=5),
    Workload("N = 1,000", 1_000, target=0.80, stretch=0.65),
    Workload("N = 5,000", 5_000, target=0.60, stretch=0.45),
    Workload("200 every 100 ms", 200, looks=30, interval=0.1, target=0.95, stretch=0.75),
)
_QUICK: Final = (
    Workload("N = 1,000", 1_000, looks=4, target=0.80, stretch=0.65),
    Workload("200 every 100 ms", 200, looks=4, interval=0.1, target=0.95, stretch=0.75),
)


def question(client: str, origin: str, workload: Workload, timeout: float = 300.0) -> Figures:
    arguments = (client, origin, workload.waves, workload.tasks, workload.interval)
    return measure("benchmarks.clients", "poll", *arguments, timeout=timeout)


def run(*, quick: bool) -> Report:
    rows: list[Row] = []
    points: list[Point] = []
    for workload in _QUICK if quick else WORKLOADS:
        with status_server(workload.looks) as origin:
            clients = {client: partial(question, client, origin, workload) for client in CLIENTS}
            found = interleave(1 if quick else 3, clients)
        rows.append(Row(f"{workload.label}: {BASE}", found.values(BASE, "cpu"), "us"))
        for client in CLIENTS[1:]:
            is_judged = client == "batch"
            limits = (workload.target, workload.stretch) if is_judged else ()
            ratios, remark = found.ratios(client, BASE, "cpu"), found.remark(client, BASE)
            rows.append(Row(f"{workload.label}: {client} / {BASE}", ratios, "x", *limits, remark=remark))
            points.append(Point(workload.label, client, ratios, workload.target if is_judged else None))
    return Report(rows, points=points)
