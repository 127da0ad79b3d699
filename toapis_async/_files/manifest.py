"""`manifest.jsonl`: what a folder of pictures says of itself, one JSON object a line for each job that ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeGuard

MANIFEST: Final = "manifest.jsonl"


def read_manifest(directory: Path) -> list[dict[str, Any]]:
    """Return the entries in the order in which their keys first appear; the last line of a key counts.

    Lines that are no object with a key are skipped: the last may have been cut by a crash.

    Raises:
        OSError: there is no manifest, or it cannot be read.

    """
    entries: dict[str, dict[str, Any]] = {}
    with (directory / MANIFEST).open("rb") as lines:
        for entry in _parsed(lines):
            entries[entry["key"]] = entry
    return list(entries.values())


def _parsed(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            entry: object = json.loads(line.decode())
        except (ValueError, RecursionError):
            continue
        if _is_object(entry) and isinstance(entry.get("key"), str):
            yield entry


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
