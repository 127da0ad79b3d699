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

The API key is read from the environment variable `TOAPIS_API_KEY`, the base URL from `--base-url` or from
`TOAPIS_BASE_URL`.

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
_DEFAULTS: Final = Group("Fields of items that do not set their own", sort_key=1)
_BaseUrl = Annotated[
    str | None, Parameter(help="Base URL of the service; TOAPIS_BASE_URL or https://toapis.com/v1 if left out.")
]
_Json = Annotated[
    bool,
    Parameter(name="--json", show_default=False, help="Write JSON objects, one a line, and nothing else to stdout."),
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
    *prompts: Annotated[str, Parameter(help="What to draw, each prompt by itself.")],
    source: Annotated[
        str | None,
        Parameter(
            name="--from",
            allow_leading_hyphen=True,
            help="File with (more) prompts: .txt, .csv, .tsv or .jsonl; - is standard input.",
        ),
    ] = None,
    out: Annotated[Path, Parameter(help="Folder for the pictures.")] = Path("out"),
    simulate: Annotated[
        bool,
        Parameter(
            show_default=False,
            help="Try it on a built-in imitation of the service, twenty times as fast; needs no key, costs nothing.",
        ),
    ] = False,
    model: Annotated[str | None, Parameter(group=_DEFAULTS, help=f"Model id; {_MODEL} if left out.")] = None,
    size: Annotated[str | None, Parameter(group=_DEFAULTS, help="Aspect ratio, such as 16:9.")] = None,
    n: Annotated[int | None, Parameter(name=("--n", "-n"), group=_DEFAULTS, help="Pictures for each prompt.")] = None,
    image: Annotated[
        list[str] | None, Parameter(group=_DEFAULTS, help="URL of a reference picture; may be repeated.")
    ] = None,
    max_in_flight: Annotated[
        int, Parameter(validator=validators.Number(gte=1), help="How many items may be at the service at once.")
    ] = 256,
    base_url: _BaseUrl = None,
    json: _Json = False,
    quiet: Annotated[
        bool, Parameter(show_default=False, help="Write no progress and no line for each item to stderr.")
    ] = False,
) -> int:
    """Generate pictures and save each when it is finished.

    All of the input is checked before anything is sent. Files are UTF-8:

    - `.txt` and `-`: one prompt a line; blank lines are skipped.
    - `.csv` and `.tsv`: the first row names the columns. `prompt` is needed; `key`, `model`, `size`, `n` and `image`
      (URLs separated by spaces) are optional; other columns are ignored. In `.tsv` a quote is an ordinary character.
    - `.jsonl`: each line a string (the prompt) or an object with `prompt` and, if you like, `key`, `model`, `size`,
      `n`, `images`, `metadata`, `extra`, `client_business_id`, `callback_url`.

    Keys must differ; an item without one gets the next free number, from 0.

    The paths of saved files go to stdout, one a line (unless the progress, which shows them too, goes to the same
    terminal). With `--json` stdout gets an object for each item when it ends: `key`, `outcome` (completed, failed,
    timed_out or unresolved), `prompt`, `model`, `task_id`, `client_business_id`, `files`, `urls`, `error`,
    `download_error`, `billing`. Progress goes to stderr.

    Ctrl-C leaves cleanly: requests on their way are finished, then the ids of all unfinished tasks are printed. The
    exit codes are in `toapis --help`: 0 all saved, 1 something failed, 2 nothing sent, 3 key or balance refused,
    4 something left open, 130 interrupted.
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
    *ids: Annotated[str, Parameter(help="Task ids or client_business_ids.")],
    base_url: _BaseUrl = None,
    json: _Json = False,
) -> int:
    """Ask once for the state of each task; costs nothing.

    Writes a table to a terminal, else a line for each id: id, status, progress, then the error or the URLs, separated
    by tabs. With `--json` an object for each: `asked`, `id`, `client_business_id`, `status`, `raw_status`, `progress`,
    `created_at`, `completed_at`, `expires_at`, `urls`, `error`, `billing`.

    A failed task is an answer, with exit code 0; the code is 1 if an id is unknown or a question was not answered.
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
        float, Parameter(validator=validators.Number(gt=0), help="How many times as fast as the service it is.")
    ] = 1.0,
) -> int:
    """Run an imitation of the service on this machine, to try programs against, until Ctrl-C.

    Prints two lines for the shell, with its base URL and the key it accepts. Ctrl-C is the ordinary way to end it: the
    exit code is 0.
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
