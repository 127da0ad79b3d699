"""The account of a run: how its items ended, which ids are loose, and what the shell is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import define, field, frozen

from toapis_async import Batch, Completed, JobState, Outcome, ToapisError, ToapisSession

from .exits import Exit
from .text import clean, explain, shorten

_STATES: Final = {JobState.POSTING: "perhaps accepted", JobState.SUBMITTED: "running"}
_UNSAVED: Final = "completed, not saved"
_WIDTH: Final = 24  # of a prompt behind an id


@frozen
class Loose:
    """An id that the user should know, because its picture is not here."""

    id: str
    state: str
    prompt: str


@define
class Account:
    """How the items ended. Its size does not grow with their number, but for the ids that stay open."""

    total: int
    saved: int = 0
    unsaved: int = 0
    """Completed, but a picture could not be saved."""
    failed: int = 0
    open: int = 0
    """Timed out or unresolved."""
    unfinished: int = 0
    """Left behind by an early end, though accepted or perhaps accepted."""
    loose: list[Loose] = field(factory=list[Loose])
    closed_by: ToapisError | None = None
    """Why the service takes no more requests."""
    signal: int = 0
    """What interrupted the run."""

    @property
    def ended(self) -> int:
        """Items that were told about."""
        return self.saved + self.unsaved + self.failed + self.open

    def leave(self, loose: Loose) -> None:
        """Note an item that the run did not see the end of."""
        self.unfinished += 1
        self.loose.append(loose)

    def exit_code(self, output_error: OSError | None) -> int:
        """Return the first code that applies."""
        if self.signal:
            return 128 + self.signal
        if self.closed_by is not None:
            return Exit.REFUSED
        # A reader that goes away has seen enough; a full disk has lost something.
        output_failed = output_error is not None and not isinstance(output_error, BrokenPipeError)
        if self.failed or self.unsaved or output_failed:
            return Exit.FAILED
        return Exit.OPEN if self.open else Exit.OK

    def lines(self, *, command: str | None, out: str, time: str) -> Iterator[str]:
        """Return what the user must know at the end; `command` asks for the state of an id."""
        if self.loose:
            count = len(self.loose)
            yield f"{count} task{' is' if count == 1 else 's are'} not finished here and may be paid for."
            yield "The service goes on with them; ask with:" if command else "They ended with the simulator:"
            prefix = f"{command} " if command else ""
            for loose in self.loose:
                yield f"  {prefix}{clean(loose.id)}  # {loose.state}: {loose.prompt}"
        if self.closed_by is not None:
            yield f"The service takes no more requests: {explain(self.closed_by)}"
        counts = {
            "failed": self.failed,
            "not saved": self.unsaved,
            "open": self.open,
            "unfinished": self.unfinished,
            "not sent": self.total - self.ended - self.unfinished,
        }
        others = "".join(f", {count} {name}" for name, count in counts.items() if count)
        yield f"{self.saved} of {self.total} saved in {clean(out)}{others}; {time}"


def loose_ends(
    batch: Batch | None, taken: Sequence[Completed], session: ToapisSession | None
) -> Iterator[Loose | Outcome]:
    """Return every id that may be paid for and whose end was not told, and ends that nobody took."""
    for job in batch.unfinished if batch else ():
        if job.outcome is not None and not isinstance(job.outcome, Completed):
            yield job.outcome
        elif job.state is not JobState.QUEUED:
            prompt = shorten(job.request.prompt, _WIDTH) if job.request else ""
            yield Loose(job.task_id or job.client_business_id or "", _STATES.get(job.state, _UNSAVED), prompt)
    for outcome in taken:
        yield Loose(outcome.task.id, _UNSAVED, shorten(outcome.request.prompt, _WIDTH) if outcome.request else "")
    for task in session.unfinished if session else ():
        yield Loose(task.resume_id, str(task.state), shorten(task.request.prompt, _WIDTH) if task.request else "")
