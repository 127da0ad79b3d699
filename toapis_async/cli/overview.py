"""`toapis status --journal`: what a journal holds, while a run writes it or afterwards; nobody is asked."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from .._journal import Row, read_rows, read_summary
from .exits import Exit
from .journal import resume_command, usable_journal
from .options import Options
from .results import Output
from .text import clean, duration, shorten, timestamp

_STATES: Final = ("queued", "posting", "submitted", "unresolved", "completed", "failed")
_DONE: Final = ("completed", "failed")
_COLUMNS: Final = ("key", "state", "id", "for", "prompt")
_NARROWEST: Final = 12  # of a prompt
_SHOWN: Final = 100  # rows of a table: more is for programs


@frozen(kw_only=True)
class _Overview:
    path: Path
    base_url: str
    counts: Counter[str]
    unfinished: list[Row]
    """What may be paid for comes first."""


def show_journal(path: Path, *, as_json: bool, output: Output) -> Exit:
    """Write the counts and the unfinished rows: as tables on a terminal, else as one JSON object.

    Raises:
        UsageError: there is no journal, or it cannot be read.

    """
    with usable_journal():
        seen = _read(path)
    if not as_json and sys.stdout and sys.stdout.isatty():
        _write_tables(seen)
    else:
        output.write_json(_record(seen))
    return Exit.OK


def _read(path: Path) -> _Overview:
    base_url = read_summary(path).base_url
    counts: Counter[str] = Counter()
    unfinished: list[Row] = []
    for row in read_rows(path):  # one pass, so that counts and rows agree while a run goes on
        counts[row.state] += 1
        if row.state not in _DONE:
            unfinished.append(row)
    unfinished.sort(key=lambda row: row.state == "queued")
    return _Overview(path=path, base_url=base_url, counts=counts, unfinished=unfinished)


def _record(seen: _Overview) -> dict[str, Any]:
    return {
        "journal": str(seen.path),
        "base_url": seen.base_url,
        "total": seen.counts.total(),
        "counts": {state: seen.counts[state] for state in _STATES},
        "unfinished": [
            {
                "key": row.key,
                "state": row.state,
                "task_id": row.task_id,
                "client_business_id": row.client_business_id,
                "prompt": row.request.prompt,
                "model": row.request.model,
                "since": timestamp(row.updated_at),
            }
            for row in seen.unfinished
        ],
    }


def _write_tables(seen: _Overview) -> None:
    from rich.cells import cell_len  # noqa: PLC0415 - only a terminal needs it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False, emoji=False, markup=False)
    counts = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for state in _STATES:
        counts.add_column(state, justify="right")
    counts.add_row(*(str(seen.counts[state]) for state in _STATES))
    console.print(counts)
    if not seen.unfinished:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, overflow="fold", no_wrap=name in {"id", "for"})  # an id in pieces cannot be copied
    handles = [_handle(row) for row in seen.unfinished[:_SHOWN]]
    widths = [max(map(cell_len, column)) + 2 for column in zip(_COLUMNS, *handles, strict=False)]
    room = max(_NARROWEST, console.width - sum(widths))
    for row, handle in zip(seen.unfinished, handles, strict=False):
        table.add_row(*(Text(cell) for cell in (*handle, shorten(row.request.prompt, room))))
    console.print()
    console.print(table)
    if (more := len(seen.unfinished) - _SHOWN) > 0:
        console.print(f"and {more} more; --json has all")
    command = resume_command(Options(out=seen.path.parent, journal=seen.path))
    console.print(Text(f"\nUnless a run is at it, go on with:\n  {command}"), soft_wrap=True)


def _handle(row: Row) -> tuple[str, str, str, str]:
    age = duration(max(0.0, (datetime.now(UTC) - row.updated_at).total_seconds()))
    return clean(row.key), row.state, clean(row.task_id or row.client_business_id), age
