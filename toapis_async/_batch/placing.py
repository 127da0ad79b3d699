"""The stage of a batch before the paid one, for requests with local pictures: these get their URLs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .._files.uploads import Uploader
from .._submission import Submission, place_pictures
from ..errors import ToapisError
from .board import Board
from .job import JobRecord

PLACERS: Final = 16  # more than are uploaded at once: many may wait for one picture that they share


class Placing:
    """A pool of its own, so that requests without pictures are not held up."""

    def __init__(
        self, board: Board, uploader: Uploader, ended: Callable[[JobRecord, Submission, ToapisError | None], None]
    ) -> None:
        self._board = board
        self._uploader = uploader
        self._ended = ended

    async def place_forever(self) -> None:
        """Place the pictures of one job after the other. Cancelled, it leaves the job as it was, nothing is paid."""
        while True:  # without a name for the job: an idle worker shall not keep its last one
            await self._place(await self._next())

    async def _next(self) -> JobRecord:
        while (job := self._board.next_to_place()) is None:
            await self._board.placers.sit()
        return job

    async def _place(self, job: JobRecord) -> None:
        submission = job.submission
        assert submission is not None
        error: ToapisError | None = None
        try:
            await place_pictures(submission, self._uploader)
        except ToapisError as failure:
            error = failure.with_traceback(None)
        finally:  # also when cancelled
            self._board.placed()
            self._ended(job, submission, error)
