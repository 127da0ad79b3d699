"""What was measured, beside what was to be reached: as a table for the eye and for a Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final, Literal

from attrs import field, frozen

Unit = Literal["x", "us", "ms", "s", "bytes", "MB", "", "/s"]

_NONE: Final = "-"


@frozen
class Row:
    """One quantity."""

    quantity: str
    values: Sequence[float]
    """One for each round; none if nothing could be measured."""
    unit: Unit
    target: float | None = None
    """The most it may be, or the least with `at_least`; None for what is only told."""
    stretch: float | None = None
    """What would be better still."""
    at_least: bool = field(default=False, kw_only=True)
    remark: str = field(default="", kw_only=True)
    may_fail: bool = field(default=False, kw_only=True)
    """Of somebody else's client: that it does not finish is a finding."""

    def reaches(self, measured: float, limit: float) -> bool:
        return measured >= limit if self.at_least else measured <= limit


@frozen
class Point:
    """A client's CPU for a question, as a multiple of the loop written by hand."""

    workload: str
    client: str
    ratios: Sequence[float]
    target: float | None = None


@frozen
class Report:
    """What a section found."""

    rows: Sequence[Row]
    lines: Sequence[str] = ()
    """What does not fit the table."""
    points: Sequence[Point] = ()
    """What is drawn."""


def measured(row: Row) -> str:
    return _show(median(row.values), row.unit) if row.values else _NONE


def spread(row: Row, values: Sequence[float]) -> str:
    return f"{_show(min(values), row.unit)} to {_show(max(values), row.unit)}" if len(values) > 1 else _NONE


def target(row: Row) -> str:
    return _NONE if row.target is None else f"{'>=' if row.at_least else '<='} {_show(row.target, row.unit)}"


def verdict(rows: Sequence[Row]) -> str:
    """Judge one quantity by the medians of all runs: it holds if it does in each."""
    row = rows[0]
    remarks = sorted({each.remark for each in rows if each.remark})
    return "; ".join([*filter(None, [_judgement(row, rows)]), *remarks]) or _NONE


def _judgement(row: Row, rows: Sequence[Row]) -> str:
    medians = [median(each.values) for each in rows if each.values]
    if not medians:
        return "not measured"
    if row.target is None:
        return ""
    worst = min(medians) if row.at_least else max(medians)
    if row.reaches(worst, row.target):
        return "holds, stretch too" if row.stretch is not None and row.reaches(worst, row.stretch) else "holds"
    short = sum(not row.reaches(found, row.target) for found in medians)
    where = f" in {short} of {len(medians)} runs" if len(medians) > 1 else ""
    return f"FALLS SHORT by {abs(worst - row.target) / row.target:.0%}{where}" if row.target else f"FALLS SHORT{where}"


def _show(value: float, unit: Unit) -> str:
    number = f"{value:,.0f}" if abs(value) >= 100 or (unit == "" and value == int(value)) else f"{value:.3g}"
    if unit == "x":
        return f"{value:.2f}" if value < 100 else f"{value:,.0f}"
    return f"{number} {unit}".replace(" /", "/").strip()


def cells(runs: Sequence[Mapping[str, Report]]) -> tuple[list[str], list[tuple[str, list[list[str]]]]]:
    """Return the heads of the columns, and for each section the cells of its rows."""
    count = len(runs)
    heads = ["quantity", *([f"run {number + 1}" for number in range(count)] if count > 1 else ["measured"])]
    sections = [
        (name, [_cells(rows) for rows in zip(*(run[name].rows for run in runs), strict=True)]) for name in runs[0]
    ]
    return [*heads, "range", "target", "verdict"], [(name, lines) for name, lines in sections if lines]


def _cells(rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    every = [value for row in rows for value in row.values]
    return [first.quantity, *map(measured, rows), spread(first, every), target(first), verdict(rows)]


def as_text(runs: Sequence[Mapping[str, Report]]) -> str:
    heads, sections = cells(runs)
    widths = [
        max(len(line[column]) for line in [heads, *(line for _, lines in sections for line in lines)])
        for column in range(len(heads))
    ]
    text = [_line(heads, widths)]
    for name, lines in sections:
        text += ["", f"[{name}]", *(_line(line, widths) for line in lines)]
    return "\n".join(text)


def _line(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *middle, last = (
        cell.rjust(width) if 0 < column < len(line) - 1 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join([first, *middle, last]).rstrip()


def as_markdown(runs: Sequence[Mapping[str, Report]], titles: Mapping[str, str]) -> str:
    heads, sections = cells(runs)
    return "\n\n".join(f"### {titles[name]}\n\n" + "\n".join(_markdown(heads, lines)) for name, lines in sections)


def _markdown(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(heads) - 2), "---"]
    return [f"| {' | '.join(line)} |" for line in (heads, rule, *lines)]
