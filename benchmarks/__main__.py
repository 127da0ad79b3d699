"""Run the benchmarks and print one table: `python -m benchmarks [--quick] [--runs N] [--write] [SECTION ...]`."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.sections import SECTIONS
from benchmarks.table import Report, as_text


def _run_all(names: list[str], *, quick: bool) -> dict[str, Report]:
    found: dict[str, Report] = {}
    for name in names:
        started = time.perf_counter()
        print(f"{SECTIONS[name].title} ...", end=" ", flush=True)
        found[name] = SECTIONS[name].run(quick=quick)
        print(f"{time.perf_counter() - started:.0f} s\n\n{as_text([{name: found[name]}])}\n")
        print("".join(f"{line}\n" for line in found[name].lines), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"only these: {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller workloads: see that all run")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="do all of it so often")
    parser.add_argument("--write", action="store_true", help="put the results into benchmarks/README.md")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    if arguments.write and arguments.sections and "cpu" not in arguments.sections:
        parser.error("--write takes all sections, or some with cpu among them: it is what the plot shows")
    names = arguments.sections or list(SECTIONS)
    runs = [_run_all(names, quick=arguments.quick) for _ in range(arguments.runs)]
    print(f"All in one table\n\n{as_text(runs)}", flush=True)
    if arguments.write:
        from benchmarks import page  # noqa: PLC0415 - matplotlib is needed for this only

        page.write(runs, quick=arguments.quick)
    rows = [row for run in runs for report in run.values() for row in report.rows]
    if gone := [row.quantity for row in rows if not row.values and not row.may_fail]:
        sys.exit(f"not measured: {', '.join(gone)}")


if __name__ == "__main__":
    main()
