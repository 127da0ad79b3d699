"""CPU per status query with very many tasks in flight beside that with some, and whether all are delivered once.

The client itself makes sure of the latter: it fails if a key comes twice, or does not come.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from benchmarks.cpu import Workload, question
from benchmarks.processes import interleave
from benchmarks.server import status_server
from benchmarks.table import Report, Row

_LOOKS: Final = 4


def run(*, quick: bool) -> Report:
    some, many = 1_000, 5_000 if quick else 50_000
    sizes = {
        "some": Workload("", some, waves=1 if quick else 10, looks=_LOOKS),
        "many": Workload("", many, looks=_LOOKS),
    }
    with status_server(_LOOKS) as origin:
        runs = {name: partial(question, "batch", origin, each, timeout=900.0) for name, each in sizes.items()}
        found = interleave(1, runs)
    ratios = found.ratios("many", "some", "cpu")
    delivered = [float(many)] * len(found.values("many", "cpu"))
    return Report([
        Row(f"CPU per query, N = {some:,}", found.values("some", "cpu"), "us"),
        Row(f"CPU per query, N = {many:,} / N = {some:,}", ratios, "x", 1.3, 1.1, remark=found.remark(*sizes)),
        Row("tasks finished in one process, each delivered once", delivered, "", many, at_least=True),
        Row("most memory of that process", found.values("many", "memory"), "MB"),
    ])
