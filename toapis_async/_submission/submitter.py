"""The one POST under a shield, and what its answer meant for the record."""

from __future__ import annotations

import logging
from typing import Final

import anyio
from anyio import get_cancelled_exc_class
from anyio.lowlevel import checkpoint_if_cancelled

from .._files.names import short_digest
from .._files.references import Checked
from .._http.dispatch import Dispatcher
from .._journal import Entry
from .._protocol.endpoints import Accepted, Ambiguous, Refused, Rejected, Reply, interpret_submit
from .._protocol.messages import HttpRequest
from ..errors import DecodeError, JournalError, RequestValidationError, SubmissionUnknown, ToapisError, TransportError
from ..instrumentation import SubmissionAmbiguous, TaskAccepted
from ..models import GenerationTask, JobState
from .record import Submission, new_client_business_id, without_references

_logger = logging.getLogger("toapis_async")

POST_SECONDS: Final = 60.0  # the longest one paid attempt may take
SHIELD_SECONDS: Final = POST_SECONDS + 15.0
_LATE_SECONDS: Final = 0.5  # by which a row on its way to the disk may put off a request after its turn
_SAFE_ID_LENGTH: Final = 96


async def note_accepted(entry: Entry, task: GenerationTask) -> None:
    """Write a task id into the journal; one that cannot be written in time is at least logged."""
    try:
        await entry.accepted(task)
    except Exception as error:  # noqa: BLE001 - whatever it is, the task is accepted and must be gone on with
        _logger.error(  # noqa: TRY400 - no fault of ours: what is said of it is enough
            "Task %s (client_business_id %s) was accepted, but: %s", task.id, entry.client_business_id, error
        )


class Submitter:
    """Performs the paid step for a session and its batches."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._posting = 0
        self._idle = anyio.Event()
        self._claimed: set[bytes] = set()

    def intend(self, checked: Checked) -> Submission:
        """Make the record of paying for a request; nothing is sent.

        Raises:
            RequestValidationError: its client_business_id was used before in this session: a look-up could not
                tell the two tasks apart.

        """
        own_id = checked.request.client_business_id
        if own_id is not None and short_digest(own_id) in self._claimed:
            raise RequestValidationError([
                f"client_business_id: {own_id!r} was used before, each attempt needs its own"
            ])
        if own_id is not None and len(own_id) > _SAFE_ID_LENGTH:
            _logger.warning(
                "client_business_id: %r is longer than %d characters, beyond which no client is known to have"
                " looked a task up",
                own_id,
                _SAFE_ID_LENGTH,
            )
        return self.restore(checked, own_id or new_client_business_id())

    def restore(self, checked: Checked, client_business_id: str) -> Submission:
        """Make the record of a request whose id was chosen before, in an earlier run for instance."""
        submission = Submission(checked, client_business_id)
        if submission.claims_id:
            self._claimed.add(short_digest(client_business_id))
        return submission

    def release(self, submission: Submission) -> None:
        """Let the id of a submission that was certainly not accepted be used again."""
        if submission.claims_id and not submission.may_be_paid:
            submission.claims_id = False
            self._claimed.discard(short_digest(submission.client_business_id))

    def may_pay_again(self, submission: Submission, error: ToapisError) -> bool:
        """Whether the user's policy says to send a lost request once more; it is then doubtful."""
        policy = self._dispatcher.retry
        if not policy.resubmit_unknown or not isinstance(error, SubmissionUnknown) or not error.not_found:
            return False
        submission.resubmissions += 1
        if submission.resubmissions >= policy.attempts:
            return False
        submission.reply = None
        submission.doubtful = True
        return True

    async def pay(self, submission: Submission, *, give_way: bool = False) -> None:
        """Send the request until `submission.reply` says what became of it.

        With `give_way` it returns after a refusal for load too, with the submission `QUEUED`, so that others
        get their turn. Cancelling this by a scope before the request is on its way leaves the submission `QUEUED`;
        during the request it takes effect when the answer is recorded, after at most `SHIELD_SECONDS`. It is for
        tasks of our own: a native cancellation would leave the answer unread.
        """
        wire = submission.wire
        assert wire is not None
        assert not submission.pictures

        async def attempt() -> Reply | TransportError:
            return await self._post(submission, wire)

        submission.reply = None
        submission.reply = await self._dispatcher.submit(attempt, submission.attempts, give_way=give_way)

    async def pay_aside(self, submission: Submission) -> None:
        """Do as `pay` does, for a caller whom anybody may cancel, natively too.

        A shield in the caller's own task would not stop a native cancellation; one in a child does, because the
        group waits for the child before it lets the cancellation go on.
        """
        submission.reply = None
        while submission.reply is None:  # once, unless somebody cancels the child alone
            async with anyio.create_task_group() as group:
                group.start_soon(self.pay, submission)
            if submission.reply is None and submission.state is JobState.POSTING:
                error = TransportError("The request was cancelled on its way", sent=True)
                submission.reply = Ambiguous(error=error)

    async def wait_idle(self) -> None:
        """Wait, at most `SHIELD_SECONDS`, until no paid request is on its way; a cancellation waits likewise."""
        if self._posting:
            async with anyio.create_task_group() as group:
                group.start_soon(self._until_idle)

    async def _until_idle(self) -> None:
        with anyio.move_on_after(SHIELD_SECONDS, shield=True):
            while self._posting:
                await self._idle.wait()

    async def _post(self, submission: Submission, request: HttpRequest) -> Reply | TransportError:
        await checkpoint_if_cancelled()  # the caller may be gone before anything is paid
        answers: list[Reply | TransportError] = []
        self._posting += 1
        try:
            with anyio.move_on_after(SHIELD_SECONDS, shield=True):
                await self._pay_once(submission, request, answers)
            if not answers:
                answers.append(Ambiguous(error=TransportError(f"Not done within {SHIELD_SECONDS:g} s", sent=True)))
        except get_cancelled_exc_class():
            if not answers:
                _logger.warning(
                    "A paid request was cut off on its way, as at the end of the event loop: it may have been accepted"
                    " under client_business_id %s",
                    submission.client_business_id,
                )
            raise
        finally:
            if answers:
                self._record(submission, answers[0])
            self._posting -= 1
            if not self._posting:
                self._idle.set()
                self._idle = anyio.Event()
        return answers[0]

    async def _pay_once(
        self, submission: Submission, request: HttpRequest, answers: list[Reply | TransportError]
    ) -> None:
        entry = submission.entry
        submission.move(JobState.POSTING)
        if entry:
            turn = self._dispatcher.clock()
            try:
                await entry.posting()
            except JournalError as error:
                answers.append(Rejected(error=error))
                return
            if self._dispatcher.clock() - turn > _LATE_SECONDS:  # the disk hung, and others come out of it with us
                self._dispatcher.submits.count_again()
        answer = await self._exchange(submission, request)
        answers.append(answer)
        if entry and isinstance(answer, Accepted):
            await note_accepted(entry, answer.task)

    async def _exchange(self, submission: Submission, request: HttpRequest) -> Reply | TransportError:
        try:
            response = await self._dispatcher.exchange(request, timeout=POST_SECONDS)
        except TransportError as error:
            error.with_traceback(None)  # it is kept for as long as the look-up takes
            return Ambiguous(error=error) if error.sent else error
        try:
            reply = interpret_submit(response, client_business_id=submission.client_business_id)
        except Exception as error:  # a fault of ours in reading must not lose what may be paid for
            _logger.exception("Could not read the answer to client_business_id %s", submission.client_business_id)
            return Ambiguous(error=DecodeError([repr(error)], http_status=response.status))
        if isinstance(reply, Accepted):
            task = without_references(reply.task, submission.references)
            return reply if task is reply.task else Accepted(task=task)
        self._dispatcher.redact(reply.error)
        return reply

    def _record(self, submission: Submission, answer: Reply | TransportError) -> None:
        if isinstance(answer, Accepted):
            submission.accept(answer.task, self._dispatcher.clock())
            submission.reply = answer
        elif isinstance(answer, Ambiguous):
            submission.reply = answer
        elif isinstance(answer, Rejected):
            submission.reply = answer
            submission.turn_back()
        else:  # refused for load, or never sent: certainly not accepted
            assert isinstance(answer, Refused | TransportError)
            submission.turn_back()
        if self._dispatcher.announce:
            self._tell(submission, answer)

    def _tell(self, submission: Submission, answer: Reply | TransportError) -> None:
        business_id, model = submission.client_business_id, submission.request.model
        if isinstance(answer, Accepted):
            task = answer.task
            event = TaskAccepted(kind=task.kind, task_id=task.id, client_business_id=business_id, model=model)
            self._dispatcher.announce(event)
        elif isinstance(answer, Ambiguous):
            reason = answer.error.message
            self._dispatcher.announce(SubmissionAmbiguous(client_business_id=business_id, model=model, reason=reason))
