"""The tables of a project that have rows of many runs, as they grow from export to export.

What is gone upstream stays in them, flagged. They are gathered page by page and wait on disk, so that memory
does not grow with the number of runs.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from wandb_ops.export.rows.runs import runs_chunk
from wandb_ops.export.rows.spool import TableSpool
from wandb_ops.export.runs.artifactlist import lineage_row, lineage_schema, version_row, version_schema
from wandb_ops.export.runs.listing import still_there
from wandb_ops.protocol.idset import IdSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pyarrow as pa

    from wandb_ops.export.rows.spool import Mark
    from wandb_ops.export.runs.artifactlist import Node
    from wandb_ops.export.runs.listing import Listed
    from wandb_ops.transport.session import Transport

DELETED = "deleted_upstream"


class ProjectTable(Protocol):
    """One table of a project: fresh rows, and those of an earlier export that are to stay.

    Attributes:
        name: "runs", "artifacts" or "lineage".
        spool: The rows; after `merge` with those that stay.
    """

    name: str
    spool: TableSpool

    def merge(self, old: Iterable[pa.Table]) -> None:
        """Add what is to stay of an earlier table, in place of what an earlier call added."""
        ...

    def close(self) -> None:
        """Free the disk space."""
        ...


class _Table:
    name = ""
    order: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.spool = TableSpool(self.order)
        self._fresh: Mark | None = None

    def merge(self, old: Iterable[pa.Table]) -> None:
        """See `ProjectTable`."""
        if self._fresh is None:
            self._fresh = self.spool.mark
        self.spool.cut(self._fresh)
        for table in old:
            kept = self._kept(table)
            if kept.num_rows:
                self.spool.add(kept)

    def _kept(self, table: pa.Table) -> pa.Table:
        raise NotImplementedError

    def close(self) -> None:
        """See `ProjectTable`."""
        self.spool.close()


class RunsTable(_Table):
    """One row per run.

    A run may be missing in the list because filters leave it out or because it was deleted: the server is
    asked which, a hundred runs per request.

    Attributes:
        left_out: Reason -> values that could not be taken.
        deleted: Ids of runs that the server has no longer.
    """

    name = "runs"
    order = ("created_at", "run_id")

    def __init__(self, transport: Transport, entity: str, project: str, seen: IdSet) -> None:
        super().__init__()
        self._server = transport, entity, project
        self._seen = seen
        self._there = IdSet()  # runs that the list left out and the server still has
        self.left_out: Counter[str] = Counter()
        self.deleted: set[str] = set()
        self.spool.add(_flagged(runs_chunk((), Counter()), set()))  # columns, whether or not there are runs

    def add(self, listed: Sequence[Listed]) -> None:
        """Rows for some runs."""
        self.spool.add(_flagged(runs_chunk((one.run for one in listed), self.left_out), set()))

    def _kept(self, table: pa.Table) -> pa.Table:
        ids: list[Any] = table.column("run_id").to_pylist()
        kept = _rows(table, [name not in self._seen for name in ids])
        names: list[Any] = kept.column("run_id").to_pylist()
        unknown = [name for name in names if name not in self._there and name not in self.deleted]
        found = still_there(*self._server, unknown)
        for name in unknown:
            if name in found:
                self._there.add(name)
            else:
                self.deleted.add(name)
        return _flagged(kept, self.deleted)


class ArtifactsTable(_Table):
    """One row per version that a run logged or used.

    A version that a listed run logged, and that is listed no more, was deleted.
    """

    name = "artifacts"
    order = ("created_at", "artifact_id")

    def __init__(self, seen: IdSet, folder_of: Callable[[Node], str | None]) -> None:
        super().__init__()
        self._seen = seen
        self._folder_of = folder_of
        self._made: set[str] = set()
        self._used: dict[str, dict[str, Any]] = {}  # rows of versions whose maker was not listed yet
        self.spool.add(version_schema().empty_table())

    def add(self, nodes: Iterable[tuple[str, str, Node]]) -> None:
        """Rows for versions, each once, given as (run id, "output" or "input", node)."""
        import pyarrow as pa

        rows = []
        for run_id, direction, node in nodes:
            name = str(node["id"])
            if name in self._made:
                continue
            if direction == "output":
                self._made.add(name)
                self._used.pop(name, None)
                rows.append(version_row(node, run_id, self._folder_of(node)))
            elif name not in self._used:
                self._used[name] = version_row(node, None, None)
        self.spool.add(pa.Table.from_pylist(rows, schema=version_schema()))

    def merge(self, old: Iterable[pa.Table]) -> None:
        """See `ProjectTable`."""
        import pyarrow as pa

        if self._fresh is None:
            self.spool.add(pa.Table.from_pylist(list(self._used.values()), schema=version_schema()))
        super().merge(old)

    def _kept(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        ids: list[Any] = table.column("artifact_id").to_pylist()
        kept = _rows(table, [name not in self._made and name not in self._used for name in ids])
        makers: list[Any] = kept.column("run_id").to_pylist()
        before: list[Any] = kept.column(DELETED).to_pylist()
        flags = [
            old or (maker is not None and maker in self._seen)
            for maker, old in zip(makers, before, strict=True)
        ]
        return kept.set_column(kept.schema.get_field_index(DELETED), DELETED, pa.array(flags, pa.bool_()))


class LineageTable(_Table):
    """Which run made ("output") and which read ("input") which version."""

    name = "lineage"
    order = ("run_id", "direction", "artifact_id")

    def __init__(self, seen: IdSet) -> None:
        super().__init__()
        self._seen = seen
        self.spool.add(lineage_schema().empty_table())

    def add(self, nodes: Iterable[tuple[str, str, Node]]) -> None:
        """Rows for (run id, "output" or "input", node)."""
        import pyarrow as pa

        rows = [lineage_row(node, run_id, direction) for run_id, direction, node in nodes]
        self.spool.add(pa.Table.from_pylist(rows, schema=lineage_schema()))

    def _kept(self, table: pa.Table) -> pa.Table:
        ids: list[Any] = table.column("run_id").to_pylist()
        return _rows(table, [name not in self._seen for name in ids])


def _rows(table: pa.Table, mask: list[bool]) -> pa.Table:
    import pyarrow as pa

    return table.filter(pa.array(mask, pa.bool_()))


def _flagged(table: pa.Table, gone: set[str]) -> pa.Table:
    import pyarrow as pa

    place = table.schema.get_field_index(DELETED)
    flags = pa.array([name in gone for name in table.column("run_id").to_pylist()], pa.bool_())
    if place >= 0:
        return table.set_column(place, DELETED, flags)
    return table.add_column(table.schema.get_field_index("last_step") + 1, DELETED, flags)
