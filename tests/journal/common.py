"""What the tests of the journal's file share."""

from __future__ import annotations

from pathlib import Path

from toapis_async import ImageRequest
from toapis_async._journal import read_rows

FOX = ImageRequest("a red fox")


def foxes(count: int) -> list[ImageRequest]:
    return [ImageRequest(f"fox {number}") for number in range(count)]


def states(path: Path) -> list[str]:
    return [row.state for row in read_rows(path)]
