"""How late a heartbeat of 1 ms is beside a session: `python -m benchmarks.latency MODE ORIGIN TASKS SECONDS`.

The heartbeat stands for all else that a web app does in its event loop. Beside it a session polls many tasks at the
documented limits, by the default schedule: in a batch, or as so many handlers that each wait for one task.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from statistics import quantiles
from typing import Final

from benchmarks.processes import interleave, measure
from benchmarks.server import WARM_UP, status_server
from benchmarks.table import Report, Row
from toapis_async import ToapisSession

_BEAT: Final = 0.001
_NEVER: Final = 1_000_000_000  # looks until a task is completed
_MODES: Final = {"alone": "alone", "batch": "beside a batch", "waits": "beside as many session.wait"}


async def beat(seconds: float) -> list[float]:
    """Return by how many seconds each heartbeat came late."""
    late: list[float] = []
    end = time.perf_counter() + seconds
    while (before := time.perf_counter()) < end:
        await asyncio.sleep(_BEAT)
        late.append(time.perf_counter() - before - _BEAT)
    return late


async def main(mode: str, origin: str, tasks: int, seconds: float) -> dict[str, float]:
    async with ToapisSession("sk-bench", base_url=origin) as session, AsyncExitStack() as stack:
        await session.wait(WARM_UP)
        handlers: list[asyncio.Task[object]] = []
        if mode == "batch":
            batch = await stack.enter_async_context(session.open_batch())
            for number in range(tasks):
                batch.attach(f"tsk_{number}")
        elif mode == "waits":
            handlers = [asyncio.create_task(session.wait(f"tsk_{number}")) for number in range(tasks)]
        late = await beat(seconds)
        for handler in handlers:
            assert not handler.done()
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
    cuts = quantiles(late, n=1000)
    return {"p99": cuts[989], "p99.9": cuts[998], "worst": max(late), "beats": len(late)}


def run(*, quick: bool) -> Report:
    tasks, seconds = 1_000, 2.0 if quick else 10.0
    with status_server(_NEVER) as origin:
        modes = {
            mode: partial(measure, "benchmarks.latency", mode, origin, tasks, seconds, timeout=60 + 3 * seconds)
            for mode in _MODES
        }
        found = interleave(1 if quick else 2, modes)
    rows = [
        Row(f"{figure} {text}", [1e3 * value for value in found.values(mode, figure)], "ms")
        for mode, text in _MODES.items()
        for figure in ("p99", "p99.9", "worst")
    ]
    for mode in ("batch", "waits"):
        added = [1e3 * value for value in found.differences(mode, "alone", "p99.9")]
        rows.append(Row(f"p99.9 added, {_MODES[mode]}", added, "ms", 20, remark=found.remark(mode, "alone")))
    return Report(rows)


if __name__ == "__main__":
    mode, origin, tasks, seconds = sys.argv[1:]
    print(json.dumps(asyncio.run(main(mode, origin, int(tasks), float(seconds)))))
