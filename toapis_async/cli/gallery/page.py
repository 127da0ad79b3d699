"""The text of the page: one file with its style, its script and its data, that loads only the pictures beside it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from ..text import clean

MARK: Final = '<meta name="generator" content="toapis gallery">'
"""By which a page of ours is known."""

_FIELD: Final = re.compile(r"\{\{(\w+)\}\}")


def make_page(title: str, items: Sequence[dict[str, Any]]) -> str:
    """Return the page, in ASCII; neither the title nor any text of an item can be more than text in it."""
    style, script = _part("page.css"), _part("page.js")
    fields = {
        "mark": MARK,
        "policy": _policy(style, script),
        "title": html.escape(clean(title)).encode("ascii", "xmlcharrefreplace").decode(),
        "style": style,
        "data": embed(items),
        "script": script,
    }
    return _FIELD.sub(lambda field: fields[field[1]], _part("page.html"))


def embed(value: object) -> str:
    """Return JSON that cannot end the element it stands in, nor begin another."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(style: str, script: str) -> str:
    """Return a Content-Security-Policy under which nothing runs but our script, and nothing is loaded but pictures.

    `'self'` is for a page that is served, `file:` for one that is opened from a disk, where some browsers know no
    "self"; `data:` is for the icon, for which the server would be asked otherwise.
    """
    return "; ".join([
        "default-src 'none'",
        "img-src 'self' file: data:",
        f"style-src {_hash(style)}",
        f"script-src {_hash(script)}",
        "base-uri 'none'",
        "form-action 'none'",
    ])


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _part(name: str) -> str:
    return files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
