"""aiohttp by hand with every setting that makes it faster, and no other work: what could be reached on it.

A waiting task is an entry in a heap of due times, and a fixed number of workers ask. Nothing is checked, typed,
paced or learned.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import Sequence
from typing import Final

import aiohttp
from yarl import URL

_WORKERS: Final = 60  # as many as a batch has
_PATH: Final = "/v1/images/generations"


async def poll(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    clock = asyncio.get_running_loop().time
    heap: list[tuple[float, int, URL]] = []

    async def work() -> None:
        # Where the heap is empty, those who are asking are at least as many as the tasks that are left.
        while heap:
            due, number, url = heapq.heappop(heap)
            if (delay := due - clock()) > 0:
                await asyncio.sleep(max(delay, 0.001))
            response = await http.get(url, allow_redirects=False)
            if json.loads(await response.read())["status"] != "completed":
                heapq.heappush(heap, (clock() + interval, number, url))

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Authorization": "Bearer sk-bench"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
    ) as http:
        for wave in waves:
            heap += [
                (0.0, number, URL(f"{origin}{_PATH}/{task_id}", encoded=True)) for number, task_id in enumerate(wave)
            ]
            await asyncio.gather(*(work() for _ in range(_WORKERS)))
