"""The public API as its users' type checkers see it. Checked by two of them, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import assert_type

import aiohttp

from toapis_async import (
    ApiError,
    Backoff,
    Batch,
    BatchProgress,
    Completed,
    DownloadError,
    Failed,
    GeneratedImage,
    GenerationFailed,
    GenerationTask,
    ImageRequest,
    Job,
    JobState,
    Outcome,
    PollDeadlineExceeded,
    RateLimits,
    RequestValidationError,
    ResultExpiredError,
    RetryPolicy,
    SubmissionUnknown,
    TaskStatus,
    TimedOut,
    ToapisError,
    ToapisSession,
    UnfinishedTask,
    Unresolved,
)
from toapis_async.instrumentation import Event, LoggingObserver


async def single(http: aiohttp.ClientSession) -> None:
    async with ToapisSession() as session:
        assert_type(session, ToapisSession)
        task = await session.generate(ImageRequest("fox"))
        assert_type(task, GenerationTask)
        assert_type(task.status, TaskStatus)
        assert_type(task.images, tuple[GeneratedImage, ...])
        assert_type(task.created_at, datetime | None)
        if task.billing:
            assert_type(task.billing.credits, Decimal | None)
        assert_type(await session.submit(ImageRequest(prompt="fox", n=2)), GenerationTask)
        assert_type(await session.wait("id", kind="image", poll=Backoff(deadline=timedelta(minutes=5))), GenerationTask)
        assert_type(await session.get("id"), GenerationTask)
        assert_type(await session.download(task, "out", overwrite=True), tuple[Path, ...])
        assert_type(await session.upload_image(Path("cat.png")), str)
        assert_type(await session.upload_image(b"..."), str)
        await session.download(task, Path("out"), name="{date} {id}-{index}{ext}", max_bytes=10_000_000)
        assert_type(session.unfinished, tuple[UnfinishedTask, ...])
        async for snapshot in session.watch("id"):
            assert_type(snapshot, GenerationTask)

    def observe(event: Event) -> None: ...

    ToapisSession(
        "sk-x",
        base_url="https://toapis.cn",
        http=http,
        poll=Backoff(initial=1, factor=2, maximum=timedelta(seconds=10), jitter=0, deadline=60),
        retry=RetryPolicy(attempts=3, lookup_window=30, max_throttle=timedelta(minutes=1), resubmit_unknown=True),
        limits=RateLimits.for_group("vip").share(4),
        observers=[observe, LoggingObserver()],
    )


def requests() -> Iterator[ImageRequest]:
    yield ImageRequest(
        "fox", images=["https://a/b.png", Path("cat.png"), b"..."], metadata={"seed": 1}, extra={"trace_id": "x"}
    )


async def pairs() -> AsyncIterator[tuple[str, ImageRequest]]:
    yield "blue", ImageRequest("fox")


async def many(session: ToapisSession) -> None:
    async with session.open_batch(requests(), max_in_flight=10, on_exit="drain") as batch:
        assert_type(batch, Batch)
        job = batch.submit(ImageRequest("fox"), key="blue")
        assert_type(job, Job)
        assert_type(job.state, JobState)
        assert_type(job.outcome, Outcome | None)
        batch.feed(pairs())
        batch.feed({"a": ImageRequest("fox")}.items())
        assert_type(batch.attach("id", key="old"), Job)
        with batch.hold():
            pass
        assert_type(batch.progress, BatchProgress)
        assert_type(batch.unfinished, tuple[Job, ...])
        async for outcome in batch:
            assert_type(outcome, Outcome)
            match outcome:
                case Completed(key=key, task=task, files=files, download_error=download_error):
                    assert_type(key, str)
                    assert_type(task, GenerationTask)
                    assert_type(files, tuple[Path, ...])
                    assert_type(download_error, DownloadError | None)
                    await session.download(outcome, "out", name="{prompt}{ext}")
                case Failed(error=error) | TimedOut(error=error) | Unresolved(error=error):
                    assert_type(error, ToapisError)
            assert_type(outcome.unwrap(), GenerationTask)
        assert_type(await job.wait(), Outcome)
    assert_type(await session.generate_many([ImageRequest("fox")], max_in_flight=2), list[Outcome])
    assert_type(await session.generate_many(pairs()), list[Outcome])


def failures(error: ToapisError) -> None:
    assert_type(error.task_id, str | None)
    assert_type(error.client_business_id, str | None)
    match error:
        case ApiError():
            assert_type(error.http_status, int)
            assert_type(error.code, str | None)
            assert_type(error.retry_after, float | None)
        case GenerationFailed():
            assert_type(error.task, GenerationTask)
        case RequestValidationError():
            assert_type(error.problems, tuple[str, ...])
        case SubmissionUnknown():
            assert_type(error.not_found, bool)
        case ResultExpiredError():
            assert_type(error.url, str)
        case PollDeadlineExceeded():
            assert_type(error.deadline, float)
        case _:
            pass
