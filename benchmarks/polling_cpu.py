"""CPU per status query: a batch of this package beside the loop most people would write by hand.

Each measurement is a process of its own, and its user and system time from the first question to the last
outcome is divided by the number of questions. Both clients ask every task equally often. Rounds are
interleaved, because absolute figures drift by far more than the difference; the ratio is taken inside a
round.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time

import aiohttp

from benchmarks.server import status_server
from toapis_async import Backoff, Completed, RateLimits, ToapisSession

LOOKS = 8
WORKLOADS = {  # tasks, seconds between two questions about one task
    "10 tasks, saturated": (10, 0.001),
    "100 tasks, saturated": (100, 0.001),
    "1,000 tasks, saturated": (1_000, 0.001),
    "5,000 tasks, saturated": (5_000, 0.001),
    "200 tasks, every 100 ms": (200, 0.1),
}
UNLIMITED = RateLimits(submit_per_second=1e6, submit_burst=1_000_000, query_per_second=1e6, query_burst=1_000_000)


async def poll_with_batch(base_url: str, tasks: int, interval: float) -> None:
    schedule = Backoff(initial=interval, factor=1, maximum=interval, jitter=0)
    async with ToapisSession("sk-bench", base_url=base_url, limits=UNLIMITED, poll=schedule) as session:
        async with session.open_batch() as batch:
            for number in range(tasks):
                batch.attach(f"tsk_{number}")
            ended = 0
            async for outcome in batch:
                assert isinstance(outcome, Completed)
                ended += 1
        assert ended == tasks


async def poll_by_hand(base_url: str, tasks: int, interval: float) -> None:
    async def wait(http: aiohttp.ClientSession, task_id: str) -> None:
        while True:
            async with http.get(f"{base_url}/images/generations/{task_id}") as response:
                response.raise_for_status()
                body = await response.json()
            if body["status"] == "completed":
                return
            await asyncio.sleep(interval)

    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-bench"}) as http:
        await asyncio.gather(*(wait(http, f"tsk_{number}") for number in range(tasks)))


CLIENTS = {"by hand": poll_by_hand, "batch": poll_with_batch}


def measure(client: str, base_url: str, tasks: int, interval: float) -> float:
    """Run one client in a fresh process; returns its CPU in microseconds per question."""
    arguments = [sys.executable, "-m", "benchmarks.polling_cpu", client, base_url, str(tasks), str(interval)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main(*, quick: bool) -> None:
    rounds = 3 if quick else 7
    print(f"CPU per status query, {LOOKS} queries a task, medians of {rounds} interleaved rounds")
    print(f"{'':26}{'by hand':>10}{'batch':>10}{'ratio':>8}{'lowest':>8}{'highest':>8}")
    for name, (tasks, interval) in WORKLOADS.items():
        if quick and tasks > 1_000:
            continue
        costs: dict[str, list[float]] = {client: [] for client in CLIENTS}
        with status_server(LOOKS) as base_url:
            for _ in range(rounds):
                for client, found in costs.items():
                    found.append(measure(client, base_url, tasks, interval))
        ratios = [ours / theirs for ours, theirs in zip(costs["batch"], costs["by hand"], strict=True)]
        by_hand, batch = (statistics.median(costs[client]) for client in CLIENTS)
        print(
            f"{name:26}{by_hand:7.0f} us{batch:7.0f} us"
            f"{statistics.median(ratios):8.2f}{min(ratios):8.2f}{max(ratios):8.2f}",
            flush=True,
        )


def _child(client: str, base_url: str, tasks: str, interval: str) -> None:
    async def run() -> float:
        before = time.process_time()
        await CLIENTS[client](base_url, int(tasks), float(interval))
        return time.process_time() - before

    print(asyncio.run(run()) / (int(tasks) * LOOKS) * 1e6)


if __name__ == "__main__":
    _child(*sys.argv[1:])
