"""What comes before the paid step: local reference pictures get their URLs. Nothing is paid yet."""

from __future__ import annotations

from itertools import chain

import anyio

from .._files.references import Picture
from .._files.uploads import Uploader
from ..errors import RequestValidationError, ToapisError, TransportError
from .record import Submission


async def place_pictures(submission: Submission, uploader: Uploader) -> None:
    """Upload the pictures that have no URL yet; those of an earlier run of the journal are used again.

    Cancelling it, or an error, leaves the submission as it was.

    Raises:
        RequestValidationError: files are gone, or are not what was handed over.
        ToapisError: an upload failed.

    """
    urls: dict[str, str] = {}
    errors: list[ToapisError] = []
    uploads = submission.entry.uploads if submission.entry else None

    async def place(picture: Picture) -> None:
        try:
            digest, link = await uploader.url_of(picture, uploads.recent if uploads else None)
            urls[picture.label] = link.url
            if uploads:
                uploads.note(digest, link)
        except ToapisError as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        for picture in submission.pictures:
            group.start_soon(place, picture)
    if errors:
        raise _one_of(errors)
    submission.place(urls)


def _one_of(errors: list[ToapisError]) -> ToapisError:
    found = [error for error in errors if isinstance(error, RequestValidationError)]
    if len(found) == len(errors):
        return RequestValidationError(sorted(chain.from_iterable(error.problems for error in found)))
    error = next(error for error in errors if not isinstance(error, RequestValidationError))
    if isinstance(error, TransportError):
        error.sent = False  # of what is paid for, not a byte was
    return error
