"""The commands, their options and their help."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TextIO

from cyclopts import App, CycloptsError, Group, Parameter, validators

from toapis_async import ImageRequest, __version__

from . import exits
from .display import Screen, make_screen
from .exits import Exit, UsageError
from .generate import Options, generate_all
from .inputs import read_input
from .plan import make_plan
from .results import Output
from .simulate import serve
from .status import show_status
from .text import clean

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

_MODEL: Final = ImageRequest("").model
_DEFAULTS: Final = Group("Request (an item of a file may set its own)", sort_key=1)
_BaseUrl = Annotated[
    str | None,
    Parameter(
        help="Base URL of the service. If left out: the environment variable TOAPIS_BASE_URL, else"
        " https://toapis.com/v1. In mainland China: https://toapis.cn/v1."
    ),
]
_Json = Annotated[
    bool,
    Parameter(name="--json", show_default=False, help="Write JSON to stdout, one object a line, and nothing else."),
]


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


@app.command(usage="Usage: toapis generate [PROMPT...] [--from FILE] [OPTIONS]")
def generate(
    *prompts: Annotated[str, Parameter(help="What to draw. Put each prompt in quotes.")],
    source: Annotated[
        str | None,
        Parameter(
            name="--from",
            allow_leading_hyphen=True,
            help="File with (more) prompts: .txt, .csv, .tsv or .jsonl, or - for standard input.",
        ),
    ] = None,
    out: Annotated[Path, Parameter(help="Folder for the pictures; made if it does not exist.")] = Path("out"),
    simulate: Annotated[
        bool,
        Parameter(
            show_default=False,
            help="Use a built-in imitation of the service, twenty times as fast. Needs no key and costs nothing.",
        ),
    ] = False,
    model: Annotated[str | None, Parameter(group=_DEFAULTS, help=f"Model id. If left out: {_MODEL}.")] = None,
    size: Annotated[
        str | None, Parameter(group=_DEFAULTS, help="Aspect ratio; the Grok models take 1:1, 2:3, 3:2, 16:9 and 9:16.")
    ] = None,
    n: Annotated[
        int | None,
        Parameter(
            name=("--n", "-n"),
            group=_DEFAULTS,
            help="Pictures for each prompt, each charged; the Grok models take 1, 2 and 4.",
        ),
    ] = None,
    image: Annotated[
        list[str] | None, Parameter(group=_DEFAULTS, help="URL of a reference picture. Can be given several times.")
    ] = None,
    max_in_flight: Annotated[
        int, Parameter(validator=validators.Number(gte=1), help="How many tasks may be running at the service at once.")
    ] = 256,
    base_url: _BaseUrl = None,
    json: _Json = False,
    quiet: Annotated[
        bool,
        Parameter(
            show_default=False, help="Tell on stderr only what needs attention: no progress, no line for each item."
        ),
    ] = False,
) -> int:
    """Generate pictures and save each as soon as it is finished.

    Each prompt is an item. All items are checked before anything is sent. A file is UTF-8 text:

    - `.txt` and `-`: one prompt a line; blank lines are skipped.
    - `.csv` and `.tsv`: the first row names the columns. `prompt` is needed; `key`, `model`, `size`, `n` and `image`
      (URLs separated by spaces) are optional; other columns are ignored. In `.tsv` a quote is an ordinary character.
    - `.jsonl`: each line a string (the prompt) or an object with `prompt` and, if you like, `key`, `model`, `size`,
      `n`, `images`, `metadata`, `extra`, `client_business_id`, `callback_url`.

    The `key` is your name for an item in the output of `--json`. Keys must differ; an item without one gets the next
    free number, from 0.

    Pictures are saved as TASK_ID-INDEX with the extension of their format. Their paths go to stdout, one a line (but
    not where stdout and the progress are on the same terminal). Progress goes to stderr.

    With `--json` stdout gets an object for each item instead, when it ends: `key`, `outcome`, `prompt`, `model`,
    `task_id`, `client_business_id`, `files`, `urls`, `error`, `download_error`, `billing`. The outcome is `completed`,
    `failed`, `timed_out` (not finished 30 minutes after it was accepted) or `unresolved` (perhaps accepted, but not
    found). When the run ends early, it is also `submitted` (still running) or `posting` (perhaps accepted) for tasks it
    leaves behind. Items without an object were not accepted and cost nothing.

    Ctrl-C sends nothing more, waits for the answers to requests on their way (at most 75 seconds), and prints the ids
    of all unfinished tasks. They go on at the service and stay paid for: look with `toapis status`. For the exit codes
    see `toapis --help`.
    """
    if simulate and base_url is not None:
        raise UsageError(["--simulate and --base-url exclude each other"])
    if not prompts and source is None:
        raise UsageError(['no prompts: give some, as in toapis generate "a red fox", or a file with --from FILE'])
    found = read_input(prompts, source)
    given: dict[str, Any] = {"model": model, "size": size, "n": n, "images": image}
    plan = make_plan(found, {name: value for name, value in given.items() if value is not None})
    screen = make_screen(quiet=quiet)
    for note in found.notes:
        screen.say(clean(note))
    options = Options(
        out=out,
        simulate=simulate,
        base_url=base_url,
        max_in_flight=max_in_flight,
        as_json=json,
        paths=not (screen.is_live and _is_terminal(sys.stdout)),
    )
    return asyncio.run(generate_all(plan, options, screen, _output(screen)))


@app.command(usage="Usage: toapis status ID... [OPTIONS]")
def status(
    *ids: Annotated[str, Parameter(help="Ids as `toapis generate` prints them: task ids or client_business_ids.")],
    base_url: _BaseUrl = None,
    json: _Json = False,
) -> int:
    """Ask once for the state of each task. This costs nothing.

    A terminal gets a table. Otherwise each id is a line, separated by tabs: id, status, progress, then the error or the
    URLs of the pictures, which the service keeps for 24 hours. With `--json` each id is an object: `asked`, `id`,
    `client_business_id`, `status`, `raw_status`, `progress`, `created_at`, `completed_at`, `expires_at`, `urls`,
    `error`, `billing`.

    The exit code is 0 if every task was found, a failed one too, and 1 if an id is unknown or no answer came. For
    the others see `toapis --help`.
    """
    if not ids:
        raise UsageError(["no ids: give at least one task id or client_business_id"])
    output = _output(make_screen(quiet=False))
    return asyncio.run(show_status(ids, base_url=base_url, as_json=json, output=output))


@app.command
def simulate(
    *,
    port: Annotated[
        int, Parameter(validator=validators.Number(gte=0, lte=65535), help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 0,
    time_factor: Annotated[
        float, Parameter(validator=validators.Number(gt=0), help="How many times as fast as the real service.")
    ] = 1.0,
) -> int:
    """Run an imitation of the service on this machine until Ctrl-C, to try programs without a key and without cost.

    Prints two lines to paste into the shell in which you run your program. They set `TOAPIS_BASE_URL` and
    `TOAPIS_API_KEY`. Ctrl-C is the ordinary way to end it: the exit code is 0.
    """
    screen = make_screen(quiet=False)
    return asyncio.run(serve(port=port, time_factor=time_factor, output=_output(screen), screen=screen))


def _output(screen: Screen) -> Output:
    def lost(error: OSError) -> None:
        reason = "nobody reads it any more" if isinstance(error, BrokenPipeError) else str(error)
        screen.report(f"Standard output cannot be written ({clean(reason)}); its further lines are dropped.")

    return Output(lost)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
