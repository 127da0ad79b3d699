"""One task in the caller's own task: pay, wait, hand over, and keep the record until that is done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, Self

from ._http.dispatch import Dispatcher
from ._protocol.endpoints import Accepted, Rejected
from ._protocol.lifecycle import is_end
from ._schedule.backoff import Backoff
from ._submission import Submission, Submitter
from ._watch import Origin, Verdict, Watch, announce_end, next_look, watch_submission, watch_until_end
from .errors import GenerationFailed, PollDeadlineExceeded, ToapisError
from .models import GenerationTask, ImageRequest, JobState, TaskKind, TaskStatus, UnfinishedTask

_logger = logging.getLogger("toapis_async")


class Singles:
    """The single calls of a session, and the records of what they may have paid for."""

    def __init__(self, dispatcher: Dispatcher, submitter: Submitter) -> None:
        self._dispatcher = dispatcher
        self._submitter = submitter
        self._records: dict[Submission, None] = {}
        self._gathering: list[Callable[[], Iterable[Submission]]] = []

    @property
    def unfinished(self) -> tuple[UnfinishedTask, ...]:
        """See `ToapisSession.unfinished`."""
        gathered = (record for records in self._gathering for record in records())
        return tuple(record.snapshot() for record in (*self._records, *gathered) if record.may_be_paid)

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

    def warn_of_unfinished(self) -> None:
        """Log what is left when the session ends."""
        if left := self.unfinished:
            _logger.warning(
                "Closed a session with %d unfinished tasks, which may go on at the service; resume with"
                " session.wait(id): %s",
                len(left),
                ", ".join(task.resume_id for task in left),
            )

    async def submit(self, request: ImageRequest) -> GenerationTask:
        """See `ToapisSession.submit`."""
        submission = self._submitter.intend(request)
        with self._recorded(submission):
            return await self._pay(submission)

    async def generate(self, request: ImageRequest, schedule: Backoff) -> GenerationTask:
        """See `ToapisSession.generate`."""
        submission = self._submitter.intend(request)
        with self._recorded(submission):
            task = await self._pay(submission)
            if is_end(task):
                return self._hand_over(None, task, submission)
            watch = watch_submission(submission, schedule=schedule, dispatcher=self._dispatcher)
            return self._hand_over(watch, await watch_until_end(watch, self._dispatcher), submission)

    async def wait(self, task_id: str, kind: TaskKind, schedule: Backoff) -> GenerationTask:
        """See `ToapisSession.wait`."""
        watch = self._given(task_id, kind, schedule)
        return self._hand_over(watch, await watch_until_end(watch, self._dispatcher), None)

    def snapshots(self, task_id: str, kind: TaskKind, schedule: Backoff) -> TaskSnapshots:
        """See `ToapisSession.watch`."""
        return TaskSnapshots(self._given(task_id, kind, schedule), self._dispatcher)

    def _given(self, task_id: str, kind: TaskKind, schedule: Backoff) -> Watch:
        return Watch(
            task_id,
            kind=kind,
            schedule=schedule,
            origin=Origin.GIVEN,
            since=self._dispatcher.clock(),
            random=self._dispatcher.random,
        )

    def _forget(self, ids: set[str]) -> None:
        for record in [r for r in self._records if r.task_id in ids or r.client_business_id in ids]:
            del self._records[record]

    @contextmanager
    def _recorded(self, submission: Submission) -> Generator[None]:
        """Keep the record until the caller has the result, or an error with the handle in it."""
        self._records[submission] = None
        received = False
        try:
            yield
            received = True
        except ToapisError:
            received = True
            raise
        finally:
            self._submitter.release(submission)
            if received or not submission.may_be_paid:
                self._records.pop(submission, None)

    async def _pay(self, submission: Submission) -> GenerationTask:
        error = await self._attempt(submission)
        while error is not None and self._submitter.may_pay_again(submission, error):
            error = await self._attempt(submission)
        if error is not None:
            submission.reply = None
            try:
                raise submission.complete_error(error)
            finally:
                del error  # its traceback holds this frame: without the cycle, memory is freed at once
        assert submission.task is not None
        return submission.task

    async def _attempt(self, submission: Submission) -> ToapisError | None:
        """Pay, and look the task up if the answer is lost; returns None once `submission.task` is there."""
        await self._submitter.pay(submission)
        if isinstance(submission.reply, Accepted):
            return None
        if isinstance(submission.reply, Rejected):
            return submission.reply.error
        look_up = watch_submission(submission, schedule=Backoff(), dispatcher=self._dispatcher)
        verdict = await watch_until_end(look_up, self._dispatcher)
        if isinstance(verdict, ToapisError):
            return verdict
        submission.accept(verdict, self._dispatcher.clock())
        return None

    def _hand_over(self, watch: Watch | None, verdict: Verdict, submission: Submission | None) -> GenerationTask:
        """Return the finished task, or raise the error with its handle complete."""
        error = verdict if isinstance(verdict, ToapisError) else None
        if isinstance(verdict, GenerationTask) and verdict.status is TaskStatus.FAILED:
            error = GenerationFailed(verdict)
        if error is not None and watch is not None:
            error.about(task=watch.last).about(task_id=watch.asked_id)
        if error is not None and submission is not None:
            submission.complete_error(error)
        if isinstance(verdict, GenerationTask) and watch is not None:
            self._forget({watch.asked_id, verdict.id, verdict.client_business_id or watch.asked_id})
        task = verdict if isinstance(verdict, GenerationTask) else verdict.task
        announce_end(
            self._dispatcher,
            watch,
            _state_of(error),
            task_id=task.id if task else None,
            client_business_id=submission.client_business_id if submission else None,
        )
        if error is not None:
            try:
                raise error
            finally:
                del error, verdict  # see _pay
        assert isinstance(verdict, GenerationTask)
        return verdict


def _state_of(error: ToapisError | None) -> JobState:
    if error is None:
        return JobState.COMPLETED
    if isinstance(error, GenerationFailed):
        return JobState.FAILED
    return JobState.TIMED_OUT if isinstance(error, PollDeadlineExceeded) else JobState.UNRESOLVED


class TaskSnapshots:
    """The async iterator that `ToapisSession.watch` returns. Breaking out of it leaves nothing behind."""

    def __init__(self, watch: Watch, dispatcher: Dispatcher) -> None:
        self._watch = watch
        self._dispatcher = dispatcher
        self._shown: tuple[Any, ...] | None = None
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GenerationTask:
        if self._ended:
            raise StopAsyncIteration
        while True:
            verdict = await next_look(self._watch, self._dispatcher)
            self._ended = verdict is not None
            if isinstance(verdict, ToapisError):
                raise verdict.about(task=self._watch.last).about(task_id=self._watch.asked_id)
            task = verdict or self._watch.last
            if task is not None and (self._ended or _visible(task) != self._shown):
                self._shown = _visible(task)
                return task


def _visible(task: GenerationTask) -> tuple[Any, ...]:
    return task.raw_status, task.progress, task.images, task.error, task.billing
