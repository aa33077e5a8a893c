"""Exact histories become files and tables: atomic, self-describing, skipped when nothing changed.

::

    one run      onerun    a file or a lake: decides whether anything is to be done, reads, reports
    a project    engine    brings runs to a folder or a lake;  crew: the workers;  planning: how much there is
    a snapshot   keepers   where it is kept: a file each, or a table of a lake
    proof        verify    does a file still hold what its footer says;  verify_project: and a whole export

What they are made of, each folder importing only from those before it:

    places/      where exports go, and how a file gets there whole
    rows/        rows and tables on their way to a file, in bounded memory
    request/     what was asked for, and what came of it
    runs/        the runs of a project, and what belongs to them besides their own history
    files/       one file of a history, a folder of a project
    snapshots/   one row per run at one moment
    lake/        Delta Lake tables
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_ops.export.engine import export_project, plan_export
    from wandb_ops.export.lake.care import optimize_lake, vacuum_lake
    from wandb_ops.export.onerun import export_run
    from wandb_ops.export.request.exported import Exported
    from wandb_ops.export.request.project import ExportPlan, NotTaken, ProjectExport
    from wandb_ops.export.verify import Verified, verify_file
    from wandb_ops.export.verify_project import ProjectVerified, verify_export

__all__ = [
    "ExportPlan",
    "Exported",
    "NotTaken",
    "ProjectExport",
    "ProjectVerified",
    "Verified",
    "export_project",
    "export_run",
    "optimize_lake",
    "plan_export",
    "vacuum_lake",
    "verify_export",
    "verify_file",
]

# Who needs one of these modules should not pay for all of them.
_ON_FIRST_USE = {
    "ExportPlan": "request.project",
    "Exported": "request.exported",
    "NotTaken": "request.project",
    "ProjectExport": "request.project",
    "ProjectVerified": "verify_project",
    "Verified": "verify",
    "export_project": "engine",
    "export_run": "onerun",
    "optimize_lake": "lake.care",
    "plan_export": "engine",
    "vacuum_lake": "lake.care",
    "verify_export": "verify_project",
    "verify_file": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ON_FIRST_USE[name]}"), name)
    globals()[name] = value
    return value
