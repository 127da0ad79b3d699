"""What it costs to import the package, to open the first session, and to have the command line show its help.

An import is timed inside a fresh interpreter, so that the interpreter's own start does not count; whole commands are
timed from outside.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from benchmarks.processes import Figures, UnmeasuredError, figures, interleave, measure
from benchmarks.server import status_server
from benchmarks.table import Report, Row

_TIMED: Final = """
import json, sys, time
wall, cpu = time.perf_counter(), time.process_time()
import {module}
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({{"wall": wall, "cpu": cpu, "has aiohttp": "aiohttp" in sys.modules, "modules": len(sys.modules)}}))
"""
_HELP: Final = [sys.executable, "-m", "toapis_async.cli", "--help"]
_PARTS_OF_HELP: Final = [sys.executable, "-c", "import cyclopts, rich"]


def _import(module: str) -> Figures:
    return figures([sys.executable, "-c", _TIMED.format(module=module)], timeout=60)


def _command(command: list[str]) -> Figures:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        subprocess.run(command, capture_output=True, check=True, timeout=60)
    except subprocess.SubprocessError as error:
        raise UnmeasuredError(f"failed: {error}") from None
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"wall": wall, "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def run(*, quick: bool) -> Report:
    rounds = 3 if quick else 15
    with status_server(2) as origin:
        measurements: dict[str, Callable[[], Figures]] = {
            "toapis_async": partial(_import, "toapis_async"),
            "aiohttp": partial(_import, "aiohttp"),
            "cold": partial(measure, "benchmarks.cold", origin, timeout=60),
            "help": partial(_command, _HELP),
            "cyclopts, rich": partial(_command, _PARTS_OF_HELP),
        }
        interleave(1, measurements)  # what compiles modules is not measured
        found = interleave(rounds, measurements)

    def ratios(text: str, name: str, base: str, *limits: float) -> list[Row]:
        remark = found.remark(name, base)
        return [
            Row(f"{text}, {figure}", found.ratios(name, base, figure), "x", *limits, remark=remark)
            for figure in ("cpu", "wall")
        ]

    def milliseconds(text: str, name: str, figure: str, target: float | None = None) -> Row:
        return Row(text, [1e3 * value for value in found.values(name, figure)], "ms", target)

    loaded = found.values("toapis_async", "has aiohttp")
    return Report([
        milliseconds("import toapis_async, cpu", "toapis_async", "cpu"),
        milliseconds("import aiohttp, cpu", "aiohttp", "cpu"),
        *ratios("import toapis_async / import aiohttp", "toapis_async", "aiohttp", 0.5, 0.35),
        Row("aiohttp is loaded by import toapis_async (1: yes)", [float(value) for value in loaded], "", 0),
        milliseconds("longest stall while the first session opens", "cold", "stall", 200),
        milliseconds("until the first session is open", "cold", "opening"),
        milliseconds("longest stall during its first question", "cold", "first stall"),
        milliseconds("toapis --help, cpu", "help", "cpu"),
        *ratios("toapis --help / import cyclopts, rich", "help", "cyclopts, rich", 1.5),
    ])
