"""CPU per status query of other services' clients, by their own helpers for waiting, beside ours (extra `bench`).

All ask one server, which speaks their words and counts. What does not finish is said so.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Final

from benchmarks.cpu import BASE, Workload, question
from benchmarks.processes import Rounds, interleave
from benchmarks.server import status_server
from benchmarks.table import Point, Report, Row

PEERS: Final = ("openai", "runwayml", "replicate", "fal-client")
WORKLOADS: Final = (Workload("N = 100", 100), Workload("N = 1,000", 1_000, looks=4, target=0.15))
_QUICK: Final = (Workload("N = 20", 20, looks=4),)
_PATIENCE: Final = 120.0  # seconds for one measurement


def run(*, quick: bool) -> Report:
    rows: list[Row] = []
    points: list[Point] = []
    for workload in _QUICK if quick else WORKLOADS:
        with status_server(workload.looks) as origin:
            clients = {
                client: partial(question, client, origin, workload, _PATIENCE) for client in (BASE, "batch", *PEERS)
            }
            found = interleave(1, clients)
        for peer in PEERS:
            ratios = found.ratios(peer, BASE, "cpu")
            rows.append(
                Row(f"{workload.label}: {peer} / {BASE}", ratios, "x", remark=found.remark(peer, BASE), may_fail=True)
            )
            points.append(Point(workload.label, peer, ratios))
        rows.append(_beside_the_best(workload, found))
    return Report(rows, points=points)


def _beside_the_best(workload: Workload, found: Rounds) -> Row:
    beside = {peer: ratios for peer in PEERS if (ratios := found.ratios("batch", peer, "cpu"))}
    best = max(beside, key=lambda peer: median(beside[peer]), default=None)
    remark = "; ".join(filter(None, [best, found.remark("batch")]))
    return Row(
        f"{workload.label}: batch / the best of them", beside[best] if best else [], "x", workload.target, remark=remark
    )
