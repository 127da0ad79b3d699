"""The steps that a watch takes, alone in its caller's task or as one of thousands in the heap of a batch."""

from __future__ import annotations

from typing import Final

import anyio

from .._http.dispatch import QUERY_SECONDS, Dispatcher
from .._protocol.endpoints import Seen, build_query
from .._schedule.adaptive import Poll, TableKey, task_schedule
from .._schedule.backoff import Backoff, BackoffSchedule
from .._submission import Submission
from ..errors import (
    GenerationFailed,
    PollDeadlineExceeded,
    ToapisError,
)
from ..instrumentation import TaskEnded
from ..models import GenerationTask, JobState, TaskKind, TaskStatus
from .watch import Origin, Verdict, Watch

_SHORTEST_ATTEMPT: Final = 2.0


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


def watch_id(asked_id: str, *, kind: TaskKind, poll: Poll, dispatcher: Dispatcher) -> Watch:
    """Start the wait for an id that the user names."""
    return Watch(
        asked_id,
        kind=kind,
        schedule=task_schedule(poll, dispatcher.tables, TableKey(kind, ""), joined=True),
        origin=Origin.GIVEN,
        since=dispatcher.clock(),
        random=dispatcher.random,
    )


def watch_submission(submission: Submission, *, poll: Poll, dispatcher: Dispatcher) -> Watch:
    """Start the wait that follows a paid attempt: for the task, or for a sign of it if the answer was lost."""
    task, since = submission.task, submission.accepted_at
    if task is None:
        return watch_lost(submission, dispatcher)
    key = TableKey.of(task.kind, submission.request)
    return Watch(
        task.id,
        kind=task.kind,
        schedule=task_schedule(poll, dispatcher.tables, key, joined=not submission.is_fresh),
        origin=Origin.ACCEPTED,
        since=since,
        born=since if submission.is_fresh else None,
        random=dispatcher.random,
        submission=submission,
    )


def watch_lost(submission: Submission, dispatcher: Dispatcher) -> Watch:
    """Start the look-up of a request whose answer was lost."""
    window = dispatcher.retry.lookup_window
    return Watch(
        submission.client_business_id,
        kind="image",
        schedule=BackoffSchedule(
            Backoff(initial=min(1.0, window / 60), factor=1.5, maximum=min(10.0, window / 6), deadline=window)
        ),
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
    watch.begin(sent_at)
    # The deadline bounds the question too, but the last look gets a fair chance.
    seconds = min(QUERY_SECONDS, max(_SHORTEST_ATTEMPT, watch.deadline - now))
    answer: Seen | ToapisError | None
    try:
        question = build_query(watch.kind, watch.asked_id)
        answer = await dispatcher.query(
            question, asked_id=watch.asked_id, sent_at=sent_at, timeout=seconds, known=watch.running_answer
        )
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
