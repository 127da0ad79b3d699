"""Kill a batch with a journal hundreds of times: `python -m benchmarks.kills [--seeds N]`.

Each seed is a batch of 200 requests under a faulty service, killed at random moments and run again until it
ends. Odd seeds send again what was not found (`resubmit_unknown=True`). Exits with 1 if anything was paid
twice, lost, or delivered twice. The suite runs a few seeds of the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

# Beside the package in a source tree, never installed.
sys.path.append(str(Path(__file__).parents[1] / "tests"))

if TYPE_CHECKING:
    from journal.many_kills import Report

COLUMNS = ("seed", "resubmit", "kills", "requests", "accepted", "delivered", "unresolved", "violations")


async def survive(seed: int, *, requests: int, resubmit: bool) -> Report:
    from journal.many_kills import run_with_kills  # noqa: PLC0415 - found by the path set above

    with tempfile.TemporaryDirectory() as folder:
        return await run_with_kills(seed, Path(folder), requests=requests, resubmit=resubmit)


async def main(seeds: range, requests: int) -> bool:
    """Run all seeds; returns whether everything held."""
    print("".join(f"{name:>12}" for name in COLUMNS))
    sums: dict[str, int] = dict.fromkeys(COLUMNS[2:], 0)
    for seed in seeds:
        resubmit = seed % 2 == 1
        report = await survive(seed, requests=requests, resubmit=resubmit)
        numbers = {name: getattr(report, name) for name in COLUMNS[2:-1]}
        numbers["violations"] = len(report.violations)
        print(f"{seed:12}{'yes' if resubmit else 'no':>12}" + "".join(f"{n:12}" for n in numbers.values()), flush=True)
        for violation in report.violations:
            print(f"  VIOLATION: {violation}", flush=True)
        for name, number in numbers.items():
            sums[name] += number
    print(f"{len(seeds):6} seeds{'':12}" + "".join(f"{number:12}" for number in sums.values()))
    return not sums["violations"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="how many batches; about 10 seconds each")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--requests", type=int, default=200)
    arguments = parser.parse_args()
    fine = anyio.run(main, range(arguments.first, arguments.first + arguments.seeds), arguments.requests)
    sys.exit(0 if fine else 1)
