"""CPU per paid request: a batch, with and without a journal, beside the POST of a loop written by hand.

The service answers each POST with a completed task, so that nothing is asked afterwards. Other services' clients send
and do not wait.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from benchmarks.processes import interleave, measure
from benchmarks.server import status_server
from benchmarks.table import Report, Row

_BASE: Final = "by hand"
_LIMITS: Final = {"batch": (1.1, 0.9), "batch with journal": (2.0, 1.5), "openai": (), "runwayml": (), "replicate": ()}


def run(*, quick: bool) -> Report:
    tasks = 100 if quick else 1_000
    with status_server(0) as origin:
        clients = {
            client: partial(measure, "benchmarks.clients", "submit", client, origin, tasks, timeout=120.0)
            for client in (_BASE, *_LIMITS)
        }
        found = interleave(1 if quick else 5, clients)
    ratios = [
        Row(
            f"N = {tasks:,}: {client} / {_BASE}",
            found.ratios(client, _BASE, "cpu"),
            "x",
            *limits,
            remark=found.remark(client, _BASE),
            may_fail=not limits,
        )
        for client, limits in _LIMITS.items()
    ]
    return Report([Row(f"N = {tasks:,}: {_BASE}", found.values(_BASE, "cpu"), "us"), *ratios])
