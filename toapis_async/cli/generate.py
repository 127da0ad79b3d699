"""`toapis generate`: a run of requests that were planned before."""

from __future__ import annotations

import anyio.to_thread

from toapis_async import Batch

from .display import Screen
from .folders import make_folder
from .gallery import add_gallery
from .journal import check_keys, read_pictures, submit_all, usable_journal
from .options import Options
from .plan import Plan
from .results import Output
from .run import Run
from .service import open_session
from .simulate import simulated_session


async def generate_all(plan: Plan, options: Options, screen: Screen, output: Output) -> int:
    """Generate and save everything; returns the exit code.

    Raises:
        UsageError: there is no key, or a URL, a folder or a journal that cannot be used; nothing was sent.

    """
    opening = simulated_session() if options.simulate else open_session(options.base_url)
    if options.journal is not None:
        await anyio.to_thread.run_sync(check_keys, plan.items, options.journal)
        await read_pictures(plan.items)
    await anyio.to_thread.run_sync(make_folder, options.out)

    async def fill(batch: Batch) -> int:
        if options.journal is None:
            batch.feed(plan.numbered())
        else:
            # Whatever ends this run, the journal knows all requests. Those without a key get one that stands for
            # their content: by their number, a changed file of prompts would not find its pictures again.
            submit_all(batch, plan.items)
        return len(plan.items)

    run = Run(len(plan.items), fill, options, screen, output)
    with usable_journal("--journal FILE or another --out takes another journal, --no-journal none."):
        code = await run.run(opening)
    if run.was_over_before:
        screen.report("For new pictures give another --out, or --no-journal.")
    return await add_gallery(options, screen, code)
