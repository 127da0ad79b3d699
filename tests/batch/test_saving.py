"""`open_batch(save_to=...)`: an outcome comes when its pictures are on disk."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from journal.conftest import open_session

from toapis_async import Completed, Failed, ImageRequest, JobState, Outcome, ResultExpiredError
from toapis_async._files.manifest import read_manifest
from toapis_async.testing import FAIL_MARKER, Simulator, faults
from toapis_async.testing.pictures import draw

pytestmark = pytest.mark.anyio

FOX = ImageRequest("a red fox", n=2)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # files are written by threads, which virtual time does not see


def completed(outcome: Outcome) -> Completed:
    assert isinstance(outcome, Completed)
    return outcome


@pytest.mark.parametrize("where", ["out", "deep/er"])
async def test_pictures_are_there_when_the_outcome_comes(sim: Simulator, tmp_path: Path, where: str) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    requests = [*(ImageRequest(f"fox {number}", n=2) for number in range(20)), ImageRequest(f"{FAIL_MARKER} fox")]
    async with open_session(sim) as session, session.open_batch(requests, save_to=tmp_path / where) as batch:
        async for outcome in batch:
            if isinstance(outcome, Failed):
                assert outcome.request == requests[-1]
                continue
            files = completed(outcome).files
            assert [file.name for file in files] == [f"{outcome.key}-{index}.png" for index in range(2)]
            assert all(file.parent == tmp_path / where and file.stat().st_size for file in files)
            assert completed(outcome).download_error is None
    assert len(list((tmp_path / where).iterdir())) == 41  # with the manifest


async def test_a_picture_that_cannot_be_saved_fails_no_task(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    sim.add_fault(faults.error(404, "gone", kind="file", nth=2, times=2))
    async with open_session(sim) as session:
        (outcome,) = await session.generate_many([FOX], save_to=tmp_path)
    error = completed(outcome).download_error
    assert isinstance(error, ResultExpiredError)
    assert error.http_status == 404
    assert (error.task_id, error.client_business_id) == (outcome.task_id, outcome.client_business_id)
    assert len(completed(outcome).files) == len(error.files) == 1
    assert not session.unfinished


async def test_a_job_whose_pictures_come_is_counted_and_kept(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    sim.add_fault(faults.hang(when="before", kind="file", times=None))
    async with open_session(sim) as session:
        async with session.open_batch(save_to=tmp_path, max_in_flight=2) as batch:
            for _ in range(10):
                batch.submit(FOX)
            with anyio.fail_after(30):
                while batch.progress.downloading < 10:
                    await anyio.lowlevel.checkpoint()
            progress = batch.progress
            assert (progress.queued, progress.posting, progress.running, progress.ended) == (0, 0, 0, 0)
            assert progress.total == 10
        assert [job.state for job in batch.unfinished] == [JobState.COMPLETED] * 10
        for job in batch.unfinished:
            error = completed(await job.wait()).download_error
            assert error is not None
            assert "the batch was left first" in error.message
            assert error.task_id == job.task_id
    assert not list(tmp_path.iterdir())


async def test_no_more_is_pulled_while_pictures_do_not_come(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(0.01, times=None))
    sim.add_fault(faults.hang(when="before", kind="file", times=None))
    async with open_session(sim) as session:
        async with session.open_batch((FOX for _ in range(100)), save_to=tmp_path, max_in_flight=2) as batch:
            with anyio.move_on_after(1):  # far more than the pace of the others takes
                while batch.progress.downloading < 10:
                    await anyio.lowlevel.checkpoint()
            assert batch.progress.downloading <= 4
        assert len(sim.charges) <= 4


async def test_draining_waits_for_the_pictures(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    async with open_session(sim) as session:
        async with session.open_batch(save_to=tmp_path, on_exit="drain") as batch:
            job = batch.submit(FOX)
            await sim.wait_for_requests("submit", 1)
        assert len(completed(await job.wait()).files) == 2


async def test_an_earlier_run_is_completed_with_its_pictures(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    journal = tmp_path / "fox.db"
    async with open_session(sim) as session:
        await session.generate_many([FOX], journal=journal)
        for files_fetched, lose in ((2, False), (2, True), (3, False)):
            (outcome,) = await session.generate_many([FOX], journal=journal, save_to=tmp_path / "out")
            assert outcome.replayed
            assert sum(record.kind == "file" for record in sim.requests) == files_fetched
            first, second = completed(outcome).files
            assert second.exists()
            if lose:
                first.unlink()
    assert len(sim.charges) == 1


async def test_keys_that_some_file_system_takes_for_one_have_files_of_their_own(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    requests = {key: ImageRequest(f"picture {key}") for key in ("Fox", "fox", "FOX", "a/b", "a_b", "con")}
    async with open_session(sim) as session:
        for folder in ("one", "two"):
            outcomes = await session.generate_many(requests.items(), save_to=tmp_path / folder)
            names = [completed(outcome).files[0].name for outcome in outcomes]
            assert len({name.casefold() for name in names}) == len(names)
            assert (names[0], names[4]) == ("Fox-0.png", "a_b-0.png")
            for request, name in zip(requests.values(), names, strict=True):
                assert (tmp_path / folder / name).read_bytes() == draw(request.prompt, 0)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(
        path.name for path in (tmp_path / "two").iterdir()
    )


async def test_a_second_run_without_a_journal_takes_no_picture_of_the_first_for_its_own(
    sim: Simulator, tmp_path: Path
) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    async with open_session(sim) as session:
        first, second = [
            completed((await session.generate_many([ImageRequest(prompt)], save_to=tmp_path))[0]).files[0]
            for prompt in ("a fox", "an owl")
        ]
    assert first.name == "0-0.png"
    assert second.name.startswith("0-0-")
    assert first.read_bytes() == draw("a fox", 0)
    assert second.read_bytes() == draw("an owl", 0)


async def test_a_failure_does_not_wait_behind_pictures(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    sim.add_fault(faults.hang(when="before", kind="file", times=None))
    requests = [*[FOX] * 20, ImageRequest(f"{FAIL_MARKER} fox"), ImageRequest("x", n=3)]
    async with open_session(sim) as session, session.open_batch(requests, save_to=tmp_path) as batch:
        with anyio.fail_after(30):
            found = [await anext(batch), await anext(batch)]
    assert {type(outcome) for outcome in found} == {Failed}
    assert {record["key"] for record in read_manifest(tmp_path)} == {"20", "21"}


async def test_what_was_replayed_and_lost_is_fetched_from_a_fresh_url(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.lasts(0.05, times=None))
    journal, out = tmp_path / "fox.db", tmp_path / "out"
    async with open_session(sim) as session:
        (outcome,) = await session.generate_many([FOX], journal=journal, save_to=out)
        (lost, kept) = completed(outcome).files
        assert outcome.task_id is not None
        sim.renew_urls(outcome.task_id)
        for expired in (False, True):
            lost.unlink()
            (outcome,) = await session.generate_many([FOX], journal=journal, save_to=out)
            assert outcome.replayed
            if not expired:
                assert completed(outcome).files == (lost, kept)
                sim.expire(outcome.task_id or "")
        error = completed(outcome).download_error
        assert isinstance(error, ResultExpiredError)
        assert error.task_id == outcome.task_id
    assert len(sim.charges) == 1


async def test_what_ends_while_the_batch_is_left_keeps_its_end(sim: Simulator, tmp_path: Path) -> None:
    sim.add_fault(faults.delay(0.3, when="before", kind="submit"))
    async with open_session(sim) as session:
        async with session.open_batch([ImageRequest("[[reject]]")], save_to=tmp_path) as batch:
            await sim.wait_for_requests("submit", 1)
        (job,) = batch.unfinished
        assert isinstance(job.outcome, Failed)
        assert await job.wait() is job.outcome
