"""What a journal costs: instant tasks through a batch with and without one, and how long it holds up the event loop.

Each run is a process of its own. Runs are interleaved, and the ratio is taken inside a round.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.polling_cpu import UNLIMITED
from benchmarks.server import status_server
from toapis_async import Backoff, ImageRequest, ToapisSession

POLL = Backoff(initial=0.01, maximum=0.1)
BEAT = 0.001  # seconds between two looks at the clock


async def run(base_url: str, tasks: int, journal: Path | None) -> tuple[float, float]:
    """Return tasks a second, and the longest that the event loop was held up, in seconds."""
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
    return tasks / seconds, max(stalls)


async def beat(stalls: list[float]) -> None:
    while True:
        before = time.perf_counter()
        await asyncio.sleep(BEAT)
        stalls.append(time.perf_counter() - before - BEAT)


def measure(base_url: str, tasks: int, journal: Path | None) -> tuple[float, float]:
    arguments = [sys.executable, "-m", "benchmarks.journal", base_url, str(tasks), str(journal or "")]
    rate, stall = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    return float(rate), float(stall)


def main(*, quick: bool) -> None:
    tasks, rounds = (500, 3) if quick else (2_000, 9)
    print(f"\nA batch of {tasks:,} instant tasks, {rounds} interleaved rounds")
    print(f"{'':14}{'tasks/s':>10}{'longest stall, median':>24}{'worst':>10}")
    found: dict[str, list[tuple[float, float]]] = {"no journal": [], "journal": []}
    with status_server(1) as base_url, tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for name, runs in found.items():
                runs.append(measure(base_url, tasks, Path(folder, f"{number}.db") if name == "journal" else None))
    for name, runs in found.items():
        rates, stalls = zip(*runs, strict=True)
        longest = (statistics.median(stalls) * 1e3, max(stalls) * 1e3)
        print(f"{name:14}{statistics.median(rates):10.0f}{longest[0]:21.1f} ms{longest[1]:7.1f} ms")
    ratios = [on / off for (off, _), (on, _) in zip(*found.values(), strict=True)]
    spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"throughput with a journal: {statistics.median(ratios):.2f} of that without {spread}")


if __name__ == "__main__":
    rate, stall = asyncio.run(run(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3] else None))
    print(rate, stall)
