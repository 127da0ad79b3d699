"""Real PNG files, drawn from a prompt: a sky, a sun and three hills, in about a millisecond."""

from __future__ import annotations

import colorsys
import hashlib
import math
import re
import struct
import zlib

_LONG_SIDE = 320
_SHORTEST_SIDE = 32
_SKY_SHADES = 200
_SUN, _HILLS = _SKY_SHADES, _SKY_SHADES + 1
_SIZE = re.compile(r"(\d{1,5})\s*[:xX*]\s*(\d{1,5})")


def draw(prompt: str, index: int, size: str = "1:1") -> bytes:
    """Return a PNG whose colours depend on `prompt`, whose layout also on `index`, and whose shape on `size`.

    `size` is a ratio (`16:9`) or a pixel size (`1024x768`), of which only the ratio counts: the longer side
    always has 320 pixels. Anything else gives a square. The same arguments always give the same bytes.
    """
    width, height = _dimensions(size)
    dice = hashlib.blake2b(f"{index}\0{prompt}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    hue = hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] / 256
    pixels = _landscape(width, height, dice)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return b"".join((
        b"\x89PNG\r\n\x1a\n",
        _chunk(b"IHDR", header),
        _chunk(b"PLTE", _palette(hue, dice)),
        _chunk(b"IDAT", zlib.compress(pixels, 1)),
        _chunk(b"IEND", b""),
    ))


def _dimensions(size: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(size.strip())
    across, down = (int(found[1]), int(found[2])) if found else (1, 1)
    longest = max(across, down)
    if min(across, down) == 0:
        return _LONG_SIDE, _LONG_SIDE
    return (
        max(_SHORTEST_SIDE, round(_LONG_SIDE * across / longest)),
        max(_SHORTEST_SIDE, round(_LONG_SIDE * down / longest)),
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _palette(hue: float, dice: bytes) -> bytes:
    """Return the colours: the shades of the sky from top to horizon, the sun, the hills from far to near."""
    horizon = (hue + 0.08 + dice[0] / 2560) % 1
    colours = [
        _rgb(hue + (horizon - hue) * (shade := i / (_SKY_SHADES - 1)), 0.65 - 0.4 * shade, 0.45 + 0.5 * shade)
        for i in range(_SKY_SHADES)
    ]
    colours.append(_rgb(horizon, 0.15, 1.0))
    colours.extend(_rgb(hue + 0.45, 0.45, brightness) for brightness in (0.55, 0.4, 0.26))
    return b"".join(colours)


def _rgb(hue: float, saturation: float, value: float) -> bytes:
    return bytes(round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))


def _landscape(width: int, height: int, dice: bytes) -> bytes:
    """Return the rows of the picture, each led by its filter byte (0, none): one palette index a pixel."""
    short = min(width, height)
    sun = (width * (0.2 + dice[1] / 425), height * (0.2 + dice[2] / 1020), short * (0.09 + dice[3] / 2550))
    # Each hill is the top of an ellipse: middle, crown (the row of its top), and half its width at the bottom
    # row.
    hills = [
        (
            width * (dice[4 + i] / 255),
            height * (0.55 + 0.12 * i + dice[8 + i] / 2550),
            width * (0.7 - 0.1 * i),
        )
        for i in range(3)
    ]
    rows: list[bytes] = []
    for y in range(height):
        row = bytearray([y * _SKY_SHADES // height]) * width
        _paint(row, sun[0], _half_chord(y - sun[1], sun[2]), _SUN)
        for i, (middle, crown, half) in enumerate(hills):
            _paint(row, middle, _hill_half(y, crown, height, half), _HILLS + i)
        rows.append(bytes(row))
    return b"\0" + b"\0".join(rows)


def _half_chord(offset: float, radius: float) -> float:
    return math.sqrt(radius * radius - offset * offset) if abs(offset) < radius else 0.0


def _hill_half(y: int, crown: float, height: int, half: float) -> float:
    return half * math.sqrt(1 - ((height - y) / (height - crown)) ** 2) if y > crown else 0.0


def _paint(row: bytearray, middle: float, half: float, colour: int) -> None:
    left, right = max(0, round(middle - half)), min(len(row), round(middle + half))
    if left < right:
        row[left:right] = bytes([colour]) * (right - left)
