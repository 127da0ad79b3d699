"""The books of a batch: which job stands where, and who is to be woken. All of it is synchronous.

Every decision is made here in one step; the stages and the iterator only wait and do I/O in between.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import frozen

from .._submission import Submission
from ..models import JobState
from ..outcomes import Outcome
from .job import JobRecord
from .signals import Bench, Signal


@frozen(kw_only=True)
class BatchProgress:
    """How many jobs of a batch stand where, at one moment."""

    queued: int
    posting: int
    running: int
    """Accepted, and not at their end."""
    downloading: int
    """Ended, but for their pictures or their line in the manifest, which are being saved or wait for that."""
    completed: int
    failed: int
    timed_out: int
    unresolved: int
    total: int | None
    """All jobs of the batch, those not pulled from a sized source included; None while that is not known."""

    @property
    def ended(self) -> int:
        """Jobs that have an outcome."""
        return self.completed + self.failed + self.timed_out + self.unresolved


class Board:
    """Where every job of one batch stands."""

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight: Final = max_in_flight
        self.queue: deque[JobRecord] = deque()
        """Jobs that wait to be sent."""
        self.unplaced: deque[JobRecord] = deque()
        """Jobs whose local pictures are to be uploaded before they can be sent."""
        self.ready: deque[JobRecord] = deque()
        """Jobs with an outcome that the iterator has not handed out."""
        self.jobs: dict[JobRecord, None] = {}
        """Every job whose outcome nobody received, in order of arrival."""
        self.news = Signal()
        """For consumers: something ended, or nothing more will."""
        self.room = Signal()
        """For feeders: there may be a free slot."""
        self.senders = Bench()
        """Who of the submit stage has nothing to send."""
        self.placers = Bench()
        """Who of the stage before it has no pictures to upload."""
        self.holds = 0
        self.sources: dict[object, int | None] = {}
        """Open feeders, with the number of items left where that is known."""
        self.closed_by: Exception | None = None
        self.ended = False
        self._counts = dict.fromkeys(JobState, 0)
        self._sending = 0  # jobs that hold a slot: being sent or accepted
        self._placing = 0  # jobs whose pictures are being uploaded
        self._pulling = 0  # slots that feeders hold for the item they wait for

    # -- intake

    def add(self, job: JobRecord) -> None:
        """Take a new job into the books."""
        self.jobs[job] = None
        self._counts[job.state] += 1

    def enqueue(self, job: JobRecord) -> None:
        """Let a job wait for being sent, or first for its pictures to be uploaded."""
        self._join(job, last=True)
        if self.closed_by is not None:
            job.close(self.closed_by)
        self.senders.call_one()

    def requeue(self, job: JobRecord, *, last: bool = False) -> None:
        """Put a job that was not accepted back to the head of the queue, or to its end to let others try."""
        self._free_slot_of(job)
        self._join(job, last=last)
        if self.closed_by is not None:
            job.close(self.closed_by)
        self.senders.call_one()
        self.news.notify()  # it may have been the last one on its way

    def take_doubtful(self) -> list[tuple[JobRecord, Submission]]:
        """Take out of the queue what was sent before and may have been accepted then."""
        waiting = (*self.queue, *self.unplaced)
        doubtful = [(job, job.submission) for job in waiting if job.submission and job.submission.doubtful]
        for job, _ in doubtful:
            self._queue_for(job).remove(job)
        return doubtful

    def next_to_place(self) -> JobRecord | None:
        """Take a job out of the queue of those with pictures to upload, if it can be sent soon: URLs do not last."""
        if not self.unplaced or len(self.queue) + self._placing >= self.max_in_flight:
            return None
        self._placing += 1
        return self.unplaced.popleft()

    def placed(self) -> None:
        """Note that the uploads of a job that was taken out have ended, somehow."""
        self._placing -= 1
        self.placers.call_one()

    def next_to_send(self) -> JobRecord | None:
        """Take a job out of the queue if a slot is free."""
        if not self.queue or self._sending >= self.max_in_flight:
            return None
        self._sending += 1
        job = self.queue.popleft()
        self.placers.call_one()
        job.holds_slot = True
        return job

    def reserve_slot(self) -> bool:
        """Hold a slot for an item that a feeder is about to pull; False if none is free."""
        taken = len(self.queue) + len(self.unplaced) + self._placing + self._pulling + self._sending
        if taken >= self.max_in_flight or len(self.ready) + self._counts[JobState.DOWNLOADING] >= self.max_in_flight:
            return False
        self._pulling += 1
        return True

    def free_slot(self) -> None:
        """Give a feeder's slot back; the job that was pulled has taken its place in the queue."""
        self._pulling -= 1
        self.room.notify()

    def close(self, error: Exception) -> None:
        """Send nothing more: what is queued stays queued, what runs is delivered, then `error` is raised."""
        if self.closed_by is None:
            self.closed_by = error
            for job in (*self.queue, *self.unplaced):
                job.close(error)
            self.news.notify()

    def _join(self, job: JobRecord, *, last: bool) -> None:
        queue = self._queue_for(job)
        (queue.append if last else queue.appendleft)(job)
        if queue is self.unplaced:
            self.placers.call_one()

    def _queue_for(self, job: JobRecord) -> deque[JobRecord]:
        return self.unplaced if job.submission and job.submission.pictures else self.queue

    # -- progress

    def move(self, job: JobRecord, state: JobState) -> None:
        """Note where a job stands."""
        self._counts[job.state] -= 1
        self._counts[state] += 1
        job.state = state

    def begin_download(self, job: JobRecord) -> None:
        """Note that the service is done with a job, though it has no outcome yet."""
        self._free_slot_of(job)
        self.move(job, JobState.DOWNLOADING)
        self.room.notify()
        self.senders.call_one()

    def finish(self, job: JobRecord, outcome: Outcome) -> None:
        """Note how a job ended and offer the outcome."""
        self._free_slot_of(job)
        self.move(job, outcome.state)
        job.finish(outcome)
        self.ready.append(job)
        self.news.notify()
        self.room.notify()
        self.senders.call_one()

    def _free_slot_of(self, job: JobRecord) -> None:
        if job.holds_slot:
            job.holds_slot = False
            self._sending -= 1

    def received(self, job: JobRecord) -> None:
        """Note that somebody has the job's outcome."""
        self.jobs.pop(job, None)

    def hand_out(self) -> JobRecord:
        """Take the next finished job for a consumer."""
        job = self.ready.popleft()
        self.received(job)
        self.room.notify()
        return job

    @property
    def running(self) -> int:
        """Jobs that end without anybody's doing."""
        return sum(self._counts[state] for state in (JobState.POSTING, JobState.SUBMITTED, JobState.DOWNLOADING))

    @property
    def exhausted(self) -> bool:
        """Whether no further outcome can come, unless somebody submits."""
        if self.ready or self.running:
            return False
        if self.closed_by is not None:
            return True
        return not (self._counts[JobState.QUEUED] or self.sources or self.holds)

    def progress(self) -> BatchProgress:
        """Return the counts."""
        left = [count for count in self.sources.values() if count is not None]
        known = len(left) == len(self.sources) and not self.holds
        return BatchProgress(
            queued=self._counts[JobState.QUEUED],
            posting=self._counts[JobState.POSTING],
            running=self._counts[JobState.SUBMITTED],
            downloading=self._counts[JobState.DOWNLOADING],
            completed=self._counts[JobState.COMPLETED],
            failed=self._counts[JobState.FAILED],
            timed_out=self._counts[JobState.TIMED_OUT],
            unresolved=self._counts[JobState.UNRESOLVED],
            total=sum(self._counts.values()) + sum(left) if known else None,
        )
