"""The last stage of a batch that saves its pictures: an outcome is offered when its files are on disk."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

from attrs import evolve

from .._files.downloads import Downloader
from .._files.names import DEFAULT_NAME, Template
from ..errors import DownloadError
from ..outcomes import Completed
from .board import Board, Signal
from .job import JobRecord

SAVERS: Final = 8


class Savings:
    """The completed jobs whose pictures are not saved yet."""

    def __init__(self, board: Board, downloader: Downloader, directory: Path) -> None:
        self._board = board
        self._downloader = downloader
        self._directory = directory
        self._template = Template(DEFAULT_NAME)
        self._queue: deque[tuple[JobRecord, Completed]] = deque()
        self._work = Signal()

    def add(self, job: JobRecord, outcome: Completed) -> None:
        """Let a job wait for its turn."""
        self._board.begin_download(job)
        self._queue.append((job, outcome))
        self._work.notify()

    async def save_forever(self) -> None:
        """Save one job after the other. Cancelled, it leaves the job without an outcome, and whole files only."""
        while True:
            while not self._queue:
                await self._work.wait()
            await self._save(*self._queue.popleft())

    async def _save(self, job: JobRecord, outcome: Completed) -> None:
        try:
            naming = self._template.names(outcome.task, key=outcome.key, request=outcome.request)
            files = await self._downloader.save(outcome.task, self._directory, naming, is_known=outcome.replayed)
        except DownloadError as error:
            error.about(task_id=outcome.task_id, client_business_id=outcome.client_business_id)
            outcome = evolve(outcome, files=error.files, download_error=error)
        else:
            outcome = evolve(outcome, files=files)
        self._board.finish(job, outcome)
