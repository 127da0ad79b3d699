"""One command line: the app, how a command is run, and where its results go."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO

from cyclopts import App, CycloptsError, Parameter

from toapis_async import __version__

from . import exits
from .display import Screen
from .exits import Exit, UsageError
from .text import clean

if TYPE_CHECKING:
    from .results import Output

_ABOUT: Final = f"""
Generate pictures with the ToAPIs image service, many at once, each paid once.

To see it work without a key and without cost: `toapis generate "a red fox" --simulate`

For the real service, set the environment variable `TOAPIS_API_KEY`. `toapis COMMAND --help` explains a command.

Exit codes:

{exits.TABLE}

If several apply: 130, then 3, 1, 4.
"""

app = App(
    name="toapis",
    version=__version__,
    help=_ABOUT,
    help_format="markdown",
    result_action="return_value",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,
)


def run(arguments: Sequence[str] | None) -> int:
    """Run one command and return its exit code; what a user can put right becomes a line, not a traceback."""
    tokens = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = app(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        lines: Sequence[str] = [f"{error} (toapis --help shows what there is)"]
    except UsageError as error:
        lines = error.lines
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    else:
        return code if isinstance(code, int) else Exit.OK
    for line in lines:
        Screen().report(f"toapis: {clean(line)}")
    return Exit.INVALID


def finish(command: Coroutine[Any, Any, int]) -> int:
    """Run what a command does and return its exit code."""
    import asyncio

    return asyncio.run(command)


def output(screen: Screen) -> Output:
    """Return where results go; `screen` tells if nobody reads them any more."""
    from .results import Output

    def lost(error: OSError) -> None:
        reason = "nobody reads it any more" if isinstance(error, BrokenPipeError) else str(error)
        screen.report(f"Standard output cannot be written ({clean(reason)}); its further lines are dropped.")

    return Output(lost)


def shows_paths(screen: Screen) -> bool:
    """Whether paths are written to stdout: not where they would be mixed with the progress."""
    return not (screen.is_live and _is_terminal(sys.stdout))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
