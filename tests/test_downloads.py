"""Pictures reach the disk whole, checked and named by their content, or not at all."""

from __future__ import annotations

import asyncio
import base64
import stat
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from toapis_async import DownloadError, GeneratedImage, GenerationTask, ImageRequest, TaskStatus, ToapisSession
from toapis_async._files.images import extension_of
from toapis_async.testing import Fault, Reply, Simulator, VirtualClockEventLoop, faults
from toapis_async.testing.pictures import draw

pytestmark = pytest.mark.anyio

PNG = draw("a fox", 0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # files are written by threads, which virtual time does not see


@pytest.fixture
async def task(sim: Simulator, session: ToapisSession) -> GenerationTask:
    """A finished task with two pictures."""
    accepted = await session.submit(ImageRequest("a red fox", n=2))
    sim.complete(accepted.id)
    return await session.get(accepted.id)


def task_with(*urls: str, task_id: str = "tsk_1") -> GenerationTask:
    images = tuple(GeneratedImage(url=url) for url in urls)
    return GenerationTask(id=task_id, status=TaskStatus.COMPLETED, images=images)


def files(sim: Simulator) -> int:
    return sum(record.kind == "file" for record in sim.requests)


async def test_pictures_are_saved_in_order_and_named_by_id_and_content(
    session: ToapisSession, task: GenerationTask, tmp_path: Path
) -> None:
    saved = await session.download(task, tmp_path / "new" / "folder")
    assert [path.name for path in saved] == [f"{task.id}-0.png", f"{task.id}-1.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in saved)
    assert sorted(saved[0].parent.iterdir()) == sorted(saved)


async def test_the_key_does_not_go_to_the_result_host(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    await session.download(task, tmp_path)
    fetched = [record for record in sim.requests if record.kind == "file"]
    assert len(fetched) == 2
    for record in fetched:
        assert "authorization" not in record.headers
        assert "cookie" not in record.headers


async def test_a_picture_that_is_there_is_not_fetched_again(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    first = await session.download(task, tmp_path)
    assert await session.download(task, tmp_path) == first
    assert files(sim) == 2
    first[0].write_bytes(b"old")
    assert await session.download(task, tmp_path, overwrite=True) == first
    assert files(sim) == 4
    assert first[0].read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(sys.platform == "win32", reason="file modes are a POSIX matter")
@pytest.mark.parametrize("overwrite", [False, True])
async def test_what_an_earlier_run_left_of_the_same_picture_is_replaced(
    session: ToapisSession, task: GenerationTask, tmp_path: Path, overwrite: bool
) -> None:
    stale = tmp_path / f"{task.id}-0.jpg"
    stale.write_bytes(b"\xff\xd8\xff" if overwrite else b"")
    files = await session.download(task, tmp_path, overwrite=overwrite)
    assert files[0].suffix == ".png"
    assert files[0].stat().st_size
    assert not stale.exists()


async def test_a_task_without_pictures_is_an_error(session: ToapisSession, tmp_path: Path) -> None:
    queued = await session.submit(ImageRequest("a slow fox"))
    with pytest.raises(DownloadError, match=r"has none.*queued") as caught:
        await session.download(queued, tmp_path)
    assert caught.value.task_id == queued.id
    assert not list(tmp_path.iterdir())


async def test_files_get_ordinary_permissions(session: ToapisSession, task: GenerationTask, tmp_path: Path) -> None:
    (plain := tmp_path / "plain").touch()
    saved = await session.download(task, tmp_path)
    assert stat.S_IMODE(saved[0].stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize(
    ("head", "extension"),
    [
        (PNG, ".png"),
        (b"\xff\xd8\xff\xe0JFIF", ".jpg"),
        (b"RIFF\x00\x00\x00\x00WEBP", ".webp"),
        (b"GIF89a", ".gif"),
        (b"GIF87a", ".gif"),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"<html>", None),
        (b"", None),
    ],
)
async def test_the_extension_follows_the_content(head: bytes, extension: str | None) -> None:
    assert extension_of(head[:12]) == extension


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (faults.reply_with(Reply(body=b"<html>expired</html>"), when="before", kind="file"), "no picture"),
        (faults.reply_with(Reply(body=b""), when="before", kind="file"), "no picture"),
        (faults.truncate(kind="file"), "breaks off"),
        (faults.reply_with(Reply(status=404), when="before", kind="file", times=2), "HTTP 404"),
        (faults.reply_with(Reply(status=400), when="before", kind="file"), "HTTP 400"),
        (faults.redirect("ftp://127.0.0.1/x", kind="file", times=None), "ftp is not http or https"),
    ],
    ids=["html", "empty", "half", "404", "400", "redirect"],
)
async def test_what_is_no_picture_leaves_no_file(
    session: ToapisSession,
    task: GenerationTask,
    sim: Simulator,
    tmp_path: Path,
    fault: Any,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("toapis_async._files.fetching._ATTEMPTS", 1)
    sim.add_fault(fault)
    with pytest.raises(DownloadError, match=reason) as caught:
        await session.download(task, tmp_path)
    assert caught.value.task_id == task.id
    assert caught.value.url == task.images[0].url
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "fault",
    [
        faults.cut(40, kind="file"),
        faults.truncate(kind="file"),
        faults.drop(when="after", kind="file", times=2),
        faults.reply_with(Reply(status=503), when="before", kind="file", times=2),
    ],
    ids=["cut", "half", "reset", "503"],
)
async def test_a_passing_failure_is_tried_again(
    session: ToapisSession,
    task: GenerationTask,
    sim: Simulator,
    tmp_path: Path,
    fault: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from toapis_async import Backoff

    monkeypatch.setattr("toapis_async._files.fetching._BACKOFF", Backoff(initial=0.001, maximum=0.001))
    sim.add_fault(fault)
    saved = await session.download(task, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(saved)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": VirtualClockEventLoop})], ids=["virtual"])
@pytest.mark.parametrize(
    ("fault", "silence"),
    [
        (faults.reply_with(Reply(status=429), when="before", kind="file", times=None), 0),
        (faults.reply_with(Reply(status=500), when="before", kind="file", times=None), 0),
        (faults.hang(when="before", kind="file", times=None), 60),
    ],
    ids=["429", "500", "silence"],
)
async def test_a_picture_is_asked_for_four_times(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path, fault: Fault, silence: int
) -> None:
    sim.add_fault(fault)
    with pytest.raises(DownloadError):
        await session.download(task, tmp_path)
    asked = [record.at for record in sim.requests if record.kind == "file"]
    waits = [after - before - silence for before, after in pairwise(asked)]
    assert waits == pytest.approx([0.5, 1, 2], abs=0.1)
    assert list(tmp_path.iterdir()) == []


async def test_a_picture_is_on_the_disk_before_it_has_its_name(
    session: ToapisSession, task: GenerationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[list[str]] = []

    def note(_: int) -> None:
        flushed.append(sorted(path.suffix for path in tmp_path.iterdir()))

    monkeypatch.setattr("os.fsync", note)
    await session.download(task, tmp_path)
    assert flushed == [[".part"], [".part", ".png"]]


async def test_a_picture_in_pieces_is_put_together(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    (whole, _) = await session.download(task, tmp_path)
    content = whole.read_bytes()
    sim.add_fault(faults.dribble(100, 0.0, chunked=True, kind="file", times=None))
    await session.download(task, tmp_path, overwrite=True)
    assert whole.read_bytes() == content


async def test_an_error_names_the_pictures_that_are_saved(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    sim.add_fault(faults.reply_with(Reply(status=404), when="before", kind="file", nth=2, times=2))
    with pytest.raises(DownloadError) as caught:
        await session.download(task, tmp_path)
    assert caught.value.files == (tmp_path / f"{task.id}-0.png",)
    assert caught.value.url == task.images[1].url


async def test_a_file_too_large_is_refused(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    for fault in (None, faults.dribble(64, 0.0, chunked=True, kind="file")):
        if fault:
            sim.add_fault(fault)
        with pytest.raises(DownloadError, match="larger than 100 bytes"):
            await session.download(task, tmp_path, max_bytes=100)
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="max_bytes: 0 is not 1 or more"):
        await session.download(task, tmp_path, max_bytes=0)


async def test_a_folder_that_cannot_be_written_is_told(
    session: ToapisSession, task: GenerationTask, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="cannot write"):
        await session.download(task, tmp_path / "file")


async def test_cancelling_leaves_no_half_file(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    sim.add_fault(faults.dribble(50, float("inf"), kind="file", nth=2))
    saving = asyncio.create_task(session.download(task, tmp_path))
    await sim.wait_for_requests("file", 2)
    saving.cancel()
    await asyncio.wait([saving])
    assert [path.name for path in tmp_path.iterdir()] == [f"{task.id}-0.png"]


async def test_a_data_uri_is_a_picture_too(session: ToapisSession, tmp_path: Path) -> None:
    uri = "data:image/png;base64," + base64.b64encode(PNG).decode()
    (saved,) = await session.download(task_with(uri), tmp_path)
    assert saved.read_bytes() == PNG
    with pytest.raises(DownloadError, match="base64"):
        await session.download(task_with("data:image/png;base64,???", task_id="tsk_2"), tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a/b", "nothing"])
async def test_only_http_urls_are_fetched(session: ToapisSession, tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="not http or https"):
        await session.download(task_with(url), tmp_path)


async def test_an_unreachable_host_is_told(
    session: ToapisSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toapis_async._files.fetching._ATTEMPTS", 1)
    async with Simulator() as gone:
        url = gone.base_url + "/x.png"
    with pytest.raises(DownloadError, match="ClientConnectorError"):
        await session.download(task_with(url), tmp_path)


@pytest.mark.parametrize(
    "url", ["http://[x]/1.png", "http://" + "a" * 70 + ".example/1.png", "data:image/png;base64,\u00e9"]
)
async def test_a_url_that_is_none_is_told(session: ToapisSession, tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError) as caught:
        await session.download(task_with(url), tmp_path)
    assert caught.value.url == url
    assert not list(tmp_path.iterdir())


async def test_a_picture_that_trickles_for_ever_is_given_up(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toapis_async._files.fetching._LONGEST_SECONDS", 0.05)
    monkeypatch.setattr("toapis_async._files.fetching._ATTEMPTS", 1)
    sim.add_fault(faults.hang(when="before", kind="file", times=None))
    with pytest.raises(DownloadError, match="not complete after"):
        await session.download(task, tmp_path)
    assert not list(tmp_path.iterdir())
