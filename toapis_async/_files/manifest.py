"""`manifest.jsonl`: what the pictures of a folder are. A line for each job that ended; the last one of a key counts."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, cast

from attrs import frozen

from ..models import Billing, GenerationTask, ImageRequest, Usage
from ..outcomes import Completed, Outcome
from .names import short_digest, tag_of
from .references import LocalImage, text_of

NAME: Final = "manifest.jsonl"
_PARAMETERS: Final = ("size", "n", "images", "callback_url", "metadata", "extra")


def read_manifest(directory: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the lines of a folder's manifest: the last one of each key, in order of the keys' first appearance.

    Lines that are broken, as a crash may leave the last one, are skipped.

    Raises:
        OSError: there is no manifest, or it cannot be read.

    """
    found: dict[str, dict[str, Any]] = {}
    with Path(directory, NAME).open("rb") as lines:
        for line in lines:
            record = _read(line)
            if record is not None:
                found[record["key"]] = record
    return list(found.values())


class Manifest:
    """The manifest of one folder, to be added to. `load` and `append` block, and run in worker threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._seen: dict[bytes, _Seen] | None = None

    def load(self) -> None:
        """Learn what the manifest holds, if that is not known yet.

        Raises:
            OSError: it cannot be read.

        """
        with self._lock:
            if self._seen is not None:
                return
            seen: dict[bytes, _Seen] = {}
            try:
                with (self._directory / NAME).open("rb") as lines:
                    for line in lines:
                        if (record := _read(line)) is not None:
                            seen[short_digest(record["key"])] = _Seen.of(record)
            except FileNotFoundError:
                pass
            self._seen = seen

    def owned(self, key: str, task_id: str) -> int:
        """Return how many of a key's first names are certainly those of this task's pictures."""
        seen = self._seen.get(short_digest(key)) if self._seen else None
        return seen.count if seen and seen.task == short_digest(task_id) and not seen.is_tagged else 0

    def has(self, record: Mapping[str, Any]) -> bool:
        """Whether the last line of the record's key says the same."""
        seen = self._seen.get(short_digest(record["key"])) if self._seen else None
        return seen == _Seen.of(record)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line in one write, so that it is whole also beside those of another process.

        Raises:
            OSError: it could not be written.

        """
        line = _to_line(record)
        with self._lock:
            self._directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._directory / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)
            try:
                if _is_torn(descriptor):
                    line = b"\n" + line
                if os.write(descriptor, line) < len(line):
                    raise OSError("a line was not written to its end")
            finally:
                os.close(descriptor)
            if self._seen is not None:
                self._seen[short_digest(record["key"])] = _Seen.of(record)


_BINARY: Final = getattr(os, "O_BINARY", 0)


@frozen
class _Seen:
    """What is kept in memory of a line."""

    task: bytes
    content: bytes
    is_tagged: bool
    count: int
    """Files. Those that are missing are the last ones."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> _Seen:
        task_id, files = str(record.get("task_id")), record.get("files")
        result = [record.get(name) for name in ("state", "task_id", "files", "error", "download_error")]
        names = cast("list[object]", files) if isinstance(files, list) else []
        return cls(short_digest(task_id), short_digest(repr(result)), tag_of(task_id) in str(names), len(names))


def record_of(outcome: Outcome, directory: Path) -> dict[str, Any]:
    """Return the line that stands for an outcome."""
    task, request = outcome.task, outcome.request
    files = outcome.files if isinstance(outcome, Completed) else ()
    download_error = outcome.download_error if isinstance(outcome, Completed) else None
    created, completed = (task.created_at, task.completed_at) if task else (None, None)
    return {
        "key": outcome.key,
        "state": str(outcome.state),
        "task_id": outcome.task_id,
        "client_business_id": outcome.client_business_id,
        "kind": task.kind if task else "image",
        "prompt": str(request.prompt) if request else None,
        "model": str(request.model) if request else task.model if task else None,
        "parameters": _parameters(request) if request else {},
        "files": [file.relative_to(directory).as_posix() for file in files],
        "error": None if isinstance(outcome, Completed) else outcome.error.message,
        "download_error": download_error.message if download_error else None,
        "created_at": _iso(created),
        "completed_at": _iso(completed),
        "expires_at": _iso(task.expires_at if task else None),
        "seconds": (completed - created).total_seconds() if created and completed else None,
        "saved_at": _iso(datetime.now(UTC)),
        **_costs(task),
    }


def _parameters(request: ImageRequest) -> dict[str, Any]:
    found = {name: value for name in _PARAMETERS if (value := getattr(request, name)) not in (None, (), [], {})}
    if isinstance(images := found.get("images"), Sequence) and not isinstance(images, str):
        found["images"] = [_image(image) for image in cast(Sequence[object], images)]
    return found


def _image(image: object) -> object:
    """Return what names a reference picture: its URL, its path, or a digest that stands for its content."""
    return text_of(image) if isinstance(image, LocalImage) else image


def _costs(task: GenerationTask | None) -> dict[str, Any]:
    return {
        "billing": _billing(task.billing) if task and task.billing else None,
        "usage": _usage(task.usage) if task and task.usage else None,
    }


def _billing(billing: Billing) -> dict[str, str | None]:
    return {"status": billing.status, "credits": _money(billing.credits), "cost_usd": _money(billing.cost_usd)}


def _usage(usage: Usage) -> dict[str, Any]:
    counts = {name: getattr(usage, name) for name in ("input_tokens", "output_tokens", "total_tokens")}
    return {**{name: count for name, count in counts.items() if count is not None}, **usage.extra}


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None


def _to_line(record: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):  # of a request that was refused because of just that
        text = json.dumps({**record, "parameters": {}}, default=str)
    # Half a character, legal in JSON as an escape, has no bytes of its own.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        record: object = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(cast(dict[str, Any], record).get("key"), str):
        return None
    return cast(dict[str, Any], record)


def _is_torn(descriptor: int) -> bool:
    """Whether the last line has no end: its writer was killed, or the disk was full."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if not size:
        return False
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1) != b"\n"
