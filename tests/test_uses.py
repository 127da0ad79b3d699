"""The three kinds of use, over real sockets: a web handler, a script, a pipeline."""

from __future__ import annotations

import asyncio
import csv
import gc
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from toapis_async import Backoff, Completed, GenerationTask, ImageRequest, Job, Outcome, RateLimits, ToapisSession
from toapis_async._submission import Submission
from toapis_async._watch import Watch
from toapis_async.testing import Simulator

pytestmark = pytest.mark.anyio

PROMPTS = Path(__file__).parents[2] / "shared" / "data" / "PartiPrompts.tsv"
FAST = RateLimits(submit_per_second=2000, submit_burst=200, query_per_second=5000, query_burst=500)


async def test_a_web_handler_awaits_generate_and_may_be_cancelled_by_its_server(
    session: ToapisSession, sim: Simulator
) -> None:
    cancelled = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        try:
            task = await session.generate(ImageRequest(request.query["prompt"]))
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return web.json_response({"url": task.images[0].url})

    app = web.Application()
    app.router.add_get("/draw", handle)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession(f"http://{host}:{port}") as browser:
            replies = await asyncio.gather(*(draw(browser, f"fox {number}") for number in range(5)))
            assert len(set(replies)) == 5
            impatient = asyncio.create_task(draw(browser, "slow fox"))
            await sim.wait_for_requests("submit", 6)
            impatient.cancel()
            await cancelled.wait()
    finally:
        await runner.cleanup()
    (left,) = session.unfinished
    assert left.request == ImageRequest("slow fox")
    assert (await session.wait(left.resume_id)).images
    assert len(sim.charges) == 6


async def draw(browser: aiohttp.ClientSession, prompt: str) -> str:
    async with browser.get("/draw", params={"prompt": prompt}) as response:
        url: str = (await response.json())["url"]
        return url


async def test_a_script_runs_a_batch(session: ToapisSession) -> None:
    async with session.open_batch([ImageRequest(f"fox {number}") for number in range(12)]) as batch:
        urls = [outcome.unwrap().images[0].url async for outcome in batch]
    assert len(set(urls)) == 12


async def test_a_pipeline_feeds_and_is_fed_with_back_pressure(session: ToapisSession, sim: Simulator) -> None:
    waiting: asyncio.Queue[GenerationTask] = asyncio.Queue(2)
    produced = consumed = furthest = 0

    async def source() -> AsyncIterator[ImageRequest]:
        nonlocal produced, furthest
        for number in range(40):
            await asyncio.sleep(0.1)
            produced += 1
            furthest = max(furthest, produced - consumed)
            yield ImageRequest(f"fox {number}")

    async def sink() -> None:
        nonlocal consumed
        while consumed < 40:
            await waiting.get()
            await asyncio.sleep(30)
            consumed += 1

    slow = asyncio.create_task(sink())
    async with session.open_batch(source(), max_in_flight=4) as batch:
        async for outcome in batch:
            await waiting.put(outcome.unwrap())
    await slow
    assert consumed == len(sim.charges) == 40
    # in flight + ended and not taken + between stages: the source was never ahead by more
    assert furthest <= 2 * 4 + 2 + 3


def prompts() -> list[str]:
    if not PROMPTS.exists():  # they lie beside the project, not in it
        return [f"a {adjective} fox, take {take}" for take in range(816) for adjective in ("red", "blue")]
    with PROMPTS.open(encoding="utf-8", newline="") as file:
        return [row["Prompt"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def alive() -> Counter[Any]:
    kinds = (Job, Submission, Watch, GenerationTask)
    return Counter(type(thing) for thing in gc.get_objects() if isinstance(thing, kinds))


async def test_all_prompts_run_once_each_in_flat_memory() -> None:
    texts = prompts()
    assert len(texts) == 1632
    seen: set[str] = set()
    most = 0
    outcome: Outcome | None = None
    gc.collect()  # what other tests left
    before = alive()
    async with (
        Simulator(time_factor=10, limits=None) as sim,
        ToapisSession(sim.api_key, base_url=sim.base_url, limits=FAST, poll=Backoff(initial=0.2, maximum=3)) as session,
    ):
        async with session.open_batch(map(ImageRequest, texts), max_in_flight=256) as batch:
            async for outcome in batch:
                assert isinstance(outcome, Completed)
                assert outcome.key not in seen
                seen.add(outcome.key)
                if len(seen) % 200 == 0:
                    most = max(most, *(alive() - before).values())
            outcome = None
        assert sorted(charge.prompt for charge in sim.charges) == sorted(texts)
    assert len(seen) == 1632
    assert most <= 2 * 256 + 64
    gc.collect()
    assert alive() <= before
