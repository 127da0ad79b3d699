"""Clients of other services, each with the helper that it offers for waiting until a task is completed.

That of openai is the one for files, as the one for videos, the same loop, is deprecated. All are told the shortest
interval: openai and fal-client by an argument, replicate by an attribute of its client; in runwayml it is a constant,
which is replaced. runwayml and replicate may have 1,000 connections, as openai has by default: with their own 100,
what a question costs grows with the queue in front of these, and 1,000 tasks take minutes. fal-client has 100 too and
cannot be told otherwise, nor to send tasks to another host. Retries are as they come, timeouts long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from replicate.client import Client
    from runwayml import AsyncRunwayML

_PATIENCE: Final = 600.0  # seconds
_CONNECTIONS: Final = {"max_connections": 1_000, "max_keepalive_connections": 20}
_KEY: Final = "sk-bench"


async def _in_waves(waves: Sequence[Sequence[str]], wait: Callable[[str], Awaitable[object]]) -> None:
    for wave in waves:
        await asyncio.gather(*(wait(task_id) for task_id in wave))


async def poll_openai(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    milliseconds = max(1, round(interval * 1e3))
    async with _openai(origin) as client:

        async def wait(task_id: str) -> None:
            file = await client.vector_stores.files.poll(task_id, vector_store_id="vs", poll_interval_ms=milliseconds)
            assert file.status == "completed"

        await _in_waves(waves, wait)


async def submit_openai(origin: str, count: int) -> None:
    async with _openai(origin) as client:
        create = client.vector_stores.files.create
        await asyncio.gather(*(create(file_id=f"tsk_{number}", vector_store_id="vs") for number in range(count)))


def _openai(origin: str) -> AsyncOpenAI:
    from openai import AsyncOpenAI  # noqa: PLC0415

    return AsyncOpenAI(api_key=_KEY, base_url=f"{origin}/openai", timeout=_PATIENCE)


async def poll_runwayml(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    from runwayml.lib import polling  # noqa: PLC0415

    polling.__dict__.update(POLL_TIME=interval, POLL_JITTER=0)
    async with _runwayml(origin) as client:

        async def wait(task_id: str) -> None:
            task = await client.tasks.retrieve(task_id)
            if task.status != "SUCCEEDED":
                done = await task.wait_for_task_output(timeout=None)
                assert done.status == "SUCCEEDED"

        await _in_waves(waves, wait)


async def submit_runwayml(origin: str, count: int) -> None:
    async with _runwayml(origin) as client:
        create = client.text_to_image.create
        prompts = (f"a fox, take {number}" for number in range(count))
        await asyncio.gather(*(create(model="gen4_image", prompt_text=text, ratio="1024:1024") for text in prompts))


def _runwayml(origin: str) -> AsyncRunwayML:
    import httpx  # noqa: PLC0415
    from runwayml import AsyncRunwayML, DefaultAsyncHttpxClient  # noqa: PLC0415

    http = DefaultAsyncHttpxClient(limits=httpx.Limits(**_CONNECTIONS), timeout=_PATIENCE)
    return AsyncRunwayML(api_key=_KEY, base_url=f"{origin}/runwayml", http_client=http)


async def poll_replicate(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    client = _replicate(origin)
    client.poll_interval = interval

    async def wait(task_id: str) -> None:
        prediction = await client.predictions.async_get(task_id)
        await prediction.async_wait()
        assert prediction.status == "succeeded"

    await _in_waves(waves, wait)


async def submit_replicate(origin: str, count: int) -> None:
    create = _replicate(origin).predictions.async_create
    prompts = (f"a fox, take {number}" for number in range(count))
    await asyncio.gather(*(create(version="c", input={"prompt": text}) for text in prompts))


def _replicate(origin: str) -> Client:
    import httpx  # noqa: PLC0415
    from replicate.client import Client  # noqa: PLC0415

    transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(**_CONNECTIONS))
    timeout = httpx.Timeout(_PATIENCE)
    return Client(api_token=_KEY, base_url=f"{origin}/replicate", timeout=timeout, transport=transport)


async def poll_fal_client(origin: str, waves: Sequence[Sequence[str]], interval: float) -> None:
    from fal_client import AsyncClient  # noqa: PLC0415

    client = AsyncClient(key=_KEY, default_timeout=_PATIENCE)

    async def wait(task_id: str) -> None:
        place = f"{origin}/fal/a/b/requests/{task_id}"
        handle = await client.get_handle("a/b", task_id)
        result = await replace(handle, response_url=place, status_url=f"{place}/status").get(interval=interval)
        assert result["images"]

    await _in_waves(waves, wait)
