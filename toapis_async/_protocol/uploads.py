"""The upload of one picture: the multipart form, and what its answer means. Uploads cost nothing."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any, Final, TypeAlias

from attrs import frozen

from ..errors import (
    ApiError,
    DecodeError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    ToapisError,
)
from .codec import first_json_value
from .endpoints import Refused, Rejected
from .failures import UNCLEAR_STATUSES, read_error
from .messages import HttpRequest, HttpResponse, StreamedBody
from .profiles import is_http_url

LARGEST_UPLOAD: Final = 10 * 1024 * 1024  # bytes
MEDIA_TYPES: Final = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif"}
_PATH: Final = "/uploads/images"


@frozen(kw_only=True)
class Uploaded:
    """The picture has a URL."""

    url: str


@frozen(kw_only=True)
class Broken:
    """No clear answer: another attempt may fare better."""

    error: ToapisError


UploadReply: TypeAlias = Uploaded | Refused | Rejected | Broken


@frozen(kw_only=True)
class UploadForm:
    """What stands before and behind the bytes of a picture in the body of its upload."""

    boundary: str
    head: bytes
    tail: bytes


def build_form(sha256: str, extension: str) -> UploadForm:
    """Build the form for a picture.

    Neither its path nor its name is sent. The boundary is made of the content's own digest: no content holds that.
    """
    boundary = f"toapis-{sha256[:48]}"
    name = f"{sha256[:16]}{extension}"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\ngeneration\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {MEDIA_TYPES[extension]}\r\n\r\n"
    )
    return UploadForm(boundary=boundary, head=head.encode(), tail=f"\r\n--{boundary}--\r\n".encode())


def build_upload(form: UploadForm, size: int, pieces: AsyncIterable[bytes]) -> HttpRequest:
    """Build one attempt; `pieces` are the head, the picture of `size` bytes, and the tail."""
    length = len(form.head) + size + len(form.tail)
    content_type = f"multipart/form-data; boundary={form.boundary}"
    stream = StreamedBody(content_type=content_type, length=length, pieces=pieces)
    return HttpRequest(method="POST", path=_PATH, stream=stream)


def interpret_upload(response: HttpResponse) -> UploadReply:
    """Say what became of an upload."""
    if 200 <= response.status < 300:
        try:
            url = _url_in(first_json_value(response.body))
        except DecodeError as unreadable:
            return Broken(error=unreadable)
        if url is not None:
            return Uploaded(url=url)
    error = read_error(response)
    if isinstance(error, RateLimitedError):
        return Refused(error=error)
    if isinstance(error, DecodeError | ServerError) or response.status >= 500:
        return Broken(error=error)
    if isinstance(error, NotFoundError):  # there is no task that could be unknown
        return Rejected(error=_plain(error))
    if response.status in UNCLEAR_STATUSES and isinstance(error, InvalidRequestError):
        return Broken(error=_plain(error))
    return Rejected(error=error)


def _url_in(body: Any) -> str | None:
    if not isinstance(body, dict) or body.get("success") is False:  # pyright: ignore[reportUnknownMemberType]
        return None
    holders: list[Any] = [body.get("data"), body]  # pyright: ignore[reportUnknownMemberType]
    urls: list[Any] = [holder.get("url") for holder in holders if isinstance(holder, dict)]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return next((url for url in urls if is_http_url(url)), None)


def _plain(error: ApiError) -> ApiError:
    """Return an error that says no more than its status."""
    return ApiError(error.message, http_status=error.http_status, code=error.code, request_id=error.request_id)
