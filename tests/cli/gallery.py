"""Folders with a manifest, for the tests of the page."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any, Final

from toapis_async.testing.pictures import draw

from .browser import Page
from .conftest import Toapis

_DATA: Final = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
_TITLE: Final = re.compile(r"<title>(.*?)</title>", re.DOTALL)

# Expressions for the browser.
SHOWN: Final = "[...document.querySelectorAll('.tile:not([hidden])')]"
PROMPTS: Final = f"{SHOWN}.map((tile) => tile.querySelector('.prompt').textContent)"
FOCUSED: Final = f"{SHOWN}.findIndex((tile) => tile.contains(document.activeElement))"
ENLARGED: Final = "document.querySelector('#viewer[open] .prompt')?.textContent ?? null"
LOADED: Final = "[...document.querySelectorAll('.open img')].every((image) => image.complete && image.naturalWidth)"


def entry(key: str, **changes: Any) -> dict[str, Any]:
    """Return what the manifest says of a completed job with one picture."""
    return {
        "key": key,
        "state": "completed",
        "task_id": f"tsk_img_{key}",
        "client_business_id": f"cb{key}",
        "kind": "image",
        "prompt": f"a fox, number {key}",
        "model": "grok-4-1-image",
        "parameters": {"size": "16:9"},
        "files": [f"{key}-0.png"],
        "error": None,
        "download_error": None,
        "created_at": "2026-05-01T12:00:00Z",
        "completed_at": "2026-05-01T12:00:12Z",
        "expires_at": "2026-05-02T12:00:12Z",
        "seconds": 12.0,
        "saved_at": "2026-05-01T12:00:13Z",
        "billing": {"status": "settled", "credits": "4", "cost_usd": "0.02"},
        "usage": None,
        **changes,
    }


def failed(key: str, error: str, **changes: Any) -> dict[str, Any]:
    """Return what the manifest says of a failed job."""
    return entry(key, state="failed", error=error, files=[], **changes)


def write_folder(folder: Path, *entries: dict[str, Any]) -> Path:
    """Make a folder of pictures with its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in entries:
        for index, name in enumerate(one["files"]):
            (folder / name).write_bytes(draw(one["prompt"] or "", index, "16:9"))
    lines = "".join(f"{json.dumps(one)}\n" for one in entries)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")
    return folder


def data_of(page: str) -> list[dict[str, Any]]:
    """Return the data of a page, as a browser finds it: up to the first end tag."""
    (found,) = _DATA.findall(page)
    data: list[dict[str, Any]] = json.loads(found)
    return data


def title_of(page: str) -> str:
    """Return the title of a page."""
    (found,) = _TITLE.findall(page)
    return html.unescape(found)


def foxes(count: int) -> list[dict[str, Any]]:
    """Return so many entries, with their numbers as keys."""
    return [entry(str(number), prompt=f"fox {number}") for number in range(count)]


async def show(page: Page, toapis: Toapis, *entries: dict[str, Any], width: int = 1440) -> None:
    """Write a gallery, and open it from the disk."""
    folder = write_folder(Path("out"), *entries)
    assert toapis("gallery").code == 0
    await page.open((folder / "index.html").resolve().as_uri(), width=width)
