"""CPU per status query by client, as a multiple of the loop written by hand (matplotlib, extra `bench`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from matplotlib.figure import Figure

from benchmarks.cpu import WORKLOADS
from benchmarks.peers import PEERS
from benchmarks.table import Point

_COLOURS: Final = {
    "batch": "#0a5fb4",
    "batch, equal waits": "#6fa8dc",
    "tuned by hand": "#3a8f3a",
    "openai": "#b03030",
    "runwayml": "#d06a20",
    "replicate": "#8a4fa0",
    "fal-client": "#7a6a50",
}
_WIDTH: Final = 0.09
_TICKS: Final = (0.3, 0.5, 0.8, 1, 2, 3, 5, 10, 20, 30, 50, 100)


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw the medians, and the range over all rounds."""
    figure: Any = Figure(figsize=(10, 5.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    labels = [workload.label for workload in WORKLOADS if any(each.workload == workload.label for each in points)]
    for place, label in enumerate(labels):
        here = [each for each in points if each.workload == label and each.ratios]
        for number, point in enumerate(here):
            x = place + (number - (len(here) - 1) / 2) * _WIDTH
            middle = median(point.ratios)
            axes.vlines(x, min(point.ratios), max(point.ratios), color=_COLOURS[point.client], linewidth=5, alpha=0.35)
            axes.plot([x], [middle], marker="s" if point.client in PEERS else "o", color=_COLOURS[point.client])
            axes.annotate(
                f"{middle:.2f}" if middle < 10 else f"{middle:.0f}",
                (x, max(point.ratios)),
                textcoords="offset points",
                xytext=(0, 5),
                ha="center",
                fontsize=6.5,
                color=_COLOURS[point.client],
            )
            if point.target is not None:
                axes.hlines(point.target, place - 0.42, place + 0.42, color="#0a5fb4", linestyle="--", linewidth=1)
                text = f"target {point.target:.2f}"
                axes.text(place + 0.43, point.target, text, fontsize=6.5, color="#0a5fb4", ha="right", va="bottom")
    axes.axhline(1, color="#444444", linewidth=1)
    axes.text(-0.5, 1.02, "by hand", fontsize=7, color="#444444", va="bottom", ha="left")
    for client in dict.fromkeys(point.client for point in points):
        axes.plot([], [], marker="s" if client in PEERS else "o", linestyle="", color=_COLOURS[client], label=client)
    axes.set_yscale("log")
    axes.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
    axes.minorticks_off()
    values = [value for point in points for value in point.ratios] or [1.0]
    axes.set_ylim(min(0.3, 0.8 * min(values)), 1.4 * max(values))
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.52, len(labels) - 0.48)
    axes.set_ylabel("CPU per status query / by hand")
    axes.set_title("CPU per status query beside a loop written by hand on aiohttp (less is better)", fontsize=10)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, loc="upper left", ncols=2, frameon=False)
    figure.savefig(path)
