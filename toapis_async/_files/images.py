"""What a file is, by its content; what it may be called."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

EXTENSIONS: Final = (".png", ".jpg", ".webp", ".gif")
SIGNATURE_BYTES: Final = 12
_LONGEST_STEM: Final = 80


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


def safe_stem(task_id: str) -> str:
    """Make a file name part of any id: safe on every file system, distinct for distinct ids."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", task_id).lstrip(".")[:_LONGEST_STEM]
    if plain and plain == task_id:
        return plain
    digest = blake2b(task_id.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{plain}-{digest}" if plain else digest
