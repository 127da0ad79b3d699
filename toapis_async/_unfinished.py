"""What single calls may have paid for and nobody received."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from ._submission import Submission
from .models import GenerationTask, UnfinishedTask

_logger = logging.getLogger("toapis_async")


class Unfinished:
    """The records of a session's single calls, each kept until its result or error reaches a caller."""

    def __init__(self) -> None:
        self._records: dict[Submission, None] = {}
        self._gathering: list[Callable[[], Iterable[Submission]]] = []

    def snapshots(self) -> tuple[UnfinishedTask, ...]:
        """See `ToapisSession.unfinished`."""
        gathered = (record for records in self._gathering for record in records())
        return tuple(record.snapshot() for record in (*self._records, *gathered) if record.may_be_paid)

    def add(self, record: Submission) -> None:
        """Keep a record from before it is paid for."""
        self._records[record] = None

    def discard(self, record: Submission) -> None:
        """Let a record go: its caller knows, or nothing was paid."""
        self._records.pop(record, None)

    def settle(self, asked_id: str, task: GenerationTask) -> None:
        """Let go of the record of a task whose end somebody learned by its id."""
        if self._records:
            ids = {asked_id, task.id, task.client_business_id or asked_id}
            for record in [r for r in self._records if r.task_id in ids or r.client_business_id in ids]:
                del self._records[record]

    @contextmanager
    def gathering(self, records: Callable[[], Iterable[Submission]]) -> Generator[None]:
        """Count what `generate_many` holds as unfinished; keep it if its caller does not get the outcomes."""
        self._gathering.append(records)
        try:
            yield
        except BaseException:
            self._records.update((record, None) for record in records() if record.may_be_paid)
            raise
        finally:
            self._gathering.remove(records)

    def warn(self) -> None:
        """Log what is left when the session ends."""
        if left := self.snapshots():
            _logger.warning(
                "Closed a session with %d unfinished tasks, which may go on at the service; resume with"
                " session.wait(id): %s",
                len(left),
                ", ".join(task.resume_id for task in left),
            )
