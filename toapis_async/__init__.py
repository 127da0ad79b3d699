"""Asynchronous Python SDK for the ToAPIs image service.

`ToapisSession` is the way in; `session.open_batch(...)` gives a `Batch`, the async iterator of outcomes.

Map of the package, each line using only lines above it:

    models.py           what you send and what you get
    errors.py           what can go wrong
    outcomes.py         how a job of a batch ended
    _protocol/          what the service says: task states, decoding, model rules, endpoints; pure
    _schedule/          when to send the next request: backoff, what is learned about durations, rate limits; pure
    instrumentation.py  events and observers
    _http/              the aiohttp adapter, pacing and retrying
    _files/             pictures on disk, yours and the results
    _journal/           what a batch knows about its jobs, on disk
    _submission/        the paid step
    _unfinished.py      what single calls may have paid for and nobody received
    _watch/             the wait for one id
    _batch/             many tasks at once
    _single.py          one task in the caller's own task
    _parts.py           what exists while a session is open
    _opening.py         imports the parts, and all they use, when the first session opens
    _session.py         the verbs
    testing/            a simulator of the service, faults, a virtual clock, a pytest plugin
    cli/                the `toapis` command
"""

import importlib
import typing

from ._schedule.adaptive import AdaptiveBackoff
from ._schedule.backoff import Backoff, RetryPolicy
from ._schedule.pacer import RateLimits
from ._session import ToapisSession
from ._version import __version__
from .errors import (
    ApiError,
    AuthenticationError,
    BatchClosed,
    ContentRejectedError,
    DecodeError,
    DownloadError,
    GenerationFailed,
    InsufficientBalanceError,
    InvalidRequestError,
    JournalError,
    MissingApiKeyError,
    ModelUnavailableError,
    NotFoundError,
    PermissionDeniedError,
    PollDeadlineExceeded,
    RateLimitedError,
    RequestValidationError,
    ResultExpiredError,
    ResultMissingError,
    ServerError,
    SubmissionUnknown,
    ToapisError,
    TransportError,
)
from .models import (
    Billing,
    GeneratedImage,
    GenerationTask,
    ImageRequest,
    JobState,
    TaskFailure,
    TaskKind,
    TaskStatus,
    UnfinishedTask,
    Usage,
)
from .outcomes import Completed, Failed, Outcome, TimedOut, Unresolved

if typing.TYPE_CHECKING:
    from ._batch import Batch, BatchProgress, Job
    from ._single import TaskSnapshots
else:
    # What only an open session makes is imported when it is asked for: see `_opening`.
    _LATER = {"Batch": "_batch", "BatchProgress": "_batch", "Job": "_batch", "TaskSnapshots": "_single"}

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)

    def __dir__():
        return sorted({*globals(), *_LATER})


__all__ = [
    "AdaptiveBackoff",
    "ApiError",
    "AuthenticationError",
    "Backoff",
    "Batch",
    "BatchClosed",
    "BatchProgress",
    "Billing",
    "Completed",
    "ContentRejectedError",
    "DecodeError",
    "DownloadError",
    "Failed",
    "GeneratedImage",
    "GenerationFailed",
    "GenerationTask",
    "ImageRequest",
    "InsufficientBalanceError",
    "InvalidRequestError",
    "Job",
    "JobState",
    "JournalError",
    "MissingApiKeyError",
    "ModelUnavailableError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "PollDeadlineExceeded",
    "RateLimitedError",
    "RateLimits",
    "RequestValidationError",
    "ResultExpiredError",
    "ResultMissingError",
    "RetryPolicy",
    "ServerError",
    "SubmissionUnknown",
    "TaskFailure",
    "TaskKind",
    "TaskSnapshots",
    "TaskStatus",
    "TimedOut",
    "ToapisError",
    "ToapisSession",
    "TransportError",
    "UnfinishedTask",
    "Unresolved",
    "Usage",
    "__version__",
]
