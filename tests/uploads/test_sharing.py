"""Many requests share a picture: it goes up once, whoever comes first and whatever becomes of it."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from toapis_async import Completed, ImageRequest, InvalidRequestError, ServerError, ToapisSession
from toapis_async.testing import Simulator, faults

from .common import CAT, JPEG, WEBP, kinds, open_session, sent_images

pytestmark = pytest.mark.anyio


async def test_500_requests_that_share_3_pictures_upload_3(session: ToapisSession, sim: Simulator, cat: Path) -> None:
    sources: list[Path | bytes] = [cat, JPEG, WEBP]
    requests = [ImageRequest(f"fox {number}", images=sources) for number in range(500)]
    async with anyio.create_task_group() as group:
        for request in requests:
            group.start_soon(session.submit, request)
    assert len(sim.uploads) == 3
    assert kinds(sim).count("upload") == 3
    assert len(sim.charges) == 500
    urls = {upload.sha256: upload.url for upload in sim.uploads}
    expected = [urls[hashlib.sha256(content).hexdigest()] for content in (CAT, JPEG, WEBP)]
    assert all(images == expected for images in sent_images(sim))


async def test_500_jobs_that_share_3_pictures_upload_3(session: ToapisSession, sim: Simulator, cat: Path) -> None:
    sources = [cat, JPEG, WEBP]
    requests = [ImageRequest(f"fox {number}", images=[sources[number % 3]]) for number in range(500)]
    outcomes = await session.generate_many(requests)
    assert all(isinstance(outcome, Completed) for outcome in outcomes)
    assert len(sim.uploads) == 3
    assert len(sim.charges) == 500


async def test_at_most_four_are_uploaded_at_once(session: ToapisSession, sim: Simulator) -> None:
    release = anyio.Event()
    sim.add_fault(faults.delay(0.05, when="before", kind="upload", times=None))
    most = 0

    async def watch() -> None:
        nonlocal most
        while not release.is_set():
            most = max(most, sum(record.kind == "upload" and record.status is None for record in sim.requests))
            await anyio.sleep(0.005)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        await session.generate_many([ImageRequest("a fox", images=[CAT + bytes([n])]) for n in range(12)])
        release.set()
    assert len(sim.uploads) == 12
    assert most == 4


async def test_bytes_that_were_refused_are_not_sent_again(session: ToapisSession, sim: Simulator, cat: Path) -> None:
    sim.add_fault(faults.error(400, "", "Unsupported image type", shape="success", kind="upload"))
    for source in (cat, CAT):
        with pytest.raises(InvalidRequestError):
            await session.upload_image(source)
    assert kinds(sim) == ["upload"]


async def test_those_who_share_an_upload_share_its_failure_and_the_next_tries_again(sim: Simulator, cat: Path) -> None:
    sim.add_fault(faults.delay(0.1, when="before", kind="upload"))
    sim.add_fault(faults.error(500, "internal_error", kind="upload"))
    errors: list[str] = []

    async def fail(session: ToapisSession, number: int) -> None:
        with pytest.raises(ServerError) as caught:
            await session.generate(ImageRequest("a fox", images=["https://a.example/1.png"] * number + [cat]))
        errors.append(caught.value.message[:26])

    async with open_session(sim, attempts=1) as session:
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(fail, session, number)
        assert sorted(errors) == [f"Could not upload images[{number}]" for number in range(5)]
        assert kinds(sim) == ["upload"]
        await session.generate(ImageRequest("a fox", images=[cat]))
    assert len(sim.charges) == 1


@pytest.mark.parametrize("how", ["anyio", "asyncio"])
async def test_cancelling_the_first_of_several_who_share_an_upload_fails_nobody_else(
    session: ToapisSession, sim: Simulator, cat: Path, how: str
) -> None:
    sim.add_fault(faults.hang(when="before", kind="upload"))
    urls: list[str] = []
    scope = anyio.CancelScope()
    firsts: list[asyncio.Task[object] | None] = []

    async def first() -> None:
        firsts.append(asyncio.current_task())
        with suppress(asyncio.CancelledError), scope:
            await session.upload_image(cat)

    async def other() -> None:
        urls.append(await session.upload_image(cat))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(first)
            await sim.wait_for_requests("upload", 1)
            for _ in range(3):
                group.start_soon(other)
            await anyio.sleep(0.05)
            assert kinds(sim) == ["upload"]
            if how == "anyio":
                scope.cancel()
            else:
                (task,) = firsts
                assert task is not None
                task.cancel()
    assert len(sim.uploads) == 1
    assert urls == [sim.uploads[0].url] * 3
