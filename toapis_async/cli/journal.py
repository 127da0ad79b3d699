"""The journal of a run as the command line sees it: where it lies, what it refuses, how to go on with it."""

from __future__ import annotations

import shlex
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import anyio.to_thread

from toapis_async import Batch, JournalError, RequestValidationError

from .._files.references import is_slow_to_check
from .._journal import digest_of, read_rows
from .exits import UsageError
from .options import MAX_IN_FLIGHT, Options
from .plan import Item
from .text import shorten

_NAMED: Final = 5  # keys, in a line about many


@contextmanager
def usable_journal(hint: str = "") -> Generator[None]:
    """Turn what is wrong with a journal, before anything is sent, into wrong usage; `hint` is what to do.

    Raises:
        UsageError: the journal cannot be used.

    """
    try:
        yield
    except JournalError as error:
        raise UsageError([str(error), *([hint] if hint else [])]) from None


def check_keys(items: Iterable[Item], path: Path) -> None:
    """Refuse keys under which the journal holds other requests, before anything is sent.

    Raises:
        UsageError: there are such keys.

    """
    own = {key: request for key, request in items if key is not None}
    if not own:
        return
    try:
        known = [(row.key, row.digest) for row in read_rows(path) if row.key in own]
    except JournalError:
        return  # there is none yet, or opening it to write says what is wrong
    try:
        clashing = [key for key, digest in known if digest_of(own[key]) != digest]
    except RequestValidationError as error:  # a picture that was there a moment ago
        raise UsageError(error.problems) from None
    if clashing:
        names = ", ".join(repr(shorten(key)) for key in clashing[:_NAMED])
        more = f" and {len(clashing) - _NAMED} more" if len(clashing) > _NAMED else ""
        reason = f"key: {names}{more}: another request has this key in {path}"
        raise UsageError([f"{reason}; a changed request needs a new key, or another journal"])


async def read_pictures(items: Iterable[Item]) -> None:
    """Read the local pictures of all requests aside, so that queueing them in one step does not take as long."""
    for _, request in items:
        if is_slow_to_check(request):
            with suppress(RequestValidationError):  # told when it is queued
                await anyio.to_thread.run_sync(digest_of, request)


def submit_all(batch: Batch, items: Iterable[Item]) -> None:
    """Queue everything in one step, so that all of it is in the journal before the first request is sent."""
    for key, request in items:
        try:
            batch.submit(request, key=key)
        except RequestValidationError:
            batch.feed([request if key is None else (key, request)])  # which makes a `Failed` outcome of it


def resume_command(options: Options) -> str:
    """Return the command, for a shell, that goes on with a run."""
    assert options.journal is not None
    words = ["toapis", "resume", _word(options.journal)]
    if options.out != options.journal.parent:
        words += ["--out", _word(options.out)]
    if options.base_url is not None:
        words += ["--base-url", options.base_url]
    if options.max_in_flight != MAX_IN_FLIGHT:
        words += ["--max-in-flight", str(options.max_in_flight)]
    if options.gallery:
        words += ["--gallery"]
    return shlex.join(words)


def _word(path: Path) -> str:
    return f"./{path}" if str(path).startswith("-") else str(path)  # not to be taken for an option
