"""What exists while a session is open, wired together."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp

from ._batch import Batch, RequestSource
from ._batch.batch import OnExit
from ._batch.gather import gather_outcomes, read_all
from ._batch.job import JobRecord
from ._files.downloads import Downloader
from ._files.names import Template
from ._files.uploads import Uploader
from ._http.dispatch import Dispatcher
from ._http.transport import AiohttpTransport
from ._schedule.adaptive import Poll
from ._schedule.backoff import RetryPolicy
from ._schedule.pacer import RateLimits
from ._single import Singles
from ._submission import Submitter
from ._unfinished import Unfinished
from .instrumentation import Announcer, Observer
from .models import GenerationTask
from .outcomes import Completed, Outcome


class Parts:
    """What exists while a session is open."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        http: aiohttp.ClientSession | None,
        *,
        limits: RateLimits,
        retry: RetryPolicy,
        observers: Sequence[Observer],
    ) -> None:
        self.base_url = base_url
        self.transport = transport = AiohttpTransport(base_url, api_key, http)
        self.dispatcher = dispatcher = Dispatcher(
            transport,
            limits=limits,
            retry=retry,
            clock=asyncio.get_running_loop().time,
            random=random.random,
            announce=Announcer(observers),
        )
        self.submitter = Submitter(dispatcher)
        self.unfinished = Unfinished()
        self.uploader = Uploader(dispatcher)
        self.singles = Singles(dispatcher, self.submitter, self.uploader, self.unfinished)
        self.downloader = Downloader(base_url, self.singles.get)

    async def download(
        self,
        source: GenerationTask | Completed,
        directory: str | os.PathLike[str],
        *,
        name: str,
        overwrite: bool,
        max_bytes: int,
    ) -> tuple[Path, ...]:
        """See `ToapisSession.download`."""
        template = Template(name)
        if isinstance(max_bytes, bool) or max_bytes < 1:
            raise ValueError(f"max_bytes: {max_bytes!r} is not 1 or more")
        if isinstance(source, Completed):
            task, naming = source.task, template.names(source.task, key=source.key, request=source.request)
            is_known = template.has_id
        else:
            task, naming = source, template.names(source)
            is_known = template.has_id or template.has_key
        return await self.downloader.save(
            task,
            Path(directory),
            naming,
            known=len(task.images) if is_known else 0,
            overwrite=overwrite,
            max_bytes=max_bytes,
        )

    async def close(self) -> None:
        """Wait for paid requests on their way, at most 75 s, tell what is left, and close all connections."""
        try:
            await self.submitter.wait_idle()
        finally:
            self.unfinished.warn()
            try:
                await self.downloader.close()
            finally:
                await self.transport.close()

    def batch(
        self,
        requests: RequestSource,
        poll: Poll,
        *,
        max_in_flight: int,
        save_to: str | os.PathLike[str] | None,
        journal: str | os.PathLike[str] | None,
        retry_failed: bool,
        on_exit: OnExit = "detach",
        on_job: Callable[[JobRecord], None] | None = None,
    ) -> Batch:
        """See `ToapisSession.open_batch`."""
        return Batch(
            requests,
            submitter=self.submitter,
            uploader=self.uploader,
            dispatcher=self.dispatcher,
            unfinished=self.unfinished,
            poll=poll,
            downloader=self.downloader,
            max_in_flight=max_in_flight,
            save_to=save_to,
            journal=journal,
            base_url=self.base_url,
            retry_failed=retry_failed,
            on_exit=on_exit,
            on_job=on_job,
        )

    async def gather(
        self,
        requests: RequestSource,
        poll: Poll,
        *,
        max_in_flight: int,
        save_to: str | os.PathLike[str] | None,
        journal: str | os.PathLike[str] | None,
        retry_failed: bool,
    ) -> list[Outcome]:
        """See `ToapisSession.generate_many`."""
        items = await read_all(requests)
        jobs: list[JobRecord] = []
        batch = self.batch(
            items,
            poll,
            max_in_flight=max_in_flight,
            save_to=save_to,
            journal=journal,
            retry_failed=retry_failed,
            on_job=jobs.append,
        )
        with self.unfinished.gathering(lambda: [job.submission for job in jobs if job.submission]):
            async with batch:
                return await gather_outcomes(batch, items, jobs)
