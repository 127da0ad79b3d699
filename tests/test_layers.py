"""The folders are layers: each module imports only from layers above it in the map of `__init__`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import toapis_async

ROOT = Path(toapis_async.__file__).parent
LAYERS = [
    "_version",
    "models",
    "errors",
    "outcomes",
    "_config",
    "_protocol",
    "_schedule",
    "instrumentation",
    "_http",
    "_files",
    "_journal",
    "_submission",
    "_unfinished",
    "_watch",
    "_batch",
    "_single",
    "_parts",
    "_opening",
    "_session",
    "testing",
    "cli",
]
PURE = {"_protocol", "_schedule", "models", "errors", "outcomes"}
IMPURE = {"asyncio", "anyio", "aiohttp", "socket", "time", "random", "os", "threading"}


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Yield the absolute name of everything a module imports, also under TYPE_CHECKING."""
    package = ["toapis_async", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{name}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_layers_above(path: Path) -> None:
    layer = layer_of(path)
    below = set(LAYERS[LAYERS.index(layer) + 1 :])
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != "toapis_async":
            continue
        if parts[1] not in LAYERS:  # `from toapis_async import Name`: only for the layers nothing else uses
            assert layer in {"testing", "cli"}, name
        assert parts[1] not in below, f"{layer} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_pure_layers_know_no_clock_socket_or_randomness(path: Path) -> None:
    if layer_of(path) in PURE:
        assert not {name.split(".")[0] for name in imported(path)} & IMPURE


def test_only_the_converter_knows_cattrs() -> None:
    users = {path.name for path in modules() if any(name.split(".")[0] == "cattrs" for name in imported(path))}
    assert users == {"converter.py"}


def test_the_simulator_shares_no_code_with_the_client() -> None:
    for path in (ROOT / "testing").rglob("*.py"):
        foreign = [name for name in imported(path) if name.startswith("toapis_async.")]
        assert all(name.startswith("toapis_async.testing") for name in foreign), path


def test_every_layer_is_on_the_map() -> None:
    assert {layer_of(path) for path in modules()} == set(LAYERS)
    assert toapis_async.__doc__ is not None
    assert all(layer in toapis_async.__doc__ for layer in LAYERS if layer not in {"_version", "_config"})
