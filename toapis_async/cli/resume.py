"""`toapis resume`: a run of what a journal holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import islice
from pathlib import Path
from typing import Final

import anyio.to_thread

from toapis_async import Batch, ImageRequest

from .._journal import read_rows, read_summary
from .display import Screen
from .exits import Exit
from .folders import make_folder
from .gallery import add_gallery
from .journal import submit_all, usable_journal
from .options import Options
from .plan import Item
from .results import Output
from .run import Run
from .service import open_session
from .text import clean

_CHUNK: Final = 100


async def resume_all(options: Options, screen: Screen, output: Output) -> int:
    """Go on with everything in a journal; returns the exit code.

    Raises:
        UsageError: there is no key, or a URL, a folder or a journal that cannot be used; nothing was sent.

    """
    assert options.journal is not None
    path = options.journal
    with usable_journal():
        total = await anyio.to_thread.run_sync(_count, path)
    opening = open_session(options.base_url)
    await anyio.to_thread.run_sync(make_folder, options.out)
    if not total:
        screen.report(f"The journal {clean(str(path))} is empty.")
        return await add_gallery(options, screen, Exit.OK)

    async def fill(batch: Batch) -> int:
        total = await anyio.to_thread.run_sync(_count, path)  # again: now nobody else writes
        batch.feed(_requests(batch, path, retry_failed=options.retry_failed))
        return total

    with usable_journal():
        code = await Run(total, fill, options, screen, output, is_recorded=True).run(opening)
    return await add_gallery(options, screen, code)


def _count(path: Path) -> int:
    return sum(read_summary(path).counts.values())


async def _requests(batch: Batch, path: Path, *, retry_failed: bool) -> AsyncGenerator[tuple[str, ImageRequest]]:
    """Give what was sent before; then queue what is to be sent: a refusal of it must not keep back what is paid for."""
    to_send: list[Item] = []
    rows = read_rows(path)
    try:
        while chunk := await anyio.to_thread.run_sync(lambda: list(islice(rows, _CHUNK))):
            for row in chunk:
                if row.state == "queued" or (retry_failed and row.state == "failed"):
                    to_send.append((row.key, row.request))
                else:
                    yield row.key, row.request
    finally:
        rows.close()
    submit_all(batch, to_send)
