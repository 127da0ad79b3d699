"""What the page shows of each entry of a manifest; what is not of the documented type is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, cast
from urllib.parse import quote

Item: TypeAlias = dict[str, Any]
"""Of the page's JSON, without what is unknown. `error` tells why there is no picture, or not every one."""

_LONGEST: Final = 10_000_000.0  # seconds of a task; a number as long as JSON allows fits in no float
_TEXTS: Final = {"key": "key", "state": "state", "prompt": "prompt", "model": "model", "id": "task_id"}


def to_item(entry: Mapping[str, Any]) -> Item:
    """Choose from one entry what is shown."""
    item: Item = {name: _text(entry.get(source)) for name, source in _TEXTS.items()}
    item["id"] = item["id"] or _text(entry.get("client_business_id"))
    item["size"] = _text(_object(entry.get("parameters")).get("size"))
    item["seconds"] = _seconds(entry.get("seconds"))
    item["ended"] = _text(entry.get("completed_at")) or _text(entry.get("saved_at"))
    item["cost"] = _text(_object(entry.get("billing")).get("cost_usd"))
    item["error"] = _text(entry.get("error")) or _text(entry.get("download_error"))
    item["pictures"] = _pictures(entry.get("files"))
    return {name: value for name, value in item.items() if value is not None}


def count_pictures(items: Iterable[Item]) -> int:
    """Return how many pictures there are."""
    return sum(len(item["pictures"]) for item in items)


def count_problems(items: Iterable[Item]) -> int:
    """Return how many items lack a picture."""
    return sum("error" in item or not item["pictures"] for item in items)


def url_of(name: str) -> str | None:
    """Return the relative URL of a file in the folder; None for a name that leaves it or that no file can have."""
    parts = name.split("/")
    if "\0" in name or any(part in {"", ".", ".."} for part in parts):
        return None
    try:
        # Bytes that are no UTF-8 come out of `os.fsdecode` as surrogates, and must be those bytes in the URL.
        return "/".join(quote(part.encode("utf-8", "surrogateescape"), safe="") for part in parts)
    except UnicodeEncodeError:
        return None


def _pictures(value: object) -> list[dict[str, str]]:
    names = [name for name in cast("list[object]", value) if isinstance(name, str)] if isinstance(value, list) else []
    return [{"name": name, "url": url} for name in names if (url := url_of(name)) is not None]


def _object(value: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _seconds(value: object) -> float | None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value < _LONGEST else None
