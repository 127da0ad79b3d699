"""The reference of the learned schedule, where it lies beside the tree."""

from __future__ import annotations

import ast
import math
import random
from pathlib import Path
from typing import Any

import pytest

_PATH = Path(__file__).parents[3] / "shared" / "polling_sim.py"
_CLASSES = {"LifeTable", "Adaptive"}
_CONSTANTS = {"_T0", "_RATIO", "_J", "_EDGE", "TYPICAL"}


def _is_wanted(node: ast.stmt) -> bool:
    if isinstance(node, ast.ClassDef):
        return node.name in _CLASSES
    if not isinstance(node, ast.Assign):
        return False
    target = node.targets[0]
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    return all(isinstance(name, ast.Name) and name.id in _CONSTANTS for name in names)


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    """Take the classes out of their simulator, which needs far more than they do."""
    if not _PATH.exists():
        pytest.skip(f"no {_PATH.parent.name}/{_PATH.name} beside the tree; its golden values are tested all the same")
    body = [node for node in ast.parse(_PATH.read_text(encoding="utf-8")).body if _is_wanted(node)]
    found: dict[str, Any] = {"math": math, "random": random}
    exec(compile(ast.Module(body, []), str(_PATH), "exec"), found)
    return found
