"""The one table of task states. Documented final states are `completed` and `failed`; the other spellings
come from older documentation and from answers seen in the field. What is not listed here is polled on."""

from __future__ import annotations

from typing import Final

from ..models import GenerationTask, TaskStatus

_SPELLINGS: Final = {
    "queued": TaskStatus.QUEUED,
    "pending": TaskStatus.QUEUED,
    "submitted": TaskStatus.QUEUED,
    "created": TaskStatus.QUEUED,
    "": TaskStatus.QUEUED,
    "in_progress": TaskStatus.IN_PROGRESS,
    "processing": TaskStatus.IN_PROGRESS,
    "running": TaskStatus.IN_PROGRESS,
    "completed": TaskStatus.COMPLETED,
    "failed": TaskStatus.FAILED,
    "error": TaskStatus.FAILED,
    "cancelled": TaskStatus.FAILED,
    "canceled": TaskStatus.FAILED,
    "expired": TaskStatus.FAILED,
    "timeout": TaskStatus.FAILED,
}
DOCUMENTED_STATUSES: Final = frozenset({"queued", "pending", "submitted", "in_progress", "completed", "failed"})
# Never seen in a raw answer, only in clients' lists: believed only together with a picture.
_DONE_IF_DELIVERED: Final = frozenset({"succeeded", "success", "done"})

_FINAL: Final = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED})


def read_status(spelling: str, *, has_images: bool) -> TaskStatus:
    """Translate the service's spelling, in any case; an empty one means queued unless there are pictures."""
    known = spelling.strip().lower()
    if known in _DONE_IF_DELIVERED:
        return TaskStatus.COMPLETED if has_images else TaskStatus.UNKNOWN
    if not known and has_images:
        return TaskStatus.COMPLETED
    return _SPELLINGS.get(known, TaskStatus.UNKNOWN)


def is_final(status: TaskStatus) -> bool:
    """Whether the service will not change this state any more."""
    return status in _FINAL


def is_end(task: GenerationTask) -> bool:
    """Whether nothing more can come: failed, or completed with its pictures, which may lag a little."""
    return task.status is TaskStatus.FAILED or (task.status is TaskStatus.COMPLETED and bool(task.images))
