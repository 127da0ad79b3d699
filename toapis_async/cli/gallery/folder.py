"""The page as a file in the folder of its pictures."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio.to_thread
from attrs import frozen

from ..._files.manifest import NAME, read_manifest
from ..display import Screen
from ..exits import Exit, UsageError
from ..options import Options
from ..results import Output
from ..text import clean
from .items import count_pictures, count_problems, to_item
from .page import MARK, make_page

PAGE: Final = "index.html"
_HEAD: Final = 1024  # bytes, among which the mark is


@frozen(kw_only=True)
class Gallery:
    """A page that was written."""

    path: Path
    pictures: int
    problems: int
    """Items that lack a picture."""

    @property
    def summary(self) -> str:
        """What is on it, in words."""
        pictures = f"{self.pictures} picture{'' if self.pictures == 1 else 's'}"
        problems = f"{self.problems} problem{'' if self.problems == 1 else 's'}"
        return f"{pictures}, {problems}" if self.problems else pictures


def make_gallery(directory: Path) -> Gallery:
    """Write the page of a folder; it appears whole, or stays as it was.

    Raises:
        UsageError: there is no manifest, or a page that somebody else made, or the folder cannot be written.

    """
    try:
        items = [to_item(entry) for entry in read_manifest(directory)]
    except FileNotFoundError:
        raise UsageError([f"{directory}: there is no {NAME} in this folder to make a gallery from"]) from None
    except OSError as error:
        raise UsageError([f"{directory / NAME}: {error.strerror or error}"]) from None
    path = directory / PAGE
    try:
        if not _is_ours(path):
            raise UsageError([f"{path}: this page is not one of toapis gallery, and was left as it is"])
        _replace(path, make_page(directory.resolve().name or str(directory), items))
    except OSError as error:
        raise UsageError([f"{path}: {error.strerror or error}"]) from None
    return Gallery(path=path, pictures=count_pictures(items), problems=count_problems(items))


def show_gallery(directory: Path, output: Output, screen: Screen) -> Exit:
    """Write the page of a folder, and its path to standard output.

    Raises:
        UsageError: see `make_gallery`.

    """
    gallery = make_gallery(directory)
    output.write(str(gallery.path))
    screen.say(f"A gallery of {gallery.summary}.")
    return Exit.OK


async def add_gallery(options: Options, screen: Screen, code: int) -> int:
    """Write the page at the end of a run, if one is wanted, and say where it is; returns the exit code."""
    if not options.gallery:
        return code
    try:
        gallery = await anyio.to_thread.run_sync(make_gallery, options.out)
    except UsageError as error:
        for line in error.lines:
            screen.report(f"No gallery: {clean(line)}")
        return code or Exit.FAILED
    screen.say(f"Gallery of {gallery.summary}: {clean(str(gallery.path))}")
    return code


def _is_ours(path: Path) -> bool:
    """Whether there is no such page yet, or one that may be replaced."""
    try:
        with path.open("rb") as page:
            return MARK.encode() in page.read(_HEAD)
    except FileNotFoundError:
        return True


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}-{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(text.encode())
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()
