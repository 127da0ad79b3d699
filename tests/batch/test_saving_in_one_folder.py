"""Several runs and batches that save into one folder: nobody gets, or overwrites, another task's picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from journal.conftest import open_session

from toapis_async import Backoff, Completed, DownloadError, ImageRequest, Outcome, ToapisSession
from toapis_async.testing import Fault, Simulator, faults

pytestmark = pytest.mark.anyio

RED, BLUE = ImageRequest("a red fox"), ImageRequest("a blue fox")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # files are written by threads, which virtual time does not see


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, sim: Simulator) -> None:
    monkeypatch.setattr("toapis_async._files.fetching._BACKOFF", Backoff(initial=0.001, maximum=0.001))
    sim.add_fault(faults.lasts(0.05, times=None))


async def run(sim: Simulator, request: ImageRequest, out: Path, journal: Path) -> Outcome:
    async with open_session(sim) as session:
        (outcome,) = await session.generate_many([("fox", request)], save_to=out, journal=journal)
    return outcome


def picture_of(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Completed)
    (file,) = outcome.files
    return file.read_bytes()


@pytest.mark.parametrize(
    "make_fault",
    [lambda: faults.error(404, "gone", kind="file", times=2), lambda: faults.respell(lambda _: "failed", kind="query")],
    ids=["not saved", "failed"],
)
async def test_a_key_used_again_does_not_get_the_picture_of_another_task(
    sim: Simulator, tmp_path: Path, make_fault: Callable[[], Fault]
) -> None:
    out, one, two = tmp_path / "out", tmp_path / "one.db", tmp_path / "two.db"
    red = picture_of(await run(sim, RED, out, one))
    sim.add_fault(make_fault())
    ended = await run(sim, BLUE, out, two)
    assert not (isinstance(ended, Completed) and ended.files)
    async with open_session(sim) as session:
        (outcome,) = await session.generate_many([("fox", BLUE)], save_to=out, journal=two, retry_failed=True)
    assert picture_of(outcome) != red
    assert picture_of(await run(sim, RED, out, one)) == red


async def test_a_picture_of_which_nothing_is_known_is_compared(sim: Simulator, tmp_path: Path) -> None:
    out, journal = tmp_path / "out", tmp_path / "one.db"
    async with open_session(sim) as session:
        await session.generate_many([("fox", RED)], journal=journal)
        (other,) = await session.generate_many([("fox", BLUE)])
        assert isinstance(other, Completed)
        (blue,) = await session.download(other, out)
    content = blue.read_bytes()
    assert picture_of(await run(sim, RED, out, journal)) != content
    assert blue.read_bytes() == content


async def test_a_folder_with_the_name_of_a_picture_is_none(session: ToapisSession, tmp_path: Path) -> None:
    task = await session.generate(RED)
    (tmp_path / f"{task.id}-0.png").mkdir()
    with pytest.raises(DownloadError, match="directory"):
        await session.download(task, tmp_path)


async def test_two_batches_with_the_same_keys_lose_no_picture(sim: Simulator, tmp_path: Path) -> None:
    outcomes: list[Outcome] = []

    async def save(session: ToapisSession, word: str, out: Path) -> None:
        outcomes.extend(await session.generate_many([ImageRequest(f"{word} {n}") for n in range(8)], save_to=out))

    async with open_session(sim) as session:
        for number in range(10):
            async with anyio.create_task_group() as group:
                for word in ("cat", "dog"):
                    group.start_soon(save, session, word, tmp_path / str(number))
    files = [file for outcome in outcomes if isinstance(outcome, Completed) for file in outcome.files]
    assert len(files) == len(set(files)) == 160
    assert len({file.read_bytes() for file in files}) == 16
