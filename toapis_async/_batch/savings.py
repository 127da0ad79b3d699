"""The last stage of a batch that saves: an outcome is offered when its files and its line in the manifest are there."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from .._files.defaults import DEFAULT_NAME
from .._files.downloads import Downloader
from .._files.manifest import NAME, Manifest, record_of
from .._files.names import Template, folded, safe, short_digest
from .._submission import without_references
from ..errors import DownloadError
from ..models import GenerationTask
from ..outcomes import Completed, Outcome
from .board import Board
from .job import JobRecord
from .signals import Bench

_logger = logging.getLogger("toapis_async")

_SAVERS: Final = 8
_MOST_NOTES: Final = 100  # at once


class Savings:
    """The jobs that have ended, but for their files or their line in the manifest."""

    def __init__(self, board: Board, downloader: Downloader, directory: Path) -> None:
        self._board = board
        self._downloader = downloader
        self._directory = directory
        self._template = Template(DEFAULT_NAME)
        self._manifest = Manifest(directory)
        self._names: set[bytes] = set()
        self._clashing: set[JobRecord] = set()
        self._pictures: deque[tuple[JobRecord, Completed]] = deque()
        self._others: deque[tuple[JobRecord, Outcome]] = deque()
        self._savers = Bench()
        self._noters = Bench()
        self._is_abandoned = False
        self._has_warned = False

    @property
    def workers(self) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """What is to run until it is cancelled. Failures do not wait behind pictures."""
        return [self._save_forever] * _SAVERS + [self._note_forever]

    def expect(self, job: JobRecord) -> None:
        """Learn the key of a new job: of two that some file system takes for one, the first keeps its plain name."""
        name = short_digest(folded(safe(job.key)))
        if name in self._names:
            self._clashing.add(job)
        self._names.add(name)

    def add(self, job: JobRecord, outcome: Outcome) -> None:
        """Let a job wait for its turn."""
        if self._is_abandoned:
            self._board.finish(job, _left(outcome))
            return
        self._board.begin_download(job)
        if isinstance(outcome, Completed):
            self._pictures.append((job, outcome))
            self._savers.call_one()
        else:
            self._others.append((job, outcome))
            self._noters.call_one()

    def abandon(self) -> None:
        """End what waits for its turn, without its files. The workers have been cancelled."""
        self._is_abandoned = True
        for job, outcome in (*self._pictures, *self._others):
            self._board.finish(job, _left(outcome))
        self._pictures.clear()
        self._others.clear()

    async def _save_forever(self) -> None:
        while True:
            while not self._pictures:
                await self._savers.sit()
            await self._save(*self._pictures.popleft())

    async def _save(self, job: JobRecord, outcome: Completed) -> None:
        ended = _left(outcome)
        try:
            ended = await self._with_files(job, outcome)
            await self._note([ended])
        finally:  # cancelled as well: what became of it is known
            self._clashing.discard(job)
            self._board.finish(job, ended)

    async def _with_files(self, job: JobRecord, outcome: Completed) -> Completed:
        task = outcome.task
        try:
            await self._downloader.in_thread(self._manifest.load)
        except OSError as error:
            self._warn(error)
        names = self._template.names(task, key=outcome.key, request=outcome.request, clashes=job in self._clashing)
        known = self._manifest.owned(outcome.key, task.id)

        async def ask() -> GenerationTask:
            fresh = await self._downloader.get(task.id, task.kind)
            return without_references(fresh, job.submission.references) if job.submission else fresh

        try:
            files = await self._downloader.save(task, self._directory, names, ask=ask, known=known)
        except DownloadError as error:
            return _not_saved(outcome, error)
        return evolve(outcome, files=files)

    async def _note_forever(self) -> None:
        while True:
            while not self._others:
                await self._noters.sit()
            ended = [self._others.popleft() for _ in range(min(len(self._others), _MOST_NOTES))]
            try:
                await self._note([outcome for _, outcome in ended])
            finally:
                for job, outcome in ended:
                    self._board.finish(job, outcome)

    async def _note(self, outcomes: Sequence[Outcome]) -> None:
        """Write lines; what cannot be written fails no task, and is written by the next run with the same journal."""
        try:
            await self._downloader.in_thread(self._write, outcomes)
        except OSError as error:
            self._warn(error)

    def _write(self, outcomes: Sequence[Outcome]) -> None:
        self._manifest.load()
        for outcome in outcomes:
            record = record_of(outcome, self._directory)
            if not (outcome.replayed and self._manifest.has(record)):
                self._manifest.append(record)

    def _warn(self, error: OSError) -> None:
        if not self._has_warned:
            self._has_warned = True
            _logger.warning("%s cannot be used: %s. Pictures are saved all the same", self._directory / NAME, error)


def _left(outcome: Outcome) -> Outcome:
    """Return the outcome of a job whose pictures nobody waits for any more."""
    if not isinstance(outcome, Completed):
        return outcome
    url = outcome.task.images[0].url if outcome.task.images else ""
    return _not_saved(outcome, DownloadError(url, "the batch was left first", task=outcome.task))


def _not_saved(outcome: Completed, error: DownloadError) -> Completed:
    error.about(task_id=outcome.task_id, client_business_id=outcome.client_business_id)
    # Its frames would live as long as the outcome.
    return evolve(outcome, files=error.files, download_error=error.with_traceback(None))
