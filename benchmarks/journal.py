"""What a journal costs: instant tasks through a batch with and without one, and how long it holds up the event loop.

Each run is a process of its own. Runs are interleaved, and the ratio is taken inside a round.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.clients.ours import UNLIMITED
from benchmarks.cold import beat
from benchmarks.processes import Figures, interleave, measure
from benchmarks.server import status_server
from benchmarks.table import Report, Row
from toapis_async import Backoff, ImageRequest, ToapisSession

POLL = Backoff(initial=0.01, maximum=0.1)


async def main(base_url: str, tasks: int, journal: Path | None) -> dict[str, float]:
    requests = (ImageRequest(f"a fox, take {number}") for number in range(tasks))
    stalls = [0.0]
    async with ToapisSession("sk-bench", base_url=base_url, limits=UNLIMITED, poll=POLL) as session:
        await session.submit(ImageRequest("a first fox"))  # opens the first connection, loads what loads late
        async with session.open_batch(requests, journal=journal) as batch:
            heart = asyncio.create_task(beat(stalls))
            started = time.perf_counter()
            async for outcome in batch:
                outcome.unwrap()
            seconds = time.perf_counter() - started
            heart.cancel()
    return {"tasks a second": tasks / seconds, "stall": max(stalls)}


def run(*, quick: bool) -> Report:
    tasks, rounds = (500, 2) if quick else (2_000, 5)

    def child(base_url: str, *, journal: bool) -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder, "journal.db") if journal else ""
            return measure("benchmarks.journal", base_url, tasks, place, timeout=300)

    with status_server(1) as base_url:
        found = interleave(
            rounds, {"off": partial(child, base_url, journal=False), "on": partial(child, base_url, journal=True)}
        )
    rows: list[Row] = []
    for name in found.found:
        rows += [
            Row(f"{tasks:,} instant tasks, journal {name}", found.values(name, "tasks a second"), "/s"),
            Row(f"longest stall, journal {name}", [1e3 * value for value in found.values(name, "stall")], "ms"),
        ]
    ratios = found.ratios("on", "off", "tasks a second")
    return Report([*rows, Row("throughput, journal on / off", ratios, "x", remark=found.remark("on", "off"))])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3] else None))))
