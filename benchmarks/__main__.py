"""Run all benchmarks: `python -m benchmarks [--quick]`."""

from __future__ import annotations

import argparse

from benchmarks import downloads, journal, polling_cpu
from benchmarks.polling import report

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller workloads")
    arguments = parser.parse_args()
    polling_cpu.main(quick=arguments.quick)
    journal.main(quick=arguments.quick)
    downloads.main(quick=arguments.quick)
    print()
    report.main(quick=arguments.quick)
