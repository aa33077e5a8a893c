"""The floors of the package: imports run downward only, and what must stay apart stays apart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import wandb_ops

CORE = Path(wandb_ops.__file__).parent
ROOT = CORE.parent

#: Module or package of wandb_ops -> its floor. A module may import from its own floor and below.
FLOORS = {
    "version": 0,
    "errors": 1,
    "redaction": 1,
    "charts": 1,
    "polling": 2,
    "settings": 2,
    "transport": 3,
    "protocol": 4,
    "history": 5,
    "tensorboard": 5,
    "public": 6,
    "export": 7,
    "snapshot": 7,
    "steps": 8,
    "cli": 9,
}
#: Not part of the tower: the embedded server, and the fixtures that start it.
APART = {"local", "testing"}
ADAPTERS = ("airflow_provider", "dagster_resources")
ORCHESTRATORS = {"airflow", "dagster", "wandb"}
HTTP_LIBRARIES = {"requests", "urllib3", "httpx", "aiohttp", "http"}
#: The doors of the core: its public names (Api, steps, errors, ...), the charts, the version.
FOR_ADAPTERS = {f"wandb_ops.{name}" for name in (*wandb_ops.__all__, "charts", "version")}


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imported(path: Path, *, for_annotations: bool = True) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that a file imports; `from a import b` gives a.b.

    Without `for_annotations`, what is imported under `if TYPE_CHECKING` is left out.
    """
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not for_annotations and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def import_graph(*folders: Path) -> dict[str, set[str]]:
    """Of each module the others that it imports, at its top or in a function."""
    paths = {module_name(path): path for folder in folders for path in sources(folder)}
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        names = [name for _line, name in imported(path, for_annotations=False)]
        found = {name if name in paths else name.rpartition(".")[0] for name in names}
        graph[module] = found & set(paths) - {module}
    return graph


def area(name: str) -> str | None:
    """`wandb_ops.public.runs.run.Run` -> "public"; None for what is no module of wandb_ops."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "wandb_ops" else None


def violations(folder: Path, wrong: object) -> list[str]:
    assert callable(wrong)
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sources(folder)
        for line, name in imported(path)
        if wrong(path, name)
    ]


def test_every_module_has_a_floor() -> None:
    names = {
        path.stem if path.is_file() else path.name
        for path in CORE.iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py")))
    }
    assert names - {"__init__", "__main__", "__pycache__"} <= set(FLOORS) | APART


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_no_import_runs_upward(name: str) -> None:
    package = CORE / name
    found = sources(package) if package.is_dir() else [CORE / f"{name}.py"]

    def upward(imported_name: str) -> bool:
        there = area(imported_name)
        return there in FLOORS and FLOORS[there] > FLOORS[name]

    assert [
        f"{path.relative_to(ROOT)}:{line} imports {imported_name}"
        for path in found
        if path.exists()
        for line, imported_name in imported(path)
        if upward(imported_name)
    ] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Not even from within functions: where objects know each other, `public/late.py` binds their classes."""
    graph = import_graph(CORE, *(ROOT / adapter for adapter in ADAPTERS))
    assert graph["wandb_ops.public.runs.runs"] >= {"wandb_ops.public.late", "wandb_ops.public.runs.run"}
    circle: list[str] = []
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == []


#: Folders of `wandb_ops/export`; what lies beside them uses them all.
EXPORT_FOLDERS = ("places", "rows", "request", "runs", "files", "snapshots", "lake")


def test_a_folder_of_export_imports_only_from_those_before_it() -> None:
    def place(name: str) -> int:
        folder = name.removeprefix("wandb_ops.export").lstrip(".").split(".")[0]
        return EXPORT_FOLDERS.index(folder) if folder in EXPORT_FOLDERS else len(EXPORT_FOLDERS)

    inside = {
        module: {name for name in names if name.startswith("wandb_ops.export.")}
        for module, names in import_graph(CORE).items()
        if module.startswith("wandb_ops.export.")
    }
    assert {place(module) for module in inside} == set(range(len(EXPORT_FOLDERS) + 1))
    assert [
        f"{module} imports {name}"
        for module, names in inside.items()
        for name in names
        if place(name) > place(module)
    ] == []


def test_the_core_knows_no_orchestrator_and_not_the_sdk() -> None:
    assert violations(CORE, lambda _path, name: name.split(".")[0] in ORCHESTRATORS) == []


def test_the_embedded_server_shares_no_code_with_the_client() -> None:
    def shared(_path: Path, name: str) -> bool:
        return area(name) not in {None, "local", "version"} or name == "wandb_ops"

    assert violations(CORE / "local", shared) == []


def test_only_the_cli_and_the_fixtures_start_the_embedded_server() -> None:
    def starts(path: Path, name: str) -> bool:
        inside = path.relative_to(CORE).parts[0].removesuffix(".py")
        return area(name) == "local" and inside not in {"local", "testing", "cli"}

    assert violations(CORE, starts) == []


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_adapters_speak_no_http(adapter: str) -> None:
    assert violations(ROOT / adapter, lambda _path, name: name.split(".")[0] in HTTP_LIBRARIES) == []


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_adapters_reach_the_core_through_the_api_the_steps_the_errors_and_the_charts(adapter: str) -> None:
    def deep(_path: Path, name: str) -> bool:
        if name == "wandb_ops" or not name.startswith("wandb_ops."):
            return False
        return not any(name == door or name.startswith(f"{door}.") for door in FOR_ADAPTERS)

    assert violations(ROOT / adapter, deep) == []


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_each_adapter_knows_its_own_orchestrator_only(adapter: str) -> None:
    others = ORCHESTRATORS - {"airflow" if adapter == "airflow_provider" else "dagster"}
    assert violations(ROOT / adapter, lambda _path, name: name.split(".")[0] in others) == []


def test_operations_are_written_out_and_never_formatted() -> None:
    """A query built from text is an injection; every operation's text is a literal, with variables only."""
    documents = CORE / "protocol" / "documents"
    for path in sources(documents):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.JoinedStr), f"{path.name}:{node.lineno} formats text"
            if isinstance(node, ast.BinOp):
                assert not isinstance(node.op, ast.Mod), f"{path.name}:{node.lineno} formats text"
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"format", "replace", "join"}, f"{path.name}:{node.lineno}"
