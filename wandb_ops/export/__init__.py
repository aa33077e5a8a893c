"""Exact histories become files: atomic, self-describing, skipped when nothing changed.

::

    files     one run -> one file: decides whether anything is to be done, reads, writes, reports
    parquet   Arrow table -> Parquet whose footer says what it holds
    text      rows -> CSV and JSON lines
    metadata  what a footer says, and the fingerprint that tells a changed run from an unchanged one
    digest    a checksum of rows, whatever file they stand in
    targets   local path, file:// URL or object store: one way to look at and to publish a file
    atomic    a local file appears whole or not at all
    naming    file names from names that others chose
    verify    does a file still hold what its footer says, and is that what the server has
"""

from __future__ import annotations

from wandb_ops.export.files import Exported, export_run
from wandb_ops.export.verify import Verified, verify_file

__all__ = ["Exported", "Verified", "export_run", "verify_file"]
