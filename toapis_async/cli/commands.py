"""The commands, their options and their help.

A command imports what it does when it is called: `--help` and a mistake in the options need none of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators

from .app import app, finish, output, shows_paths
from .display import make_screen
from .exits import UsageError
from .options import JOURNAL_NAME, MAX_IN_FLIGHT, Options
from .parameters import BaseUrl, Gallery, Json, MaxInFlight, Model, Number, Quiet, References, RetryFailed, Size
from .text import clean


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
    journal: Annotated[
        Path | None,
        Parameter(
            help=f"File that records every task before it is paid for. If left out: {JOURNAL_NAME} in the --out folder."
        ),
    ] = None,
    no_journal: Annotated[
        bool, Parameter(show_default=False, help="Record nothing: what was generated before is generated again.")
    ] = False,
    retry_failed: RetryFailed = False,
    model: Model = None,
    size: Size = None,
    n: Number = None,
    image: References = None,
    max_in_flight: MaxInFlight = MAX_IN_FLIGHT,
    base_url: BaseUrl = None,
    gallery: Gallery = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Generate pictures and save each as soon as it is finished.

    Each prompt is an item. All items are checked before anything is sent. A file is UTF-8 text:

    - `.txt` and `-`: one prompt a line; blank lines are skipped.
    - `.csv` and `.tsv`: the first row names the columns. `prompt` is needed; `key`, `model`, `size`, `n` and `image`
      (files and URLs separated by spaces; a file with a space in its name stands alone) are optional; other columns
      are ignored. In `.tsv` a quote is an ordinary character.
    - `.jsonl`: each line a string (the prompt) or an object with `prompt` and, if you like, `key`, `model`, `size`,
      `n`, `images`, `metadata`, `extra`, `client_business_id`, `callback_url`.

    Reference pictures are files (jpeg, png or webp, at most 10 MB; relative names are looked for in the current
    folder), each uploaded once, or URLs that the service can reach.

    The journal makes a run repeatable: the same command goes on where the last one ended, however it ended, and what
    that one paid for is not paid for again. `toapis resume` does the same without the prompts, and
    `toapis status --journal` tells how far a run is. With `--simulate` there is no journal.

    The `key` is your name for an item in the journal and in the output of `--json`. Keys must differ. An item without
    one gets a key that stands for its request, or, where there is no journal, the next free number from 0.

    Pictures are saved as KEY-INDEX with the extension of their format, beside `manifest.jsonl`, which has a line about
    each item: its prompt, parameters, task, files, times and cost. Their paths go to stdout, one a line (but
    not where stdout and the progress are on the same terminal). Progress goes to stderr.

    With `--json` stdout gets an object for each item instead, when it ends: `key`, `outcome`, `prompt`, `model`,
    `task_id`, `client_business_id`, `files`, `urls`, `error`, `download_error`, `billing`, `replayed` (an earlier run
    ended it). The outcome is `completed`, `failed`, `timed_out` (not finished 30 minutes after it was accepted) or
    `unresolved` (perhaps accepted, but not found). When the run ends early, it is also `submitted` (still running) or
    `posting` (perhaps accepted) for tasks it leaves behind. Items without an object cost nothing, or are in the
    journal.

    Ctrl-C sends nothing more, waits for the answers to requests on their way (at most 75 seconds), prints the ids of
    all unfinished tasks, and the command to go on with. The tasks go on at the service and stay paid for. For the exit
    codes see `toapis --help`.
    """
    from .generate import generate_all
    from .inputs import read_input
    from .plan import make_plan

    if simulate and base_url is not None:
        raise UsageError(["--simulate and --base-url exclude each other"])
    if simulate and journal is not None:
        raise UsageError(["--simulate and --journal exclude each other: the tasks of the simulator end with it"])
    if no_journal and journal is not None:
        raise UsageError(["--journal and --no-journal exclude each other"])
    if retry_failed and (simulate or no_journal):
        raise UsageError(["--retry-failed needs a journal: without one nobody knows what failed"])
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
        journal=None if simulate or no_journal else journal or out / JOURNAL_NAME,
        retry_failed=retry_failed,
        simulate=simulate,
        base_url=base_url,
        max_in_flight=max_in_flight,
        gallery=gallery,
        as_json=json,
        paths=shows_paths(screen),
    )
    return finish(generate_all(plan, options, screen, output(screen)))


@app.command(usage="Usage: toapis resume FILE [OPTIONS]")
def resume(
    file: Annotated[Path, Parameter(help="The journal of an earlier `toapis generate`.")],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="Folder for the pictures. If left out: the folder of the journal.")
    ] = None,
    retry_failed: RetryFailed = False,
    max_in_flight: MaxInFlight = MAX_IN_FLIGHT,
    base_url: BaseUrl = None,
    gallery: Gallery = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Go on with a run that ended early; its journal has all it needs.

    What was never sent is sent, what was accepted is waited for, what may have been accepted is looked up. Pictures
    that are in the folder already are not fetched again. Reference pictures of what is to be sent must lie where they
    were, unchanged. Output and exit codes are those of `toapis generate`.
    """
    from .resume import resume_all

    screen = make_screen(quiet=quiet)
    options = Options(
        out=file.parent if out is None else out,
        journal=file,
        retry_failed=retry_failed,
        base_url=base_url,
        max_in_flight=max_in_flight,
        gallery=gallery,
        as_json=json,
        paths=shows_paths(screen),
    )
    return finish(resume_all(options, screen, output(screen)))


@app.command(usage="Usage: toapis status ID... [OPTIONS]\n       toapis status --journal FILE [--json]")
def status(
    *ids: Annotated[str, Parameter(help="Ids as `toapis generate` prints them: task ids or client_business_ids.")],
    journal: Annotated[
        Path | None, Parameter(help="Tell what this journal holds instead; needs no key and asks nobody.")
    ] = None,
    base_url: BaseUrl = None,
    json: Json = False,
) -> int:
    """Ask once for the state of each task, which costs nothing, or tell how far the run of a journal is.

    A terminal gets a table. Otherwise each id is a line, separated by tabs: id, status, progress, then the error or the
    URLs of the pictures, which the service keeps for 24 hours. With `--json` each id is an object: `asked`, `id`,
    `client_business_id`, `status`, `raw_status`, `progress`, `created_at`, `completed_at`, `expires_at`, `urls`,
    `error`, `billing`.

    A journal is told as tables on a terminal, else, and with `--json`, as one object: `journal`, `base_url`, `total`,
    `counts` (of the states `queued`, `posting`, `submitted`, `unresolved`, `completed` and `failed`) and `unfinished`,
    a list of objects with `key`, `state`, `task_id`, `client_business_id`, `prompt`, `model` and `since`.

    The exit code is 0 if every task was found, a failed one too, or the journal was read, and 1 if an id is unknown or
    no answer came. For the others see `toapis --help`.
    """
    from .overview import show_journal
    from .status import show_status

    results = output(make_screen(quiet=False))
    if journal is not None:
        if ids or base_url is not None:
            raise UsageError(["--journal asks nobody: it excludes ids and --base-url"])
        return show_journal(journal, as_json=json, output=results)
    if not ids:
        raise UsageError(["no ids: give at least one task id or client_business_id, or --journal FILE"])
    return finish(show_status(ids, base_url=base_url, as_json=json, output=results))


@app.command(usage="Usage: toapis fetch ID... [OPTIONS]")
def fetch(
    *ids: Annotated[str, Parameter(help="Ids as `toapis generate` prints them: task ids or client_business_ids.")],
    out: Annotated[Path, Parameter(help="Folder for the pictures; made if it does not exist.")] = Path("out"),
    wait: Annotated[bool, Parameter(show_default=False, help="Wait for tasks that still run.")] = False,
    overwrite: Annotated[bool, Parameter(show_default=False, help="Fetch pictures again that are there.")] = False,
    base_url: BaseUrl = None,
    json: Json = False,
) -> int:
    """Save the pictures of tasks that exist already, which costs nothing.

    They are saved as ID-INDEX with the extension of their format, and their paths go to stdout, one a line. With
    `--json` each id is an object: `asked`, `id`, `client_business_id`, `status`, `files`, `urls`, `error`, `billing`.
    The service keeps pictures for 24 hours.

    The exit code is 0 if all pictures are there, 1 if a task failed, is unknown or could not be saved, and 4 if nothing
    did but a task still runs. For the others see `toapis --help`.
    """
    from .fetch import Wish, fetch_all

    if not ids:
        raise UsageError(["no ids: give at least one task id or client_business_id"])
    wish = Wish(ids=ids, out=out, wait=wait, overwrite=overwrite, base_url=base_url, as_json=json)
    screen = make_screen(quiet=False)
    return finish(fetch_all(wish, screen, output(screen)))


@app.command(name="gallery", usage="Usage: toapis gallery [DIR]")
def make_page(
    directory: Annotated[Path, Parameter(name="DIR", help="Folder of an earlier `toapis generate`.")] = Path("out"), /
) -> int:
    """Write a page to look at the pictures of a folder: `index.html`, made from the `manifest.jsonl` beside them.

    It shows every picture with its prompt, model and duration, and what failed with its reason. It has a filter, and
    enlarges a picture on a click or Enter; the arrow keys go on from there, Escape goes back. Any browser opens it
    from the disk; it loads nothing but the pictures beside it, so the folder can be moved or given away as a whole.

    The path of the page goes to stdout. An earlier page is replaced; an `index.html` of your own is not.
    """
    from .gallery import show_gallery

    screen = make_screen(quiet=False)
    return show_gallery(directory, output(screen), screen)


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
    from .simulate import serve

    screen = make_screen(quiet=False)
    return finish(serve(port=port, time_factor=time_factor, output=output(screen), screen=screen))
