"""What you send and what you get back: frozen values without behaviour.

Constructors do not validate: a request is checked, all problems at once, when it is handed to a session.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from attrs import field, frozen

DEFAULT_MODEL = "grok-4-1-image"

TaskKind: TypeAlias = Literal["image"]
"""What a task makes. It selects the endpoint that is asked for the task's state."""


class TaskStatus(enum.StrEnum):
    """Where a task stands. The service's own spelling is kept in `GenerationTask.raw_status`."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A spelling this version does not know: the task is polled on."""


class JobState(enum.StrEnum):
    """Where a request stands on its way from your program to an outcome."""

    QUEUED = "queued"
    """Not sent: nothing has been paid. Its reference pictures may be on their way."""
    POSTING = "posting"
    """The paid request is on its way, or its answer was lost: it may have been accepted."""
    SUBMITTED = "submitted"
    """Accepted by the service, which works on it."""
    DOWNLOADING = "downloading"
    """Ended at the service; its pictures and its line in the manifest are being saved."""
    COMPLETED = "completed"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    """Accepted, and still running when the wait's deadline came."""
    UNRESOLVED = "unresolved"
    """Whether it was accepted, or where its result is, could not be found out."""


def _as_images(value: Any) -> Any:
    return tuple(map(_unwrapped, cast("Sequence[Any]", value))) if isinstance(value, list | tuple) else value


def _unwrapped(image: Any) -> Any:
    """Take the URL out of `{"url": ...}`, as some of the service's pages write it."""
    item: object = image
    is_item = isinstance(item, Mapping) and list(cast("Mapping[str, Any]", item)) == ["url"]
    return image["url"] if is_item else image


def _show_images(images: Any) -> str:
    """Keep whole pictures out of logs and tracebacks."""
    if not isinstance(images, tuple):
        return repr(images)
    items: tuple[object, ...] = images  # pyright: ignore[reportUnknownVariableType]
    return repr([f"<{len(item)} bytes>" if isinstance(item, bytes) else item for item in items])


def _empty() -> dict[str, Any]:
    return {}  # `dict[str, Any]`, called, does the same at five times the cost


def _as_dict(value: Any) -> Any:
    return dict(cast("dict[Any, Any]", value)) if isinstance(value, Mapping) else value


@frozen
class StoredImage:
    """A reference picture of yours as a journal keeps it: what it must be, and where it was."""

    sha256: str
    path: Path | None
    """Absolute; None for a picture that was given as bytes."""


@frozen
class ImageRequest:
    """One image generation. Fields left at their default are not sent, except `model`."""

    prompt: str
    """What to draw; at most 1,000 characters for the Grok models."""
    model: str = field(default=DEFAULT_MODEL, kw_only=True)
    """`grok-4-1-image` (default), `grok-4-2-image`, or any other id: an id this version does not know is
    passed through with its values unchecked."""
    size: str | None = field(default=None, kw_only=True)
    """Aspect ratio: 1:1 (the service's default), 2:3, 3:2, 16:9 or 9:16 for the Grok models."""
    n: int | None = field(default=None, kw_only=True)
    """Number of pictures, the service's default is 1; the Grok models take 1, 2 or 4. The price is charged
    for each picture when the request is accepted."""
    images: Sequence[str | Path | bytes] = field(default=(), converter=_as_images, kw_only=True, repr=_show_images)
    """Reference pictures for image-to-image; at most 5 for the Grok models. A `str` is always an http(s) URL that
    the service can reach. A `Path` or `bytes` is a picture of your own (jpeg, png or webp, at most 10 MB), which is
    uploaded before the request is paid for. Base64 and data URIs are refused by the service since 2026."""
    client_business_id: str | None = field(default=None, kw_only=True)
    """Your own id for this one attempt at paying, by which the task can be looked up. Chosen at random when
    left out; never use one twice."""
    callback_url: str | None = field(default=None, kw_only=True)
    """Where the service sends its webhook; needs a webhook set up for the key in the web console."""
    metadata: Mapping[str, Any] = field(factory=_empty, converter=_as_dict, kw_only=True)
    """Model options that the service wants inside `metadata`, sent as they are when not empty."""
    extra: Mapping[str, Any] = field(factory=_empty, converter=_as_dict, kw_only=True)
    """Top-level fields this version does not know, sent as they are."""


@frozen(kw_only=True)
class GeneratedImage:
    """One finished picture."""

    url: str
    """Where the picture lies for 24 hours. Fetch it without the API key; `ToapisSession.download` does."""
    extra: Mapping[str, Any] = field(factory=_empty)
    """Further keys of the result item, as the service sent them."""


@frozen(kw_only=True)
class TaskFailure:
    """Why the service ended a task without a picture."""

    message: str
    code: str | None = None
    """For instance `generation_failed`."""


@frozen(kw_only=True)
class Billing:
    """What a task cost, as far as the service knows yet. A missing `Billing` does not mean free."""

    status: str | None = None
    """`pending`, `settled` or `refunded`; a task may be completed before it is settled."""
    credits: Decimal | None = None
    """200 credits are one US dollar."""
    cost_usd: Decimal | None = None


@frozen(kw_only=True)
class Usage:
    """Tokens a settled task used, for models that are billed by tokens."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    extra: Mapping[str, Any] = field(factory=_empty)
    """Further keys, such as `input_tokens_details`, as the service sent them."""


@frozen(kw_only=True, unsafe_hash=False)
class GenerationTask:
    """A snapshot of one task, as of one answer of the service. Compares by value; not hashable."""

    id: str
    """The service's task id, opaque; the `client_business_id` where the service returned none."""
    kind: TaskKind = "image"
    model: str | None = None
    status: TaskStatus
    raw_status: str = ""
    """The status exactly as the service spelled it."""
    progress: int | None = None
    """0 to 100. Not a measure of time: clients have seen it stay at 10 until the end."""
    created_at: datetime | None = None
    """UTC, by the service's clock, to the second."""
    completed_at: datetime | None = None
    """UTC, by the service's clock, to the second."""
    expires_at: datetime | None = None
    """UTC; when the result URLs end, 24 hours after completion."""
    images: tuple[GeneratedImage, ...] = ()
    """In the service's order; may be fewer than asked for."""
    error: TaskFailure | None = None
    billing: Billing | None = None
    usage: Usage | None = None
    metadata: Mapping[str, Any] = field(factory=_empty)
    client_business_id: str | None = None
    raw: Mapping[str, Any] = field(factory=_empty, repr=False)
    """The whole answer, unknown keys included."""


@frozen(kw_only=True)
class UnfinishedTask:
    """A request that may have been paid for and whose result nobody received.

    `await session.wait(unfinished.resume_id)` goes on with it, in this process or another.
    """

    request: ImageRequest
    client_business_id: str
    task_id: str | None
    """None while the service's answer to the paid request is not known."""
    state: JobState

    @property
    def resume_id(self) -> str:
        """What to hand to `ToapisSession.wait` or `Batch.attach`."""
        return self.task_id or self.client_business_id
