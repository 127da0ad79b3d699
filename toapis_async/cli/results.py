"""Standard output of `toapis generate`: one JSON object for each outcome, or the paths of saved files."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from toapis_async import Billing, Completed, DownloadError, GenerationTask, JobState, Outcome, ToapisError

from .account import Loose
from .display import drop


class Output:
    """Writes lines to standard output, each at once.

    When it cannot be written the rest is dropped, `lost` is set, and `on_loss` is told once: the run goes on,
    because what it ordered is paid for.
    """

    def __init__(self, on_loss: Callable[[OSError], None]) -> None:
        self._on_loss = on_loss
        self.lost: OSError | None = None
        """Why it cannot be written."""

    def write(self, line: str) -> None:
        """Write one line."""
        if self.lost is not None:
            return
        stream: TextIO | None = sys.stdout  # None in a process that was started with it closed
        try:
            _write(stream, f"{line}\n")
        except OSError as error:
            self.lost = error
            if stream is not None:
                drop(stream)
            self._on_loss(error)

    def write_json(self, value: dict[str, Any]) -> None:
        """Write one object as a line; in ASCII, which every reader and every terminal can take."""
        self.write(json.dumps(value, default=str))


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        stream.write(text)
    except UnicodeEncodeError:  # a path that the stream's encoding has no letters for
        stream.write(text.encode("ascii", "backslashreplace").decode())
    stream.flush()


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """Return the JSON object that stands for an outcome."""
    if isinstance(outcome, Completed):
        result = _result(outcome.task, outcome.files, None, outcome.download_error)
    else:
        result = _result(outcome.task, (), outcome.error, None)
    return {**_handle(outcome), **result, "replayed": outcome.replayed}


def loose_record(loose: Loose) -> dict[str, Any]:
    """Return the JSON object, of the same shape, for a task whose end or picture the run did not see."""
    download_error = None
    if loose.state is JobState.COMPLETED and loose.task is not None:
        download_error = DownloadError(loose.task.images[0].url, "the run ended first")
    return {**_handle(loose), **_result(loose.task, (), None, download_error), "replayed": False}


def _handle(item: Outcome | Loose) -> dict[str, Any]:
    return {
        "key": item.key,
        "outcome": str(item.state),
        "prompt": item.request.prompt if item.request else None,
        "model": item.request.model if item.request else None,
        "task_id": item.task_id,
        "client_business_id": item.client_business_id,
    }


def _result(
    task: GenerationTask | None,
    files: Sequence[Path],
    error: ToapisError | None,
    download_error: DownloadError | None,
) -> dict[str, Any]:
    return {
        "files": [str(file) for file in files],
        "urls": [image.url for image in task.images] if task else [],
        "error": error_record(error),
        "download_error": error_record(download_error),
        "billing": billing_record(task.billing if task else None),
    }


def error_record(error: ToapisError | None) -> dict[str, str] | None:
    """Return the class and the text of an error."""
    return {"type": type(error).__name__, "message": error.message} if error else None


def billing_record(billing: Billing | None) -> dict[str, str | None] | None:
    """Return a bill with its money as decimal text, as the service writes it."""
    if billing is None:
        return None
    return {
        "status": billing.status,
        "credits": None if billing.credits is None else f"{billing.credits:f}",
        "cost_usd": None if billing.cost_usd is None else f"{billing.cost_usd:f}",
    }
