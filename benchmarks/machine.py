"""Where and with what a run was made."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from toapis_async import __version__

_PACKAGES: Final = (
    "aiohttp", "anyio", "attrs", "cattrs", "cyclopts", "rich", "openai", "runwayml", "replicate",
    "fal-client", "httpx",
)  # fmt: skip


def description() -> list[tuple[str, str]]:
    """Return names and values."""
    return [
        ("date", f"{datetime.now(UTC):%Y-%m-%d}"),
        ("processor", f"{_processor()}, {len(os.sched_getaffinity(0)) if _is_linux() else os.cpu_count()} cores"),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("toapis-async", __version__),
        *((name, _version(name)) for name in _PACKAGES),
    ]


def _is_linux() -> bool:
    return platform.system() == "Linux"


def _processor() -> str:
    if _is_linux():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
