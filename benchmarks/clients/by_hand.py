"""The loop that most people would write by hand, on aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp

_HEADERS = {"Authorization": "Bearer sk-bench"}


async def poll(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    async def wait(http: aiohttp.ClientSession, task_id: str) -> None:
        while True:
            async with http.get(f"{origin}/v1/images/generations/{task_id}") as response:
                response.raise_for_status()
                body = await response.json()
            if body["status"] == "completed":
                return
            await asyncio.sleep(interval)

    async with aiohttp.ClientSession(headers=_HEADERS) as http:
        for wave in waves:
            await asyncio.gather(*(wait(http, task_id) for task_id in wave))


async def submit(origin: str, count: int) -> None:
    async def send(http: aiohttp.ClientSession, number: int) -> None:
        request = {"model": "grok-4-1-image", "prompt": f"a fox, take {number}"}
        async with http.post(f"{origin}/v1/images/generations", json=request) as response:
            response.raise_for_status()
            body = await response.json()
        assert body["status"] == "completed"

    async with aiohttp.ClientSession(headers=_HEADERS) as http:
        await asyncio.gather(*(send(http, number) for number in range(count)))
