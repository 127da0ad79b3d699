"""One HTTP exchange: a request comes in, scripted faults and the service decide, the reply goes out."""

from __future__ import annotations

import asyncio
import json
from email.utils import formatdate
from typing import TYPE_CHECKING, Final, cast

from aiohttp import web

from .delivery import deliver, drop
from .injection import Drop, Fault, FaultPlan, Reschedule, Respond, Subject, Transform, Wait, When
from .records import RequestLog, RequestRecord
from .replies import Reply, html_reply
from .service import Route, Service, route
from .uploads import LONGEST_BODY, read_form

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from .tasks import Task


_WITH_BODY: Final = frozenset({"submit", "upload"})


class Exchanger:
    """Handles the requests of one simulator. `lock` guards the service and the plan against other threads."""

    def __init__(
        self,
        service: Service,
        plan: FaultPlan,
        log: RequestLog,
        lock: threading.RLock,
        now: Callable[[], float],
    ) -> None:
        self._service = service
        self._plan = plan
        self._log = log
        self._lock = lock
        self._now = now
        self._stopped = asyncio.Event()
        self._date = (-1, "")

    def stop(self) -> None:
        """End all pauses, so that no handler outlives the server."""
        self._stopped.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; this is the handler of the HTTP server."""
        where = route(request.method, request.raw_path)
        record = RequestRecord(
            method=request.method,
            path=request.raw_path,
            kind=where.kind,
            at=self._now(),
            headers=request.headers,
        )
        number = self._log.open(record)
        try:
            decision: Reply | Drop = await self._decide(request, where, number)
        except ConnectionError:
            # The client went away in the middle of its request.
            decision = Drop(reset=False)
        except web.HTTPRequestEntityTooLarge:
            decision = html_reply(413, "413 Request Entity Too Large")
        if isinstance(decision, Drop):
            return drop(request, reset=decision.reset)
        self._log.amend(number, status=decision.status)
        return await deliver(request, decision, self._http_date(), self._pause)

    async def _decide(self, request: web.BaseRequest, where: Route, number: int) -> Reply | Drop:
        unread = where.kind in _WITH_BODY and self._plan.drops_unread(where.kind)
        body = b"" if unread else await self._read(request, where, number)
        subject, faults = self._faults("before", request, where, body)
        if subject is not None and faults:
            self._log.amend(number, faults=faults)
            self._log.count(where.kind)
            decision = await self._act(faults, subject, None)
            if decision is not None:
                return decision
        if unread:
            body = await self._read(request, where, number)
        return await self._process(request, where, number, body, counted=bool(faults))

    async def _process(
        self, request: web.BaseRequest, where: Route, number: int, body: bytes, *, counted: bool
    ) -> Reply | Drop:
        with self._lock:
            answer = self._service.handle(self._now(), request.method, request.raw_path, request.headers, body)
            subject: Subject | None = None
            faults: tuple[Fault, ...] = ()
            if answer.accepted or where.kind != "submit":
                subject, faults = self._faults("after", request, where, body, answer.task)
            if answer.task is not None:
                _reschedule(answer.task, faults)
        if faults:
            self._log.amend(number, faults=faults)
        if not counted:
            self._log.count(where.kind)
        if subject is None or not faults:
            return answer.reply
        return await self._act(faults, subject, answer.reply) or answer.reply

    async def _act(self, faults: tuple[Fault, ...], subject: Subject, reply: Reply | None) -> Reply | Drop | None:
        """Let faults happen; return what goes out instead of the service's own reply, if anything."""
        for fault in faults:
            match fault.action:
                case Drop() as dropped:
                    return dropped
                case Respond(given):
                    return given(subject) if callable(given) else given
                case Wait(seconds):
                    if not await self._pause(seconds):
                        return Drop()
                case Transform(change):
                    assert reply is not None  # the constructor of Fault allows it only after processing
                    reply = change(reply)
                case Reschedule():
                    pass  # has happened at the moment of acceptance
        return reply

    async def _read(self, request: web.BaseRequest, where: Route, number: int) -> bytes:
        if where.kind == "upload":
            return await _read_upload(request)
        if where.kind != "submit":
            return b""
        body = await request.read()
        self._log.amend(number, body=body)
        return body

    async def _pause(self, seconds: float) -> bool:
        """Wait; return `False` as soon as the server stops."""
        try:
            async with asyncio.timeout(seconds if seconds < float("inf") else None):
                await self._stopped.wait()
        except TimeoutError:
            return True
        return False

    def _faults(
        self, when: When, request: web.BaseRequest, where: Route, body: bytes, task: Task | None = None
    ) -> tuple[Subject | None, tuple[Fault, ...]]:
        """Return the faults that hit a request, and the request as they see it."""
        with self._lock:
            if not self._plan:
                return None, ()
            subject = self._subject(request, where, body, task)
            return subject, self._plan.choose(when, subject)

    def _subject(self, request: web.BaseRequest, where: Route, body: bytes, task: Task | None) -> Subject:
        now = self._now()
        if task is None and where.kind == "query":
            task = self._service.find(where.reference)
        elif task is None and where.kind == "file":
            found = self._service.find_file(where.reference or "")
            task = None if found is None else found[0]
        unix_time = self._service.settings.unix_start + now
        if task is None:
            fields = _peek(body) if where.kind == "submit" else {}
            form = read_form(request.headers, body) if where.kind == "upload" else []
            return Subject(
                kind=where.kind,
                method=request.method,
                path=request.raw_path,
                reference=next((part.filename for part in form if part.filename), where.reference),
                client_business_id=_text(fields.get("client_business_id")),
                model=_text(fields.get("model")),
                prompt=_text(fields.get("prompt")),
                unix_time=unix_time,
            )
        return Subject(
            kind=where.kind,
            method=request.method,
            path=request.raw_path,
            reference=where.reference,
            looked_up_by=None
            if where.kind != "query"
            else ("id" if where.reference == task.id else "client_business_id"),
            task_id=task.id,
            client_business_id=task.order.client_business_id,
            model=task.order.model,
            prompt=task.order.prompt,
            age=now - task.accepted,
            finished_for=now - task.ends if now >= task.ends else None,
            unix_time=unix_time,
        )

    def _http_date(self) -> str:
        second = int(self._service.settings.unix_start + self._now())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]


def _reschedule(task: Task, faults: tuple[Fault, ...]) -> None:
    for fault in faults:
        if isinstance(fault.action, Reschedule):
            task.duration = task.duration if fault.action.seconds is None else fault.action.seconds
            task.failure = task.failure if fault.action.failure is None else fault.action.failure


async def _read_upload(request: web.BaseRequest) -> bytes:
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > LONGEST_BODY:
            raise web.HTTPRequestEntityTooLarge(LONGEST_BODY, len(body))
    return bytes(body)


def _peek(body: bytes) -> dict[str, object]:
    """Return the fields of a submit the service has not looked at yet; nothing if it is not a JSON object."""
    try:
        value: object = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
