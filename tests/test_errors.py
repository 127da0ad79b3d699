"""Every error carries its handle, says how to go on, never how to pay again, and pickles."""

from __future__ import annotations

import copy
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest

import toapis_async
from toapis_async import (
    ApiError,
    BatchClosed,
    DecodeError,
    DownloadError,
    GenerationFailed,
    GenerationTask,
    JournalError,
    MissingApiKeyError,
    PollDeadlineExceeded,
    RequestValidationError,
    ResultExpiredError,
    ResultMissingError,
    SubmissionUnknown,
    TaskFailure,
    TaskStatus,
    ToapisError,
    TransportError,
)

TASK = GenerationTask(
    id="tsk_1",
    model="grok-4-1-image",
    status=TaskStatus.FAILED,
    error=TaskFailure(message="upstream", code="generation_failed"),
    client_business_id="mine",
    raw={"id": "tsk_1"},
)
HANDLE: dict[str, Any] = {"task_id": "tsk_1", "client_business_id": "mine", "model": "grok-4-1-image"}
API_ERRORS = [value for value in vars(toapis_async).values() if inspect.isclass(value) and issubclass(value, ApiError)]
ERRORS: list[ToapisError] = [
    *(
        kind("no", http_status=418, code="c", request_id="r", retry_after=2.5, task=TASK, **HANDLE)
        for kind in API_ERRORS
    ),
    TransportError("reset", sent=True, **HANDLE),
    DecodeError(["task.id: missing"], http_status=200, excerpt="<html>", **HANDLE),
    GenerationFailed(TASK),
    PollDeadlineExceeded(30.0, last_error="HTTP 500", task=TASK, **HANDLE),
    SubmissionUnknown("reset", not_found=True, client_business_id="mine", model="m"),
    ResultMissingError(TASK),
    DownloadError("https://a/b", "HTTP 404", http_status=404, files=[Path("a.png")], **HANDLE),
    ResultExpiredError("https://a/b", "HTTP 410", http_status=410, files=[Path("a.png")], **HANDLE),
    RequestValidationError(["n: 3 is not 1, 2 or 4"]),
    JournalError("is in use by process 7", path=Path("fox.db")),
    BatchClosed("left", **HANDLE),
    MissingApiKeyError(),
    ToapisError("plain"),
]


def test_the_list_above_holds_every_public_error() -> None:
    public = {
        value for value in vars(toapis_async).values() if inspect.isclass(value) and issubclass(value, ToapisError)
    }
    assert public == {type(error) for error in ERRORS}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_and_copying_whole(error: ToapisError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert vars(twin) == vars(error)
        assert str(twin) == str(error)
        assert twin.args == error.args


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_no_error_advises_to_pay_again(error: ToapisError) -> None:
    text = str(error).lower()
    assert not [word for word in ("retry", "submit", "again with generate", "resend", "try again") if word in text]


@pytest.mark.parametrize("error", [error for error in ERRORS if error.task_id], ids=lambda error: type(error).__name__)
def test_an_error_about_a_task_names_it(error: ToapisError) -> None:
    assert "tsk_1" in str(error)
    assert "mine" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        PollDeadlineExceeded(30.0, **HANDLE),
        SubmissionUnknown("reset", not_found=False, client_business_id="tsk_1"),
        ResultMissingError(TASK),
        BatchClosed("left", **HANDLE),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_about_a_paid_task_says_how_to_go_on(error: ToapisError) -> None:
    assert "session.wait('tsk_1')" in str(error)


def test_a_deadline_is_a_timeout_too() -> None:
    assert isinstance(PollDeadlineExceeded(1.0), TimeoutError)


def test_filling_in_the_handle_overwrites_nothing() -> None:
    error = TransportError("reset", sent=True, task_id="first")
    assert error.about(task_id="second", client_business_id="mine", task=TASK) is error
    assert (error.task_id, error.client_business_id, error.model) == ("first", "mine", "grok-4-1-image")
