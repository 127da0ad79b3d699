"""What is wrong with local pictures is told before anything is uploaded, with all that is wrong with the request."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from toapis_async import Completed, Failed, ImageRequest, RequestValidationError, ToapisSession
from toapis_async._files import references
from toapis_async.models import StoredImage
from toapis_async.testing import Simulator, faults

from .common import CAT, DOG, GIF, JPEG, WEBP, kinds

pytestmark = pytest.mark.anyio
TOO_LARGE = CAT + bytes(10 * 1024 * 1024 + 1 - len(CAT))


async def problems_of(session: ToapisSession, request: ImageRequest) -> list[str]:
    with pytest.raises(RequestValidationError) as caught:
        await session.generate(request)
    return list(caught.value.problems)


async def test_all_problems_of_a_request_are_told_together(
    session: ToapisSession, sim: Simulator, tmp_path: Path, cat: Path
) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "large.png").write_bytes(TOO_LARGE)
    (tmp_path / "page.png").write_text("<html>")
    (tmp_path / "moving.gif").write_bytes(GIF)
    names = ("empty.png", "large.png", "page.png", "moving.gif", "gone.png", ".")
    images: list[Any] = [*(tmp_path / name for name in names), b"", "cat.png", cat, "data:image/png;base64,AAAA", 7]
    problems = await problems_of(session, ImageRequest("", size="8:1", images=images))
    begun = [problem.replace(f"{tmp_path}{os.sep}", "").replace(f"{tmp_path}", ".") for problem in problems]
    assert begun == [
        "prompt: '' is not a text with at least one visible character",
        "size: '8:1' is not one of 1:1, 2:3, 3:2, 16:9, 9:16",
        "images[7]: 'cat.png' is not an http(s) URL (a local file is given as a Path, a picture in memory as bytes)",
        f"images[9]: {images[9]!r} is not an http(s) URL (the service refuses data URIs and base64; give the bytes)",
        "images[10]: 7 is not an http(s) URL, a Path or bytes",
        "images: 11 given, grok-4-1-image takes at most 5",
        "images[0]: empty.png is empty",
        "images[1]: large.png has 10485761 bytes, the service takes at most 10485760 (10 MB)",
        "images[2]: page.png is not a jpeg, png or webp picture, it begins with b'<html>'",
        "images[3]: moving.gif is a gif, which is stored but not generated from: the service takes jpeg, png and webp",
        "images[4]: gone.png does not exist",
        "images[5]: . is not a file",
        "images[6]: a picture of 0 bytes is empty",
    ]
    assert sim.requests == ()


@pytest.mark.parametrize("picture", [CAT, JPEG, WEBP, CAT + bytes(10 * 1024 * 1024 - len(CAT))], ids=len)
async def test_what_the_service_takes_is_taken(session: ToapisSession, sim: Simulator, picture: bytes) -> None:
    await session.submit(ImageRequest("a fox", images=[picture]))
    assert len(sim.charges) == 1


@pytest.mark.skipif(sys.platform == "win32" or os.getuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_is_told(session: ToapisSession, cat: Path) -> None:
    cat.chmod(0)
    assert await problems_of(session, ImageRequest("a fox", images=[cat])) == [
        f"images[0]: {cat} cannot be read (Permission denied)"
    ]


async def test_a_path_that_cannot_be_one_is_told(session: ToapisSession) -> None:
    (problem,) = await problems_of(session, ImageRequest("a fox", images=[Path("a\0b.png")]))
    assert "cannot be read (embedded null byte)" in problem


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of Unix")
async def test_a_pipe_is_not_opened(session: ToapisSession, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (problem,) = await problems_of(session, ImageRequest("a fox", images=[tmp_path / "pipe.png"]))
    assert problem.endswith("is not a file")


async def test_a_file_that_cannot_be_opened_any_more_is_told(
    session: ToapisSession, sim: Simulator, cat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(references, "_digest_of_file", fail)
    (problem,) = await problems_of(session, ImageRequest("a fox", images=[cat]))
    assert problem == f"images[0]: {cat} cannot be read (Input/output error)"
    assert sim.requests == ()


def cut(cat: Path) -> None:
    cat.write_bytes(CAT[:50])


def replace(cat: Path) -> None:
    cat.write_bytes(DOG)


def remove(cat: Path) -> None:
    cat.unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [(replace, "was changed after it was handed over"), (remove, "does not exist")],
    ids=["changed", "gone"],
)
async def test_a_file_that_changes_before_its_upload_fails_the_job_and_nothing_is_paid(
    session: ToapisSession, sim: Simulator, cat: Path, harm: Any, said: str
) -> None:
    async with session.open_batch() as batch:
        batch.submit(ImageRequest("a fox", images=[cat]))
        harm(cat)
        (outcome,) = [outcome async for outcome in batch]
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, RequestValidationError)
    assert outcome.error.problems == (f"images[0]: {cat} {said}",)
    assert sim.requests == ()


@pytest.mark.parametrize("harm", [replace, remove, cut])
async def test_a_file_that_changes_during_its_upload_is_never_used(
    session: ToapisSession, sim: Simulator, cat: Path, harm: Any
) -> None:
    # The first attempt is refused when all of the file was sent; the second reads it anew.
    def spoil(_: object) -> bool:
        harm(cat)
        return True

    sim.add_fault(faults.error(500, "internal_error", kind="upload", match=spoil))
    (problem,) = await problems_of(session, ImageRequest("a fox", images=[cat]))
    assert f"images[0]: {cat} " in problem
    assert sim.uploads == ()
    assert sim.charges == ()


async def test_a_changed_copy_of_a_shared_picture_does_not_fail_the_others(
    session: ToapisSession, sim: Simulator, cat: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(CAT)

    def spoil(_: object) -> bool:
        copy.write_bytes(DOG)
        return True

    sim.add_fault(faults.delay(0.1, when="before", kind="upload"))
    sim.add_fault(faults.error(500, "internal_error", kind="upload", match=spoil))
    async with session.open_batch() as batch:
        first = batch.submit(ImageRequest("a fox", images=[copy]))
        await sim.wait_for_requests("upload", 1)
        second = batch.submit(ImageRequest("a fox", images=[cat]))
        assert isinstance(await first.wait(), Failed)
        assert isinstance(await second.wait(), Completed)
    assert len(sim.charges) == 1


async def test_a_relative_path_holds_when_the_program_changes_its_folder(
    session: ToapisSession, sim: Simulator, cat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with session.open_batch() as batch:
        batch.submit(ImageRequest("a fox", images=[Path(cat.name)]))
        monkeypatch.chdir("/")
        (outcome,) = [outcome async for outcome in batch]
    assert isinstance(outcome, Completed)
    assert kinds(sim).count("upload") == 1


def test_a_request_shows_and_pickles_its_pictures_sensibly() -> None:
    request = ImageRequest("a fox", images=[Path("cat.png"), CAT])
    assert repr(CAT) not in repr(request)
    assert f"<{len(CAT)} bytes>" in repr(request)
    assert pickle.loads(pickle.dumps(request)) == request
    odd: Any = ImageRequest("a fox", images="cat.png")
    assert "images='cat.png'" in repr(odd)


def test_a_checked_picture_does_not_show_its_bytes() -> None:
    checked = references.check_request(ImageRequest("a fox", images=[CAT]))
    assert len(repr(checked)) < 1000


def test_a_picture_is_named_by_url_path_or_content() -> None:
    assert references.text_of("https://a.example/1.png") == "https://a.example/1.png"
    assert references.text_of(Path("cat.png")) == "cat.png"
    digest = references.text_of(CAT)
    assert digest.startswith("sha256:")
    assert references.text_of(StoredImage(digest[7:], None)) == digest
    assert references.text_of(StoredImage(digest[7:], Path("cat.png"))) == "cat.png"
