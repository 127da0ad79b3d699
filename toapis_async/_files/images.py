"""What a file is, by its content, and whether all of it is there."""

from __future__ import annotations

import os
from typing import BinaryIO, Final

EXTENSIONS: Final = (".png", ".jpg", ".webp", ".gif")
SIGNATURE_BYTES: Final = 12
_BLOCK: Final = 1 << 20
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})  # markers of a JPEG that nothing follows
_SCAN, _END = 0xDA, 0xD9


class NotAPictureError(ValueError):
    """The content is of no kind of image."""


class CutShortError(ValueError):
    """The end of an image is missing."""


def extension_of(head: bytes) -> str | None:
    """Return the extension for the first `SIGNATURE_BYTES` bytes of an image; None if they are of none."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ".webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    return None


def check_picture(file: BinaryIO) -> str:
    """Return the extension for a whole image; what follows its end does not matter.

    A server may announce a wrong length: only the image itself tells that it was cut short. The end of a GIF
    cannot be told from its data, and is not looked for.

    Raises:
        NotAPictureError: it is none.
        CutShortError: its end is missing.

    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(SIGNATURE_BYTES)
    extension = extension_of(head)
    if extension is None:
        raise NotAPictureError(f"the content is no picture, it begins with {head!r}")
    if not _has_end(file, extension, head, size):
        raise CutShortError(f"the picture breaks off after {size} bytes")
    return extension


def _has_end(file: BinaryIO, extension: str, head: bytes, size: int) -> bool:
    if extension == ".png":
        return _has_png_end(file, size)
    if extension == ".jpg":
        return _has_jpeg_end(file)
    return extension != ".webp" or size >= int.from_bytes(head[4:8], "little") + 8


def _has_png_end(file: BinaryIO, size: int) -> bool:
    place = 8
    while True:  # from chunk to chunk
        file.seek(place)
        head = file.read(8)
        place += 12 + int.from_bytes(head[:4], "big")
        if len(head) < 8 or place > size:
            return False
        if head[4:] == b"IEND":
            return True


def _has_jpeg_end(file: BinaryIO) -> bool:
    place = 2
    while True:  # from segment to segment, as a preview inside one has an end of its own
        file.seek(place)
        head = file.read(4)
        if len(head) < 2:
            return False
        if head[0] != 0xFF or head[1] in {_SCAN, _END}:
            return _has_end_behind(file, place)
        if head[1] == 0xFF:  # a filler
            place += 1
        elif head[1] in _ALONE:
            place += 2
        else:
            place += 2 + max(2, int.from_bytes(head[2:], "big"))


def _has_end_behind(file: BinaryIO, place: int) -> bool:
    file.seek(place)
    last = b""
    while block := file.read(_BLOCK):
        if b"\xff\xd9" in last + block:
            return True
        last = block[-1:]
    return False
