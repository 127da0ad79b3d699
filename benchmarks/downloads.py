"""What downloads cost: how late a batch looks at its tasks while 64 pictures come, and memory for a large one.

Each run is a process of its own, and so is the server. Runs are interleaved. A look is late by the time from
when it was due to when its answer was read.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.clients.ours import UNLIMITED
from benchmarks.files import file_server
from benchmarks.processes import most_memory
from benchmarks.server import status_server
from benchmarks.table import Report, Row
from toapis_async import Backoff, GeneratedImage, GenerationTask, TaskStatus, ToapisSession
from toapis_async.instrumentation import Event, TaskEnded

LOOKS = 8
TASKS = 200
INTERVAL = 0.25  # seconds between two looks at one task
DOWNLOADS = 64
SIZE = 4_000_000  # bytes of one picture
RATES = {"no downloads": None, "64 downloads, 1 MB/s each": 1_000_000, "64 downloads, unbounded": 0}


async def delays(base_url: str, files_url: str, rate: int | None) -> list[float]:
    """Return by how many seconds the looks at each task were late on average."""
    found: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, TaskEnded):
            found.append((event.seconds - (event.looks - 1) * INTERVAL) / event.looks)

    schedule = Backoff(initial=INTERVAL, factor=1, maximum=INTERVAL, jitter=0)
    with tempfile.TemporaryDirectory() as folder:
        async with ToapisSession(
            "sk-bench", base_url=base_url, limits=UNLIMITED, poll=schedule, observers=[observe]
        ) as session:
            count = 0 if rate is None else DOWNLOADS
            url = f"{files_url}/{SIZE}/{rate}"
            downloads = [
                asyncio.create_task(fetch_forever(session, f"{url}/{number}", folder)) for number in range(count)
            ]
            await asyncio.sleep(0.5 if downloads else 0)  # until all are on their way
            async with session.open_batch() as batch:
                for number in range(TASKS):
                    batch.attach(f"tsk_{number}")
                async for outcome in batch:
                    outcome.unwrap()
            for download in downloads:
                assert not download.done()
                download.cancel()
            await asyncio.gather(*downloads, return_exceptions=True)
    return found


async def fetch_forever(session: ToapisSession, url: str, folder: str) -> None:
    while True:
        await session.download(finished(url), folder, overwrite=True)


def finished(url: str) -> GenerationTask:
    name = url.rpartition("/")[2]
    return GenerationTask(id=f"tsk_{name}", status=TaskStatus.COMPLETED, images=(GeneratedImage(url=url),))


async def fetch_one(files_url: str, size: int) -> tuple[float, float, float]:
    """Return seconds, and the most memory in MB before and after."""
    with tempfile.TemporaryDirectory() as folder:
        async with ToapisSession("sk-bench", base_url="http://127.0.0.1/v1") as session:
            await session.download(finished(f"{files_url}/1000/0/small"), folder)  # loads what loads late
            before = most_memory()
            started = time.perf_counter()
            (file,) = await session.download(finished(f"{files_url}/{size}/0/large"), folder, max_bytes=2 * size)
            seconds = time.perf_counter() - started
            assert file.stat().st_size > size
    return seconds, before, most_memory()


def measure(*arguments: object) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.downloads", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=600)
    return [float(word) for word in done.stdout.split()]


def run(*, quick: bool) -> Report:
    rounds = 1 if quick else 3
    found: dict[str, list[list[float]]] = {name: [] for name in RATES}
    with file_server() as files_url:
        for _ in range(rounds):
            for name, rate in RATES.items():
                with status_server(LOOKS) as base_url:
                    found[name].append(measure("delays", base_url, files_url, "" if rate is None else rate))
        size = 100_000_000 if quick else 1_000_000_000
        seconds, before, after = measure("one", files_url, size)
    rows: list[Row] = []
    for name, late in found.items():
        rows += [
            Row(f"a look is late, {name}: median", [1e3 * statistics.median(each) for each in late], "ms"),
            Row(
                f"a look is late, {name}: 99 of 100",
                [1e3 * statistics.quantiles(each, n=100)[98] for each in late],
                "ms",
            ),
        ]
    return Report([
        *rows,
        Row(f"a picture of {size / 1e6:,.0f} MB, a second", [size / seconds / 1e6], "MB"),
        Row("most memory before it", [before], "MB"),
        Row("most memory after it", [after], "MB"),
    ])


if __name__ == "__main__":
    if sys.argv[1] == "delays":
        print(*asyncio.run(delays(sys.argv[2], sys.argv[3], int(sys.argv[4]) if sys.argv[4] else None)))
    else:
        print(*asyncio.run(fetch_one(sys.argv[2], int(sys.argv[3]))))
