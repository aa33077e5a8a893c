"""The table of a project's runs as it grows from export to export; runs that are gone stay in it, flagged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.export.listing import still_there
from wandb_ops.export.runs import runs_table
from wandb_ops.export.schema import concat

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from wandb_ops.export.listing import Listed
    from wandb_ops.transport.session import Transport

DELETED = "deleted_upstream"


def merged_runs(
    transport: Transport, entity: str, project: str, listed: Sequence[Listed], old: pa.Table | None
) -> tuple[pa.Table, tuple[str, ...], dict[str, int]]:
    """The listed runs, and those of an earlier table that are listed no more.

    A run may be missing because filters leave it out or because it was deleted: the server is asked which, a
    hundred runs per request.

    Returns:
        The table, sorted by creation and id; ids of runs deleted upstream; reason -> values left out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    fresh, left_out = runs_table(item.run for item in listed)
    fresh = _flagged(fresh, set())
    parts, gone = [fresh], set[str]()
    if old is not None:
        known: list[Any] = fresh.column("run_id").to_pylist()
        kept = old.filter(pc.invert(pc.is_in(old.column("run_id"), pa.array(known, pa.string()))))
        if kept.num_rows:
            names: list[Any] = kept.column("run_id").to_pylist()
            gone = set(names) - still_there(transport, entity, project, names)
            parts.append(_flagged(kept, gone))
    table = concat(parts).sort_by([("created_at", "ascending"), ("run_id", "ascending")])
    return table, tuple(sorted(gone)), left_out


def _flagged(table: pa.Table, gone: set[str]) -> pa.Table:
    import pyarrow as pa

    place = table.schema.get_field_index(DELETED)
    flags = pa.array([name in gone for name in table.column("run_id").to_pylist()], pa.bool_())
    if place >= 0:
        return table.set_column(place, DELETED, flags)
    return table.add_column(table.schema.get_field_index("last_step") + 1, DELETED, flags)
