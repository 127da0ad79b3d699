"""What a file is, and whether all of it is there, is told by its content alone."""

from __future__ import annotations

import io
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toapis_async._files.images import CutShortError, NotAPictureError, check_picture
from toapis_async.testing.pictures import draw

PNG = draw("a fox", 0)
PREVIEW = b"\xff\xd8\xff\xd9"
JPEG = b"".join((
    b"\xff\xd8",
    b"\xff\xe1" + struct.pack(">H", len(PREVIEW) + 2) + PREVIEW,
    b"\xff\xff\xdb\x00\x03\x00",  # with a filler
    b"\xff\x01",
    b"\xff\xda\x00\x02",
    b"data \xff\x00 \xff\xd0 data",
    b"\xff\xd9",
))
WEBP = b"RIFF" + struct.pack("<I", 20) + b"WEBPVP8 " + bytes(12)
GIF = b"GIF89a" + bytes(10) + b";"
WHOLE = {".png": PNG, ".jpg": JPEG, ".webp": WEBP, ".gif": GIF}


@pytest.mark.parametrize("extension", WHOLE)
@pytest.mark.parametrize("behind", [b"", b"\0", b"a comment of some tool"])
def test_a_whole_picture_is_known_whatever_follows_it(extension: str, behind: bytes) -> None:
    assert check_picture(io.BytesIO(WHOLE[extension] + behind)) == extension


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp"])
def test_a_picture_that_breaks_off_anywhere_is_not_whole(extension: str) -> None:
    whole = WHOLE[extension]
    assert check_picture(io.BytesIO(whole)) == extension
    for size in range(len(whole)):
        with pytest.raises((NotAPictureError, CutShortError)):
            check_picture(io.BytesIO(whole[:size]))


def test_the_end_of_a_jpeg_may_lie_between_two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in range(1, 8):
        monkeypatch.setattr("toapis_async._files.images._BLOCK", size)
        assert check_picture(io.BytesIO(JPEG)) == ".jpg"


@given(st.binary(max_size=200))
def test_no_content_breaks_the_check(content: bytes) -> None:
    for head in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF"):
        with suppress(NotAPictureError, CutShortError):
            assert check_picture(io.BytesIO(head + content)) in WHOLE
