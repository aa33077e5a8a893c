"""Where a run or a project is: every way to write it, with defaults filled in.

Runs: `entity/project/run`, `entity/project/runs/run`, `entity/project:run`, `project/run`, `project:run`,
    `run`,
and the address of a run's page in the app. Projects: `entity/project`, `project`, and the address of its
page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_PROJECT = "uncategorized"
_RUN_HINT = "Write a run as entity/project/run."
_SWEEP_HINT = "Write a sweep as entity/project/sweep_id."
_REPORT_HINT = "Write a report as entity/project/reports/Title--ID."
_PROJECT_HINT = "Write a project as entity/project."
#: What follows a project in the app's addresses.
_PAGES = frozenset(
    {"workspace", "overview", "table", "runs", "sweeps", "reports", "artifacts", "jobs", "groups"}
)


@dataclass(frozen=True, slots=True)
class ProjectPath:
    """A project: `entity/project`."""

    entity: str
    project: str

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}"


@dataclass(frozen=True, slots=True)
class RunPath:
    """A run: `entity/project/run_id`."""

    entity: str
    project: str
    run_id: str

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/{self.run_id}"


class Defaults:
    """What fills the gaps of a path.

    Args:
        settings: The `entity`, `project` and `run` of the `Api`.
        default_entity: Asks the server; called only when a path names no entity and neither do the settings.
    """

    def __init__(self, settings: Mapping[str, Any], default_entity: Callable[[], str | None]) -> None:
        self._settings = settings
        self._default_entity = default_entity

    def entity(self, path: str | None, hint: str) -> str:
        entity = self._settings.get("entity") or self._default_entity()
        if not entity:
            raise UsageError(f"{path!r} names no entity, and there is no default one", hint=hint)
        return str(entity)

    def setting(self, name: str) -> str | None:
        value = self._settings.get(name)
        return str(value) if value else None


def parse_run_path(path: str, defaults: Defaults) -> RunPath:
    """The run that `path` names.

    Raises:
        UsageError: It is no run's path, or names no entity or project and there are no defaults.
    """
    return RunPath(*_place(path, defaults, "run", _RUN_HINT))


def parse_sweep_path(path: str, defaults: Defaults) -> tuple[str, str, str]:
    """Entity, project and identifier of the sweep that `path` names, written as those of runs are.

    Raises:
        UsageError: It is no sweep's path, or names no entity or project and there are no defaults.
    """
    return _place(path, defaults, "sweep", _SWEEP_HINT)


def parse_report_path(path: str) -> tuple[str, str, str, str]:
    """Entity, project, title and identifier of the report that a path or an address names.

    The last part is `Title--ID`, as in the app's addresses, or `Title-ID`, or the identifier alone.

    Raises:
        UsageError: It is no report's path.
    """
    parts = _segments(path)
    if len(parts) != 4 or not parts[2].startswith("report") or not all(parts):
        raise UsageError(f"{path!r} is not the path of a report", hint=_REPORT_HINT)
    entity, project, _, last = parts
    title, dashes, identifier = last.rpartition("--")
    if not dashes:
        title, _, identifier = last.rpartition("-")
        if title and not identifier.startswith("Vm"):  # how the identifiers of views begin
            raise UsageError(f"{path!r} ends with no identifier of a report", hint=_REPORT_HINT)
    if not identifier:
        raise UsageError(f"{path!r} ends with no identifier of a report", hint=_REPORT_HINT)
    return entity, project, unquote(title.replace("-", " ")), identifier


def kind_of(path: str) -> str:
    """ "sweep", "report", or "" for the path of something else."""
    parts = _segments(path)
    if len(parts) != 4:
        return ""
    return next((kind for kind in ("sweep", "report") if parts[2].startswith(kind)), "")


def _place(path: str, defaults: Defaults, kind: str, hint: str) -> tuple[str, str, str]:
    if not isinstance(path, str):
        raise UsageError(f"A {kind}'s path is text, not {type(path).__name__}", hint=hint)
    entity: str | None = None
    project: str | None = None
    run_id: str | None
    parts = _segments(path)
    if len(parts) == 4 and parts[2] in {f"{kind}s", kind}:
        entity, project, _, run_id = parts
    elif len(parts) == 3:
        entity, project, run_id = parts
    elif len(parts) == 2 and ":" in parts[1]:
        entity = parts[0]
        project, run_id = parts[1].split(":", 1)
    elif len(parts) == 2:
        project, run_id = parts
    elif len(parts) == 1 and ":" in parts[0]:
        project, run_id = parts[0].split(":", 1)
    elif len(parts) == 1:
        run_id = parts[0]
    elif not parts:
        run_id = defaults.setting("run") if kind == "run" else None
    else:
        raise UsageError(f"{path!r} is not the path of a {kind}", hint=hint)
    project = project if project is not None else defaults.setting("project")
    if not run_id:
        raise UsageError(f"{path!r} names no {kind}", hint=hint)
    if not project:
        raise UsageError(f"{path!r} names no project, and there is no default one", hint=hint)
    if entity == "":
        raise UsageError(f"{path!r} names no entity", hint=hint)
    return entity or defaults.entity(path, hint), project, run_id


def parse_project_path(path: str | None, defaults: Defaults) -> ProjectPath:
    """The project that `path` names; None is the default project.

    Raises:
        UsageError: It is no project's path, or names no entity and there is no default one.
    """
    if path is not None and not isinstance(path, str):
        raise UsageError(f"A project's path is text, not {type(path).__name__}", hint=_PROJECT_HINT)
    parts = _segments(path or "")
    if len(parts) == 3 and parts[2] in _PAGES:
        parts = parts[:2]
    if len(parts) > 2 or "" in parts:
        raise UsageError(f"{path!r} is not the path of a project", hint=_PROJECT_HINT)
    if len(parts) == 2:
        return ProjectPath(parts[0], parts[1])
    project = parts[0] if parts else defaults.setting("project") or DEFAULT_PROJECT
    return ProjectPath(defaults.entity(path, _PROJECT_HINT), project)


def _segments(path: str) -> list[str]:
    """The parts of a path, or of the part of an app's address that names something."""
    text = path.strip("/ ")
    if "://" not in text:
        return [part.strip() for part in text.split("/")] if text else []
    address = urlsplit(text)
    parts = [unquote(part) for part in address.path.split("/") if part]
    if "runs" in parts[2:]:
        at = parts.index("runs", 2)
        if len(parts) > at + 1:
            return [*parts[at - 2 : at], "runs", parts[at + 1]]
        return parts[at - 2 : at]
    page = next((index for index, part in enumerate(parts) if index >= 2 and part in _PAGES), len(parts))
    return parts[max(0, page - 2) : page + 2 if len(parts) > page + 1 else page]
