"""How pictures are saved where the caller does not say."""

from __future__ import annotations

from typing import Final

DEFAULT_NAME: Final = "{key}-{index}{ext}"
MAX_BYTES: Final = 200_000_000  # of one picture
