"""Run the simulation: `python -m benchmarks.polling [--quick] [--plot [PATH]]`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.polling import report

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.polling", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sessions")
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="PATH",
        nargs="?",
        const=Path(tempfile.gettempdir(), "polling.png"),
        help="also draw delay against polls (extra `bench`): a PNG, without a path in the temporary folder",
    )
    arguments = parser.parse_args()
    report.main(quick=arguments.quick, plot=arguments.plot)
