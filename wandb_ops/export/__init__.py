"""Exact histories become files and tables: atomic, self-describing, skipped when nothing changed.

::

    one run
      files         -> one file: decides whether anything is to be done, reads, reports;  writing: writes it
      lakerun       -> a lake;  exported: what came of either
    a project
      engine        brings runs to a folder or a lake;  crew: the workers, side by side;  planning: how much
      project       what was asked for, what came of it, and what a destination must offer
      listing       the runs, page by page, with all that tells whether they changed
      together      small histories of many runs in one request
      filesink      a folder of files;  lakesink: rows of Delta Lake tables
      tables        runs, artifacts, lineage: rows of many runs, as they grow from export to export
      loose         what stays files whatever the format: runfiles, artifactfiles (artifactlist knows them)
    a lake
      lake          many writers, application transactions, one commit after the other
      lakecolumns   which column a key goes to, and how it widens;  lakecare: maintenance
      lakesnapshot  the table of snapshots
    a snapshot
      snapshots     what it says;  metrics: of each run, by summary or history
      keepers       where it is kept;  report: as one HTML page
    rows
      stream        a history, laid down chunk by chunk and typed as a whole, in bounded memory
      spool         many tables become one, in bounded memory;  schema: tables typed apart, put together
      runs          one row per run, its config and summary
      parquet       Arrow tables -> Parquet whose footer says what it holds;  text: CSV and JSON lines
      metadata      what a footer says, and the fingerprint that tells a changed run from an unchanged one
      digest        a checksum of rows, whatever file they stand in;  buffers: numbers without pandas
    places
      places        a destination with the options of its store, credentials among them
      targets       local path, file:// URL or object store: one way to look at and to publish a file
      atomic        a local file appears whole or not at all;  tree: folders of downloaded files
      naming        file names from names that others chose;  scope: which project is meant
    limit           so many requests at once, whoever makes them;  progress: bars for people who look
    verify          does a file still hold what its footer says;  verify_project: and a whole export
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wandb_ops.export.engine import export_project, plan_export
    from wandb_ops.export.exported import Exported
    from wandb_ops.export.files import export_run
    from wandb_ops.export.lakecare import optimize_lake, vacuum_lake
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
    "Exported": "exported",
    "NotTaken": "project",
    "ProjectExport": "project",
    "ProjectVerified": "verify_project",
    "Verified": "verify",
    "export_project": "engine",
    "export_run": "files",
    "optimize_lake": "lakecare",
    "plan_export": "engine",
    "vacuum_lake": "lakecare",
    "verify_export": "verify_project",
    "verify_file": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ON_FIRST_USE[name]}"), name)
    globals()[name] = value
    return value
