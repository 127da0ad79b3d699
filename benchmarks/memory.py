"""Resident memory of tasks that wait in a batch: `python -m benchmarks.memory attached|submitted ORIGIN TASKS`.

What grows is divided by the number of tasks, after a small number of tasks went the same way in the same batch. A
task waits when it was seen running once, so that the batch holds the service's answer, and is not due.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.clients.ours import UNLIMITED
from benchmarks.processes import interleave, measure, most_memory
from benchmarks.server import status_server, take_counts
from benchmarks.table import Report, Row
from toapis_async import AdaptiveBackoff, Batch, ImageRequest, ToapisSession
from toapis_async.instrumentation import Event, RequestFinished

_FIRST: Final = 500  # tasks, for connections and whatever else is there only once
_NEVER: Final = 1_000_000  # looks until a task is completed


def resident() -> int:
    """Return the bytes of this process that are in memory, or where no /proc tells, the most that ever were."""
    gc.collect()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return round(most_memory() * 1e6)


class _Waiting:
    """Adds tasks to a batch and waits until each was seen once."""

    def __init__(self, most: int) -> None:
        self._added = 0
        self._seen = bytearray(most + 1)

    def __call__(self, event: Event) -> None:
        if isinstance(event, RequestFinished) and event.method == "GET":
            assert event.status == 200
            self._seen[int(event.path.rpartition("_")[2])] = True

    def add(self, batch: Batch, count: int, *, attached: bool) -> None:
        for number in range(self._added + 1, self._added + 1 + count):  # as the service numbers those it accepts
            if attached:
                batch.attach(f"tsk_{number}")
            else:
                batch.submit(ImageRequest(f"a fox, take {number}"))
        self._added += count

    async def all_seen(self) -> None:
        async with asyncio.timeout(300):
            while sum(self._seen) < self._added:  # noqa: ASYNC110 - an observer would have to add up
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.2)


async def growth(origin: str, tasks: int, *, attached: bool) -> dict[str, float]:
    await asyncio.to_thread(take_counts, origin)
    waiting = _Waiting(_FIRST + tasks)
    # One that was submitted is looked at first when this time has passed, which is while all are sent.
    poll = AdaptiveBackoff(min_interval=60 if attached else 3 + tasks / 2_000, deadline=86_400)
    session = ToapisSession("sk-bench", base_url=origin, limits=UNLIMITED, poll=poll, observers=[waiting])
    async with session, session.open_batch(max_in_flight=_NEVER) as batch:
        waiting.add(batch, _FIRST, attached=attached)
        await waiting.all_seen()
        before = resident()
        waiting.add(batch, tasks, attached=attached)
        unseen = resident()
        await waiting.all_seen()
        seen = resident()
    return {"unseen": (unseen - before) / tasks, "waiting": (seen - before) / tasks}


def run(*, quick: bool) -> Report:
    few, many = (2_000, 5_000) if quick else (20_000, 50_000)
    sizes = {"few": ("attached", few), "many": ("attached", many), "submitted": ("submitted", few)}
    with status_server(_NEVER) as origin:
        runs = {
            name: partial(measure, "benchmarks.memory", kind, origin, tasks, timeout=600.0)
            for name, (kind, tasks) in sizes.items()
        }
        found = interleave(1, runs)
    attached = [
        Row(f"{tasks:,} attached, {text}", found.values(name, figure), "bytes", *limits, remark=found.remark(name))
        for name, tasks in (("few", few), ("many", many))
        for figure, text, limits in (("waiting", "waiting", (1_500, 700)), ("unseen", "not looked at", ()))
    ]
    return Report([
        *attached,
        Row(f"a task of {many:,} / of {few:,}", found.ratios("many", "few", "waiting"), "x", 1.1),
        Row(f"{few:,} submitted, waiting, with their requests", found.values("submitted", "waiting"), "bytes"),
    ])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(growth(sys.argv[2], int(sys.argv[3]), attached=sys.argv[1] == "attached"))))
