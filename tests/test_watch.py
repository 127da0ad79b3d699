"""One waiting id as a pure value: every answer moves it on or ends it, at the right time."""

from __future__ import annotations

import pytest
from answers import shows
from hypothesis import given
from hypothesis import strategies as st

from toapis_async import (
    ApiError,
    AuthenticationError,
    Backoff,
    DecodeError,
    GenerationTask,
    NotFoundError,
    PermissionDeniedError,
    PollDeadlineExceeded,
    RateLimitedError,
    ResultMissingError,
    ServerError,
    SubmissionUnknown,
    TaskStatus,
    ToapisError,
    TransportError,
)
from toapis_async._protocol.endpoints import Seen
from toapis_async._schedule.backoff import BackoffSchedule
from toapis_async._watch import Origin, Verdict, Watch

NOT_FOUND = NotFoundError("no", http_status=404)
DENIED = AuthenticationError("no", http_status=401)
SILENCES: list[ToapisError] = [
    ServerError("no", http_status=500),
    RateLimitedError("no", http_status=429),
    ApiError("no", http_status=302),
    DecodeError(["no JSON"]),
    TransportError("reset", sent=True),
]


def seen(status: TaskStatus, *, pictures: bool = False, hint: float | None = None) -> Seen:
    return shows(status, *(["https://a/b"] if pictures else []), hint=hint)


def make(origin: Origin = Origin.ACCEPTED, *, deadline: float = 100.0, since: float = 0.0) -> Watch:
    schedule = BackoffSchedule(Backoff(initial=2, factor=2, maximum=8, jitter=0, deadline=deadline))
    watch = Watch("t", kind="image", schedule=schedule, origin=origin, since=since, random=half)
    watch.begin(since)
    return watch


def half() -> float:
    return 0.5


def tell(watch: Watch, answer: Seen | ToapisError | None, now: float) -> Verdict | None:
    """Ask and get an answer in the same moment; the deadline stays as `make` has set it."""
    deadline = watch.deadline
    watch.begin(now)
    watch.deadline = deadline
    return watch.advance(answer, now, half)


def test_a_fresh_task_is_looked_at_after_the_first_wait_and_a_given_id_at_once() -> None:
    assert make(since=5.0).due == 7.0
    assert make(Origin.GIVEN, since=5.0).due == 5.0


@pytest.mark.parametrize("origin", Origin)
def test_the_first_look_is_not_after_the_deadline(origin: Origin) -> None:
    schedule = BackoffSchedule(Backoff(initial=600, maximum=600, deadline=60))
    watch = Watch("t", kind="image", schedule=schedule, origin=origin, since=5.0, random=half)
    assert watch.due <= watch.deadline


def test_the_window_of_a_look_up_begins_with_its_first_question() -> None:
    schedule = BackoffSchedule(Backoff(initial=2, factor=2, maximum=8, jitter=0, deadline=60))
    watch = Watch("t", kind="image", schedule=schedule, origin=Origin.LOST, since=0.0, random=half)
    assert watch.sit_out(250.0, now=2.0) is None
    assert watch.due == 250.0
    watch.begin(250.0)
    assert watch.deadline == 310.0
    assert watch.advance(NotFoundError("no", http_status=404), 251.0, half) is None
    watch.begin(253.0)
    assert watch.deadline == 310.0
    assert isinstance(tell(watch, NotFoundError("no", http_status=404), 310.0), SubmissionUnknown)


def test_a_look_up_that_never_has_its_turn_ends_all_the_same() -> None:
    schedule = BackoffSchedule(Backoff(deadline=60))
    watch = Watch("t", kind="image", schedule=schedule, origin=Origin.LOST, since=0.0, random=half)
    assert watch.sit_out(1e9, now=359.0) is None
    assert watch.due == 360.0
    error = watch.sit_out(1e9, now=360.0)
    assert isinstance(error, SubmissionUnknown)
    assert not error.not_found


def test_a_look_long_ago_is_no_sign_that_there_is_no_task() -> None:
    watch = make(Origin.LOST)
    assert tell(watch, NOT_FOUND, 10.0) is None
    error = watch.expire()  # in the queue for the next question
    assert isinstance(error, SubmissionUnknown)
    assert not error.not_found


def test_waits_follow_the_schedule() -> None:
    watch = make()
    dues: list[float] = []
    for now in (2.0, 6.0, 14.0, 22.0):
        assert watch.due == now
        assert tell(watch, seen(TaskStatus.IN_PROGRESS), now) is None
        dues.append(watch.due)
    assert dues == [6.0, 14.0, 22.0, 30.0]
    assert watch.looks == 4


@pytest.mark.parametrize("status", [TaskStatus.QUEUED, TaskStatus.IN_PROGRESS, TaskStatus.UNKNOWN])
def test_a_state_that_is_not_final_goes_on(status: TaskStatus) -> None:
    watch = make()
    assert tell(watch, seen(status, pictures=True), 2.0) is None
    assert watch.last is not None
    assert watch.last.status is status


def test_the_same_answer_once_more_is_a_look_like_any_other() -> None:
    watch = make()
    first = seen(TaskStatus.IN_PROGRESS)
    assert tell(watch, first, 2.0) is None
    assert watch.running_answer == first.body
    assert tell(watch, ServerError("no", http_status=500), 6.0) is None
    assert tell(watch, None, 14.0) is None
    assert (watch.looks, watch.due) == (3, 22.0)
    assert watch.last == first.task
    error = tell(watch, None, 100.0)
    assert isinstance(error, PollDeadlineExceeded)
    assert "500" not in str(error)


def test_the_same_answer_once_more_ends_a_row_of_refused_keys() -> None:
    watch = make()
    tell(watch, seen(TaskStatus.IN_PROGRESS), 2.0)
    for now in (10.0, 20.0):
        assert tell(watch, DENIED, now) is None
    assert tell(watch, None, 30.0) is None
    for now in (40.0, 50.0):
        assert tell(watch, DENIED, now) is None
    assert tell(watch, DENIED, 60.0) is DENIED


@pytest.mark.parametrize("now", [0.0, 2.0])
def test_a_completed_task_without_a_picture_is_read_each_time(now: float) -> None:
    watch = make()
    assert watch.running_answer is None
    assert tell(watch, seen(TaskStatus.COMPLETED), now) is None
    assert watch.running_answer is None
    assert isinstance(tell(watch, seen(TaskStatus.COMPLETED), now + 60), ResultMissingError)


def test_a_completed_task_with_pictures_ends_it() -> None:
    verdict = tell(make(), seen(TaskStatus.COMPLETED, pictures=True), 2.0)
    assert isinstance(verdict, GenerationTask)


def test_a_failed_task_ends_it() -> None:
    verdict = tell(make(), seen(TaskStatus.FAILED), 2.0)
    assert isinstance(verdict, GenerationTask)


def test_a_completed_task_without_pictures_gets_a_minute() -> None:
    watch = make(deadline=1000)
    assert tell(watch, seen(TaskStatus.COMPLETED), 10.0) is None
    assert tell(watch, seen(TaskStatus.COMPLETED), 69.9) is None
    verdict = tell(watch, seen(TaskStatus.COMPLETED), 70.0)
    assert isinstance(verdict, ResultMissingError)


def test_going_back_to_running_restarts_that_minute() -> None:
    watch = make(deadline=1000)
    tell(watch, seen(TaskStatus.COMPLETED), 10.0)
    tell(watch, seen(TaskStatus.IN_PROGRESS), 20.0)
    assert tell(watch, seen(TaskStatus.COMPLETED), 75.0) is None


def test_a_completed_task_without_pictures_at_the_deadline_is_not_called_running() -> None:
    watch = make(deadline=30)
    verdict = tell(watch, seen(TaskStatus.COMPLETED), 30.0)
    assert isinstance(verdict, ResultMissingError)


def test_not_found_is_normal_for_half_a_minute_after_acceptance() -> None:
    watch = make()
    assert tell(watch, NOT_FOUND, 29.9) is None
    assert tell(watch, NOT_FOUND, 30.0) is NOT_FOUND


def test_a_task_once_seen_does_not_get_lost_by_not_found() -> None:
    watch = make()
    tell(watch, seen(TaskStatus.QUEUED), 2.0)
    assert tell(watch, NOT_FOUND, 60.0) is None
    assert isinstance(tell(watch, NOT_FOUND, 100.0), PollDeadlineExceeded)


def test_not_found_is_an_error_at_once_for_an_id_somebody_named() -> None:
    assert tell(make(Origin.GIVEN), NOT_FOUND, 0.1) is NOT_FOUND


@pytest.mark.parametrize("origin", list(Origin))
@pytest.mark.parametrize("silence", SILENCES, ids=lambda error: type(error).__name__)
def test_no_failed_look_ends_a_wait_before_its_deadline(origin: Origin, silence: ToapisError) -> None:
    watch = make(origin)
    now = watch.due
    while now < 100.0:
        assert tell(watch, silence, now) is None
        assert now < watch.due <= 100.0
        now = watch.due
    expected = SubmissionUnknown if origin is Origin.LOST else PollDeadlineExceeded
    assert isinstance(tell(watch, silence, now), expected)


def test_the_deadline_tells_what_went_wrong_last() -> None:
    verdict = tell(make(), ServerError("the gateway is down", http_status=502), 100.0)
    assert "the gateway is down" in str(verdict)


def test_a_refused_key_ends_a_wait_after_three_times_in_ten_seconds() -> None:
    watch = make()
    assert tell(watch, DENIED, 2.0) is None
    assert tell(watch, DENIED, 6.0) is None
    assert tell(watch, PermissionDeniedError("no", http_status=403), 11.9) is None
    assert tell(watch, DENIED, 12.0) is DENIED


@pytest.mark.parametrize("between", [seen(TaskStatus.QUEUED), SILENCES[0]], ids=["answer", "silence"])
def test_denials_count_only_in_a_row(between: Seen | ToapisError) -> None:
    watch = make()
    tell(watch, DENIED, 2.0)
    tell(watch, DENIED, 10.0)
    tell(watch, between, 11.0)
    assert tell(watch, DENIED, 20.0) is None


def test_only_401_and_403_are_a_word_on_the_key() -> None:
    watch = make()
    for now in (2.0, 10.0, 20.0):
        assert tell(watch, AuthenticationError("no", http_status=400), now) is None


def test_a_refused_key_does_not_end_a_look_up() -> None:
    watch = make(Origin.LOST)
    for now in (2.0, 10.0, 20.0, 30.0):
        assert tell(watch, DENIED, now) is None


def test_a_failure_that_is_over_is_not_told() -> None:
    watch = make()
    tell(watch, ServerError("the gateway is down", http_status=502), 50.0)
    verdict = tell(watch, seen(TaskStatus.QUEUED), 100.0)
    assert isinstance(verdict, PollDeadlineExceeded)
    assert "gateway" not in str(verdict)


def test_the_deadline_counts_from_the_beginning() -> None:
    assert make(since=50.0, deadline=100.0).deadline == 150.0


def test_a_pause_is_sat_out_up_to_the_deadline() -> None:
    watch = make()
    assert watch.sit_out(40.0, 10.0) is None
    assert watch.due == 40.0
    assert watch.sit_out(400.0, 50.0) is None
    assert watch.due == 100.0
    assert isinstance(watch.sit_out(400.0, 100.0), PollDeadlineExceeded)


def test_a_lost_request_is_found_in_any_state() -> None:
    for status in TaskStatus:
        assert isinstance(tell(make(Origin.LOST), seen(status), 2.0), GenerationTask)


def test_a_lost_request_that_is_never_found_is_unknown() -> None:
    watch = make(Origin.LOST)
    assert tell(watch, NOT_FOUND, 50.0) is None
    verdict = tell(watch, NOT_FOUND, 100.0)
    assert isinstance(verdict, SubmissionUnknown)
    assert verdict.not_found


@pytest.mark.parametrize("silence", [*SILENCES, DENIED], ids=lambda error: type(error).__name__)
def test_silence_during_a_look_up_is_not_not_found(silence: ToapisError) -> None:
    watch = make(Origin.LOST)
    tell(watch, NOT_FOUND, 50.0)
    tell(watch, silence, 60.0)
    verdict = tell(watch, NOT_FOUND, 100.0)
    assert isinstance(verdict, SubmissionUnknown)
    assert not verdict.not_found


def test_a_look_up_that_never_asked_found_nothing_out() -> None:
    verdict = make(Origin.LOST).expire()
    assert isinstance(verdict, SubmissionUnknown)
    assert not verdict.not_found


def test_a_hint_is_a_lower_bound_of_at_most_a_minute() -> None:
    watch = make(deadline=1000)
    tell(watch, seen(TaskStatus.QUEUED, hint=20.0), 0.0)
    assert watch.due == 20.0
    tell(watch, seen(TaskStatus.QUEUED, hint=1e9), 20.0)
    assert watch.due == 80.0
    tell(watch, seen(TaskStatus.QUEUED, hint=0.1), 80.0)
    assert watch.due == 88.0


answers = st.sampled_from([
    *SILENCES,
    DENIED,
    NOT_FOUND,
    *(seen(s, pictures=p) for s in TaskStatus for p in (True, False)),
])


@given(st.sampled_from(list(Origin)), st.lists(answers, max_size=60), st.floats(1, 500))
def test_any_answers_lead_to_an_end_by_the_deadline(
    origin: Origin, replies: list[Seen | ToapisError], deadline: float
) -> None:
    watch = make(origin, deadline=deadline)
    now = watch.due
    for reply in (*replies, *[SILENCES[0]] * 100):
        now = max(now, watch.due)
        verdict = tell(watch, reply, now)
        if verdict is not None:
            return
        assert now < watch.due <= watch.deadline
    pytest.fail("the watch outlived its deadline")
