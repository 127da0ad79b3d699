"""Uploads of reference pictures: the multipart form, its checks, and a ledger of what was taken."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from attrs import frozen

from .replies import Reply, error_reply, json_reply

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST = 10 * 1024 * 1024
"""Bytes of the largest picture that is taken."""
LONGEST_BODY = LARGEST + 1024 * 1024
"""Bytes of the longest body that is read; what is longer is refused unread, as a gateway does."""
PATH = "/files/uploads/"
_BOUNDARY = re.compile(r'multipart/form-data\s*;.*?boundary="?([^";,]+)"?', re.IGNORECASE)
_PARAMETER = re.compile(rb'\b(name|filename)="([^"]*)"')
_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif"}


@frozen(kw_only=True)
class Upload:
    """One picture that was taken. Its bytes are not kept."""

    id: str
    url: str
    """Can be given as a reference picture; nothing is served there."""
    mime_type: str
    """By content."""
    size: int
    """Bytes."""
    sha256: str
    purpose: str
    """The form field of that name."""
    at: float
    """When it was taken, in seconds since the simulator started."""


@frozen(kw_only=True)
class Part:
    """One field of a form."""

    name: str
    filename: str | None
    content: bytes


def read_form(headers: Mapping[str, str], body: bytes) -> list[Part]:
    """Return the fields of a multipart form; none if it is not one, or is not whole."""
    found = _BOUNDARY.match(headers.get("Content-Type", ""))
    if found is None:
        return []
    marker = b"\r\n--" + found[1].encode("latin-1", "replace")
    pieces = (b"\r\n" + body).split(marker)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        return []
    parts: list[Part] = []
    for piece in pieces[1:-1]:
        head, gap, content = piece.partition(b"\r\n\r\n")
        names = {match[1]: match[2].decode("utf-8", "replace") for match in _PARAMETER.finditer(head)}
        if gap and b"name" in names:
            parts.append(Part(name=names[b"name"], filename=names.get(b"filename"), content=content))
    return parts


def take(parts: list[Part], number: int, origin: str, now: float) -> tuple[Upload | None, Reply]:
    """Return what became of an upload, which is taken unless it is too large or no picture."""
    file = next((part for part in parts if part.name == "file" and part.filename is not None), None)
    if file is None:
        return None, _refusal("file is required")
    if len(file.content) > LARGEST:
        return None, _refusal("Image too large. Maximum size is 10MB")
    kind = _kind_of(file.content)
    if kind is None:
        return None, _refusal("Unsupported image type, only JPEG, PNG, WebP and GIF are supported")
    digest = hashlib.sha256(file.content).hexdigest()
    # As at the service, the same picture uploaded again gets another URL.
    name = f"{number:04d}{digest[:20]}"
    upload = Upload(
        id=f"upload_{name}",
        url=f"{origin}{PATH}{name}.{_EXTENSIONS[kind]}",
        mime_type=kind,
        size=len(file.content),
        sha256=digest,
        purpose=next(
            (part.content.decode("utf-8", "replace") for part in parts if part.name == "purpose"), "generation"
        ),
        at=now,
    )
    data = {"id": upload.id, "url": upload.url, "mime_type": upload.mime_type, "size": upload.size}
    return upload, json_reply(200, {"success": True, "message": "", "data": data})


def _refusal(message: str) -> Reply:
    return error_reply(400, "", message, shape="success")


def _kind_of(content: bytes) -> str | None:
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return "image/gif" if content.startswith((b"GIF87a", b"GIF89a")) else None
