"""One task in the caller's own task: pay, wait, hand over, and keep the record until that is done."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Self

import anyio

from ._files.references import check_request_aside
from ._files.uploads import Uploader
from ._http.dispatch import Dispatcher
from ._protocol.endpoints import Accepted, Rejected, build_query
from ._protocol.lifecycle import is_end
from ._schedule.adaptive import Poll
from ._submission import Submission, Submitter, place_pictures
from ._unfinished import Unfinished
from ._watch import (
    Verdict,
    Watch,
    announce_end,
    next_look,
    state_of,
    watch_id,
    watch_lost,
    watch_submission,
    watch_until_end,
)
from .errors import GenerationFailed, ToapisError, TransportError
from .models import GenerationTask, ImageRequest, TaskKind, TaskStatus


class Singles:
    """The single calls of a session."""

    def __init__(
        self, dispatcher: Dispatcher, submitter: Submitter, uploader: Uploader, unfinished: Unfinished
    ) -> None:
        self._dispatcher = dispatcher
        self._submitter = submitter
        self._uploader = uploader
        self._unfinished = unfinished

    async def submit(self, request: ImageRequest) -> GenerationTask:
        """See `ToapisSession.submit`."""
        submission = self._submitter.intend(await check_request_aside(request))
        with self._recorded(submission):
            return await self._pay(submission)

    async def generate(self, request: ImageRequest, poll: Poll) -> GenerationTask:
        """See `ToapisSession.generate`."""
        submission = self._submitter.intend(await check_request_aside(request))
        with self._recorded(submission):
            task = await self._pay(submission)
            if is_end(task):
                return self._hand_over(None, task, submission)
            watch = watch_submission(submission, poll=poll, dispatcher=self._dispatcher)
            return self._hand_over(watch, await watch_until_end(watch, self._dispatcher), submission)

    async def wait(self, task_id: str, kind: TaskKind, poll: Poll) -> GenerationTask:
        """See `ToapisSession.wait`."""
        watch = watch_id(task_id, kind=kind, poll=poll, dispatcher=self._dispatcher)
        return self._hand_over(watch, await watch_until_end(watch, self._dispatcher), None)

    async def get(self, task_id: str, kind: TaskKind) -> GenerationTask:
        """See `ToapisSession.get`."""
        request = build_query(kind, task_id)
        queries = self._dispatcher.queries
        # Not `enter`: waits with a deadline shall not stand behind this one through a pause.
        while (sent_at := await queries.enter_unless_paused()) is None:  # noqa: ASYNC110 - a 429 may move its end
            await anyio.sleep(max(0.0, queries.pacer.paused_until - self._dispatcher.clock()))
        try:
            seen = await self._dispatcher.query(request, asked_id=task_id, sent_at=sent_at)
        except ToapisError as error:
            error.about(task_id=task_id)
            raise
        assert seen is not None
        if is_end(seen.task):
            self._unfinished.settle(task_id, seen.task)
        return seen.task

    def snapshots(self, task_id: str, kind: TaskKind, poll: Poll) -> TaskSnapshots:
        """See `ToapisSession.watch`."""
        watch = watch_id(task_id, kind=kind, poll=poll, dispatcher=self._dispatcher)
        return TaskSnapshots(watch, self._dispatcher, self._unfinished)

    @contextmanager
    def _recorded(self, submission: Submission) -> Generator[None]:
        """Keep the record until the caller has the result, or an error with the handle in it."""
        self._unfinished.add(submission)
        received = False
        try:
            yield
            received = True
        except ToapisError as error:
            # What ends because the session is closed often meets nobody who would read it.
            received = not _is_by_closing(error)
            raise
        finally:
            self._submitter.release(submission)
            if received or not submission.may_be_paid:
                self._unfinished.discard(submission)

    async def _pay(self, submission: Submission) -> GenerationTask:
        await self._place(submission)
        error = await self._attempt(submission)
        while error is not None and self._submitter.may_pay_again(submission, error):
            error = await self._attempt(submission)
        if error is not None:
            if submission.doubtful and isinstance(submission.reply, Rejected) and not _is_by_closing(error):
                error = submission.unknown(error)
            submission.reply = None
            _announce(self._dispatcher, None, submission.complete_error(error), submission)
            try:
                raise error
            finally:
                del error  # its traceback holds this frame: without the cycle, memory is freed at once
        assert submission.task is not None
        return submission.task

    async def _place(self, submission: Submission) -> None:
        try:
            await place_pictures(submission, self._uploader)
        except ToapisError as error:
            _announce(self._dispatcher, None, submission.complete_error(error), submission)
            raise

    async def _attempt(self, submission: Submission) -> ToapisError | None:
        """Pay, and look the task up if the answer is lost; returns None once `submission.task` is there."""
        await self._submitter.pay_aside(submission)
        if isinstance(submission.reply, Accepted):
            return None
        if isinstance(submission.reply, Rejected):
            return submission.reply.error
        look_up = watch_lost(submission, self._dispatcher)
        verdict = await watch_until_end(look_up, self._dispatcher)
        if isinstance(verdict, ToapisError):
            return verdict
        submission.accept(verdict, self._dispatcher.clock(), is_fresh=False)
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
        if isinstance(verdict, GenerationTask) and watch is not None and submission is None:
            self._unfinished.settle(watch.asked_id, verdict)
        _announce(self._dispatcher, watch, error or verdict, submission)
        if error is not None:
            try:
                raise error
            finally:
                del error, verdict  # see _pay
        assert isinstance(verdict, GenerationTask)
        return verdict


class TaskSnapshots:
    """The async iterator that `ToapisSession.watch` returns. Breaking out of it leaves nothing behind."""

    def __init__(self, watch: Watch, dispatcher: Dispatcher, unfinished: Unfinished) -> None:
        self._watch = watch
        self._dispatcher = dispatcher
        self._unfinished = unfinished
        self._shown: tuple[Any, ...] | None = None
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> GenerationTask:
        while not self._ended:
            verdict = await next_look(self._watch, self._dispatcher)
            if verdict is not None:
                self._end(verdict)
            task = verdict or self._watch.last
            if isinstance(task, ToapisError):
                raise task
            if task is not None and (self._ended or _visible(task) != self._shown):
                self._shown = _visible(task)
                return task
        raise StopAsyncIteration

    def _end(self, verdict: Verdict) -> None:
        self._ended = True
        if isinstance(verdict, GenerationTask):
            self._unfinished.settle(self._watch.asked_id, verdict)
        else:
            verdict.about(task=self._watch.last).about(task_id=self._watch.asked_id)
        _announce(self._dispatcher, self._watch, verdict, None)


def _announce(dispatcher: Dispatcher, watch: Watch | None, verdict: Verdict, submission: Submission | None) -> None:
    refused = submission is not None and not submission.may_be_paid
    task = verdict if isinstance(verdict, GenerationTask) else verdict.task
    announce_end(
        dispatcher,
        watch,
        state_of(verdict, refused=refused),
        task_id=task.id if task else None,
        client_business_id=submission.client_business_id if submission else task.client_business_id if task else None,
    )


def _is_by_closing(error: ToapisError) -> bool:
    return isinstance(error, TransportError) and error.closed


def _visible(task: GenerationTask) -> tuple[Any, ...]:
    return task.raw_status, task.progress, task.images, task.error, task.billing
