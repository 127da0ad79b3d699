"""One run: a batch that saves its pictures, and an account of it at the end."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, TypeAlias

import anyio

from toapis_async import (
    Batch,
    Completed,
    Failed,
    JobState,
    JournalError,
    Outcome,
    ToapisError,
    ToapisSession,
)

from .account import Account, Loose, loose_ends
from .display import Counts, Screen
from .journal import resume_command
from .logs import log_lines
from .options import Options
from .results import Output, loose_record, outcome_record
from .signals import calling_on_interrupt
from .text import clean, duration, explain, shorten

_REFRESH_SECONDS: Final = 0.2

Fill: TypeAlias = Callable[[Batch], Awaitable[int]]
"""Puts the requests of a run into its batch and returns how many there are."""


class Run:
    """One run, from the first request to the last line."""

    def __init__(
        self, total: int, fill: Fill, options: Options, screen: Screen, output: Output, *, is_recorded: bool = False
    ) -> None:
        self._fill = fill
        self._options = options
        self._screen = screen
        self._output = output
        self._account = Account(total)
        self._batch: Batch | None = None
        self._session: ToapisSession | None = None
        self._scope = anyio.CancelScope()
        self._is_filled = False
        self._is_recorded = is_recorded  # whether the journal has all requests
        self._over = False
        self._began = time.monotonic()

    @property
    def was_over_before(self) -> bool:
        """Whether an earlier run had ended every item already."""
        return self._account.replayed == self._account.total

    async def run(self, opening: AbstractAsyncContextManager[ToapisSession]) -> int:
        """Use the session until everything is told; returns the exit code.

        Raises:
            JournalError: the journal cannot be used; nothing was sent and nothing was told.

        """
        with calling_on_interrupt(self._interrupt), log_lines(self._screen):
            try:
                async with opening as self._session:
                    with self._scope:
                        await self._go(self._session)
            except JournalError:
                self._over = True
                raise
            finally:  # whatever happened, what may be paid for is told
                if not self._over:
                    self._over = True
                    self._screen.stop()
                    self._conclude()
        return self._account.exit_code(self._output.lost)

    async def _go(self, session: ToapisSession) -> None:
        options = self._options
        self._batch = session.open_batch(
            max_in_flight=options.max_in_flight,
            save_to=options.out,
            journal=options.journal,
            retry_failed=options.retry_failed,
        )
        try:
            async with self._batch as batch:
                self._account.total = await self._fill(batch)
                self._is_filled = True
                self._is_recorded = self._options.journal is not None
                self._screen.start(self._counts)
                async with _refreshing(self._screen):
                    try:
                        async for outcome in batch:
                            self._tell(outcome)
                    except ToapisError as error:
                        self._account.closed_by = error
        except JournalError as error:
            if not self._is_filled:
                raise
            self._account.closed_by = error  # it could not be closed

    def _tell(self, outcome: Outcome) -> None:
        """Count an item that ended, and write its lines."""
        account, screen = self._account, self._screen
        prompt = shorten(outcome.request.prompt, screen.prompt_width) if outcome.request else ""
        name = outcome.state.replace("_", " ")
        if isinstance(outcome, Completed) and (error := outcome.download_error):
            account.unsaved += 1
            mark, style, text = "not saved", "red", f"{explain(error)}: {clean(error.url)}"
        elif isinstance(outcome, Completed):
            account.saved += 1
            mark, style, text = "done", "green", "  ".join(clean(str(file)) for file in outcome.files)
        elif isinstance(outcome, Failed):
            account.failed += 1
            mark, style, text = name, "red", explain(outcome.error)
        else:
            account.open += 1
            account.loose.append(Loose.of(outcome))
            mark, style, text = name, "yellow", explain(outcome.error)
        if outcome.replayed:
            account.replayed += 1
            text = f"{text}  (earlier run)"
        else:
            screen.tick()
        screen.say(f"[{account.ended}/{account.total}] {prompt}  {text}", mark=mark, style=style)
        self._write(outcome)

    def _write(self, outcome: Outcome) -> None:
        if self._options.as_json:
            self._screen.hide()
            self._output.write_json(outcome_record(outcome))
        elif self._options.paths and isinstance(outcome, Completed) and outcome.files:
            self._screen.hide()
            for file in outcome.files:
                self._output.write(str(file))

    def _counts(self) -> Counts:
        assert self._batch is not None
        progress, account = self._batch.progress, self._account
        return Counts(
            total=account.total,
            submitted=progress.running + progress.downloading + progress.ended,
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
        for end in loose_ends(self._batch, self._session):
            if not isinstance(end, Loose):
                self._tell(end)
                continue
            self._account.leave(end)
            if self._options.as_json:
                self._output.write_json(loose_record(end))
        self._note_rest()
        account, options = self._account, self._options
        base_url = f" --base-url {clean(options.base_url)}" if options.base_url else ""
        for line in account.lines(command=None if options.simulate else f"toapis status{base_url}"):
            self._screen.report(line)
        summary = account.summary(out=str(options.out), time=duration(time.monotonic() - self._began))
        (self._screen.say if account.saved == account.total else self._screen.report)(summary)
        if self.was_over_before:
            again = "; --retry-failed pays anew for what failed" if account.failed else ""
            self._screen.report(f"All of this was done in an earlier run, nothing was sent{again}.")
        if self._is_recorded and not account.is_over:
            self._screen.report("Go on with:")
            self._screen.report(f"  {resume_command(options)}")

    def _note_rest(self) -> None:
        """Tell what was not sent from what the journal has and this run did not come to."""
        account = self._account
        if self._is_recorded:
            jobs = self._batch.unfinished if self._batch else ()
            queued = sum(job.state is JobState.QUEUED for job in jobs)
            account.unseen = account.total - account.ended - account.unfinished - queued


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
