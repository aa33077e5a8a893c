"""Snapshots as rows of one Delta table: every project, every moment, ready to be queried over time."""

from __future__ import annotations

import calendar
import json
from typing import TYPE_CHECKING, Any, cast

from wandb_ops.export.lake.columns import Part, schema_of
from wandb_ops.export.lake.lake import Commit, LakeTable, lake_uri, sql_text
from wandb_ops.export.lake.scan import batches_of, gently
from wandb_ops.export.places.places import table_options
from wandb_ops.export.rows.metadata import fingerprint
from wandb_ops.export.rows.schema import bits_of_column
from wandb_ops.export.snapshots.metrics import compared_by
from wandb_ops.history.table import key_of_field
from wandb_ops.history.unify import KIND

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    import pyarrow as pa
    from deltalake import DeltaTable

    from wandb_ops.export.rows.spool import TableSpool
    from wandb_ops.export.snapshots.snapshots import Goals

_CONSTANTS = ("entity", "project", "scope", "filters", "snapshot")


class SnapshotTable:
    """The table `snapshots` of a lake, as far as one scope (project, server, filters) is concerned."""

    def __init__(self, to: str | os.PathLike[str], scope: Mapping[str, Any]) -> None:
        self._table = LakeTable(lake_uri(to), "snapshots", options=table_options(to))
        self.uri = self._table.uri
        self._scope = fingerprint(scope)
        self._constants = {
            "entity": str(scope["entity"]),
            "project": str(scope["project"]),
            "scope": self._scope,
            "filters": json.dumps(scope["filters"], sort_keys=True) if scope["filters"] else "",
        }

    def before(self, moment: datetime, goals: Goals) -> tuple[pa.Table, datetime] | None:
        """What the latest snapshot before `moment` is compared by, and its time."""
        import pyarrow as pa
        import pyarrow.compute as pc

        view = self._table.load()
        if view is None:
            return None
        mine = pc.field("scope") == self._scope
        latest: Any = None
        for batch in batches_of(view, columns=["at"], where=mine & (pc.field("at") < moment)):
            latest = max(filter(None, (latest, pc.max(batch.column("at")).as_py())), default=None)
        if latest is None:
            return None
        schema = schema_of(view)
        names = {key_of_field(f) if f.name.endswith("~") else f.name: f.name for f in schema}
        plain = pa.schema([schema.field(own).with_name(name) for name, own in names.items()])
        wanted = compared_by(plain, goals)
        columns = [names[name] for name in wanted]
        rows = view.to_pyarrow_dataset().to_table(
            columns=columns, filter=mine & (pc.field("at") == latest), **gently()
        )
        return rows.cast(pa.schema([schema.field(own) for own in columns])).rename_columns(wanted), latest

    def put(self, spool: TableSpool, deltas: Mapping[str, Any], moment: datetime) -> None:
        """Add the rows of `moment`; the same moment again replaces them, in one commit.

        Args:
            spool: The rows.
            deltas: Columns to add to them: name -> array of floats.
            moment: The time that they are for.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        number = calendar.timegm(moment.timetuple())
        name = f"snapshot:{self._scope}"
        at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        predicate = f"scope = {sql_text(self._scope)} AND snapshot = {sql_text(at)}"
        constants = {**self._constants, "snapshot": at}
        added = [pa.field(one, pa.float64(), metadata=cast("Any", {KIND: b"float"})) for one in deltas]
        schema = pa.schema([*spool.schema, *added])
        bits = spool.bits() | {
            one.name: bits_of_column(one, pa.chunked_array([deltas[one.name]])) for one in added
        }
        steps: list[int] = []

        def tables() -> Iterator[pa.Table]:
            start = 0
            for rows in spool.tables():
                columns = [values.slice(start, rows.num_rows) for values in deltas.values()]
                yield pa.table([*rows.columns, *columns], schema=schema)
                start += rows.num_rows

        def decide(view: DeltaTable | None) -> Commit | None:
            version = -1 if view is None else view.version()
            if steps and version > steps[-1] and view is not None and _last_is(view, name, number):
                return None
            steps.append(version)
            there = view is not None and _count(view, mine) > 0
            part = Part(tables, schema, bits, constants)
            return Commit([part], {name: number}, predicate if there else None)

        mine = (pc.field("scope") == self._scope) & (pc.field("snapshot") == at)
        self._table.commit(decide)


def _count(view: DeltaTable, mine: Any) -> int:
    return int(view.to_pyarrow_dataset().count_rows(filter=mine))


def _last_is(view: DeltaTable, name: str, number: int) -> bool:
    return view.transaction_version(name) == number
