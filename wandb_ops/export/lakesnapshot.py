"""Snapshots as rows of one Delta table: every project, every moment, ready to be queried over time."""

from __future__ import annotations

import calendar
import json
from typing import TYPE_CHECKING, Any

from wandb_ops.export.lake import Commit, LakeTable, lake_uri, sql_text
from wandb_ops.export.lakecolumns import Part, schema_of
from wandb_ops.export.metadata import fingerprint
from wandb_ops.export.places import table_options
from wandb_ops.export.schema import bits_of_column
from wandb_ops.history.table import key_of_field

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from datetime import datetime

    import pyarrow as pa
    from deltalake import DeltaTable

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

    def before(self, moment: datetime) -> tuple[pa.Table, datetime] | None:
        """The rows of the latest snapshot before `moment`, and its time."""
        import pyarrow.compute as pc

        view = self._table.load()
        if view is None:
            return None
        data = view.to_pyarrow_dataset()
        mine = pc.field("scope") == self._scope
        times = data.to_table(columns=["at"], filter=mine & (pc.field("at") < moment))
        latest: Any = pc.max(times.column("at")).as_py()
        if latest is None:
            return None
        rows = data.to_table(filter=mine & (pc.field("at") == latest)).cast(schema_of(view))
        rows = rows.drop_columns(list(_CONSTANTS))
        names = [key_of_field(f) if f.name.endswith("~") else f.name for f in rows.schema]
        return rows.rename_columns(names), latest

    def put(self, rows: pa.Table, moment: datetime) -> None:
        """Add the rows of `moment`; the same moment again replaces them, in one commit."""
        import pyarrow.compute as pc

        number = calendar.timegm(moment.timetuple())
        name = f"snapshot:{self._scope}"
        at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        predicate = f"scope = {sql_text(self._scope)} AND snapshot = {sql_text(at)}"
        constants = {**self._constants, "snapshot": at}
        steps: list[int] = []

        def decide(view: DeltaTable | None) -> Commit | None:
            version = -1 if view is None else view.version()
            if steps and version > steps[-1] and view is not None and _last_is(view, name, number):
                return None
            steps.append(version)
            there = view is not None and _count(view, mine) > 0
            columns = enumerate(rows.schema)
            bits = {one.name: bits_of_column(one, rows.column(place)) for place, one in columns}
            part = Part(lambda: iter([rows]), rows.schema, bits, constants)
            return Commit([part], {name: number}, predicate if there else None)

        mine = (pc.field("scope") == self._scope) & (pc.field("snapshot") == at)
        self._table.commit(decide)


def _count(view: DeltaTable, mine: Any) -> int:
    return int(view.to_pyarrow_dataset().count_rows(filter=mine))


def _last_is(view: DeltaTable, name: str, number: int) -> bool:
    return view.transaction_version(name) == number
