"""How a run is to go, apart from what is in its requests."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attrs import frozen

JOURNAL_NAME: Final = "toapis-journal.db"
MAX_IN_FLIGHT: Final = 256


@frozen(kw_only=True)
class Options:
    """The options of `generate` and `resume`."""

    out: Path
    journal: Path | None = None
    retry_failed: bool = False
    simulate: bool = False
    base_url: str | None = None
    max_in_flight: int = MAX_IN_FLIGHT
    gallery: bool = False
    """Whether a page of the pictures is written at the end."""
    as_json: bool = False
    paths: bool = True
    """Whether the paths of saved files go to standard output, where JSON does not."""
