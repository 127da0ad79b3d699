"""The row of one job, as the job writes it."""

from __future__ import annotations

import json
import time

from .._protocol.lifecycle import is_end
from ..errors import ToapisError
from ..models import GenerationTask
from .journal import Journal
from .rows import RowState, error_to_text, task_to_text
from .store import Change
from .uploads import Uploads


class Entry:
    """The row of one job, and the writing of it."""

    __slots__ = ("_earlier_ids", "_journal", "client_business_id", "key")

    def __init__(self, journal: Journal, key: str, client_business_id: str, earlier_ids: tuple[str, ...] = ()) -> None:
        self._journal = journal
        self.key = key
        self.client_business_id = client_business_id
        self._earlier_ids = earlier_ids

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
            JournalError: the row is not on disk.

        """
        # The id is enough to go on with, and a snapshot that is not the end is worth nothing later.
        await self._journal.write_durably(self._change("submitted", task, is_whole=is_end(task)))

    @property
    def uploads(self) -> Uploads:
        """Which pictures have a URL."""
        return self._journal.uploads

    def note(self, state: RowState, task: GenerationTask | None = None, error: ToapisError | None = None) -> None:
        """Record where the job stands, in order but not at once."""
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
