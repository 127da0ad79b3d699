"""Uploads to the simulator: what it takes, what it says, and its ledger of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from toapis_async.testing import faults
from toapis_async.testing.pictures import draw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from testing.conftest import Answer, Caller, Running

PNG = draw("a cat", 0)
TYPE = {"Content-Type": "multipart/form-data; boundary=xyz"}
PATH = "/uploads/images"

pytestmark = pytest.mark.anyio


def form(content: bytes, *, name: str = "file", extra: bytes = b"") -> bytes:
    head = f'--xyz\r\nContent-Disposition: form-data; name="{name}"; filename="cat.png"\r\n\r\n'.encode()
    return extra + head + content + b"\r\n--xyz--\r\n"


async def upload(caller: Caller, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    return await caller.request("POST", PATH, data=pieces(), headers=TYPE if headers is None else headers)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0rest", "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPrest", "image/webp"),
        (b"GIF89arest", "image/gif"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_picture_gets_a_url_and_stands_in_the_ledger(running: Running, content: bytes, kind: str) -> None:
    async with running() as caller:
        purpose = b'--xyz\r\nContent-Disposition: form-data; name="purpose"\r\n\r\ngeneration\r\n'
        answer = await upload(caller, form(content, extra=purpose))
        (taken,) = caller.simulator.uploads
        data = {"id": taken.id, "url": taken.url, "mime_type": kind, "size": len(content)}
        assert (answer.status, answer.json) == (200, {"success": True, "message": "", "data": data})
        assert taken.sha256 == hashlib.sha256(content).hexdigest()
        assert (taken.purpose, taken.at) == ("generation", 0.0)
        assert caller.simulator.charges == ()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (form(b"<html>"), "Unsupported image type"),
        (form(PNG + bytes(10 * 1024 * 1024)), "Maximum size is 10MB"),
        (form(PNG, name="image"), "file is required"),
        (form(PNG)[:-4], "file is required"),
        (b"", "file is required"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_no_picture_is_refused(running: Running, body: bytes, message: str) -> None:
    async with running() as caller:
        answer = await upload(caller, body)
        assert answer.status == 400
        assert answer.json["success"] is False
        assert message in answer.json["message"]
        assert caller.simulator.uploads == ()


async def test_a_body_of_another_type_is_no_form(running: Running) -> None:
    async with running() as caller:
        assert (await upload(caller, form(PNG), {"Content-Type": "image/png"})).status == 400


async def test_a_body_far_too_long_is_refused_by_the_gateway(running: Running) -> None:
    async with running() as caller:
        assert (await upload(caller, form(bytes(12 * 1024 * 1024)))).status == 413


async def test_an_upload_needs_the_key(running: Running) -> None:
    async with running() as caller:
        answer = await upload(caller, form(PNG), {**TYPE, "Authorization": "Bearer sk-other"})
        assert answer.status == 401
        assert (await caller.request("GET", PATH)).status == 405


async def test_references_to_uploads_must_exist_and_be_of_a_kind_that_is_generated_from(running: Running) -> None:
    async with running() as caller:
        for content in (PNG, b"GIF89a"):
            await upload(caller, form(content))
        png, gif = (taken.url for taken in caller.simulator.uploads)
        good: dict[str, Any] = (await caller.submit(image_urls=[png, "https://a.example/cat.png"])).json
        assert good["status"] == "queued"
        for url in (gif, f"{png}x"):
            refused = await caller.submit(image_urls=[url])
            assert (refused.status, refused.json["error"]["code"]) == (400, "invalid_reference_images")


async def test_faults_hit_uploads_by_kind_and_by_file_name(running: Running) -> None:
    async with running() as caller:
        caller.simulator.add_fault(faults.error(500, "internal_error", kind="upload", match="cat.png"))
        assert (await upload(caller, form(PNG))).status == 500
        caller.simulator.add_fault(faults.gateway_page(502, when="after", kind="upload"))
        assert (await upload(caller, form(PNG))).status == 502
        assert len(caller.simulator.uploads) == 1
        assert [record.kind for record in caller.simulator.requests] == ["upload", "upload"]
        assert {record.body for record in caller.simulator.requests} == {b""}
