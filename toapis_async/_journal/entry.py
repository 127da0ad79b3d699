"""The row of one job, as the job writes it."""

from __future__ import annotations

import json
import time
from typing import Final

from .._protocol.lifecycle import is_end
from ..errors import ToapisError
from ..models import GenerationTask, TaskStatus
from .journal import Journal
from .rows import RowState, error_to_text, task_to_text
from .store import Change
from .uploads import Uploads

_WRITE_SECONDS: Final = 15.0  # for which a disk that hangs may hold up a task that is accepted


class Entry:
    """The row of one job, and the writing of it."""

    __slots__ = ("_earlier_ids", "_ended", "_journal", "client_business_id", "key")

    def __init__(self, journal: Journal, key: str, client_business_id: str, earlier_ids: tuple[str, ...] = ()) -> None:
        self._journal = journal
        self.key = key
        self.client_business_id = client_business_id
        self._earlier_ids = earlier_ids
        self._ended: GenerationTask | None = None  # what the row holds, if it is the end

    @classmethod
    def make(cls, journal: Journal, key: str, client_business_id: str, *, request: str, digest: str) -> Entry:
        """Make the row of a new job."""
        journal.write(Change(time.time(), key, "queued", client_business_id, request, digest))
        return cls(journal, key, client_business_id)

    async def posting(self) -> None:
        """Record, before the first byte is sent, that the request may be paid for.

        Raises:
            JournalError: the row is not on disk.

        """
        await self._journal.write_durably(self._change("posting"))

    async def accepted(self, task: GenerationTask) -> None:
        """Record the task, before anybody is told of it.

        Raises:
            JournalError: the row is not on disk, or not within 15 seconds.

        """
        if is_end(task):
            self._ended = task
            change = self._change("failed" if task.status is TaskStatus.FAILED else "completed", task)
        else:  # its id is enough to go on with: a snapshot that is not the end is worth nothing later
            change = self._change("submitted", task, is_whole=False)
        await self._journal.write_durably(change, within=_WRITE_SECONDS)

    @property
    def uploads(self) -> Uploads:
        """Which pictures have a URL."""
        return self._journal.uploads

    def note(self, state: RowState, task: GenerationTask | None = None, error: ToapisError | None = None) -> None:
        """Record where the job stands, in order but not at once."""
        if task is None or task is not self._ended:
            self._journal.write(self._change(state, task, error))

    def _change(
        self,
        state: RowState,
        task: GenerationTask | None = None,
        error: ToapisError | None = None,
        *,
        is_whole: bool = True,
    ) -> Change:
        return Change(
            time.time(),
            self.key,
            state,
            self.client_business_id,
            earlier_ids=json.dumps(self._earlier_ids) if self._earlier_ids else "[]",
            task_id=task.id if task else None,
            snapshot=task_to_text(task) if task and is_whole else None,
            error=error_to_text(error) if error else None,
        )
