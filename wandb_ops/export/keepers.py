"""Where snapshots are kept: one Parquet file each in a folder, or rows of a lake's table `snapshots`.

There is no index and no state: the one before is found by name or by query, and a file says what it covers.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import UsageError
from wandb_ops.export.places.atomic import Discard
from wandb_ops.export.places.targets import Folder, Target, explained, folder, measure, shown
from wandb_ops.export.rows.buffers import array_of
from wandb_ops.export.rows.metadata import fingerprint
from wandb_ops.export.snapshots.metrics import OWN, compared_by

if TYPE_CHECKING:
    import os
    from collections import Counter
    from collections.abc import Mapping
    from datetime import datetime

    import pyarrow as pa

    from wandb_ops.export.rows.parquet import Footer
    from wandb_ops.export.rows.spool import TableSpool
    from wandb_ops.export.snapshots.figures import Comparison
    from wandb_ops.export.snapshots.snapshots import Goals

logger = logging.getLogger("wandb_ops.snapshot")

_NAME = re.compile(r"snapshot-(\d{8}T\d{6}Z)\.parquet")
_TIME = "%Y%m%dT%H%M%SZ"
_GROUP_ROWS = 4096


class Keeper:
    """Where snapshots are kept; this one keeps none."""

    uri = ""

    def before(self, left_out: Counter[str]) -> tuple[pa.Table | None, str | None]:
        """The rows of the snapshot before, and what to call it."""
        del left_out
        return None, None

    def put(self, spool: TableSpool, comparison: Comparison) -> int:
        """Keep the rows; returns the bytes of the file."""
        del spool, comparison
        return 0


class _Files(Keeper):
    """One file per snapshot in a folder."""

    def __init__(
        self,
        to: str | os.PathLike[str],
        scope: Mapping[str, Any],
        moment: datetime,
        goals: Goals,
    ) -> None:
        self._folder = folder(to)
        self._scope = scope
        self._goals = goals
        self._about = {
            **scope,
            "scope": fingerprint(scope),
            "at": iso(moment),
            "metrics": [list(pair) for pair in goals],
        }
        self._name = f"snapshot-{moment.strftime(_TIME)}.parquet"
        self._file = self._folder.file(self._name)
        self.uri = self._file.uri

    def before(self, left_out: Counter[str]) -> tuple[pa.Table | None, str | None]:
        with explained(self._folder.uri, "read"):
            _refuse_foreign(self._folder, self._name, self._scope)
            earlier = _earlier(self._folder, self._name, self._scope, left_out)
        return (None, None) if earlier is None else (_read(earlier, self._goals), earlier.uri)

    def put(self, spool: TableSpool, comparison: Comparison) -> int:
        del comparison
        return _write(self._file, spool, self._about)


class _Lake(Keeper):
    """Rows of a table that all projects share."""

    def __init__(
        self,
        to: str | os.PathLike[str],
        scope: Mapping[str, Any],
        moment: datetime,
        goals: Goals,
    ) -> None:
        from wandb_ops.export.lake.snapshot import SnapshotTable

        self._table = SnapshotTable(to, scope)
        self._moment = moment
        self._goals = goals
        self.uri = self._table.uri

    def before(self, left_out: Counter[str]) -> tuple[pa.Table | None, str | None]:
        del left_out
        found = self._table.before(self._moment, self._goals)
        return (None, None) if found is None else (found[0], f"{self.uri} at {iso(found[1])}")

    def put(self, spool: TableSpool, comparison: Comparison) -> int:
        deltas = {}
        for metric, goal in self._goals:
            name = f"delta.{metric}".encode("utf-8", "backslashreplace").decode()
            if goal in OWN or name in deltas or name in spool.schema.names:
                name = name.replace("delta.", f"delta.{goal}.", 1)
            deltas[name] = array_of(*comparison.deltas((metric, goal)))
        self._table.put(spool, deltas, self._moment)
        return 0


def keeper(
    to: str | os.PathLike[str] | None,
    format: str,
    scope: Mapping[str, Any],
    moment: datetime,
    goals: Goals,
) -> Keeper:
    """The place that `to` and `format` name.

    Raises:
        UsageError: A format that there is not, or a place that cannot hold snapshots.
    """
    if format not in ("parquet", "delta"):
        raise UsageError(f"There is no format {format!r}", hint="There are parquet and delta.")
    if to is None:
        return Keeper()
    return (_Lake if format == "delta" else _Files)(to, scope, moment, goals)


def iso(moment: datetime) -> str:
    """A moment as text, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _footer(file: Target) -> Footer | None:
    from wandb_ops.export.rows.parquet import read_footer

    with file.open() as source:
        return read_footer(source)


def _refuse_foreign(place: Folder, name: str, scope: Mapping[str, Any]) -> None:
    """Two projects in one folder would take turns in overwriting each other's files."""
    file = place.file(name)
    footer = _footer(file) if file.exists() else None
    if footer is not None and footer.ours and footer.description.get("scope") != fingerprint(scope):
        other = "/".join(str(footer.description.get(part)) for part in ("entity", "project"))
        raise UsageError(
            f"The folder holds a snapshot of {other} for the same moment, of other runs",
            where=file.uri,
            hint="Give each project, and each set of filters, a folder of its own.",
        )


def _earlier(place: Folder, name: str, scope: Mapping[str, Any], left_out: Counter[str]) -> Target | None:
    """The latest snapshot of the same scope before the one called `name`."""
    wanted = fingerprint(scope)
    for other in sorted(filter(_NAME.fullmatch, place.names()), reverse=True):
        if other >= name:
            continue
        file = place.file(other)
        footer = _footer(file)
        if footer is None or not footer.ours:
            left_out["earlier snapshot that is damaged"] += 1
            logger.warning("%s is damaged; an earlier one is compared with", file.uri)
        elif footer.description.get("scope") == wanted:
            return file
    return None


def _read(file: Target, goals: Goals) -> pa.Table:
    import pyarrow.parquet as pq

    with explained(file.uri, "read"), file.open() as source, pq.ParquetFile(source) as parquet:
        names = compared_by(parquet.schema_arrow, goals)
        return parquet.read(names).select(names)  # `read` takes "a.b" for all that begins so


def _write(file: Target, spool: TableSpool, description: Mapping[str, Any]) -> int:
    """Write the rows; the same rows again leave the file as it stands. Returns its size in bytes."""
    from wandb_ops.export.rows.parquet import ParquetSink

    size = 0
    with explained(shown(file.uri), "write"), file.publish() as out:
        with ParquetSink(out, spool.schema, group_rows=_GROUP_ROWS) as sink:
            for rows in spool.tables():
                sink.write(rows)
            sink.close(description)
        out.flush()
        size, digest = measure(out)
        if file.exists():
            with file.open() as standing:
                same = measure(standing) == (size, digest)
            if same:
                raise Discard
    return size
