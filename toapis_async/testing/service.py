"""The image service as a pure state machine: request and time in, reply out. No socket, no clock."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import unquote

from attrs import define, field, frozen

from .catalogue import MODELS, DurationSource
from .limits import Category, GroupLimits, RateLimiter
from .pictures import draw
from .replies import Reply, error_reply, html_reply, json_reply
from .submissions import FAIL_MARKER, RefusedError, Submission, check_references, read_submission
from .tasks import RESULT_LIFETIME, Charge, Task
from .uploads import Upload, read_form, take

if TYPE_CHECKING:
    from .catalogue import Model

Kind = Literal["submit", "query", "file", "upload", "other"]
"""What a request is: the paid POST, a status query, the download of a result, the upload of a reference picture,
or a path the service does not have."""

Durations = float | DurationSource | Mapping[str, float | DurationSource]
"""Task durations in seconds: fixed, drawn from a distribution, or one of both per model id."""

FAILURE_MESSAGE = "call upstream API failed: upstream returned status 422"
"""The message of a failed task in the documentation of ToAPIs: moderation at the upstream."""

_SUBMIT_PATH = "/v1/images/generations"
_UPLOAD_PATH = "/v1/uploads/images"
_FILES_PATH = "/files/generated/"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
ID_PREFIX = "tsk_img_01K"
_ID_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Route(NamedTuple):
    """Where a request goes."""

    kind: Kind
    reference: str | None
    """The id in the path of a query, or the file name of a download, percent-decoded."""


def route(method: str, raw_path: str) -> Route:
    """Return where a request goes; `raw_path` is the path as sent, percent-encoded."""
    path = raw_path.partition("?")[0]
    if path == _SUBMIT_PATH and method == "POST":
        return Route("submit", None)
    if path == _UPLOAD_PATH and method == "POST":
        return Route("upload", None)
    if method == "GET" and (reference := _last_part(path, _SUBMIT_PATH + "/")):
        return Route("query", reference)
    if method == "GET" and (reference := _last_part(path, _FILES_PATH)):
        return Route("file", reference)
    return Route("other", None)


def _last_part(path: str, prefix: str) -> str | None:
    if not path.startswith(prefix) or "/" in path[len(prefix) :]:
        return None
    return unquote(path[len(prefix) :])


class Answer(NamedTuple):
    """What the service says to a request, and the task it is about."""

    reply: Reply
    task: Task | None
    accepted: bool = False
    """Whether this request was a POST that was accepted and charged."""


@frozen(kw_only=True)
class Settings:
    """How the service behaves; the arguments are explained at `Simulator`."""

    time_factor: float = 1.0
    limits: GroupLimits | None = None
    seed: int = 0
    api_keys: frozenset[str] = frozenset({"sk-simulated"})
    durations: Durations | None = None
    credits: Decimal | None = None
    id_prefix: str = ID_PREFIX
    unix_start: float = 0.0
    """Unix time at second 0 of the service."""

    def __attrs_post_init__(self) -> None:
        given = self.durations
        if given is None or isinstance(given, int | float) or callable(given):
            return
        unknown = [name for name in given if name not in MODELS]
        if unknown:
            raise ValueError(f"durations of unknown models: {', '.join(unknown)}")


@define(kw_only=True, eq=False)
class Service:
    """The state of the service. Times are seconds since it started."""

    settings: Settings
    origin: str = ""
    """Scheme, host and port of the result URLs."""
    charges: list[Charge] = field(init=False, factory=list[Charge])
    uploads: list[Upload] = field(init=False, factory=list[Upload])
    _tasks: dict[str, Task] = field(init=False, factory=dict[str, Task])
    _by_client_id: dict[str, Task] = field(init=False, factory=dict[str, Task])
    _dice: random.Random = field(init=False)
    _limiter: RateLimiter = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._dice = random.Random(self.settings.seed)
        self._limiter = RateLimiter(self.settings.limits, self.settings.time_factor)

    def handle(self, now: float, method: str, raw_path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request. `headers` should find its names in any case, or be in the usual spelling."""
        kind, reference = route(method, raw_path)
        if kind == "file":
            return self._file(now, reference or "", raw_path, headers)
        if kind == "other":
            return Answer(_console_page(raw_path), None)
        scheme, _, key = headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or key.strip() not in self.settings.api_keys:
            message = "无效的令牌 (invalid API key)"
            return Answer(error_reply(401, "", message, type_="authentication_error", shape="integer"), None)
        if kind == "upload":
            return self._upload(now, headers, body)
        category: Category = "async_submit" if kind == "submit" else "async_query"
        verdict = self._limiter.admit(category, now, self.settings.unix_start + now)
        if verdict.wait:
            retry = {"Retry-After": str(math.ceil(verdict.wait))}
            text = "rate limit exceeded, please slow down"
            refusal = error_reply(
                429, "rate_limit_exceeded", text, shape="untyped", headers={**verdict.headers, **retry}
            )
            return Answer(refusal, None)
        return (
            self._submit(now, body, verdict.headers)
            if kind == "submit"
            else self._query(now, reference, verdict.headers)
        )

    def find(self, reference: str | None) -> Task | None:
        """Return the task with this id or client_business_id; of several with the same, the first."""
        return None if reference is None else self._tasks.get(reference) or self._by_client_id.get(reference)

    def find_file(self, name: str) -> tuple[Task, int] | None:
        """Return the task and the index of an image file."""
        task_id, _, number = name.removesuffix(".png").rpartition("-")
        task = self._tasks.get(task_id)
        if task is None or not name.endswith(".png") or not number.isdecimal() or int(number) >= task.order.n:
            return None
        return task, int(number)

    def running(self, now: float) -> tuple[str, ...]:
        """Return the ids of the tasks that have not finished."""
        return tuple(task.id for task in self._tasks.values() if now < task.ends)

    def balance(self, now: float) -> Decimal | None:
        """Return the credits left; `None`: unlimited."""
        if self.settings.credits is None:
            return None
        spent = sum((task.credits for task in self._tasks.values() if not task.refunded(now)), Decimal(0))
        return self.settings.credits - spent

    def _submit(self, now: float, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            order, model = read_submission(body)
            check_references(order.references, self.origin, self.uploads)
        except RefusedError as refused:
            reply = refused.reply
            return Answer(Reply(status=reply.status, body=reply.body, headers={**reply.headers, **headers}), None)
        price = model.price * order.n
        balance = self.balance(now)
        if balance is not None and price > balance:
            text = "insufficient account quota"
            return Answer(error_reply(402, "insufficient_quota", text, headers=headers), None)
        task = self._accept(now, order, model, price)
        return Answer(json_reply(200, task.created_body(self.settings.unix_start), headers), task, accepted=True)

    def _upload(self, now: float, headers: Mapping[str, str], body: bytes) -> Answer:
        upload, reply = take(read_form(headers, body), len(self.uploads), self.origin, now)
        if upload is not None:
            self.uploads.append(upload)
        return Answer(reply, None)

    def _accept(self, now: float, order: Submission, model: Model, price: Decimal) -> Task:
        # ULID-like, as the real ids are since 2026, but from the seed alone so that runs can be compared.
        suffix = "".join(self._dice.choices(_ID_ALPHABET, k=23))
        task = Task(
            id=self.settings.id_prefix + suffix,
            order=order,
            model=model,
            credits=price,
            accepted=now,
            duration=self._duration(order.model, model) / self.settings.time_factor,
            time_factor=self.settings.time_factor,
            lifetime=RESULT_LIFETIME / self.settings.time_factor,
            failure=FAILURE_MESSAGE if FAIL_MARKER in order.prompt else None,
        )
        self._tasks[task.id] = task
        if order.client_business_id is not None:
            self._by_client_id.setdefault(order.client_business_id, task)
        charge = Charge(
            task_id=task.id,
            client_business_id=order.client_business_id,
            model=order.model,
            n=order.n,
            prompt=order.prompt,
            at=now,
            credits=price,
        )
        self.charges.append(charge)
        return task

    def _duration(self, name: str, model: Model) -> float:
        given = self.settings.durations
        source: float | DurationSource = model.duration
        if isinstance(given, int | float) or callable(given):
            source = given
        elif given is not None:
            source = given.get(name, source)
        seconds = source(self._dice) if callable(source) else source
        if not seconds >= 0:
            raise ValueError(f"a task cannot last {seconds} seconds")
        return seconds

    def _query(self, now: float, reference: str | None, headers: Mapping[str, str]) -> Answer:
        task = self.find(reference)
        if task is None:
            text = "任务不存在 (task not found)"
            return Answer(error_reply(404, "task_not_found", text, type_="not_found_error", headers=headers), None)
        body = task.status_body(now, self.settings.unix_start, self.origin)
        return Answer(json_reply(200, body, headers), task)

    def _file(self, now: float, name: str, raw_path: str, headers: Mapping[str, str]) -> Answer:
        found = self.find_file(name)
        if found is None:
            return Answer(html_reply(404, "404 Not Found"), None)
        task, index = found
        if not task.ends <= now < task.expires or task.failure is not None:
            return Answer(html_reply(404, "404 Not Found"), task)
        if task.renewals and not raw_path.endswith(task.file_query()):
            return Answer(html_reply(403, "403 Forbidden"), task)
        picture = draw(task.order.prompt, index, task.order.size)
        return Answer(_picture_reply(picture, headers), task)


def _picture_reply(picture: bytes, headers: Mapping[str, str]) -> Reply:
    """Return a file, or the part that `Range: bytes=from-to` asks for, as result hosts serve it."""
    etag = f'"{hashlib.blake2b(picture, digest_size=8).hexdigest()}"'
    common = {"Content-Type": "image/png", "ETag": etag, "Accept-Ranges": "bytes"}
    asked = _RANGE.fullmatch(headers.get("Range", ""))
    if asked is None or headers.get("If-Range", etag) != etag:
        return Reply(body=picture, headers=common)
    first, last = int(asked[1]), min(int(asked[2] or len(picture)), len(picture) - 1)
    if first > last:
        return Reply(status=416, headers={**common, "Content-Range": f"bytes */{len(picture)}"})
    span = {"Content-Range": f"bytes {first}-{last}/{len(picture)}"}
    return Reply(status=206, body=picture[first : last + 1], headers={**common, **span})


def _console_page(raw_path: str) -> Reply:
    """Return the page of the web console, which answers every path the API does not have."""
    path = raw_path.partition("?")[0]
    known = (
        path in {_SUBMIT_PATH, _UPLOAD_PATH} or _last_part(path, _SUBMIT_PATH + "/") or _last_part(path, _FILES_PATH)
    )
    return html_reply(405, "405 Method Not Allowed") if known else html_reply(404, "404 ToAPIs Console")
