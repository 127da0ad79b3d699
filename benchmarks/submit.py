"""CPU per paid request: a batch, with and without a journal, beside the POST of a loop written by hand.

The service answers each POST with a completed task, so that nothing is asked afterwards.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from benchmarks.processes import interleave, measure
from benchmarks.server import status_server
from benchmarks.table import Report, Row

_BASE: Final = "by hand"
_CLIENTS: Final = (_BASE, "batch", "batch with journal")


def run(*, quick: bool) -> Report:
    tasks = 300 if quick else 1_000
    with status_server(0) as origin:
        clients = {
            client: partial(measure, "benchmarks.clients", "submit", client, origin, tasks, timeout=300.0)
            for client in _CLIENTS
        }
        found = interleave(1 if quick else 7, clients)

    def ratio(client: str, target: float, stretch: float) -> Row:
        ratios = found.ratios(client, _BASE, "cpu")
        remark = found.remark(client, _BASE)
        return Row(f"N = {tasks:,}: {client} / {_BASE}", ratios, "x", target, stretch, remark=remark)

    return Report([
        Row(f"N = {tasks:,}: {_BASE}", found.values(_BASE, "cpu"), "us"),
        ratio("batch", 1.1, 0.9),
        ratio("batch with journal", 2.0, 1.5),
    ])
