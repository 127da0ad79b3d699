"""Clients of other services, each with the helper that it offers for waiting until a task is completed.

That of openai is the one for files, as the one for videos, the same loop, is deprecated. All are told the shortest
interval: openai and fal-client by an argument, replicate by an attribute of its client; in runwayml it is a constant,
which is replaced. runwayml and replicate may have 1,000 connections, as openai has by default: with their own 100,
what a question costs grows with the queue in front of these, and 1,000 tasks take minutes. fal-client has 100 too and
cannot be told otherwise. Retries are as they come, timeouts long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

_PATIENCE: Final = 600.0  # seconds
_CONNECTIONS: Final = {"max_connections": 1_000, "max_keepalive_connections": 20}
_KEY: Final = "sk-bench"


async def _in_waves(waves: Sequence[Sequence[str]], wait: Callable[[str], Awaitable[object]]) -> None:
    for wave in waves:
        await asyncio.gather(*(wait(task_id) for task_id in wave))


async def openai(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    from openai import AsyncOpenAI  # noqa: PLC0415

    milliseconds = max(1, round(interval * 1e3))
    async with AsyncOpenAI(api_key=_KEY, base_url=f"{origin}/openai", timeout=_PATIENCE) as client:

        async def wait(task_id: str) -> None:
            file = await client.vector_stores.files.poll(task_id, vector_store_id="vs", poll_interval_ms=milliseconds)
            assert file.status == "completed"

        await _in_waves(waves, wait)


async def runwayml(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    import httpx  # noqa: PLC0415
    from runwayml import AsyncRunwayML, DefaultAsyncHttpxClient  # noqa: PLC0415
    from runwayml.lib import polling  # noqa: PLC0415

    polling.__dict__.update(POLL_TIME=interval, POLL_JITTER=0)
    http = DefaultAsyncHttpxClient(limits=httpx.Limits(**_CONNECTIONS), timeout=_PATIENCE)
    async with AsyncRunwayML(api_key=_KEY, base_url=f"{origin}/runwayml", http_client=http) as client:

        async def wait(task_id: str) -> None:
            task = await client.tasks.retrieve(task_id)
            if task.status != "SUCCEEDED":
                done = await task.wait_for_task_output(timeout=None)
                assert done.status == "SUCCEEDED"

        await _in_waves(waves, wait)


async def replicate(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    import httpx  # noqa: PLC0415
    from replicate.client import Client  # noqa: PLC0415

    transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(**_CONNECTIONS))
    timeout = httpx.Timeout(_PATIENCE)
    client = Client(api_token=_KEY, base_url=f"{origin}/replicate", timeout=timeout, transport=transport)
    client.poll_interval = interval

    async def wait(task_id: str) -> None:
        prediction = await client.predictions.async_get(task_id)
        await prediction.async_wait()
        assert prediction.status == "succeeded"

    await _in_waves(waves, wait)


async def fal_client(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    from fal_client import AsyncClient  # noqa: PLC0415

    client = AsyncClient(key=_KEY, default_timeout=_PATIENCE)

    async def wait(task_id: str) -> None:
        place = f"{origin}/fal/a/b/requests/{task_id}"
        handle = await client.get_handle("a/b", task_id)
        result = await replace(handle, response_url=place, status_url=f"{place}/status").get(interval=interval)
        assert result["images"]

    await _in_waves(waves, wait)
