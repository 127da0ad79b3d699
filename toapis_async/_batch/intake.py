"""What comes into a batch: requests become jobs, new ones or those of an earlier run, and ids to wait for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from anyio import to_thread

from .._files.references import Checked, check_request, has_local_images, is_slow_to_check
from .._http.dispatch import Dispatcher
from .._journal import Entry, Journal, Row, describe, is_storable
from .._schedule.adaptive import Poll
from .._submission import Submission, Submitter, new_client_business_id, without_references
from .._watch import watch_id, watch_submission
from ..errors import RequestValidationError
from ..models import ImageRequest, JobState, TaskKind
from ..outcomes import Failed
from .board import Board
from .items import Keys, split_item
from .job import JobRecord, outcome_of
from .stages import Stages


class Intake:
    """Makes the jobs of one batch."""

    def __init__(
        self,
        board: Board,
        stages: Stages,
        submitter: Submitter,
        dispatcher: Dispatcher,
        poll: Poll,
        *,
        retry_failed: bool,
        on_job: Callable[[JobRecord], None] | None,
    ) -> None:
        self.journal: Journal | None = None
        self._board = board
        self._stages = stages
        self._submitter = submitter
        self._dispatcher = dispatcher
        self._poll = poll
        self._retry_failed = retry_failed
        self._on_job = on_job
        self._keys = Keys()
        self._on_received = board.received  # one for all jobs: each access would make another
        self._arrived = 0

    def submit(self, request: ImageRequest, key: str | None, checked: Checked | None = None) -> JobRecord:
        """See `Batch.submit`; `checked` is the request if it was checked before."""
        self._keys.check(key)
        checked = checked or self._check(request, key)
        if self.journal is None:
            submission = self._submitter.intend(checked)
            return self._add_new(self._keys.next_free() if key is None else key, submission)
        digest, text = describe(checked)
        name = self._keys.next_free_of(digest[:16]) if key is None else key
        if not is_storable(name):
            raise RequestValidationError([f"key: {name!r} cannot be stored in a journal (NUL or half a character)"])
        row = self.journal.find(name)
        if row is None:
            self._check_own_id(self.journal, request)
            submission = self._submitter.intend(checked)
            submission.entry = Entry.make(
                self.journal, name, submission.client_business_id, request=text, digest=digest
            )
            return self._add_new(name, submission)
        if row.digest != digest:
            problem = (
                f"key: {name!r} belongs to another request in {self.journal.path}, a changed request needs its own"
            )
            raise RequestValidationError([problem])
        return self._resume(self.journal, row, checked)

    async def take(self, item: Any) -> None:
        """Make a job of what a source gave; what cannot be sent becomes a `Failed` outcome."""
        key, request = split_item(item)
        checked = None
        try:
            if is_slow_to_check(request):
                check = partial(check_request, request, hashed=self.journal is not None)
                with suppress(RequestValidationError):  # a journal may know a picture that is gone
                    checked = await to_thread.run_sync(check)
        finally:  # also when cancelled: nobody else has the item
            self._accept(key, request, checked)

    def _check(self, request: ImageRequest, key: str | None) -> Checked:
        try:
            return check_request(request, hashed=self.journal is not None)
        except RequestValidationError:
            if self.journal is None or key is None or not is_storable(key) or not has_local_images(request):
                raise
            row = self.journal.find(key)
            if row is None:
                raise
            return check_request(request, hashed=True, stored=row.request.images)

    def _accept(self, key: Any, request: Any, checked: Checked | None) -> None:
        try:
            self.submit(request, key, checked)
        except RequestValidationError as error:
            free = self._keys.next_free_of(key) if isinstance(key, str) else self._keys.next_free()
            job = self._make(free)
            known = request if isinstance(request, ImageRequest) else None
            self._stages.deliver(
                job, Failed(key=job.key, request=known, task_id=None, client_business_id=None, error=error)
            )

    def attach(self, task_id: str, key: str | None, kind: TaskKind) -> JobRecord:
        """See `Batch.attach`."""
        self._keys.check(key)
        watch = watch_id(task_id, kind=kind, poll=self._poll, dispatcher=self._dispatcher)
        job = self._make(self._keys.next_free() if key is None else key, task_id=task_id, kind=kind)
        self._board.move(job, JobState.SUBMITTED)
        self._stages.watch(job, watch)
        return job

    def _make(
        self,
        key: str,
        submission: Submission | None = None,
        *,
        task_id: str | None = None,
        kind: TaskKind = "image",
    ) -> JobRecord:
        job = JobRecord(key, self._arrived, on_received=self._on_received, task_id=task_id, kind=kind)
        self._arrived += 1
        self._keys.use(key)
        if submission is not None:
            job.submission = submission
            job.state = submission.state
            submission.on_change = lambda state: self._board.move(job, state)
        self._board.add(job)
        self._stages.expect(job)
        if self._on_job:
            self._on_job(job)
        return job

    def _add_new(self, key: str, submission: Submission) -> JobRecord:
        job = self._make(key, submission)
        self._board.enqueue(job)
        return job

    # -- jobs of an earlier run

    def _resume(self, journal: Journal, row: Row, checked: Checked) -> JobRecord:
        if row.state == "failed" and self._retry_failed:
            return self._pay_anew(journal, row, checked)
        submission = self._submitter.restore(checked, row.client_business_id)
        submission.entry = Entry(journal, row.key, row.client_business_id, row.earlier_ids)
        for picture in checked.pictures:
            submission.references += journal.uploads.urls_of(picture.sha256)
        if row.task is not None:
            task = without_references(row.task, submission.references)
            submission.accept(task, self._dispatcher.clock(), is_fresh=False)
        elif row.state in {"posting", "unresolved"}:
            submission.move(JobState.POSTING)
        if row.state in {"completed", "failed"}:
            return self._replay(row, submission)
        if row.state == "queued":
            return self._add_new(row.key, submission)
        job = self._make(row.key, submission)
        watch = watch_submission(submission, poll=self._poll, dispatcher=self._dispatcher)
        if submission.task is not None:
            watch.postpone(self._dispatcher.clock())  # it may long be at its end
        self._stages.watch(job, watch)
        return job

    def _replay(self, row: Row, submission: Submission) -> JobRecord:
        job = self._make(row.key, submission)
        verdict = row.error or submission.task
        assert verdict is not None  # the journal keeps no end without one
        self._stages.deliver(job, outcome_of(job, verdict, refused=row.task is None, replayed=True))
        return job

    def _pay_anew(self, journal: Journal, row: Row, checked: Checked) -> JobRecord:
        request = checked.request
        used = (*row.earlier_ids, row.client_business_id)
        if request.client_business_id is None or request.client_business_id in used:
            submission = self._submitter.restore(checked, new_client_business_id())
        else:
            self._check_own_id(journal, request)
            submission = self._submitter.intend(checked)
        submission.entry = Entry(journal, row.key, submission.client_business_id, used)
        submission.entry.note("queued")
        return self._add_new(row.key, submission)

    def _check_own_id(self, journal: Journal, request: ImageRequest) -> None:
        own_id = request.client_business_id
        if own_id is not None and (key := journal.find_key_of(own_id)) is not None:
            problem = f"client_business_id: {own_id!r} was used before, for {key!r} in {journal.path}"
            raise RequestValidationError([problem])
