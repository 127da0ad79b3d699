"""The `toapis` command: generate pictures from prompts, look at tasks, run the simulator.

Needs the extra `cli` (cyclopts and rich). Importing this package loads neither.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, by default with the arguments of the process, and exit with its code."""
    try:
        import cyclopts as _cyclopts  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]
        import rich as _rich  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        sys.stderr.write(f"toapis: {error.name} is missing; install it with: pip install 'toapis-async[cli]'\n")
        sys.exit(2)
    # These need what was looked for above.
    from . import commands as _commands  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]
    from .app import run  # noqa: PLC0415

    sys.exit(run(arguments))
