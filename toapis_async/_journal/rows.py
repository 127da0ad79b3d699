"""One row of the journal as a value, and what of it is stored as text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from attrs import fields, frozen

from .. import errors
from .._files.references import Checked, check_request
from .._protocol.codec import decode_inline_result, decode_task
from ..errors import ApiError, GenerationFailed, ToapisError
from ..models import GenerationTask, ImageRequest, StoredImage, TaskStatus

RowState: TypeAlias = Literal["queued", "posting", "submitted", "completed", "failed", "unresolved"]
STATES: Final[tuple[RowState, ...]] = ("queued", "posting", "submitted", "completed", "failed", "unresolved")

_DIGEST_FORM: Final = 1  # of the text that is hashed; another number for every change of it
_NAMES: Final = tuple(attribute.name for attribute in fields(ImageRequest))
_canonical: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


@frozen(kw_only=True)
class Row:
    """What an earlier run knew about one job."""

    key: str
    request: ImageRequest
    digest: str
    state: RowState
    client_business_id: str
    earlier_ids: tuple[str, ...]
    """Ids of attempts that failed, before `retry_failed` paid again."""
    task_id: str | None
    task: GenerationTask | None
    """The last snapshot that was written; of a task that was only accepted, its id."""
    error: ToapisError | None
    """Of a row that failed."""
    updated_at: datetime
    """UTC, by the clock of the machine that wrote it."""


def describe(checked: Checked) -> tuple[str, str]:
    """Return the digest of a request, and the request as JSON.

    The digest is 32 hexadecimal digits that stand for what is asked for, in every version of this package. The
    `client_business_id` is not part of it: it names an attempt at paying, not a picture. Fields that were left
    out are not part of it either, so that fields added later change nothing. A local picture is part of it by its
    content, wherever it lies.
    """
    request = checked.request
    asked: dict[str, Any] = {name: value for name in _NAMES if (value := getattr(request, name)) not in (None, (), {})}
    if checked.pictures:
        asked["images"] = _stored_images(checked)
    if request.metadata or request.extra:
        # Through JSON once, so that what is equal when it is sent is equal here: 1 and "1" as names of a member.
        asked = json.loads(json.dumps(asked))
    text = content = _canonical(asked)
    if checked.pictures or request.client_business_id is not None:
        asked.pop("client_business_id", None)
        for image in asked.get("images", ()):
            if isinstance(image, dict):
                image.pop("path", None)  # pyright: ignore[reportUnknownMemberType]
        content = _canonical(asked)
    return blake2b(f"{_DIGEST_FORM}:{content}".encode(), digest_size=16).hexdigest(), text


def _stored_images(checked: Checked) -> list[str | dict[str, str]]:
    """Return the images of a request without the bytes of its local pictures."""
    pictures = iter(checked.pictures)
    found: list[str | dict[str, str]] = []
    for image in checked.request.images:
        if isinstance(image, str):
            found.append(image)
            continue
        picture = next(pictures)
        assert picture.sha256 is not None
        path = {"path": str(picture.content)} if isinstance(picture.content, Path) else {}
        found.append({"sha256": picture.sha256, **path})
    return found


def digest_of(request: ImageRequest) -> str:
    """Return the digest of a request, see `describe`; reads its local pictures.

    Raises:
        RequestValidationError: the request is not valid.

    """
    return describe(check_request(request, hashed=True))[0]


def is_storable(key: str) -> bool:
    """Whether SQLite can keep a text."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in key


def request_from_text(text: str) -> ImageRequest:
    """Read a request that was written as JSON."""
    fields = json.loads(text)
    fields["images"] = [
        image
        if isinstance(image, str)
        else StoredImage(image["sha256"], Path(image["path"]) if "path" in image else None)
        for image in fields.get("images", ())
    ]
    return ImageRequest(**fields)


def task_to_text(task: GenerationTask) -> str:
    """Return a snapshot as the answer it was read from."""
    return json.dumps(task.raw)


def task_from_text(text: str, task_id: str, *, is_completed: bool) -> GenerationTask:
    """Read what `task_to_text` wrote; the answer may not repeat its id, or say that it is completed.

    Raises:
        ValueError: there is no task in it.

    """
    body = json.loads(text)
    task = decode_task(body, asked_id=task_id)
    if task is None or (is_completed and task.status is not TaskStatus.COMPLETED):
        task = decode_inline_result(body, client_business_id=task_id) or task
    if task is None:
        raise ValueError(f"no task in {text[:80]!r}")
    return task


def error_to_text(error: ToapisError) -> str | None:
    """Return the error of a refused request as JSON; None for one that its snapshot tells."""
    if not isinstance(error, ApiError):
        return None
    kept = {name: getattr(error, name) for name in ("message", "http_status", "code", "request_id", "model")}
    return json.dumps({"kind": type(error).__name__, **kept})


def error_from_text(text: str | None, task: GenerationTask | None) -> ToapisError | None:
    """Read what `error_to_text` wrote."""
    if text is None:
        return GenerationFailed(task) if task else None
    fields = json.loads(text)
    kind: type[ApiError] = getattr(errors, fields.pop("kind"))
    return kind(fields.pop("message"), **fields)


def time_of(seconds: float) -> datetime:
    """Return a time stamp of the journal as a UTC time."""
    return datetime.fromtimestamp(seconds, UTC)
