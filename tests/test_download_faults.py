"""What servers do to a download: it goes on, starts anew or fails, and never leaves a part under a final name."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import pytest
from attrs import evolve
from processes import running

from toapis_async import (
    Backoff,
    DownloadError,
    GeneratedImage,
    GenerationTask,
    ImageRequest,
    ResultExpiredError,
    TaskStatus,
    ToapisSession,
)
from toapis_async._files import parts
from toapis_async._files.images import check_picture
from toapis_async.testing import Fault, Reply, Simulator, faults
from toapis_async.testing.pictures import draw

pytestmark = pytest.mark.anyio

WHOLE = draw("a red fox", 0)
CUT = 200  # bytes
STOPS = (faults.dribble(CUT, 0.02, kind="file"), faults.cut(CUT * 2, kind="file"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # files are written by threads, which virtual time does not see


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toapis_async._files.fetching._BACKOFF", Backoff(initial=0.001, maximum=0.001))


@pytest.fixture
async def task(sim: Simulator, session: ToapisSession) -> GenerationTask:
    accepted = await session.submit(ImageRequest("a red fox"))
    sim.complete(accepted.id)
    return await session.get(accepted.id)


def asked_ranges(sim: Simulator) -> list[str | None]:
    return [record.headers.get("Range") for record in sim.requests if record.kind == "file"]


def with_headers(**headers: str) -> Callable[[Reply], Reply]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda reply: evolve(reply, headers={**reply.headers, **named})


def without(*names: str) -> Callable[[Reply], Reply]:
    return lambda reply: evolve(reply, headers={n: v for n, v in reply.headers.items() if n not in names})


def dated(moment: str) -> Callable[[Reply], Reply]:
    return lambda reply: evolve(reply, headers={"Last-Modified": moment})


def only_the_end(reply: Reply) -> Reply:
    """Leave out the middle of a picture: it begins and ends like one."""
    return evolve(reply, body=reply.body[-20:])


async def saved(session: ToapisSession, task: GenerationTask, folder: Path) -> None:
    with anyio.fail_after(30):
        (file,) = await session.download(task, folder)
    assert file.read_bytes() == WHOLE
    assert list(folder.iterdir()) == [file]


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
async def test_a_download_that_was_cut_goes_on_where_it_was(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path, reset: bool
) -> None:
    sim.add_fault(faults.dribble(CUT, 0.05, kind="file"))
    sim.add_fault(faults.cut(CUT * 2, reset=reset, kind="file"))
    await saved(session, task, tmp_path)
    first, second = asked_ranges(sim)
    assert first is None
    assert second in {f"bytes={CUT}-", f"bytes={CUT * 2}-"}
    assert "If-Range" in [r for r in sim.requests if r.kind == "file"][1].headers


@pytest.mark.parametrize(
    ("on_first", "on_second", "ranges"),
    [
        ([faults.transform(with_headers(ETag='"old"'), kind="file")], [], 2),
        ([], [faults.transform(with_headers(ETag='"new"'), kind="file", nth=2)], 3),
        ([], [faults.transform(with_headers(Content_Range="bytes 0-9/10"), kind="file", nth=2)], 3),
        ([], [faults.transform(with_headers(Content_Range="nonsense"), kind="file", nth=2)], 3),
        ([], [faults.transform(only_the_end, kind="file", nth=2)], 3),
        ([], [faults.reply_with(Reply(status=416), when="before", kind="file", nth=2)], 3),
        ([], [faults.reply_with(Reply(status=503), when="before", kind="file", nth=2)], 3),
        ([], [faults.reply_with(Reply(body=WHOLE), when="before", kind="file", nth=2)], 2),
    ],
    ids=["changed before", "changed since", "another part", "no part", "a hole", "416", "503", "200"],
)
async def test_a_download_that_cannot_go_on_starts_anew(
    session: ToapisSession,
    task: GenerationTask,
    sim: Simulator,
    tmp_path: Path,
    on_first: list[Fault],
    on_second: list[Fault],
    ranges: int,
) -> None:
    for fault in (*STOPS, *on_first, *on_second):
        sim.add_fault(fault)
    await saved(session, task, tmp_path)
    assert len(asked_ranges(sim)) == ranges


@pytest.mark.parametrize(
    "change",
    [
        without("ETag"),
        with_headers(ETag='W/"weak"'),
        with_headers(Accept_Ranges="none"),
        dated("nonsense"),
        dated("Sun, 22 Nov 2099 20:00:00 GMT"),
    ],
    ids=["no tag", "weak tag", "no ranges", "no date", "date of now"],
)
async def test_nothing_is_pieced_together_of_what_may_differ(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path, change: Callable[[Reply], Reply]
) -> None:
    for fault in (*STOPS, faults.transform(change, kind="file")):
        sim.add_fault(fault)
    await saved(session, task, tmp_path)
    assert asked_ranges(sim) == [None, None]


async def test_an_old_date_vouches_for_a_file_too(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    old = "Sun, 22 Nov 2020 20:00:00 GMT"
    for fault in (*STOPS, faults.transform(dated(old), kind="file")):
        sim.add_fault(fault)
    await saved(session, task, tmp_path)
    # The simulator knows its file by another name, and sends all of it.
    assert [r.headers.get("If-Range") for r in sim.requests if r.kind == "file"] == [None, old]


async def test_a_part_of_a_larger_whole_is_not_the_picture(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    span = f"bytes {CUT * 2}-{len(WHOLE) - 1}/{len(WHOLE)}"
    part = Reply(status=206, body=WHOLE[CUT * 2 : -50], headers={"Content-Range": span})
    for fault in (*STOPS, faults.reply_with(part, when="before", kind="file", nth=2)):
        sim.add_fault(fault)
    await saved(session, task, tmp_path)


@pytest.mark.parametrize(
    "fault",
    [
        faults.truncate(kind="file", times=None),
        faults.cut(len(WHOLE) - 1, kind="file", times=None),
        faults.cut(len(WHOLE) - 1, chunked=True, kind="file", times=None),
        faults.cut(CUT, reset=True, kind="file", times=None),
        faults.reply_with(Reply(status=206, body=WHOLE), when="before", kind="file", times=None),
    ],
    ids=["announced too short", "announced too long", "no last chunk", "reset", "206 unasked"],
)
async def test_a_picture_that_never_comes_whole_is_no_picture(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path, fault: Fault
) -> None:
    sim.add_fault(faults.transform(without("ETag"), kind="file", times=None))
    sim.add_fault(fault)
    with pytest.raises(DownloadError):
        await session.download(task, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(asked_ranges(sim)) == 4


async def test_a_line_that_breaks_again_and_again_gets_there_while_it_gets_on(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toapis_async._files.fetching._CHUNK", 64)
    for fault in (faults.dribble(64, 0.005, kind="file", times=None), faults.cut(256, kind="file", times=8)):
        sim.add_fault(fault)
    await saved(session, task, tmp_path)
    assert len(asked_ranges(sim)) == 9


async def test_a_compressed_answer_is_taken_as_it_is_meant(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    sim.add_fault(faults.gzip(kind="file"))
    await saved(session, task, tmp_path)


async def test_a_slow_drip_comes_whole(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    sim.add_fault(faults.dribble(300, 0.01, kind="file"))
    await saved(session, task, tmp_path)


# -- URLs that ended


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_url_that_ended_is_asked_for_anew_once(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path, status: int
) -> None:
    if status == 403:
        sim.renew_urls(task.id)
    else:
        sim.add_fault(faults.reply_with(Reply(status=status), when="before", kind="file"))
    asked = sum(record.kind == "query" for record in sim.requests)
    await saved(session, task, tmp_path)
    assert sum(record.kind == "query" for record in sim.requests) == asked + 1


async def test_the_urls_of_several_pictures_are_asked_for_together(
    session: ToapisSession, sim: Simulator, tmp_path: Path
) -> None:
    accepted = await session.submit(ImageRequest("a red fox", n=4))
    sim.complete(accepted.id)
    task = await session.get(accepted.id)
    sim.expire(task.id)
    asked = sum(record.kind == "query" for record in sim.requests)
    with pytest.raises(ResultExpiredError):
        await session.download(evolve(task, expires_at=task.completed_at), tmp_path)
    assert sum(record.kind == "query" for record in sim.requests) == asked + 1


async def test_a_fresh_picture_in_the_answer_itself_replaces_what_came_before(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    def inside(body: dict[str, Any]) -> object:
        body["result"]["data"] = [{"b64_json": base64.b64encode(WHOLE).decode()}]
        return body

    sim.add_fault(faults.cut(CUT * 2, kind="file"))
    sim.add_fault(faults.reply_with(Reply(status=404), when="before", kind="file", nth=2))
    sim.add_fault(faults.edit_json(inside, kind="query"))
    await saved(session, task, tmp_path)


async def test_a_fresh_url_is_asked_for_before_an_expired_one_is_tried(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    assert task.completed_at is not None
    sim.renew_urls(task.id)
    await saved(session, evolve(task, expires_at=task.completed_at), tmp_path)
    assert sum(record.kind == "file" for record in sim.requests) == 1


async def test_a_clock_that_is_wrong_costs_no_picture(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    sim.add_fault(faults.error(500, "down", kind="query"))
    await saved(session, evolve(task, expires_at=task.completed_at), tmp_path)


async def test_a_picture_that_is_gone_is_told_with_its_handle(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    sim.expire(task.id)
    with pytest.raises(ResultExpiredError, match="does not hand it out any more") as caught:
        await session.download(task, tmp_path)
    assert (caught.value.task_id, caught.value.http_status) == (task.id, 404)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "kind"), [(404, ResultExpiredError), (500, DownloadError)])
async def test_what_the_service_says_of_a_url_that_ended_is_told(
    session: ToapisSession,
    task: GenerationTask,
    sim: Simulator,
    tmp_path: Path,
    status: int,
    kind: type[DownloadError],
) -> None:
    sim.renew_urls(task.id)
    sim.add_fault(faults.error(status, "no", kind="query", times=None))
    with pytest.raises(DownloadError) as caught:
        await session.download(task, tmp_path)
    assert type(caught.value) is kind
    assert ("no answer about a fresh URL" in caught.value.message) == (status == 500)


# -- this machine


async def test_a_full_disk_is_told_and_leaves_nothing(
    session: ToapisSession, task: GenerationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DownloadError, match=r"cannot write to .*No space left on device") as caught:
        await session.download(task, tmp_path)
    assert caught.value.task_id == task.id
    assert list(tmp_path.iterdir()) == []


_CHILD = """
import asyncio, sys
from toapis_async import DownloadError, ToapisSession

async def main(base_url, key, task_id, folder, limit):
    if int(limit):
        import resource, signal
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    async with ToapisSession(key, base_url=base_url) as session:
        try:
            print(*await session.download(await session.get(task_id), folder))
        except DownloadError as error:
            print(error.message)

asyncio.run(main(*sys.argv[1:]))
"""


def child(sim: Simulator, task: GenerationTask, folder: Path, *, limit: int = 0) -> list[str]:
    # Without -B a limit would also cut short the byte code of what is imported under it, for all later processes.
    command = [sys.executable, "-B", "-W", "error", "-c", _CHILD]
    return [*command, sim.base_url, sim.api_key, task.id, str(folder), str(limit)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
async def test_a_file_that_the_system_does_not_let_grow_leaves_nothing(
    task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    with running(child(sim, task, tmp_path, limit=100), env=environment()) as process:
        out, _ = await asyncio.to_thread(process.communicate, timeout=30)
    assert b"cannot write to" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
async def test_a_run_that_was_killed_leaves_no_picture_and_the_next_one_clears_up(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim.add_fault(faults.dribble(CUT, 0.05, kind="file"))
    with running(child(sim, task, tmp_path), env=environment()) as process:
        await sim.wait_for_requests("file", 1)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait, 30)
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".part"
    other = tmp_path / ".notes-0123456789abcdef.parts"
    other.touch()
    (file,) = await session.download(task, tmp_path)
    assert file.read_bytes() == WHOLE
    assert sorted(tmp_path.iterdir()) == sorted([file, other])


async def test_what_another_download_is_writing_is_not_cleared_up(
    session: ToapisSession, task: GenerationTask, sim: Simulator, tmp_path: Path
) -> None:
    sim.add_fault(faults.dribble(CUT, 0.05, kind="file"))
    async with ToapisSession(sim.api_key, base_url=sim.base_url) as other:
        first = asyncio.create_task(other.download(task, tmp_path))
        await sim.wait_for_requests("file", 1)
        (file,) = await session.download(task, tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
        assert await first == (file,)
    assert file.read_bytes() == WHOLE
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
async def test_a_file_that_is_taken_for_a_left_one_when_it_is_made_is_made_anew(
    session: ToapisSession, task: GenerationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = parts._hold  # pyright: ignore[reportPrivateUsage]
    made: list[str] = []

    def hold_late(file: BinaryIO) -> None:
        made.append(file.name)
        if len(made) == 1:
            raise BlockingIOError  # another process clears up, holds it ...
        hold(file)

    def check_after_removal(file: BinaryIO) -> str:
        Path(made[0]).unlink(missing_ok=True)  # ... and removes it later
        return check_picture(file)

    monkeypatch.setattr(parts, "_hold", hold_late)
    monkeypatch.setattr(parts, "check_picture", check_after_removal)
    (file,) = await session.download(task, tmp_path)
    assert file.read_bytes() == WHOLE
    assert list(tmp_path.iterdir()) == [file]
    assert len(made) == 2


async def test_a_large_body_is_refused_by_its_head(session: ToapisSession, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n\x89PNG\r\n\x1a\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.png"
        large = GenerationTask(id="t", status=TaskStatus.COMPLETED, images=(GeneratedImage(url=url),))
        with anyio.fail_after(10), pytest.raises(DownloadError, match="larger than 200000000 bytes"):
            await session.download(large, tmp_path)
    assert list(tmp_path.iterdir()) == []
