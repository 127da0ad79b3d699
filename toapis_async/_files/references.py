"""Local reference pictures: the checks that need the file, and what a picture is known by.

All of it blocks, most of it for less than a millisecond; only to hash takes the time of reading the whole file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from anyio import to_thread
from attrs import evolve, field, frozen

from .._protocol.profiles import validate
from .._protocol.uploads import LARGEST_UPLOAD
from ..errors import RequestValidationError
from ..models import ImageRequest, StoredImage
from .images import SIGNATURE_BYTES, extension_of

_CHUNK: Final = 1024 * 1024
_LONGEST_NAME: Final = 200  # of a path, in a message
_GENERATED_FROM: Final = (".jpg", ".png", ".webp")

LocalImage: TypeAlias = Path | bytes | StoredImage


def _short(content: Path | bytes | None) -> str:
    return f"<{len(content)} bytes>" if isinstance(content, bytes) else repr(content)


class Stamp(NamedTuple):
    """By what a file is known to be the same, without reading it."""

    device: int
    inode: int
    size: int
    modified: int
    """Nanoseconds."""
    changed: int
    """Nanoseconds; nobody sets it at will, as copying tools do with `modified`."""


@frozen(kw_only=True)
class Picture:
    """A local picture as it was when it was handed over."""

    label: str
    """For messages: where it stands in its request, and its path."""
    content: Path | bytes | None = field(repr=_short)
    """None for bytes that an earlier run was given, which the journal does not keep."""
    any_kind: bool = False
    """Whether it may be of a kind from which nothing is generated."""
    sha256: str | None = None
    stamp: Stamp | None = None


@frozen(kw_only=True)
class Content:
    """What is to be uploaded."""

    source: Path | bytes = field(repr=_short)
    size: int
    extension: str
    sha256: str
    stamp: Stamp | None


@frozen(kw_only=True)
class Checked:
    """A request that the service may take, with its local pictures in the order of `request.images`."""

    request: ImageRequest
    pictures: tuple[Picture, ...] = ()


class UnusableError(Exception):
    """A picture cannot be uploaded; the text says why."""


def is_slow(content: object) -> bool:
    """Whether to check and hash a picture would hold up the event loop."""
    return len(content) > _CHUNK if isinstance(content, bytes) else isinstance(content, Path)


def has_local_images(request: Any) -> bool:
    """Whether a request has pictures that have no URL yet."""
    return any(isinstance(image, LocalImage) for image in _images_of(request))


def is_slow_to_check(request: Any) -> bool:
    """Whether to check a request would hold up the event loop."""
    return any(map(is_slow, _images_of(request)))


def _images_of(request: Any) -> Sequence[object]:
    images: Any = request.images if isinstance(request, ImageRequest) else ()
    return images if isinstance(images, tuple) else ()  # pyright: ignore[reportUnknownVariableType]


def check_request(request: Any, *, hashed: bool = False, stored: Sequence[object] = ()) -> Checked:
    """Check a request, its local pictures included; `hashed` makes their digests known.

    `stored` are the images that a journal has for the request: one whose file is gone is known by that.

    Raises:
        RequestValidationError: with every problem of the request.

    """
    pictures: list[Picture] = []
    problems: list[str] = []
    for index, image in enumerate(_images_of(request)):
        if not isinstance(image, LocalImage):
            continue
        before = stored[index] if index < len(stored) else None
        try:
            pictures.append(_check(image, f"images[{index}]", hashed=hashed, before=before))
        except UnusableError as error:
            problems.append(str(error))
    return Checked(request=validate(request, problems), pictures=tuple(pictures))


async def check_request_aside(request: Any) -> Checked:
    """Check a request without holding up the event loop."""
    return await to_thread.run_sync(check_request, request) if is_slow_to_check(request) else check_request(request)


def check_source(source: Any) -> Picture:
    """Check a picture that is uploaded by itself, of any kind that the service stores.

    Raises:
        RequestValidationError: it cannot be uploaded.

    """
    if not isinstance(source, Path | bytes):
        raise RequestValidationError([f"source: expected a Path or bytes, got {type(source).__name__}"])
    try:
        return _check(source, "source", any_kind=True)
    except UnusableError as error:
        raise RequestValidationError([str(error)]) from None


def load(picture: Picture) -> Content:
    """Look at a picture again, just before it is uploaded, and hash it.

    Raises:
        UnusableError: it cannot be uploaded any more, or is not what was handed over.

    """
    if picture.content is None:
        text = "was given as bytes, which the journal does not keep: run the program that gave them again"
        raise UnusableError(f"{picture.label} {text}")
    content = _read(picture.content, picture.label, any_kind=picture.any_kind)
    known_by_stamp = picture.sha256 is None and picture.stamp is not None
    if known_by_stamp and content.stamp != picture.stamp:
        raise UnusableError(changed(picture.label))
    content = evolve(content, sha256=digest_of_content(content.source, content.stamp, picture.label))
    if picture.sha256 is not None and content.sha256 != picture.sha256:
        raise UnusableError(changed(picture.label))
    return content


def changed(label: str) -> str:
    """Say that a file is not what it was."""
    return f"{label} was changed after it was handed over"


def digest_of_content(source: Path | bytes, stamp: Stamp | None, label: str) -> str:
    """Return the digest by which the same picture is known wherever it lies.

    Raises:
        UnusableError: the file cannot be read.

    """
    if isinstance(source, bytes):
        return sha256(source).hexdigest()
    try:
        return _digest_of_file(str(source), stamp)
    except OSError as error:
        raise UnusableError(f"{label} cannot be read ({error.strerror or error})") from None


def absolute(path: Path) -> Path:
    """Return a path that holds when the program changes its folder; unlike `resolve` it leaves links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - `Path.absolute` keeps `..`


def text_of(image: str | LocalImage) -> str:
    """Return an image of a request as text: its URL, its path, or its digest."""
    if isinstance(image, StoredImage):
        return str(image.path or f"sha256:{image.sha256}")
    return f"sha256:{sha256(image).hexdigest()}" if isinstance(image, bytes) else str(image)


def _check(
    image: LocalImage, place: str, *, hashed: bool = False, any_kind: bool = False, before: object = None
) -> Picture:
    if isinstance(image, StoredImage):
        label = f"{place}: {image.path or 'a picture'}"
        return Picture(label=label, content=image.path, sha256=image.sha256)
    source = image if isinstance(image, bytes) else absolute(image)
    name = f"a picture of {len(image)} bytes" if isinstance(image, bytes) else str(image)
    label = f"{place}: {name if len(name) <= _LONGEST_NAME else f'…{name[-_LONGEST_NAME:]}'}"
    if isinstance(source, Path) and isinstance(before, StoredImage) and before.path == source:
        with suppress(ValueError, OSError):
            if not source.exists():
                return Picture(label=label, content=source, sha256=before.sha256)
    content = _read(source, label, any_kind=any_kind)
    digest = digest_of_content(source, content.stamp, label) if hashed else None
    return Picture(label=label, content=source, any_kind=any_kind, sha256=digest, stamp=content.stamp)


def _read(source: Path | bytes, label: str, *, any_kind: bool) -> Content:
    """Look at size and first bytes."""
    if isinstance(source, bytes):
        stamp, size, head = None, len(source), source[:SIGNATURE_BYTES]
    else:
        stamp, head = _look(source, label)
        size = stamp.size
    if not size:
        raise UnusableError(f"{label} is empty")
    if size > LARGEST_UPLOAD:
        raise UnusableError(f"{label} has {size} bytes, the service takes at most {LARGEST_UPLOAD} (10 MB)")
    extension = extension_of(head)
    if extension is None:
        raise UnusableError(f"{label} is not a jpeg, png or webp picture, it begins with {head!r}")
    if not any_kind and extension not in _GENERATED_FROM:
        text = "is a gif, which is stored but not generated from: the service takes jpeg, png and webp"
        raise UnusableError(f"{label} {text}")
    return Content(source=source, size=size, extension=extension, sha256="", stamp=stamp)


def _look(path: Path, label: str) -> tuple[Stamp, bytes]:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # to open a pipe would wait for its other end
            raise UnusableError(f"{label} is not a file")
        with path.open("rb") as file:
            head = file.read(SIGNATURE_BYTES)
    except FileNotFoundError:
        raise UnusableError(f"{label} does not exist") from None
    except (OSError, ValueError) as error:  # a path with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else None
        raise UnusableError(f"{label} cannot be read ({reason or error})") from None
    return Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns), head


@lru_cache(maxsize=4096)  # many requests share a picture
def _digest_of_file(path: str, _stamp: Stamp | None) -> str:
    digest = sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()
