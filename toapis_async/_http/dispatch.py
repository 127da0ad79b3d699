"""From a request value to an answer value: the pacer's gate, one attempt, interpretation.

The only layer that sends a paid request again, and it does so only after a certain refusal or a request
that never left this machine. A question is asked once: when to ask again is the waiting side's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import anyio
from attrs import define

from .._protocol.endpoints import Accepted, Ambiguous, Refused, Rejected, Reply, Seen, interpret_query
from .._protocol.failures import spent_budget
from .._protocol.messages import HttpRequest, HttpResponse
from .._protocol.uploads import Uploaded, UploadReply
from .._schedule.adaptive import LifeTables
from .._schedule.backoff import RetryPolicy
from .._schedule.pacer import Pacer, RateLimits
from ..errors import DecodeError, RateLimitedError, ToapisError, TransportError
from ..instrumentation import Announcer, RequestFinished, Throttled
from .transport import Transport

_logger = logging.getLogger("toapis_async")

QUERY_SECONDS: Final = 15.0  # the longest one status query may take


class Gate:
    """Lets requests through one by one, as good as first come first served, as fast as the pacer allows.

    A cancelled waiter leaves the queue without having used a slot.
    """

    def __init__(self, kind: Literal["submit", "query", "upload"], pacer: Pacer, clock: Callable[[], float]) -> None:
        self.kind: Final = kind
        self.pacer = pacer
        self.accepted_at = float("-inf")
        """When the service last took a request; for paid requests only."""
        self._clock = clock
        self._turn = asyncio.Lock()  # for those who cannot enter at once; a quarter of the cost of anyio's

    async def enter(self) -> float:
        """Wait for a slot, through a pause too, and take it; returns the time of entry.

        Whoever waits through a pause keeps its place, and those behind it wait too.
        """
        if (entered := self._enter_at_once()) is not None:
            return entered
        async with self._turn:
            while (delay := self.pacer.delay(now := self._clock())) > 0:  # noqa: ASYNC110 - a 429 may move the end
                await anyio.sleep(delay)
            self.pacer.take(now)
            return now

    async def enter_unless_paused(self) -> float | None:
        """Wait for a slot and take it; None at once while there is a pause, or as soon as one begins."""
        if (entered := self._enter_at_once()) is not None:
            return entered
        async with self._turn:
            while (delay := self.pacer.delay(now := self._clock())) > 0:
                if self.pacer.paused_until > now:
                    return None
                await anyio.sleep(delay)
            self.pacer.take(now)
            return now

    def count_again(self) -> None:
        """Count a request that goes out long after its turn again, as one of now: those behind it are to keep off."""
        self.pacer.take(self._clock())

    def _enter_at_once(self) -> float | None:
        # Taking turns costs more than all else here, and mostly nobody waits. Who comes in the very step in which a
        # turn is handed on may pass the next one, once.
        if self._turn.locked() or self.pacer.delay(now := self._clock()) > 0:
            return None
        self.pacer.take(now)
        return now


@define
class Attempts:
    """What became of the attempts at one paid request so far."""

    failures: int = 0
    """Attempts that never left this machine."""
    refused_since: float | None = None


class Dispatcher:
    """Sends a session's requests."""

    def __init__(
        self,
        transport: Transport,
        *,
        limits: RateLimits,
        retry: RetryPolicy,
        clock: Callable[[], float],
        random: Callable[[], float],
        announce: Announcer,
    ) -> None:
        self.clock = clock
        self.random = random
        self.retry = retry
        self.announce = announce
        self.submits = Gate("submit", Pacer(limits.submit_per_second, limits.submit_burst), clock)
        self.queries = Gate("query", Pacer(limits.query_per_second, limits.query_burst), clock)
        # No limit on uploads is documented: this one only slows them down when the service asks for it.
        self.uploads = Gate("upload", Pacer(limits.query_per_second, limits.query_burst), clock)
        self.tables = LifeTables()
        """How long tasks take, learned by all waits of the session."""
        self._transport = transport

    async def query(
        self,
        request: HttpRequest,
        *,
        asked_id: str,
        sent_at: float,
        timeout: float = QUERY_SECONDS,
        known: bytes | None = None,
    ) -> Seen | None:
        """Ask once for a task's state, with the slot of the queries' gate that was taken at `sent_at`.

        None if the answer is the `known` one once more, as nearly all are while a task runs: it is not read again.

        Raises:
            ToapisError: there is no answer, or none that shows a task.

        """
        response = await self.exchange(request, timeout=timeout)
        if response.status == 200 and response.body == known and "Retry-After" not in response.headers:
            self.queries.pacer.answered()
            return None
        try:
            seen = interpret_query(response, asked_id=asked_id)
        except RateLimitedError as error:
            self._throttled(self.queries, sent_at, error)
            self.redact(error)
            raise
        except ToapisError as error:
            self.queries.pacer.answered()
            self.redact(error)
            raise
        except Exception as error:  # a fault of ours in reading must not end a wait
            _logger.exception("Could not read the answer about %s", asked_id)
            raise DecodeError([repr(error)], http_status=response.status) from None
        self.queries.pacer.answered()
        return seen

    async def submit(
        self, attempt: Callable[[], Awaitable[Reply | TransportError]], attempts: Attempts, *, give_way: bool
    ) -> Reply:
        """Make paid attempts until one is answered by more than a refusal for load.

        `attempt` sends the request once; it returns a `TransportError` for a request that never left. With
        `give_way` a refusal is returned too, so that other requests get their turn before the next attempt.
        Cancelling this between attempts leaves nothing at the service.
        """
        while True:
            sent_at = await self.submits.enter()
            reply = await attempt()
            if isinstance(reply, TransportError):
                attempts.failures += 1
                if attempts.failures >= self.retry.attempts or reply.closed:
                    return Rejected(error=reply)
                await anyio.sleep(self.retry.backoff.wait(attempts.failures - 1, self.random))
            elif isinstance(reply, Refused):
                self._throttled(self.submits, sent_at, reply.error)
                if self._refused_too_long(attempts, sent_at, give_way=give_way):
                    return Rejected(error=reply.error)
                if give_way:
                    return reply
            else:
                if isinstance(reply, Accepted):
                    self.submits.accepted_at = self.clock()
                if not isinstance(reply, Ambiguous):
                    self.submits.pacer.answered()
                return reply

    async def upload(self, attempt: Callable[[], Awaitable[UploadReply]]) -> str:
        """Upload a file, as often as it takes, and return its URL.

        Raises:
            ToapisError: it was refused, or the attempts are used up.

        """
        attempts = Attempts()
        while True:
            sent_at = await self.uploads.enter()
            reply = await attempt()
            if isinstance(reply, Refused):
                self._throttled(self.uploads, sent_at, reply.error)
                if self._refused_too_long(attempts, sent_at, give_way=False):
                    raise reply.error
                continue
            self.uploads.pacer.answered()
            if isinstance(reply, Uploaded):
                return reply.url
            attempts.failures += 1
            is_closed = isinstance(reply.error, TransportError) and reply.error.closed
            if isinstance(reply, Rejected) or is_closed or attempts.failures >= self.retry.attempts:
                raise reply.error
            await anyio.sleep(self.retry.backoff.wait(attempts.failures - 1, self.random))

    async def exchange(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        """Send one request without pacing, tell the observers, and heed what the answer says of the user's budget.

        Raises:
            TransportError: no whole answer came.

        """
        send = self._send_announced if self.announce else self._transport.send
        response = await send(request, timeout=timeout)
        spent = spent_budget(response.headers)
        if spent and response.status != 429:
            gate = self.submits if spent == "submit" else self.queries
            gate.pacer.ease(self.clock())
        return response

    async def _send_announced(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        started = self.clock()
        status: int | None = None
        problem: str | None = None
        try:
            response = await self._transport.send(request, timeout=timeout)
            status = response.status
        except TransportError as error:
            problem = error.message
            raise
        finally:
            seconds = self.clock() - started
            self.announce(
                RequestFinished(method=request.method, path=request.path, status=status, error=problem, seconds=seconds)
            )
        return response

    def redact(self, error: ToapisError) -> None:
        """Cut the key out of what an error quotes of an answer."""
        redact = self._transport.redact
        error.args = tuple(redact(part) if isinstance(part, str) else part for part in error.args)
        for name, value in vars(error).items():
            if isinstance(value, str):
                setattr(error, name, redact(value))
        if isinstance(error, DecodeError):
            error.problems = tuple(map(redact, error.problems))

    def _refused_too_long(self, attempts: Attempts, sent_at: float, *, give_way: bool) -> bool:
        if attempts.refused_since is None:
            attempts.refused_since = sent_at
        since = attempts.refused_since
        if give_way:  # a request that waits behind others is not refused as long as others are taken
            since = max(since, self.submits.accepted_at)
        return self.clock() - since >= self.retry.max_throttle

    def _throttled(self, gate: Gate, sent_at: float, error: RateLimitedError) -> None:
        now = self.clock()
        until = gate.pacer.throttled(now, sent_at=sent_at, retry_after=error.retry_after, jitter=self.random())
        if self.announce:
            pause = max(0.0, until - now)
            self.announce(Throttled(requests=gate.kind, pause=pause))
