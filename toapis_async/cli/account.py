"""The account of a run: how its items ended, which ids are loose, and what the shell is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define, field, frozen

from toapis_async import (
    Batch,
    Completed,
    GenerationTask,
    ImageRequest,
    Job,
    JobState,
    JournalError,
    Outcome,
    ToapisError,
    ToapisSession,
    UnfinishedTask,
)

from .exits import Exit
from .text import clean, explain, shorten

_STATES: Final = {
    JobState.POSTING: "perhaps accepted",
    JobState.SUBMITTED: "running",
    JobState.COMPLETED: "completed, not saved",
    JobState.TIMED_OUT: "timed out",
}
_WIDTH: Final = 24  # of a prompt behind an id


@frozen(kw_only=True)
class Loose:
    """A task that the user should know by its id, because its picture is not here."""

    key: str | None
    request: ImageRequest | None
    task_id: str | None
    client_business_id: str | None
    state: JobState
    task: GenerationTask | None
    """Its last snapshot, if its wait ended."""

    @classmethod
    def of(cls, source: Job | Outcome | UnfinishedTask) -> Loose:
        """Take what there is to know from a job, an outcome or a record of the session."""
        ended = source.outcome if isinstance(source, Job) else source
        return cls(
            key=None if isinstance(source, UnfinishedTask) else source.key,
            request=source.request,
            task_id=source.task_id,
            client_business_id=source.client_business_id,
            state=source.state,
            task=None if ended is None or isinstance(ended, UnfinishedTask) else ended.task,
        )

    @property
    def line(self) -> str:
        """Its id, its state and the beginning of its prompt."""
        prompt = shorten(self.request.prompt, _WIDTH) if self.request else ""
        id_ = clean(self.task_id or self.client_business_id or "")
        return f"{id_}  # {_STATES.get(self.state, str(self.state))}: {prompt}"


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
    replayed: int = 0
    """Of those that were told about: ended by an earlier run."""
    unseen: int = 0
    """Left as they are in the journal, by a run that ended before it came to them."""
    loose: list[Loose] = field(factory=list[Loose])
    closed_by: ToapisError | None = None
    """Why nothing more was sent: the service takes no more requests, or the journal cannot be written."""
    signal: int = 0
    """What interrupted the run."""

    @property
    def ended(self) -> int:
        """Items that were told about."""
        return self.saved + self.unsaved + self.failed + self.open

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to go on with."""
        return self.saved + self.failed == self.total

    def leave(self, loose: Loose) -> None:
        """Note an item that the run did not see the end of."""
        self.unfinished += 1
        self.loose.append(loose)

    def exit_code(self, output_error: OSError | None) -> int:
        """Return the first code that applies."""
        if self.signal:
            return 128 + self.signal
        if self.closed_by is not None and not isinstance(self.closed_by, JournalError):
            return Exit.REFUSED
        # A reader that goes away has seen enough; a full disk has lost something.
        output_failed = output_error is not None and not isinstance(output_error, BrokenPipeError)
        if self.failed or self.unsaved or output_failed or self.closed_by is not None:
            return Exit.FAILED
        return Exit.OPEN if self.open else Exit.OK

    def lines(self, *, command: str | None) -> Iterator[str]:
        """Return what the user must know of single tasks; `command` asks for the state of an id."""
        if self.loose:
            count = len(self.loose)
            tasks, their = (f"{count} task", "its") if count == 1 else (f"{count} tasks", "their")
            if command:
                yield f"{tasks} may be paid for, but {their} pictures are not here."
                yield "What still runs goes on at the service; look with:"
            else:
                yield f"The simulator ended with {tasks} unfinished:"
            prefix = f"{command} " if command else ""
            for loose in self.loose:
                yield f"  {prefix}{loose.line}"
        if isinstance(self.closed_by, JournalError):
            yield f"Nothing more was sent: {explain(self.closed_by)}"
        elif self.closed_by is not None:
            yield f"The service takes no more requests: {explain(self.closed_by)}"

    def summary(self, *, out: str, time: str) -> str:
        """Return the counts, as a line."""
        refused = self.closed_by is not None and not isinstance(self.closed_by, JournalError)
        counts = {
            "failed": self.failed,
            "not saved": self.unsaved,
            "unfinished": self.open + self.unfinished,
            # What closed the run was an answer to one of them at least.
            "refused or not sent" if refused else "not sent": self.total - self.ended - self.unfinished - self.unseen,
            "left for the next run": self.unseen,
        }
        others = "".join(f", {count} {name}" for name, count in counts.items() if count)
        earlier = f" ({self.replayed} from an earlier run)" if self.replayed else ""
        return f"{self.saved} of {self.total} saved in {clean(out)}{others}{earlier}; {time}"


def loose_ends(batch: Batch | None, session: ToapisSession | None) -> Iterator[Loose | Outcome]:
    """Return every id that may be paid for and whose end was not told, and ends that nobody took.

    What an earlier run ended is left out: it stays in the journal, and its picture may well be here.
    """
    for job in batch.unfinished if batch else ():
        outcome = job.outcome
        if outcome is not None and outcome.replayed:
            continue
        if outcome is not None and not (isinstance(outcome, Completed) and outcome.download_error):
            yield outcome
        elif job.state is not JobState.QUEUED:
            yield Loose.of(job)
    yield from map(Loose.of, session.unfinished if session else ())
