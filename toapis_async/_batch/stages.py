"""The work of a batch: feeders pull requests, a pool sends them, a pool looks at those that wait."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sized
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup

from .._files.uploads import Uploader
from .._http.dispatch import Dispatcher
from .._protocol.endpoints import Accepted, Refused, Rejected
from .._protocol.failures import closes_intake
from .._protocol.lifecycle import is_end
from .._schedule.adaptive import Poll
from .._submission import Submission, Submitter
from .._unfinished import Unfinished
from .._watch import Verdict, Watch, announce_end, watch_submission
from ..errors import BatchClosed, ToapisError
from ..models import GenerationTask, JobState
from ..outcomes import Outcome
from .board import Board
from .items import SyncSource, close_source
from .job import JobRecord, note_end, outcome_of
from .lookers import LOOKERS, Lookers
from .placing import PLACERS, Placing
from .savings import Savings

_KILLED: Final = "a worker of the batch was cancelled from outside"
_SENDERS: Final = 32


class Stages:
    """The worker pools of one batch."""

    def __init__(
        self,
        board: Board,
        *,
        submitter: Submitter,
        uploader: Uploader,
        dispatcher: Dispatcher,
        poll: Poll,
        unfinished: Unfinished,
        savings: Savings | None,
    ) -> None:
        self._board = board
        self._savings = savings
        self._submitter = submitter
        self._placing = Placing(board, uploader, self._after_placing)
        self._unfinished = unfinished
        self._dispatcher = dispatcher
        self._poll = poll
        self._lookers = Lookers(dispatcher, self._after_waiting)
        self._stopping = False
        self._workers: TaskGroup
        self._intake: TaskGroup

    @property
    def stopping(self) -> bool:
        """Whether nothing is pulled or sent any more."""
        return self._stopping or self._intake.cancel_scope.cancel_called

    async def run(self, ready: anyio.Event) -> None:
        """Run the pools until `stop`.

        They have groups of their own, and `stop` cancels those: were the batch to cancel the group that its
        host waits in, anyio could take a cancellation by somebody else at that moment for its own.
        """
        # Not `start`: it would wait for ever, shielded, for a child that is cancelled before its first step.
        try:
            async with anyio.create_task_group() as self._workers:
                taking = anyio.Event()
                self._workers.start_soon(self._run_intake, taking)
                await taking.wait()
                for _ in range(LOOKERS):
                    self._workers.start_soon(self._lookers.look_forever)
                if self._savings:
                    for worker in self._savings.workers:
                        self._workers.start_soon(worker)
                ready.set()
        finally:
            self._lookers.stop()
        if not self._stopping:
            raise RuntimeError(_KILLED)

    def stop(self) -> None:
        """Stop everything; requests on their way are finished under their shield."""
        self._stopping = True
        self._workers.cancel_scope.cancel()
        if self._savings:
            self._savings.abandon()

    def feed(self, source: Iterable[Any] | AsyncIterable[Any], take: Callable[[Any], Awaitable[None]]) -> None:
        """Start pulling items; `take` makes each a job, even if it is cancelled: what was pulled is not lost.

        The caller has checked `stopping`: a group that is being left no longer cancels a new task.
        """
        token = object()
        self._board.sources[token] = len(source) if isinstance(source, Sized) else None
        self._intake.start_soon(self._pull_all, token, source, take)

    def stop_intake(self) -> None:
        """Pull and send nothing more; requests on their way are finished under their shield."""
        self._stopping = True
        self._intake.cancel_scope.cancel()
        for job, submission in self._board.take_doubtful():
            error = submission.unknown(BatchClosed("the batch sends nothing more"))
            self._end(job, error)

    def close_intake(self, error: Exception) -> None:
        """Stop the intake because of an error that is raised when everything running is delivered."""
        self._board.close(error)
        self.stop_intake()

    def expect(self, job: JobRecord) -> None:
        """Learn of a new job, whatever becomes of it."""
        if self._savings:
            self._savings.expect(job)

    def watch(self, job: JobRecord, watch: Watch) -> None:
        """Let a job wait for its end."""
        self._lookers.add(job, watch)

    # -- intake

    async def _run_intake(self, taking: anyio.Event) -> None:
        async with anyio.create_task_group() as self._intake:
            for _ in range(min(_SENDERS, self._board.max_in_flight)):
                self._intake.start_soon(self._send_forever)
            for _ in range(min(PLACERS, self._board.max_in_flight)):
                self._intake.start_soon(self._placing.place_forever)
            taking.set()
        if not self._stopping:
            self.close_intake(RuntimeError(_KILLED))

    async def _pull_all(
        self, token: object, source: Iterable[Any] | AsyncIterable[Any], take: Callable[[Any], Awaitable[None]]
    ) -> None:
        board = self._board
        iterator: AsyncIterator[Any] | None = None
        try:
            clock = self._dispatcher.clock
            iterator = aiter(source if isinstance(source, AsyncIterable) else SyncSource(source, clock))
            while True:
                while not board.reserve_slot():
                    await board.room.wait()
                try:
                    await take(await anext(iterator))
                except StopAsyncIteration:
                    break
                finally:
                    board.free_slot()
                left = board.sources[token]
                board.sources[token] = max(0, left - 1) if left is not None else None
        except Exception as error:  # noqa: BLE001 - whatever the source raises closes the intake
            self.close_intake(error)
        except anyio.get_cancelled_exc_class():
            if anyio.current_effective_deadline() > -math.inf:  # nobody cancelled the batch
                self.close_intake(RuntimeError("a source of requests was cancelled from inside"))
            raise
        finally:
            del board.sources[token]
            board.news.notify()
            await close_source(iterator)

    def _after_placing(self, job: JobRecord, submission: Submission, error: ToapisError | None) -> None:
        if error is not None:
            self._rejected(job, submission, Rejected(error=error))
        elif submission.doubtful and (self._stopping or submission.pictures):  # nobody would send it again
            self.watch(job, watch_submission(submission, poll=self._poll, dispatcher=self._dispatcher))
        else:
            self._board.requeue(job, last=not submission.pictures)

    async def _send_forever(self) -> None:
        while True:  # as in `Lookers.look_forever`
            await self._send(await self._next_to_send())

    async def _next_to_send(self) -> JobRecord:
        while (job := self._board.next_to_send()) is None:
            await self._board.senders.sit()
        return job

    async def _send(self, job: JobRecord) -> None:
        submission = job.submission
        assert submission is not None
        try:
            await self._submitter.pay(submission, give_way=True)
        finally:  # also when cancelled: the record, not the return, says what was paid for
            self._after_paying(job, submission)

    def _after_paying(self, job: JobRecord, submission: Submission) -> None:
        reply = submission.reply
        if isinstance(reply, Rejected):
            self._rejected(job, submission, reply)
        elif isinstance(reply, Accepted) and is_end(reply.task):
            self._end(job, reply.task)
        elif submission.state is JobState.QUEUED:
            self._board.requeue(job, last=isinstance(reply, Refused))
        else:
            self.watch(job, watch_submission(submission, poll=self._poll, dispatcher=self._dispatcher))

    def _rejected(self, job: JobRecord, submission: Submission, reply: Rejected) -> None:
        closing = closes_intake(reply.error)
        if submission.doubtful:
            self._end(job, submission.unknown(reply.error))
        elif closing:
            submission.reply = None
            self._board.requeue(job)
        else:
            self._submitter.release(submission)
            self._end(job, submission.complete_error(reply.error), refused=True)
        if closing:
            self.close_intake(reply.error)

    # -- waiting

    def _after_waiting(self, job: JobRecord, verdict: Verdict) -> None:
        submission = job.submission
        if submission is not None and submission.task is None:
            if isinstance(verdict, GenerationTask):
                submission.accept(verdict, self._dispatcher.clock(), is_fresh=False)
                if not is_end(verdict):
                    self.watch(job, watch_submission(submission, poll=self._poll, dispatcher=self._dispatcher))
                    return
            elif not self._stopping and self._submitter.may_pay_again(submission, verdict):
                self._board.requeue(job)
                return
        self._end(job, verdict)

    def _end(self, job: JobRecord, verdict: Verdict, *, refused: bool = False) -> None:
        watch = job.watch
        outcome = outcome_of(job, verdict, refused=refused)
        note_end(job, outcome)
        if watch is not None and isinstance(verdict, GenerationTask):
            self._unfinished.settle(watch.asked_id, verdict)
        self.deliver(job, outcome)
        announce_end(
            self._dispatcher,
            watch,
            outcome.state,
            task_id=outcome.task_id,
            client_business_id=outcome.client_business_id,
        )

    def deliver(self, job: JobRecord, outcome: Outcome) -> None:
        """Offer an outcome, as soon as its pictures are saved and it is noted if the batch saves."""
        if self._savings:
            self._savings.add(job, outcome)
        else:
            self._board.finish(job, outcome)
