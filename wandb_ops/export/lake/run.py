"""One run into a lake: the same table, rows and watermark as an export of its project leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from wandb_ops.errors import NotFoundError, OutputError
from wandb_ops.export.lake.columns import schema_of
from wandb_ops.export.lake.lake import LakeTable, transaction
from wandb_ops.export.lake.sink import LakeDestination
from wandb_ops.export.places.places import table_options
from wandb_ops.export.places.targets import explained
from wandb_ops.export.request.exported import Exported, run_url
from wandb_ops.export.request.limit import LimitedTransport
from wandb_ops.export.request.project import NotTaken, ProjectRequest
from wandb_ops.export.runs.listing import Listing

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from wandb_ops.export.runs.listing import Listed
    from wandb_ops.history.ref import RunRef
    from wandb_ops.transport.session import Transport

_PAGES = 8  # pages at once


def export_run_to_lake(
    transport: Transport,
    ref: RunRef,
    to: str | os.PathLike[str],
    *,
    keys: Sequence[str] | None = None,
    force: bool = False,
) -> Exported:
    """Bring a run's history to the table `history` of the lake `to`.

    Raises:
        NotFoundError: There is no such run.
        IncompleteHistory: Fewer rows came than the server says exist.
        OutputError: The store refused.
    """
    transport = LimitedTransport(transport, _PAGES)
    request = ProjectRequest(
        entity=ref.entity,
        project=ref.project,
        to=to,
        format="delta",
        keys=keys,
        include=("history",),
        force=force,
    )
    destination = LakeDestination(transport, request)
    destination.check()
    pages = Listing(transport, ref.entity, ref.project).named([ref.run_id])
    listed = next((one for page in pages for one in page.runs), None)
    if listed is None:
        raise NotFoundError("There is no such run", where=ref.path)
    action: Any = "unchanged"
    if force or destination.standing(listed, "history") is None:
        fetched = destination.fetch(listed, "history", _PAGES)
        if isinstance(fetched, list):
            raise AssertionError("rows wait for their commit")
        try:
            outcome = destination.store([fetched])[0]
            listed = replace(listed, counts=fetched.stream.counts)
        finally:
            fetched.close()
        if isinstance(outcome, NotTaken):
            raise OutputError(outcome.message, where=ref.path)
        action = outcome.action
    return _described(transport, listed, to, destination.uri, action, keys)


def _described(
    transport: Transport,
    listed: Listed,
    to: str | os.PathLike[str],
    lake: str,
    action: Any,
    keys: Sequence[str] | None,
) -> Exported:
    """What the table holds of the run now."""
    import pyarrow.compute as pc

    ref, counts = listed.ref, listed.counts
    table = LakeTable(lake, "history", options=table_options(to))
    with explained(table.uri, "read"):
        view = table.load()
        if view is None:
            raise OutputError("The table is gone", where=table.uri)
        mine = (
            (pc.field("run_id") == ref.run_id)
            & (pc.field("project") == ref.project)
            & (pc.field("entity") == ref.entity)
        )
        schema = schema_of(view)
        steps = "_step" in schema.names
        data = view.to_pyarrow_dataset()
        rows = data.count_rows(filter=mine)
        first, last = _steps(data, mine) if steps else (-1, -1)
    lines = transaction(view, ref.path) or 0
    missing = lines - rows if keys else 0
    return Exported(
        path=ref.path,
        url=run_url(transport.settings.app_url, ref),
        run_id=ref.run_id,
        uri=table.uri,
        format="delta",
        action=cast("Any", action),
        rows=rows,
        bytes=0,
        columns=tuple((one.name, str(one.type)) for one in schema),
        first_step=first,
        last_step=last,
        sha256="",
        complete=bool(counts and counts.ended),
        state=counts.state if counts else listed.run.state,
        left_out={"not asked for": missing} if missing > 0 else {},
    )


def _steps(data: Any, mine: Any) -> tuple[int, int]:
    """First and last step of a run; -1 when no row has one."""
    import pyarrow.compute as pc

    found: list[int] = []
    for batch in data.to_batches(columns=["_step"], filter=mine, batch_readahead=2, fragment_readahead=1):
        ends: Any = pc.min_max(batch.column(0)).as_py()
        found = [int(end) for end in (*found, *ends.values()) if end is not None]
        found = [min(found), max(found)] if found else []
    return (found[0], found[1]) if found else (-1, -1)
