"""`toapis fetch`: the pictures of tasks that exist already, by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
from attrs import frozen

from toapis_async import (
    AuthenticationError,
    GenerationFailed,
    GenerationTask,
    InsufficientBalanceError,
    PermissionDeniedError,
    PollDeadlineExceeded,
    ResultMissingError,
    TaskStatus,
    ToapisError,
    ToapisSession,
)

from .display import Screen
from .exits import Exit
from .folders import make_folder
from .results import Output, billing_record, error_record
from .service import open_session
from .text import clean, explain

_AT_ONCE: Final = 8
_REFUSALS: Final = (AuthenticationError, InsufficientBalanceError, PermissionDeniedError)


@frozen(kw_only=True)
class Wish:
    """What is to be fetched, and how."""

    ids: Sequence[str]
    out: Path
    wait: bool = False
    overwrite: bool = False
    base_url: str | None = None
    as_json: bool = False


@frozen(kw_only=True)
class _Fetched:
    """What became of one id."""

    asked: str
    task: GenerationTask | None
    files: tuple[Path, ...] = ()
    error: ToapisError | None = None

    @property
    def code(self) -> Exit:
        if isinstance(self.error, _REFUSALS):
            return Exit.REFUSED
        if isinstance(self.error, PollDeadlineExceeded) or (self.error is None and not self.files):
            return Exit.OPEN
        return Exit.FAILED if self.error else Exit.OK


async def fetch_all(wish: Wish, screen: Screen, output: Output) -> Exit:
    """Save the pictures of every id, and tell each as soon as it is there.

    Raises:
        UsageError: there is no key, or a URL or a folder that cannot be used.

    """
    opening = open_session(wish.base_url)
    await anyio.to_thread.run_sync(make_folder, wish.out)
    limiter = anyio.CapacityLimiter(_AT_ONCE)
    codes: set[Exit] = set()

    async def fetch(session: ToapisSession, asked: str) -> None:
        async with limiter:
            fetched = await _fetch(session, asked, wish)
        codes.add(fetched.code)
        _tell(fetched, wish, screen, output)

    async with opening as session, anyio.create_task_group() as group:
        for asked in dict.fromkeys(wish.ids):
            group.start_soon(fetch, session, asked)
    return next((code for code in (Exit.REFUSED, Exit.FAILED, Exit.OPEN) if code in codes), Exit.OK)


async def _fetch(session: ToapisSession, asked: str, wish: Wish) -> _Fetched:
    task: GenerationTask | None = None
    try:
        task = await (session.wait(asked) if wish.wait else session.get(asked))
        if task.status is TaskStatus.FAILED:
            return _Fetched(asked=asked, task=task, error=GenerationFailed(task))
        if task.status is not TaskStatus.COMPLETED:
            return _Fetched(asked=asked, task=task)
        if not task.images:
            return _Fetched(asked=asked, task=task, error=ResultMissingError(task))
        files = await session.download(task, wish.out, overwrite=wish.overwrite)
    except ToapisError as error:
        return _Fetched(asked=asked, task=task or error.task, files=getattr(error, "files", ()), error=error)
    return _Fetched(asked=asked, task=task, files=files)


def _tell(fetched: _Fetched, wish: Wish, screen: Screen, output: Output) -> None:
    asked, task, error = clean(fetched.asked), fetched.task, fetched.error
    if error is not None:
        screen.report(f"{asked}  {explain(error)}", mark="failed", style="red")
    elif not fetched.files:
        state = clean(task.raw_status or task.status) if task else ""
        screen.report(
            f"{asked}  there is no picture yet ({state}); --wait waits for it", mark="running", style="yellow"
        )
    if wish.as_json:
        output.write_json(_record(fetched))
    else:
        for file in fetched.files:
            output.write(str(file))


def _record(fetched: _Fetched) -> dict[str, Any]:
    task = fetched.task
    return {
        "asked": fetched.asked,
        "id": task.id if task else None,
        "client_business_id": task.client_business_id if task else None,
        "status": str(task.status) if task else None,
        "files": [str(file) for file in fetched.files],
        "urls": [image.url for image in task.images] if task else [],
        "error": error_record(fetched.error),
        "billing": billing_record(task.billing if task else None),
    }
