"""Options that several commands have, and those of a request: their types and their help."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from cyclopts import Group, Parameter, validators

from toapis_async import ImageRequest

_MODEL: Final = ImageRequest("").model
_DEFAULTS: Final = Group("Request (an item of a file may set its own)", sort_key=1)

BaseUrl: TypeAlias = Annotated[
    str | None,
    Parameter(
        help="Base URL of the service. If left out: the environment variable TOAPIS_BASE_URL, else"
        " https://toapis.com/v1. In mainland China: https://toapis.cn/v1."
    ),
]
Json: TypeAlias = Annotated[
    bool,
    Parameter(name="--json", show_default=False, help="Write JSON to stdout, one object a line, and nothing else."),
]
Quiet: TypeAlias = Annotated[
    bool,
    Parameter(show_default=False, help="Tell on stderr only what needs attention: no progress, no line for each item."),
]
RetryFailed: TypeAlias = Annotated[
    bool, Parameter(show_default=False, help="Pay anew for what failed in an earlier run of the journal.")
]
Gallery: TypeAlias = Annotated[
    bool,
    Parameter(show_default=False, help="At the end write a page to look at, index.html beside the pictures."),
]
MaxInFlight: TypeAlias = Annotated[
    int, Parameter(validator=validators.Number(gte=1), help="How many tasks may be running at the service at once.")
]

Model: TypeAlias = Annotated[str | None, Parameter(group=_DEFAULTS, help=f"Model id. If left out: {_MODEL}.")]
Size: TypeAlias = Annotated[
    str | None, Parameter(group=_DEFAULTS, help="Aspect ratio; the Grok models take 1:1, 2:3, 3:2, 16:9 and 9:16.")
]
Number: TypeAlias = Annotated[
    int | None,
    Parameter(
        name=("--n", "-n"),
        group=_DEFAULTS,
        help="Pictures for each prompt, each charged; the Grok models take 1, 2 and 4.",
    ),
]
References: TypeAlias = Annotated[
    list[str] | None,
    Parameter(group=_DEFAULTS, help="Reference picture: a file, or a URL. Can be given several times."),
]
