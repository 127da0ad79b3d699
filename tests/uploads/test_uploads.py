"""Local pictures are uploaded before their request is paid for, each content once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from toapis_async import (
    AuthenticationError,
    ImageRequest,
    InvalidRequestError,
    RateLimitedError,
    RequestValidationError,
    ServerError,
    ToapisError,
    ToapisSession,
    TransportError,
)
from toapis_async._files.references import check_request, load
from toapis_async._files.uploads import Pieces
from toapis_async._protocol.uploads import build_form
from toapis_async.instrumentation import Event, RequestFinished, Throttled
from toapis_async.testing import Fault, Simulator, faults

from .common import CAT, DOG, FAST, GIF, JPEG, WEBP, kinds, open_session, sent_images

pytestmark = pytest.mark.anyio


async def test_paths_and_bytes_are_sent_as_urls_in_their_places(
    session: ToapisSession, sim: Simulator, cat: Path
) -> None:
    await session.generate(ImageRequest("a fox", images=[cat, "https://a.example/1.png", JPEG], metadata={"seed": 1}))
    by_content = {upload.sha256: upload for upload in sim.uploads}
    first, last = (by_content[hashlib.sha256(content).hexdigest()] for content in (CAT, JPEG))
    assert sent_images(sim) == [[first.url, "https://a.example/1.png", last.url]]
    assert (first.mime_type, first.size, first.purpose) == ("image/png", len(CAT), "generation")
    assert last.mime_type == "image/jpeg"
    assert len(sim.charges) == 1


async def test_an_upload_tells_neither_the_name_nor_the_place_of_a_file(
    session: ToapisSession, sim: Simulator, cat: Path
) -> None:
    names: list[str | None] = []

    def note(subject: Any) -> bool:
        names.append(subject.reference)
        return False

    sim.add_fault(faults.delay(0, when="before", kind="upload", match=note))
    await session.upload_image(cat)
    assert names == [f"{hashlib.sha256(CAT).hexdigest()[:16]}.png"]


async def test_every_kind_can_be_uploaded_by_itself(session: ToapisSession, sim: Simulator, cat: Path) -> None:
    urls = [await session.upload_image(source) for source in (cat, JPEG, WEBP, GIF, CAT)]
    assert urls[:4] == [upload.url for upload in sim.uploads]
    assert urls[4] == urls[0]
    assert sim.charges == ()


@pytest.mark.parametrize("source", ["cat.png", 7, b"", b"<html>", Path("/nowhere/cat.png")], ids=str)
async def test_what_cannot_be_uploaded_is_refused_before(session: ToapisSession, sim: Simulator, source: Any) -> None:
    with pytest.raises(RequestValidationError, match="source: "):
        await session.upload_image(source)
    assert sim.requests == ()


async def test_large_pictures_are_streamed_whole(session: ToapisSession, sim: Simulator, tmp_path: Path) -> None:
    picture = CAT + bytes(10 * 1024 * 1024 - len(CAT))
    (tmp_path / "large.png").write_bytes(picture)
    await session.upload_image(tmp_path / "large.png")
    assert [(upload.size, upload.sha256) for upload in sim.uploads] == [
        (len(picture), hashlib.sha256(picture).hexdigest())
    ]
    (record,) = sim.requests
    assert "Transfer-Encoding" not in record.headers  # some gateways refuse chunked uploads


PASSING: dict[str, Callable[[], Fault]] = {
    "500": lambda: faults.error(500, "internal_error", kind="upload"),
    "408": lambda: faults.error(408, "request_timeout", kind="upload"),
    "gateway": lambda: faults.gateway_page(504, when="after", kind="upload"),
    "html with 200": lambda: faults.gateway_page(200, when="after", kind="upload"),
    "panic": lambda: faults.panic(when="after", kind="upload"),
    "reset unread": lambda: faults.drop(when="before", kind="upload"),
    "closed unread": lambda: faults.drop(when="before", reset=False, kind="upload"),
    "answer lost": lambda: faults.drop(when="after", kind="upload"),
    "cut": lambda: faults.cut(10, kind="upload"),
    "broken json": lambda: faults.truncate(kind="upload"),
    "429": lambda: faults.throttle(0.05, kind="upload"),
    "503 limiter": lambda: faults.error(503, "rate_limit_unavailable", headers={"Retry-After": "0.05"}, kind="upload"),
}


@pytest.mark.parametrize("name", PASSING)
async def test_an_upload_that_goes_wrong_is_tried_again(
    session: ToapisSession, sim: Simulator, cat: Path, name: str
) -> None:
    sim.add_fault(PASSING[name]())
    await session.generate(ImageRequest("a fox", images=[cat]))
    assert kinds(sim).count("upload") == 2
    assert sent_images(sim) == [[sim.uploads[-1].url]]
    assert len(sim.charges) == 1


async def test_a_pause_that_the_service_asks_for_holds_for_all_uploads(sim: Simulator) -> None:
    events: list[Event] = []
    sim.add_fault(faults.throttle(0.2, kind="upload"))
    async with ToapisSession(sim.api_key, base_url=sim.base_url, limits=FAST, observers=[events.append]) as session:
        await session.upload_image(CAT)
        await session.upload_image(DOG)
    (throttled,) = [event for event in events if isinstance(event, Throttled)]
    assert throttled.requests == "upload"
    assert 0 < throttled.pause < 2
    first, second, *_ = [record.at for record in sim.requests]
    assert second - first >= 0.19


async def test_refusals_for_load_without_end_are_given_up(sim: Simulator) -> None:
    sim.add_fault(faults.throttle(0.01, kind="upload", times=None))
    async with open_session(sim, max_throttle=0.1) as session:
        with pytest.raises(RateLimitedError, match=r"Could not upload images\[0\]"):
            await session.generate(ImageRequest("a fox", images=[CAT]))
    assert sim.charges == ()


LASTING: dict[str, tuple[Fault, type[ToapisError]]] = {
    "refused": (faults.error(400, "", "Unsupported image type", shape="success", kind="upload"), InvalidRequestError),
    "413": (faults.gateway_page(413, when="before", kind="upload"), InvalidRequestError),
    "key": (faults.error(401, "unauthorized", kind="upload"), AuthenticationError),
    "redirect": (faults.redirect("https://a.example/", kind="upload"), ToapisError),
    "404": (faults.error(404, "not_found", kind="upload"), ToapisError),
    "said no": (faults.error(200, "", "no", when="after", shape="success", kind="upload"), ToapisError),
}


@pytest.mark.parametrize("name", LASTING)
async def test_a_refused_upload_is_an_error_that_names_the_picture_and_pays_nothing(
    session: ToapisSession, sim: Simulator, cat: Path, name: str
) -> None:
    fault, kind = LASTING[name]
    sim.add_fault(fault)
    with pytest.raises(kind, match=r"Could not upload images\[1\]: .*cat\.png: ") as caught:
        await session.generate(ImageRequest("a fox", images=["https://a.example/1.png", cat]))
    assert (caught.value.task_id, caught.value.client_business_id) == (None, None)
    assert caught.value.model == "grok-4-1-image"
    assert kinds(sim) == ["upload"]
    assert session.unfinished == ()


async def test_a_service_that_stays_broken_is_given_up(sim: Simulator, cat: Path) -> None:
    sim.add_fault(faults.error(500, "internal_error", kind="upload", times=None))
    async with open_session(sim, attempts=3) as session:
        with pytest.raises(ServerError, match="Could not upload"):
            await session.generate(ImageRequest("a fox", images=[cat]))
    assert kinds(sim) == ["upload"] * 3


async def test_a_service_that_is_not_reached_says_so_and_nothing_was_sent(sim: Simulator, cat: Path) -> None:
    sim.add_fault(faults.drop(when="after", kind="upload", times=None))
    async with open_session(sim, attempts=2) as session:
        with pytest.raises(TransportError) as caught:
            await session.generate(ImageRequest("a fox", images=[cat]))
    assert not caught.value.sent
    assert sim.charges == ()


async def test_cancelling_while_a_picture_goes_up_pays_nothing_and_leaves_nothing(
    session: ToapisSession, sim: Simulator, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(CAT + bytes(9_000_000))
    sim.add_fault(faults.hang(when="before", kind="upload"))
    async with anyio.create_task_group() as group:
        group.start_soon(session.generate, ImageRequest("a fox", images=[large]))
        await sim.wait_for_requests("upload", 1)
        assert session.unfinished == ()
        group.cancel_scope.cancel()
    assert session.unfinished == ()
    assert kinds(sim) == ["upload"]


async def test_a_key_that_a_refusal_repeats_is_not_shown(sim: Simulator) -> None:
    key = "sk-0123456789abcdef"
    sim.add_fault(faults.error(400, "", f"not for {key}", shape="success", kind="upload"))
    async with ToapisSession(key, base_url=sim.base_url) as session:
        with pytest.raises(InvalidRequestError) as caught:
            await session.upload_image(CAT)
    assert "not for [key]" in str(caught.value)
    (record,) = sim.requests
    assert record.headers["Authorization"] == f"Bearer {key}"


async def test_an_attempt_that_has_ended_reads_no_more(cat: Path) -> None:
    checked = check_request(ImageRequest("a fox", images=[cat]))
    content = load(checked.pictures[0])
    pieces = Pieces(content, build_form(content.sha256, content.extension), "images[0]")
    assert (await anext(pieces)).startswith(b"--")
    pieces.close()
    with pytest.raises(OSError, match="changed"):
        await anext(pieces)


async def test_a_file_that_changes_between_two_attempts_is_not_uploaded(sim: Simulator, cat: Path) -> None:
    """It keeps its size: only the digest tells."""

    def change(event: Event) -> None:
        if isinstance(event, RequestFinished) and event.status == 503:
            cat.write_bytes(CAT[:-1] + bytes([CAT[-1] ^ 1]))

    sim.add_fault(faults.error(503, "busy", kind="upload"))
    async with open_session(sim, observers=[change]) as session:
        with pytest.raises(RequestValidationError, match="was changed after it was handed over"):
            await session.generate(ImageRequest("a fox", images=[cat]))
    assert sim.uploads == ()
    assert sim.charges == ()


@pytest.mark.parametrize("way", ["single", "batch"])
async def test_a_first_answer_that_repeats_a_picture_is_no_result(
    session: ToapisSession, sim: Simulator, way: str
) -> None:
    def echo(body: dict[str, Any]) -> object:
        return {**body, "status": "completed", "image_urls": [sim.uploads[0].url]}

    sim.add_fault(faults.edit_json(echo, kind="submit"))
    request = ImageRequest("a fox", images=[CAT])
    if way == "single":
        task = await session.generate(request)
    else:
        task = (await session.generate_many([request]))[0].unwrap()
    assert sim.uploads[0].url not in [image.url for image in task.images]
    assert task.images


async def test_a_picture_is_uploaded_again_when_its_url_may_have_ended(
    session: ToapisSession, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("toapis_async._files.uploads.time.time", lambda: now[-1])
    first = await session.upload_image(CAT)
    now.append(19 * 3600.0)
    assert await session.upload_image(CAT) == first
    now.append(21 * 3600.0)
    assert await session.upload_image(CAT) != first
    assert len(sim.uploads) == 2


async def test_a_picture_that_an_answer_repeats_is_no_result(session: ToapisSession, sim: Simulator, cat: Path) -> None:
    def repeat(body: dict[str, Any]) -> object:
        if "result" in body:
            body["result"]["data"].insert(0, {"url": sim.uploads[0].url})
        return body

    sim.add_fault(faults.edit_json(repeat, kind="query", times=None))
    task = await session.generate(ImageRequest("a fox", images=[cat]))
    assert len(task.images) == 1
    assert task.images[0].url != sim.uploads[0].url
