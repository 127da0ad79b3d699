"""`toapis status`: one question for each id, and the answers as a table, as lines or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import anyio

from toapis_async import (
    AuthenticationError,
    Billing,
    GenerationFailed,
    GenerationTask,
    InsufficientBalanceError,
    NotFoundError,
    PermissionDeniedError,
    ToapisError,
    ToapisSession,
)

from .exits import Exit
from .results import Output, billing_record, error_record
from .service import open_session
from .text import clean, explain, timestamp

_AT_ONCE: Final = 16
_REFUSALS: Final = (AuthenticationError, InsufficientBalanceError, PermissionDeniedError)

Answer = tuple[str, GenerationTask | ToapisError]


async def show_status(ids: Sequence[str], *, base_url: str | None, as_json: bool, output: Output) -> Exit:
    """Ask for every id at once and write the answers in the order of the ids."""
    answers: dict[str, GenerationTask | ToapisError] = dict.fromkeys(ids, ToapisError("not asked"))
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(session: ToapisSession, task_id: str) -> None:
        async with limiter:
            try:
                answers[task_id] = await session.get(task_id)
            except ToapisError as error:
                answers[task_id] = error

    async with open_session(base_url) as session, anyio.create_task_group() as group:
        for task_id in answers:
            group.start_soon(ask, session, task_id)
    _write(list(answers.items()), as_json=as_json, output=output)
    errors = [answer for answer in answers.values() if isinstance(answer, ToapisError)]
    if any(isinstance(error, _REFUSALS) for error in errors):
        return Exit.REFUSED
    return Exit.FAILED if errors else Exit.OK


def _write(answers: list[Answer], *, as_json: bool, output: Output) -> None:
    if as_json:
        for asked, answer in answers:
            output.write_json(_record(asked, answer))
    elif sys.stdout and sys.stdout.isatty():
        _write_table(answers)
    else:
        for asked, answer in answers:
            output.write("\t".join(_cells(asked, answer)))


def _record(asked: str, answer: GenerationTask | ToapisError) -> dict[str, Any]:
    task = answer if isinstance(answer, GenerationTask) else None
    return {
        "asked": asked,
        "id": task.id if task else None,
        "client_business_id": task.client_business_id if task else None,
        "status": str(task.status) if task else None,
        "raw_status": task.raw_status if task else None,
        "progress": task.progress if task else None,
        "created_at": timestamp(task.created_at) if task else None,
        "completed_at": timestamp(task.completed_at) if task else None,
        "expires_at": timestamp(task.expires_at) if task else None,
        "urls": [image.url for image in task.images] if task else [],
        "error": error_record(_error(answer)),
        "billing": billing_record(task.billing if task else None),
    }


def _error(answer: GenerationTask | ToapisError) -> ToapisError | None:
    if isinstance(answer, ToapisError):
        return answer
    return GenerationFailed(answer) if answer.error else None


def _status(answer: GenerationTask | ToapisError) -> str:
    if isinstance(answer, GenerationTask):
        return clean(answer.raw_status) or str(answer.status)
    return "no such task" if isinstance(answer, NotFoundError) else "no answer"


def _cells(asked: str, answer: GenerationTask | ToapisError) -> list[str]:
    """Return id, status, progress, then the URLs or the error."""
    progress = f"{answer.progress}%" if isinstance(answer, GenerationTask) and answer.progress is not None else ""
    error = _error(answer)
    rest = [explain(error)] if error else []
    if isinstance(answer, GenerationTask):
        rest += [clean(image.url) for image in answer.images]
    return [clean(asked), _status(answer), progress, *rest]


def _write_table(answers: list[Answer]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, emoji=False, markup=False)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)  # as narrow as it can be
    table.add_column("id", no_wrap=True, overflow="fold")
    for name in ("status", "created (UTC)", "completed (UTC)", "cost"):
        table.add_column(name, overflow="fold")
    for asked, answer in answers:
        task = answer if isinstance(answer, GenerationTask) else None
        cells = _cells(asked, answer)
        times = [_clock(task.created_at), _clock(task.completed_at)] if task else ["", ""]
        row = [cells[0], " ".join(cells[1:3]).strip(), *times, _cost(task.billing if task else None)]
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    for asked, answer in answers:  # below the table, where a long URL stays in one piece
        for text in _cells(asked, answer)[3:]:
            console.print(Text(f"{clean(asked)}  {text}"), soft_wrap=True)


def _clock(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def _cost(billing: Billing | None) -> str:
    if billing is None:
        return ""
    return clean(billing.status or "") if billing.cost_usd is None else f"${billing.cost_usd:f}"
