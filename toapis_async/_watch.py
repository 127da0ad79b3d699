"""One waiting id as a value, and the loop that drives one in the caller's own task.

A `Watch` knows when to look next and what each answer means; it holds no clock and does no I/O. A batch
keeps thousands of them in a heap; `session.wait` drives a single one. Both take the same steps.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection
from typing import Final, TypeAlias

import anyio
from attrs import evolve

from ._http.dispatch import QUERY_SECONDS, Dispatcher
from ._protocol.endpoints import ABOUT_ANOTHER, Ambiguous, Seen, build_query, names_another
from ._protocol.lifecycle import is_end, is_final
from ._schedule.backoff import Backoff
from ._submission import Submission
from .errors import (
    AuthenticationError,
    DecodeError,
    GenerationFailed,
    NotFoundError,
    PermissionDeniedError,
    PollDeadlineExceeded,
    ResultMissingError,
    SubmissionUnknown,
    ToapisError,
    TransportError,
)
from .instrumentation import TaskEnded
from .models import GenerationTask, JobState, TaskKind, TaskStatus

_VISIBLE_WITHIN: Final = 30.0  # seconds after acceptance for which "no such task" means "not visible yet"
_DELIVERABLE_WITHIN: Final = 60.0  # seconds for which a completed task may have no URL yet
_DENIALS: Final = 3  # refused keys in a row ...
_DENIED_FOR: Final = 10.0  # ... over this many seconds end a wait
_LONGEST_HINT: Final = 60.0
_UNTIL_FIRST_LOOK: Final = 300.0  # seconds a look-up may wait for its turn, as long as the longest pause
_SHORTEST_ATTEMPT: Final = 2.0

Verdict: TypeAlias = GenerationTask | ToapisError
"""How a wait ended: a final task, completed with pictures or failed, or the error that tells why not."""


class Origin(enum.Enum):
    """What is known about an id before the first look."""

    ACCEPTED = enum.auto()
    """The service accepted it from us: it exists."""
    GIVEN = enum.auto()
    """The user names it: it may not exist."""
    LOST = enum.auto()
    """The answer to our paid request was lost: it may exist. Found in any state is an end."""


class Watch:
    """The wait for one id. Times are seconds of the session's clock."""

    __slots__ = (
        "_denials", "_denied_since", "_incomplete_since", "_last_error", "_schedule", "_silences", "_submission",
        "asked_id", "deadline", "due", "kind", "last", "looks", "origin", "request", "since",
    )  # fmt: skip

    def __init__(
        self,
        asked_id: str,
        *,
        kind: TaskKind,
        schedule: Backoff,
        origin: Origin,
        since: float,
        random: Callable[[], float],
        submission: Submission | None = None,
    ) -> None:
        self.asked_id = asked_id
        self._submission = submission
        self.kind: TaskKind = kind
        self.request = build_query(kind, asked_id)
        self.origin = origin
        self.since = since
        """When it was accepted, given or lost."""
        self.deadline = since + schedule.deadline
        self.last: GenerationTask | None = None
        self.looks = 0
        if origin is Origin.LOST:
            self.deadline += _UNTIL_FIRST_LOOK  # see `begin`
        # An id that somebody names may long be at its end; a fresh one is not.
        self.due = since
        if origin is not Origin.GIVEN:
            self.postpone(since + schedule.wait(0, random))
        self._schedule = schedule
        self._silences = 0
        self._last_error: str | None = None
        self._denials = 0
        self._denied_since = self._incomplete_since = 0.0

    def postpone(self, until: float) -> None:
        """Do not look before `until`, unless the deadline comes first."""
        self.due = min(until, self.deadline)

    def begin(self, now: float) -> None:
        """Take note that a question goes out: the window of a look-up begins with the first."""
        if self.origin is Origin.LOST and not self.looks:
            self.deadline = now + self._schedule.deadline

    def sit_out(self, pause_end: float, now: float) -> ToapisError | None:
        """Wait for the end of a pause, which counts towards the deadline; returns an error once that has come."""
        if now >= self.deadline:
            return self.expire()
        self.postpone(pause_end)
        return None

    def advance(self, answer: Seen | ToapisError, now: float, random: Callable[[], float]) -> Verdict | None:
        """Take note of an answer: returns how the wait ended, or None after setting the next `due`."""
        self.looks += 1
        hint = 0.0
        if isinstance(answer, Seen):
            hint = min(answer.hint or 0.0, _LONGEST_HINT)
            verdict = self._seen(answer.task, now)
        else:
            self._last_error = answer.message
            verdict = self._not_seen(answer, now)
        if verdict is None and now >= self.deadline:
            verdict = self.expire(just_looked=True)
        if verdict is None:
            self.postpone(now + max(hint, self._schedule.wait(self.looks, random)))
        return verdict

    def expire(self, *, just_looked: bool = False) -> ToapisError:
        """Say what it means that the deadline has come."""
        if self.origin is Origin.LOST:
            not_found = just_looked and not self._silences  # a look long ago says nothing of now
            search = "no task with its id showed up" if not_found else "looking it up was not answered"
            return SubmissionUnknown(f"{self._lost_because()}; {search}", not_found=not_found)
        if self._incomplete_since and self.last:
            return ResultMissingError(self.last)
        return PollDeadlineExceeded(self._schedule.deadline, last_error=self._last_error)

    def _lost_because(self) -> str:
        reply = self._submission.reply if self._submission else None
        return reply.error.message if isinstance(reply, Ambiguous) else "its answer was lost"

    def _seen(self, task: GenerationTask, now: float) -> Verdict | None:
        if self._submission is not None:
            if names_another(task, self._submission.client_business_id):
                return self._not_seen(DecodeError([ABOUT_ANOTHER]), now)
            task = without_references(task, self._submission.references)
        self.last = task
        self._last_error = None
        self._denials = 0
        if self.origin is Origin.LOST:
            return task
        if is_end(task):
            return task
        if not is_final(task.status):
            self._incomplete_since = 0.0
            return None
        self._incomplete_since = self._incomplete_since or now
        return ResultMissingError(task) if now - self._incomplete_since >= _DELIVERABLE_WITHIN else None

    def _not_seen(self, error: ToapisError, now: float) -> Verdict | None:
        if isinstance(error, AuthenticationError | PermissionDeniedError) and error.http_status in {401, 403}:
            self._silences += 1
            return self._denied(error, now)
        self._denials = 0
        if not isinstance(error, NotFoundError):
            self._silences += 1
            if isinstance(error, TransportError) and error.closed:
                return self.expire() if self.origin is Origin.LOST else error
            return None
        if self.last is not None or self.origin is Origin.LOST:
            return None
        if self.origin is Origin.ACCEPTED and now - self.since < _VISIBLE_WITHIN:
            return None
        return error

    def _denied(self, error: ToapisError, now: float) -> Verdict | None:
        if not self._denials:
            self._denied_since = now
        self._denials += 1
        lasting = self._denials >= _DENIALS and now - self._denied_since >= _DENIED_FOR
        return error if lasting and self.origin is not Origin.LOST else None


def without_references(task: GenerationTask, references: Collection[str]) -> GenerationTask:
    """Take the request's own reference pictures out of the results: an answer may repeat the request."""
    if not references or not task.images:
        return task
    return evolve(task, images=tuple(image for image in task.images if image.url not in references))


def state_of(verdict: Verdict, *, refused: bool) -> JobState:
    """Return the state in which a job ends; `refused` says that it certainly was not accepted."""
    if isinstance(verdict, GenerationTask):
        return JobState.FAILED if verdict.status is TaskStatus.FAILED else JobState.COMPLETED
    if refused or isinstance(verdict, GenerationFailed):
        return JobState.FAILED
    return JobState.TIMED_OUT if isinstance(verdict, PollDeadlineExceeded) else JobState.UNRESOLVED


def announce_end(
    dispatcher: Dispatcher, watch: Watch | None, state: JobState, *, task_id: str | None, client_business_id: str | None
) -> None:
    """Tell the observers of an end; `watch` is None where there was nothing to wait for."""
    if dispatcher.announce:
        dispatcher.announce(
            TaskEnded(
                state=state,
                task_id=task_id,
                client_business_id=client_business_id,
                looks=watch.looks if watch else 0,
                seconds=dispatcher.clock() - watch.since if watch else 0.0,
            )
        )


def watch_submission(submission: Submission, *, schedule: Backoff, dispatcher: Dispatcher) -> Watch:
    """Start the wait that follows a paid attempt: for the task, or for a sign of it if the answer was lost."""
    if submission.task is not None:
        return Watch(
            submission.task.id,
            kind=submission.task.kind,
            schedule=schedule,
            origin=Origin.ACCEPTED,
            since=submission.accepted_at,
            random=dispatcher.random,
            submission=submission,
        )
    window = dispatcher.retry.lookup_window
    return Watch(
        submission.client_business_id,
        kind="image",
        schedule=Backoff(initial=min(1.0, window / 60), factor=1.5, maximum=min(10.0, window / 6), deadline=window),
        origin=Origin.LOST,
        since=dispatcher.clock(),
        random=dispatcher.random,
        submission=submission,
    )


async def look(watch: Watch, dispatcher: Dispatcher) -> Verdict | None:
    """Take one step of a watch that is due: ask, unless there is a pause; returns how the wait ended, if it did.

    Cancelling it loses nothing: the watch is as it was before.
    """
    turn = await take_turn(watch, dispatcher)
    return turn if turn is None or isinstance(turn, ToapisError) else await ask(watch, dispatcher, turn)


async def take_turn(watch: Watch, dispatcher: Dispatcher) -> float | ToapisError | None:
    """Wait for the turn of a watch that is due; returns when it came, how the wait ended, or None in a pause."""
    if dispatcher.clock() >= watch.deadline + _SHORTEST_ATTEMPT:
        return watch.expire()
    sent_at = await dispatcher.queries.enter_unless_paused()
    if sent_at is None:
        return watch.sit_out(dispatcher.queries.pacer.paused_until, dispatcher.clock())
    return sent_at


async def ask(watch: Watch, dispatcher: Dispatcher, sent_at: float) -> Verdict | None:
    """Ask in the turn that came at `sent_at`; returns how the wait ended, if it did."""
    now = dispatcher.clock()
    watch.begin(now)
    # The deadline bounds the question too, but the last look gets a fair chance.
    seconds = min(QUERY_SECONDS, max(_SHORTEST_ATTEMPT, watch.deadline - now))
    answer: Seen | ToapisError
    try:
        answer = await dispatcher.query(watch.request, asked_id=watch.asked_id, sent_at=sent_at, timeout=seconds)
    except ToapisError as error:
        answer = error.with_traceback(None)  # its frames hold the whole answer, and may wait for long
    return watch.advance(answer, dispatcher.clock(), dispatcher.random)


async def next_look(watch: Watch, dispatcher: Dispatcher) -> Verdict | None:
    """Sleep until the watch is due, then take its step; a queue in front of the service does not delay the deadline."""
    verdict = None
    with anyio.move_on_after(max(0.0, watch.deadline + _SHORTEST_ATTEMPT - dispatcher.clock())) as scope:
        await anyio.sleep(max(0.0, watch.due - dispatcher.clock()))
        verdict = await look(watch, dispatcher)
    return watch.expire() if scope.cancelled_caught else verdict


async def watch_until_end(watch: Watch, dispatcher: Dispatcher) -> Verdict:
    """Drive one watch to its end in the caller's task."""
    while (verdict := await next_look(watch, dispatcher)) is None:
        pass
    return verdict
