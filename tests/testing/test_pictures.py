"""The pictures are real PNG files that differ as promised."""

from __future__ import annotations

import struct
import zlib

import pytest

from toapis_async.testing.pictures import draw


def decode(png: bytes) -> tuple[int, int, bytes, bytes]:
    """Return width, height, palette and pixels; every checksum and every length is checked."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", png, at + 8 + length)
        assert checksum == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour, rest) == (8, 3, [0, 0, 0])
    pixels = zlib.decompress(chunks[b"IDAT"])
    assert len(pixels) == height * (width + 1)
    rows = [pixels[i : i + width + 1] for i in range(0, len(pixels), width + 1)]
    assert {row[0] for row in rows} == {0}
    assert max(pixels) < len(chunks[b"PLTE"]) // 3 <= 256
    return width, height, chunks[b"PLTE"], pixels


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ("1:1", (320, 320)),
        ("16:9", (320, 180)),
        ("9:16", (180, 320)),
        ("1024x512", (320, 160)),
        ("1024*512", (320, 160)),
        ("1:100", (32, 320)),
        ("0:5", (320, 320)),
        ("auto", (320, 320)),
        ("2K", (320, 320)),
    ],
)
def test_the_shape_follows_the_size(size: str, shape: tuple[int, int]) -> None:
    width, height, _, _ = decode(draw("a fox", 0, size))
    assert (width, height) == shape


def test_pictures_depend_on_prompt_and_index_and_on_nothing_else() -> None:
    assert draw("a fox", 0) == draw("a fox", 0)
    pictures = {draw(prompt, index) for prompt in ("a fox", "a hen", "", "狐", "\ud800") for index in range(4)}
    assert len(pictures) == 20
    for picture in pictures:
        decode(picture)
