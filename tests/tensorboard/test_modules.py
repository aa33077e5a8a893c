"""The modules of the reader stand in one order: none needs, not even for its types, one that needs it."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import wandb_ops.tensorboard

PACKAGE = "wandb_ops.tensorboard"


def needed(path: Path) -> set[str]:
    """The modules of the package that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            inner = (node.module or "").removeprefix(PACKAGE).removeprefix(".")
            found |= {inner} if inner else {alias.name for alias in node.names}
    return found


def test_no_module_of_the_package_is_in_a_circle():
    folder = Path(wandb_ops.tensorboard.__file__).parent
    modules = {path.stem: needed(path) for path in folder.glob("*.py") if path.stem != "__init__"}
    order = list(TopologicalSorter(modules).static_order())  # CycleError names a circle
    assert order.index("tags") < order.index("columns") < order.index("decode") < order.index("sync")
