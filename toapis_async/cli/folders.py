"""The folder for the pictures."""

from __future__ import annotations

import os
from pathlib import Path

from .exits import UsageError


def make_folder(folder: Path) -> None:
    """Make the folder of `--out`, unless it exists.

    Raises:
        UsageError: it cannot be made or written.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError([f"--out {folder}: {error.strerror or error}"]) from None
    if not os.access(folder, os.W_OK):
        raise UsageError([f"--out {folder}: this folder cannot be written"])
