"""One waiting id as a value: it knows when to look next and what each answer means, has no clock and does no I/O."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final, TypeAlias

from .._protocol.endpoints import ABOUT_ANOTHER, Ambiguous, Seen, age_of, build_query, names_another, read_snapshot
from .._protocol.lifecycle import is_end, is_final
from .._schedule.backoff import TaskSchedule
from .._submission import Submission, without_references
from ..errors import (
    AuthenticationError,
    DecodeError,
    NotFoundError,
    PermissionDeniedError,
    PollDeadlineExceeded,
    ResultMissingError,
    SubmissionUnknown,
    ToapisError,
    TransportError,
)
from ..models import GenerationTask, TaskKind

_VISIBLE_WITHIN: Final = 30.0  # seconds after acceptance for which "no such task" means "not visible yet"
_DELIVERABLE_WITHIN: Final = 60.0  # seconds for which a completed task may have no URL yet
_DENIALS: Final = 3  # refused keys in a row ...
_DENIED_FOR: Final = 10.0  # ... over this many seconds end a wait
_LONGEST_HINT: Final = 60.0
_UNTIL_FIRST_LOOK: Final = 300.0  # seconds a look-up may wait for its turn, as long as the longest pause

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
        "_answer", "_asked_at", "_born", "_denials", "_denied_since", "_incomplete_since", "_last_error", "_schedule",
        "_silences", "_submission", "asked_id", "deadline", "due", "kind", "looks", "origin", "since",
    )  # fmt: skip

    def __init__(
        self,
        asked_id: str,
        *,
        kind: TaskKind,
        schedule: TaskSchedule,
        origin: Origin,
        since: float,
        born: float | None = None,
        random: Callable[[], float],
        submission: Submission | None = None,
    ) -> None:
        build_query(kind, asked_id)  # refuses what can be no id; not kept, because thousands may wait
        self.asked_id = asked_id
        self._submission = submission
        self.kind: TaskKind = kind
        self.origin = origin
        self.since = since
        """When it was accepted, given or lost, or when this run began to wait for it."""
        self._born = born
        """When it was accepted; None until the service tells the age of a task that was there before `since`."""
        self._asked_at = since
        self.deadline = since + schedule.deadline
        self._answer: bytes | None = None  # the last that showed the task, as it came: thousands may wait
        self.looks = 0
        if origin is Origin.LOST:
            self.deadline += _UNTIL_FIRST_LOOK  # see `begin`
        # An id that somebody names may long be at its end; a fresh one is not.
        self.due = since
        if origin is not Origin.GIVEN:
            self.postpone(since + schedule.first_wait(random))
        self._schedule = schedule
        self._silences = 0
        self._last_error: str | None = None
        self._denials = 0
        self._denied_since = 0.0
        self._incomplete_since: float | None = None

    @property
    def last(self) -> GenerationTask | None:
        """The last snapshot, made anew of the answer; None if the task was never seen."""
        task = read_snapshot(self._answer, asked_id=self.asked_id) if self._answer is not None else None
        return self._cleaned(task) if task else None

    @property
    def running_answer(self) -> bytes | None:
        """The last answer, if it showed the task running: the same answer once more says the same."""
        return self._answer if self._incomplete_since is None else None

    def postpone(self, until: float) -> None:
        """Do not look before `until`, unless the deadline comes first."""
        self.due = min(until, self.deadline)

    def begin(self, sent_at: float) -> None:
        """Take note that a question goes out: the window of a look-up begins with the first."""
        if self.origin is Origin.LOST and not self.looks:
            self.deadline = sent_at + self._schedule.deadline
        self._asked_at = sent_at
        self._schedule.late(sent_at - self.due)

    def sit_out(self, pause_end: float, now: float) -> ToapisError | None:
        """Wait for the end of a pause, which counts towards the deadline; returns an error once that has come."""
        if now >= self.deadline:
            return self.expire()
        self.postpone(pause_end)
        return None

    def advance(self, answer: Seen | ToapisError | None, now: float, random: Callable[[], float]) -> Verdict | None:
        """Take note of an answer: returns how the wait ended, or None after setting the next `due`.

        The answer None is the one in `running_answer` once more.
        """
        self.looks += 1
        hint = 0.0
        verdict: Verdict | None = None
        if answer is None:
            self._note_seen()
        elif isinstance(answer, Seen):
            hint = min(answer.hint or 0.0, _LONGEST_HINT)
            verdict = self._seen(answer, now)
        else:
            verdict = self._not_seen(answer, now)
        if verdict is None and now >= self.deadline:
            verdict = self.expire(just_looked=True)
        if verdict is None:
            is_running = self._last_error is None and self._incomplete_since is None
            wait = self._schedule.next_wait(self._age(self._asked_at), random, pending=is_running)
            self.postpone(max(now + hint, self._asked_at + wait))
        return verdict

    def _age(self, moment: float) -> float:
        return max(0.0, moment - (self.since if self._born is None else self._born))

    def expire(self, *, just_looked: bool = False) -> ToapisError:
        """Say what it means that the deadline has come."""
        if self.origin is Origin.LOST:
            not_found = just_looked and not self._silences  # a look long ago says nothing of now
            search = "no task with its id showed up" if not_found else "looking it up was not answered"
            return SubmissionUnknown(f"{self._lost_because()}; {search}", not_found=not_found)
        if self._incomplete_since is not None and (last := self.last):
            return ResultMissingError(last)
        return PollDeadlineExceeded(self._schedule.deadline, last_error=self._last_error)

    def _lost_because(self) -> str:
        reply = self._submission.reply if self._submission else None
        return reply.error.message if isinstance(reply, Ambiguous) else "its answer was lost"

    def _seen(self, answer: Seen, now: float) -> Verdict | None:
        if self._submission is not None and names_another(answer.task, self._submission.client_business_id):
            return self._not_seen(DecodeError([ABOUT_ANOTHER]), now)
        task = self._cleaned(answer.task)
        if self._answer is None:
            self._get_to_know(answer)
        self._answer = answer.body
        self._note_seen()
        if self.origin is Origin.LOST:
            return task
        if not is_final(task.status):
            self._incomplete_since = None
            return None
        if self._incomplete_since is None:
            self._schedule.finished(self._age(now), task.created_at, task.completed_at)
        if is_end(task):
            return task
        if self._incomplete_since is None:
            self._incomplete_since = now
        return ResultMissingError(task) if now - self._incomplete_since >= _DELIVERABLE_WITHIN else None

    def _note_seen(self) -> None:
        self._last_error = None
        self._denials = 0

    def _cleaned(self, task: GenerationTask) -> GenerationTask:
        return without_references(task, self._submission.references) if self._submission else task

    def _get_to_know(self, answer: Seen) -> None:
        if answer.task.model:
            self._schedule.is_of(answer.task.model)
        if self._born is None:
            self._born = min(self.since, self._asked_at - age_of(answer))

    def _not_seen(self, error: ToapisError, now: float) -> Verdict | None:
        self._last_error = error.message
        if isinstance(error, AuthenticationError | PermissionDeniedError) and error.http_status in {401, 403}:
            self._silences += 1
            return self._denied(error, now)
        self._denials = 0
        if not isinstance(error, NotFoundError):
            self._silences += 1
            if isinstance(error, TransportError) and error.closed:
                return self.expire() if self.origin is Origin.LOST else error
            return None
        if self._answer is not None or self.origin is Origin.LOST:
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
