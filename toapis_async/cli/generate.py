"""`toapis generate`: a batch whose pictures are saved while it runs, and an account of it at the end."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from attrs import frozen

from toapis_async import Batch, Completed, DownloadError, Failed, Outcome, ToapisError, ToapisSession

from .account import Account, Loose, loose_ends
from .display import Counts, Screen
from .exits import UsageError
from .logs import log_lines
from .plan import Plan
from .results import Output, loose_record, outcome_record
from .service import open_session
from .signals import calling_on_interrupt
from .simulate import simulated_session
from .text import clean, duration, explain, shorten

_DOWNLOADS: Final = 8
_REFRESH_SECONDS: Final = 0.2


@frozen(kw_only=True)
class Options:
    """How to run, apart from what is in the requests."""

    out: Path
    simulate: bool = False
    base_url: str | None = None
    max_in_flight: int = 256
    as_json: bool = False
    paths: bool = True
    """Whether the paths of saved files go to standard output, where JSON does not."""


async def generate_all(plan: Plan, options: Options, screen: Screen, output: Output) -> int:
    """Generate and save everything; returns the exit code.

    Raises:
        UsageError: there is no key, or a URL or a folder that cannot be used; nothing was sent.

    """
    opening = simulated_session() if options.simulate else open_session(options.base_url)
    await anyio.to_thread.run_sync(_make_folder, options.out)
    return await _Run(plan, options, screen, output).run(opening)


class _Run:
    """One run, from the first request to the last line."""

    def __init__(self, plan: Plan, options: Options, screen: Screen, output: Output) -> None:
        self._plan = plan
        self._options = options
        self._screen = screen
        self._output = output
        self._account = Account(len(plan.items))
        self._batch: Batch | None = None
        self._session: ToapisSession | None = None
        self._scope = anyio.CancelScope()
        self._slots = anyio.Semaphore(_DOWNLOADS)
        self._taken: dict[str, Completed] = {}  # taken out of the batch, pictures not yet saved
        self._over = False
        self._began = time.monotonic()

    async def run(self, opening: AbstractAsyncContextManager[ToapisSession]) -> int:
        """Use the session until everything is told; returns the exit code."""
        with calling_on_interrupt(self._interrupt), log_lines(self._screen):
            try:
                async with opening as self._session:
                    with self._scope:
                        await self._generate(self._session)
            finally:  # whatever happened, what may be paid for is told
                self._over = True
                self._screen.stop()
                self._conclude()
        return self._account.exit_code(self._output.lost)

    async def _generate(self, session: ToapisSession) -> None:
        self._batch = session.open_batch(self._plan.items, max_in_flight=self._options.max_in_flight)
        async with self._batch as batch:
            self._screen.start(self._counts)
            async with _refreshing(self._screen), anyio.create_task_group() as saving:
                try:
                    await self._take_outcomes(batch, saving)
                except ToapisError as error:
                    self._account.closed_by = error

    async def _take_outcomes(self, batch: Batch, saving: TaskGroup) -> None:
        async for outcome in batch:
            if isinstance(outcome, Completed):
                self._taken[outcome.key] = outcome  # in the step that took it: it is never in neither place
                await self._slots.acquire()
                saving.start_soon(self._save, outcome)
            else:
                self._tell(outcome)

    async def _save(self, outcome: Completed) -> None:
        assert self._session is not None
        files: tuple[Path, ...] = ()
        error: DownloadError | None = None
        try:
            files = await self._session.download(outcome.task, self._options.out)
        except DownloadError as failure:
            files, error = failure.files, failure
        finally:
            self._slots.release()
        del self._taken[outcome.key]
        self._tell(outcome, files, error)

    def _tell(
        self, outcome: Outcome, files: tuple[Path, ...] = (), download_error: DownloadError | None = None
    ) -> None:
        """Count an item that ended, and write its lines."""
        account, screen = self._account, self._screen
        prompt = shorten(outcome.request.prompt, screen.prompt_width) if outcome.request else ""
        name = outcome.state.replace("_", " ")
        if isinstance(outcome, Completed) and download_error is None:
            account.saved += 1
            mark, style, text = "done", "green", "  ".join(clean(str(file)) for file in files)
        elif isinstance(outcome, Completed):
            assert download_error is not None
            account.unsaved += 1
            mark, style, text = "not saved", "red", f"{explain(download_error)}: {clean(download_error.url)}"
        elif isinstance(outcome, Failed):
            account.failed += 1
            mark, style, text = name, "red", explain(outcome.error)
        else:
            account.open += 1
            account.loose.append(Loose.of(outcome))
            mark, style, text = name, "yellow", explain(outcome.error)
        screen.tick()
        screen.say(f"[{account.ended}/{account.total}] {prompt}  {text}", mark=mark, style=style)
        self._write(outcome, files, download_error)

    def _write(self, outcome: Outcome, files: tuple[Path, ...], download_error: DownloadError | None) -> None:
        if self._options.as_json:
            self._screen.hide()
            self._output.write_json(outcome_record(outcome, files, download_error))
        elif self._options.paths and files:
            self._screen.hide()
            for file in files:
                self._output.write(str(file))

    def _counts(self) -> Counts:
        assert self._batch is not None
        progress, account = self._batch.progress, self._account
        return Counts(
            total=account.total,
            submitted=progress.running + progress.ended,
            running=progress.running,
            done=account.saved,
            failed=account.failed + account.unsaved,
            open=account.open,
        )

    # -- the end

    def _interrupt(self, number: int) -> None:
        if self._over:
            return
        posting = self._batch.progress.posting if self._batch else 0
        requests = f"{posting} request{'' if posting == 1 else 's'} on {'its' if posting == 1 else 'their'} way"
        if self._account.signal:
            self._screen.report(f"Still finishing {requests}; this takes at most 75 s.")
            return
        self._account.signal = number
        self._screen.report(f"Interrupted: finishing {requests}…" if posting else "Interrupted.")
        self._scope.cancel()

    def _conclude(self) -> None:
        for end in loose_ends(self._batch, list(self._taken.values()), self._session):
            if not isinstance(end, Loose):
                self._tell(end)
                continue
            self._account.leave(end)
            if self._options.as_json:
                self._output.write_json(loose_record(end))
        base_url = f" --base-url {clean(self._options.base_url)}" if self._options.base_url else ""
        lines = self._account.lines(
            command=None if self._options.simulate else f"toapis status{base_url}",
            out=str(self._options.out),
            time=duration(time.monotonic() - self._began),
        )
        *told, summary = lines
        for line in told:
            self._screen.report(line)
        all_is_well = self._account.saved == self._account.total
        (self._screen.say if all_is_well else self._screen.report)(summary)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError([f"--out {folder}: {error.strerror or error}"]) from None
    if not os.access(folder, os.W_OK):
        raise UsageError([f"--out {folder}: this folder cannot be written"])


@asynccontextmanager
async def _refreshing(screen: Screen) -> AsyncGenerator[None]:
    """Draw the progress anew several times a second."""
    async with anyio.create_task_group() as group:
        group.start_soon(_refresh_forever, screen)
        yield
        group.cancel_scope.cancel()


async def _refresh_forever(screen: Screen) -> None:
    while True:
        await anyio.sleep(_REFRESH_SECONDS)
        screen.refresh()
