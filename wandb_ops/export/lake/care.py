"""Looking after a lake: joining small files, deleting what no version needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.export.lake.lake import TABLES, LakeTable, explained_lake, lake_uri
from wandb_ops.export.places.places import placed, table_options

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from deltalake import DeltaTable


def optimize_lake(
    to: str | os.PathLike[str], *, storage_options: Mapping[str, Any] | None = None
) -> dict[str, dict[str, int]]:
    """Join the small files of many commits into large ones; readers see the same rows all along.

    Args:
        to: The lake.
        storage_options: As for `export_project`.

    Returns:
        Table -> {"files_added", "files_removed"}.
    """
    done = {}
    for name, table in _tables(placed(to, storage_options)):
        with explained_lake(table.table_uri, "optimize"):
            metrics = table.optimize.compact()
        done[name] = {"files_added": metrics["numFilesAdded"], "files_removed": metrics["numFilesRemoved"]}
    return done


def vacuum_lake(
    to: str | os.PathLike[str],
    *,
    keep_hours: int = 168,
    dry_run: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> dict[str, list[str]]:
    """Delete files that no version of the last `keep_hours` needs, those that killed writers left among them.

    Args:
        to: The lake.
        keep_hours: Readers of older versions fail afterwards. Less than a week is unsafe while others write.
        dry_run: Only name the files.
        storage_options: As for `export_project`.

    Returns:
        Table -> files.
    """
    done = {}
    for name, table in _tables(placed(to, storage_options)):
        with explained_lake(table.table_uri, "vacuum"):
            done[name] = table.vacuum(
                keep_hours, dry_run=dry_run, enforce_retention_duration=keep_hours >= 168
            )
    return done


def _tables(to: str | os.PathLike[str]) -> Iterator[tuple[str, DeltaTable]]:
    uri = lake_uri(to)
    for name in TABLES:
        table = LakeTable(uri, name, options=table_options(to)).load()
        if table is not None:
            yield name, table
