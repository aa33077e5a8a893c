"""Exact histories become files and tables: atomic, self-describing, skipped when nothing changed.

::

    files     one run -> one file: decides whether anything is to be done, reads, writes, reports
    engine    a project -> a folder or a lake: plans, fetches side by side, names what was not taken
    project   what was asked for, what came of it, and what a destination must offer
    filesink  a project as a folder of files
    lakesink  a project as rows of Delta Lake tables
    lake      Delta Lake tables: many writers, application transactions, widening columns, maintenance
    listing   the runs of a project with all that tells whether they changed
    stream    a history, laid down chunk by chunk and typed as a whole, in bounded memory
    schema    tables that were typed apart, put together
    parquet   Arrow tables -> Parquet whose footer says what it holds
    text      rows -> CSV and JSON lines
    runs      one row per run, its config and summary; projectruns: as it grows from export to export
    runfiles  the files that runs saved
    report    a snapshot as one HTML page
    metadata  what a footer says, and the fingerprint that tells a changed run from an unchanged one
    digest    a checksum of rows, whatever file they stand in
    targets   local path, file:// URL or object store: one way to look at and to publish a file
    atomic    a local file appears whole or not at all
    buffers   numbers of Arrow arrays without pandas
    naming    file names from names that others chose
    limit     so many requests at once, whoever makes them; progress: bars for people who look
    verify    does a file still hold what its footer says; verify_project: and a whole export
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_ops.export.engine import export_project, plan_export
    from wandb_ops.export.files import Exported, export_run
    from wandb_ops.export.lake import optimize_lake, vacuum_lake
    from wandb_ops.export.project import ExportPlan, NotTaken, ProjectExport
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
    "ExportPlan": "project",
    "Exported": "files",
    "NotTaken": "project",
    "ProjectExport": "project",
    "ProjectVerified": "verify_project",
    "Verified": "verify",
    "export_project": "engine",
    "export_run": "files",
    "optimize_lake": "lake",
    "plan_export": "engine",
    "vacuum_lake": "lake",
    "verify_export": "verify_project",
    "verify_file": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ON_FIRST_USE[name]}"), name)
    globals()[name] = value
    return value
