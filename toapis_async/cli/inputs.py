"""Prompts from arguments and files, read into drafts; every problem is noted with its place, none is raised."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from .text import shorten

STDIN: Final = "-"
_COLUMNS: Final = {"prompt": "prompt", "key": "key", "model": "model", "size": "size", "n": "n", "image": "images"}
_FIELDS: Final = (
    "prompt", "key", "model", "size", "n", "images", "metadata", "extra", "client_business_id", "callback_url",
)  # fmt: skip


@frozen
class Place:
    """Where something stands in the input."""

    source: str
    """The name of a file, "standard input" or "arguments"."""
    number: int | None = None
    """Counted from 1; None for the source as a whole."""
    unit: str = "line"


@frozen
class Problem:
    """What is wrong, and where."""

    place: Place
    text: str
    """Names the field, its value and what is allowed."""


@frozen
class Draft:
    """An item of the input before it is checked."""

    place: Place
    fields: dict[str, Any]
    """Those of an `ImageRequest` that the item sets, and perhaps `key`."""


@frozen
class Input:
    """Everything that was read."""

    drafts: list[Draft] = field(factory=list[Draft])
    problems: list[Problem] = field(factory=list[Problem])
    notes: list[str] = field(factory=list[str])
    """What the user should know although it is no mistake."""


def read_input(prompts: Iterable[str], source: str | None) -> Input:
    """Read prompts given as arguments, then those of a file; `-` is standard input."""
    found = Input()
    for number, prompt in enumerate(prompts, 1):
        found.drafts.append(Draft(Place("arguments", number, "prompt"), {"prompt": prompt}))
    if source is not None:
        _read_source(source, found)
    return found


def _read_source(source: str, found: Input) -> None:
    place = Place("standard input" if source == STDIN else source)
    suffix = ".txt" if source == STDIN else Path(source).suffix.lower()
    readers = {".txt": _read_lines, ".csv": _read_csv, ".tsv": _read_tsv, ".jsonl": _read_json_lines}
    if suffix not in readers:
        allowed = "a .txt, .csv, .tsv or .jsonl file, or - for standard input"
        found.problems.append(Problem(place, f"--from takes {allowed}"))
        return
    before = len(found.drafts) + len(found.problems)
    try:
        data = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        found.problems.append(Problem(place, f"cannot be read: {error.strerror or error}"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        reason = f"byte 0x{error.object[error.start]:02x} is not UTF-8: save the file as UTF-8"
        found.problems.append(Problem(Place(place.source, line), reason))
    else:
        readers[suffix](place.source, text, found)
        if len(found.drafts) + len(found.problems) == before:
            found.problems.append(Problem(place, "there is no prompt in it"))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Number the lines and skip the blank ones; only line ends end a line, not every Unicode separator."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield number, line.rstrip("\n")


def _read_lines(source: str, text: str, found: Input) -> None:
    for number, line in _lines(text):
        found.drafts.append(Draft(Place(source, number), {"prompt": line.strip()}))


def _read_tsv(source: str, text: str, found: Input) -> None:
    # Files from the field hold bare quotes, so quotes mean nothing here and every line is one row.
    _read_table(source, ((number, line.split("\t")) for number, line in _lines(text)), found)


def _read_csv(source: str, text: str, found: Input) -> None:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        _read_table(source, _csv_rows(rows), found)
    except csv.Error as error:
        reason = f"not CSV: {error}; what follows was not read"
        found.problems.append(Problem(Place(source, rows.line_num), reason))


def _csv_rows(rows: Any) -> Iterator[tuple[int, list[str]]]:
    first = 1
    for cells in rows:
        if any(cell.strip() for cell in cells):
            yield first, cells
        first = rows.line_num + 1  # a quoted cell may span lines


def _read_table(source: str, rows: Iterator[tuple[int, list[str]]], found: Input) -> None:
    number, header = next(rows, (1, list[str]()))
    columns = _read_header(Place(source, number), header, found)
    if columns is None:
        return
    for line, cells in rows:
        place = Place(source, line)
        if any(cell.strip() for cell in cells[len(header) :]):
            reason = f"{len(cells)} cells, but the header has {len(header)} columns"
            found.problems.append(Problem(place, reason))
            continue
        given = {name: cells[index].strip() for name, index in columns.items() if index < len(cells)}
        found.drafts.append(Draft(place, _read_cells(place, given, found)))


def _read_header(place: Place, header: list[str], found: Input) -> dict[str, int] | None:
    names = [cell.strip().lower() for cell in header]
    columns: dict[str, int] = {}
    for index, name in enumerate(names):
        if name not in _COLUMNS:
            continue
        if name in columns:
            found.problems.append(Problem(place, f"there are several columns named {name!r}"))
            return None
        columns[name] = index
    if "prompt" not in columns:
        names_found = ", ".join(repr(shorten(cell)) for cell in header) or "nothing"
        found.problems.append(Problem(place, f"no column is named 'prompt'; the first line holds {names_found}"))
        return None
    unused = [shorten(cell) for cell, name in zip(header, names, strict=True) if name and name not in _COLUMNS]
    if unused:
        found.notes.append(f"{place.source}: columns not used: {', '.join(unused)}")
    return columns


def _read_cells(place: Place, given: dict[str, str], found: Input) -> dict[str, Any]:
    fields: dict[str, Any] = {"prompt": given.get("prompt", "")}
    for name in ("key", "model", "size"):
        if given.get(name):
            fields[name] = given[name]
    if given.get("image"):
        fields["images"] = _split_images(given["image"])
    if number := given.get("n"):
        if number.isascii() and number.isdigit() and len(number) < 10:
            fields["n"] = int(number)
        else:
            found.problems.append(Problem(place, f"n: {shorten(number)!r} is not a whole number"))
    return fields


def _split_images(cell: str) -> list[str]:
    """Split at spaces, unless the cell as a whole is the name of a file."""
    try:
        is_file = Path(cell).is_file()
    except (OSError, ValueError):
        is_file = False
    return [cell] if is_file else cell.split()


def image_of(text: Any) -> Any:
    """Return a reference picture as requests take it: what looks like no URL is the path of a file."""
    if not isinstance(text, str) or not text or "://" in text or text.lower().startswith("data:"):
        return text
    return Path(text)


def _read_json_lines(source: str, text: str, found: Input) -> None:
    for number, line in _lines(text):
        place = Place(source, number)
        try:
            value: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            found.problems.append(Problem(place, f"not JSON: {error}"))
            continue
        if isinstance(value, str):
            value = {"prompt": value}
        if not isinstance(value, dict):
            found.problems.append(Problem(place, "neither a JSON string nor a JSON object"))
            continue
        _read_object(place, value, found)  # pyright: ignore[reportUnknownArgumentType]


def _read_object(place: Place, value: dict[str, Any], found: Input) -> None:
    for name in value.keys() - set(_FIELDS):
        reason = f"{shorten(name)!r} is not a field; allowed are {', '.join(_FIELDS)}"
        found.problems.append(Problem(place, reason))
    fields = {name: value[name] for name in _FIELDS if value.get(name) is not None}
    found.drafts.append(Draft(place, {"prompt": "", **fields}))
