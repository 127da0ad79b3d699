"""The public surface is a decision."""

from __future__ import annotations

import inspect
import types

import pytest

import toapis_async
import toapis_async.testing


def public_names(module: types.ModuleType) -> set[str]:
    return {
        name
        for name in dir(module)
        if not name.startswith("_") and not isinstance(getattr(module, name), types.ModuleType)
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
