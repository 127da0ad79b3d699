"""The pictures of a task as files, whatever became of their URLs in the meantime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from ..errors import DownloadError, NotFoundError, ResultExpiredError, ToapisError
from ..models import GenerationTask, TaskKind
from .defaults import MAX_BYTES
from .fetching import Failure, Fetcher, Kind
from .names import Naming
from .parts import Part, Place, sweep

Ask: TypeAlias = Callable[[], Awaitable[GenerationTask]]
"""Asks the service for the state of one task, once."""


class Downloader:
    """Saves pictures for one session."""

    def __init__(self, base_url: str, get: Callable[[str, TaskKind], Awaitable[GenerationTask]]) -> None:
        self.get: Final = get
        """Asks the service for a task's state, once."""
        self._fetcher = Fetcher(base_url)
        self._swept: set[Path] = set()

    async def close(self) -> None:
        """Close the connections to result hosts."""
        await self._fetcher.close()

    async def in_thread(self, function: Callable[..., None], *values: object) -> None:
        """Run what blocks, beside the writing of pictures."""
        await self._fetcher.in_thread(function, *values)

    async def save(
        self,
        task: GenerationTask,
        directory: Path,
        naming: Naming,
        *,
        ask: Ask | None = None,
        known: int,
        overwrite: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> tuple[Path, ...]:
        """Save a task's pictures and return the files.

        Of the first `known` pictures, a file that has the name can only be that very picture. What lies at the
        names of others is compared, and keeps its name if it is another one. `ask` is for fresh URLs.

        Raises:
            DownloadError: not all of them could be saved.

        """
        if not task.images:
            reason = f"the task has none (its status is {task.raw_status or task.status!r})"
            raise DownloadError("", reason).about(task=task)
        urls = _Urls(task, ask or partial(self.get, task.id, task.kind))
        files: list[Path] = []
        for index, stem in enumerate(naming.stems):
            place = Place(directory, stem, naming, is_known=index < known, overwrite=overwrite)
            try:
                files.append(await self._save_one(urls, index, place, max_bytes))
            except Failure as error:
                kind = ResultExpiredError if error.kind is Kind.GONE else DownloadError
                failure = kind(urls[index], error.reason, http_status=error.http_status, files=files)
            except OSError as error:
                failure = DownloadError(urls[index], f"cannot write to {directory}: {error}", files=files)
            else:
                continue
            try:
                raise failure.about(task=task)
            finally:
                del failure  # its traceback holds this frame: without the cycle, memory is freed at once
        return tuple(files)

    async def _save_one(self, urls: _Urls, index: int, place: Place, max_bytes: int) -> Path:
        fetcher = self._fetcher
        if place.directory not in self._swept:
            self._swept.add(place.directory)
            await fetcher.in_thread(sweep, place.directory)
        part = Part(place.directory, place.stem)
        try:
            if existing := await fetcher.in_thread(place.find_or_begin, part):
                return existing
            extension = await self._fetch(urls, index, part, max_bytes)
            return await fetcher.in_thread(place.take, part, extension)
        except Exception:
            await fetcher.in_thread(part.discard)
            raise
        finally:
            part.discard()  # cancelled, there is no time for a thread

    async def _fetch(self, urls: _Urls, index: int, part: Part, max_bytes: int) -> str:
        await urls.refresh_if_expired()
        try:
            return await self._fetcher.fetch(urls[index], part, max_bytes)
        except Failure as error:
            if error.kind is not Kind.GONE or not await urls.refresh():
                urls.explain(error)
                raise
        return await self._fetcher.fetch(urls[index], part, max_bytes)


class _Urls:
    """Where the pictures of a task are, as far as the service says; it is asked once at most."""

    def __init__(self, task: GenerationTask, ask: Ask) -> None:
        self._task = task
        self._ask = ask
        self._asked = False
        self._problem: ToapisError | None = None
        self._urls = [image.url for image in task.images]

    def __getitem__(self, index: int) -> str:
        return self._urls[index]

    async def refresh_if_expired(self) -> None:
        """Ask if the URLs have ended by this machine's clock; that may be wrong, so they are tried all the same."""
        if self._task.expires_at is not None and datetime.now(UTC) >= self._task.expires_at:
            await self.refresh()

    async def refresh(self) -> bool:
        """Ask for URLs that stand; returns whether there is something to try that was not tried yet."""
        if self._asked:
            return False
        self._asked = True
        try:
            fresh = [image.url for image in (await self._ask()).images]
        except ToapisError as error:
            self._problem = error
            return False
        if len(fresh) != len(self._urls):
            return False
        self._urls = fresh
        return True

    def explain(self, failure: Failure) -> None:
        """Add to a failure what the service said."""
        if failure.kind is Kind.GONE and self._problem and not isinstance(self._problem, NotFoundError):
            failure.reason += f", and there was no answer about a fresh URL: {self._problem.message}"
            failure.kind = Kind.LASTING
