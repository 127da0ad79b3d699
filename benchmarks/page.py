"""The page of results, `benchmarks/README.md`: what a run found replaces what an earlier one found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import evolve

from benchmarks import machine, plot
from benchmarks.sections import SECTIONS
from benchmarks.table import Point, Report, as_markdown

_FOLDER: Final = Path(__file__).parent
_PAGE: Final = _FOLDER / "README.md"
_PLOT: Final = _FOLDER / "results" / "cpu.png"
_BEGIN: Final = "<!-- begin of what `python -m benchmarks --write` writes -->"
_END: Final = "<!-- end of what is written -->"


def write(runs: Sequence[Mapping[str, Report]], *, quick: bool) -> None:
    """Put tables, machine and plot into the page."""
    _PLOT.parent.mkdir(exist_ok=True)
    plot.draw(_merged(runs), _PLOT)
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _PAGE.write_text(f"{before}{_BEGIN}\n\n{_results(runs, quick=quick)}\n\n{_END}{after}", encoding="utf-8")
    print(f"{_PAGE} and {_PLOT} are written")


def _merged(runs: Sequence[Mapping[str, Report]]) -> list[Point]:
    points: dict[tuple[str, str], Point] = {}
    for run in runs:
        for report in run.values():
            for point in report.points:
                place = (point.workload, point.client)
                known = points[place].ratios if place in points else ()
                points[place] = evolve(point, ratios=[*known, *point.ratios])
    return list(points.values())


def _results(runs: Sequence[Mapping[str, Report]], *, quick: bool) -> str:
    sections = "" if len(runs[0]) == len(SECTIONS) else " " + " ".join(runs[0])
    command = f"python -m benchmarks{' --quick' * quick}{f' --runs {len(runs)}' * (len(runs) > 1)} --write{sections}"
    lines = [
        f"Written by `{command}`.",
        "",
        "| where and with what | |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in machine.description()),
        "",
        f"![CPU per status query by client]({_PLOT.relative_to(_FOLDER).as_posix()})",
        "",
        as_markdown(runs, {name: f"{SECTIONS[name].title} (`{name}`)" for name in runs[0]}),
    ]
    for name, report in runs[-1].items():
        if report.lines:
            lines += ["", f"`{name}`, the last run:", "", "```text", *report.lines, "```"]
    return "\n".join(lines)
