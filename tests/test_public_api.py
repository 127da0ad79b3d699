"""The public surface is a decision."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types

import pytest

import toapis_async
import toapis_async.testing


def public_names(module: types.ModuleType) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }


@pytest.mark.parametrize("module", [toapis_async, toapis_async.testing], ids=lambda module: module.__name__)
def test_all_names_are_exported_and_sorted(module: types.ModuleType) -> None:
    exported = set(module.__all__) - {"__version__"}
    assert len(exported) == len(module.__all__) - ("__version__" in module.__all__)
    modules = {name for name in exported if isinstance(getattr(module, name), types.ModuleType)}
    assert exported - modules == public_names(module)


@pytest.mark.parametrize("name", [name for name in toapis_async.__all__ if not name.startswith("__")])
def test_every_public_class_and_method_is_documented(name: str) -> None:
    thing = getattr(toapis_async, name)
    if not inspect.isclass(thing):
        return
    assert thing.__doc__, name
    for attribute, value in vars(thing).items():
        if not attribute.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{attribute}"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("toapis_async", {"aiohttp", "yarl", "importlib.metadata", "rich"}),
        ("toapis_async.testing", {"aiohttp", "yarl", "importlib.metadata", "rich"}),
        ("toapis_async.testing.pytest_plugin", {"aiohttp", "yarl"}),
    ],
)
def test_importing_does_not_load_what_only_a_session_needs(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
