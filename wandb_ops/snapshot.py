"""A project at one moment: one row per run, the best of each metric, and what changed since last time."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from wandb_ops.errors import UsageError
from wandb_ops.export.keepers import iso, keeper
from wandb_ops.export.places.places import placed
from wandb_ops.export.request.limit import CONCURRENCY, LimitedTransport
from wandb_ops.export.request.scope import project_of, project_url
from wandb_ops.export.rows.metadata import origin
from wandb_ops.export.rows.runs import runs_chunk
from wandb_ops.export.rows.spool import TableSpool
from wandb_ops.export.runs.listing import Listing
from wandb_ops.export.snapshots.figures import Comparison, Figures
from wandb_ops.export.snapshots.metrics import HistoryMetrics
from wandb_ops.export.snapshots.snapshots import BestRun, Goal, MetricChange, Snapshot

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa

    from wandb_ops.export.snapshots.snapshots import Goals
    from wandb_ops.public.api import Api
    from wandb_ops.transport.session import Transport

__all__ = ["BestRun", "Goal", "MetricChange", "Snapshot", "SnapshotFormat", "take_snapshot"]

logger = logging.getLogger("wandb_ops.snapshot")

SnapshotFormat = Literal["parquet", "delta"]
_BATCH_ROWS = 4096


def take_snapshot(
    api: Api,
    *,
    project: str,
    entity: str | None = None,
    to: str | os.PathLike[str] | None = None,
    metrics: Mapping[str, Goal | Sequence[Goal]] | Iterable[tuple[str, Goal | Sequence[Goal]]] = (),
    filters: Mapping[str, Any] | None = None,
    at: datetime | None = None,
    format: SnapshotFormat = "parquet",
    report: str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Snapshot:
    """Look at every run of a project once, and write what was seen.

    A snapshot is compared with the latest earlier one in the same folder that covers the same project with
    the same filters. The same `at` writes the same file again; a project needs a folder of its own.

    Args:
        api: The client.
        project: Project name, or "entity/project".
        entity: User or team; None for the client's default.
        to: Folder or URL; None writes no file.
        metrics: Summary keys, and whether the least ("min") or the greatest ("max") value is best; "last" and
            "mean" rank nothing and show each run's last value and mean, by its summary or else by its whole
            history. One key may have several. A dot reaches into nested values ("loss.min"). NaN and infinite
            values never win.
        filters: Only runs that match, in W&B's filter language.
        at: The moment the snapshot is for, with a time zone; None for now. Cut to whole seconds. An
            orchestrator passes the time of its own run, so that a retry finds its own file again.
        format: "parquet" for one file per snapshot; "delta" adds rows to the table `snapshots` of the lake
            `to`, with a column `delta.METRIC` for each metric: the change since the snapshot before.
        report: Path or URL of an HTML page to write: charts and a table, with nothing to load.
        storage_options: Options of the store that `to` is in, as for `export_project`; a report whose URL
            begins alike is written with the same.

    Raises:
        UsageError: A goal that there is not, a time without a zone, or a folder whose file of that
            time belongs to another project.
        OutputError: The file could not be written; the old one stands.
    """
    goals = _goals(metrics)
    moment = _moment(at)
    entity, project = project_of(api, project, entity)
    settings = api.transport.settings
    scope = {
        "kind": "snapshot",
        "base_url": origin(settings.base_url),
        "entity": entity,
        "project": project,
        "filters": dict(filters) if filters else None,
    }
    left_out: Counter[str] = Counter()
    place = keeper(None if to is None else placed(to, storage_options), format, scope, moment, goals)
    before, previous = place.before(left_out)
    transport = LimitedTransport(api.transport, CONCURRENCY)
    histories = HistoryMetrics(transport, goals, before, left_out)
    spool = _rows(transport, entity, project, filters, moment, left_out, histories)
    figures = Figures(spool.tables(), goals)
    earlier = None if before is None else Figures(_batches(before), goals)
    comparison = Comparison(figures, earlier, lambda row: _about(spool, row))
    size = place.put(spool, comparison)
    snapshot = Snapshot(
        entity=entity,
        project=project,
        url=project_url(settings.app_url, entity, project),
        at=iso(moment),
        uri=place.uri,
        runs=spool.rows,
        rows=spool.rows,
        bytes=size,
        metrics=tuple(dict.fromkeys(name for name, _ in goals)),
        states=_states(spool),
        best=comparison.best_runs(left_out),
        changes=comparison.changes(),
        new_runs=comparison.new_runs,
        previous=previous,
        left_out=dict(left_out),
        arrow=spool.table,
    )
    if report is not None:
        page = placed(report, storage_options if _same_store(report, to) else None)
        written = _report(snapshot, spool, figures, earlier, page)
        snapshot = replace(snapshot, report=written, arrow=spool.table)
    logger.info("snapshot of %s/%s at %s: %d runs", entity, project, snapshot.at, snapshot.runs)
    return snapshot


def _rows(
    transport: Transport,
    entity: str,
    project: str,
    filters: Mapping[str, Any] | None,
    moment: datetime,
    left_out: Counter[str],
    histories: HistoryMetrics,
) -> TableSpool:
    """One row per run, oldest first; in memory are a page of them at a time."""
    spool = TableSpool()
    spool.add(histories.added_to(runs_chunk((), left_out, at=moment), ()))
    for page in Listing(transport, entity, project, filters).pages():
        rows = runs_chunk((one.run for one in page.runs), left_out, at=moment)
        spool.add(histories.added_to(rows, page.runs))
    return spool


def _batches(table: pa.Table) -> Iterator[pa.Table]:
    import pyarrow as pa

    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        yield pa.Table.from_batches([batch])


def _about(spool: TableSpool, row: int) -> dict[str, Any]:
    found = spool.row(row, ("run_id", "display_name", "url"))
    return {**found, "display_name": found["display_name"] or found["run_id"]}


def _same_store(one: object, other: object) -> bool:
    """Whether two URLs lead to the same kind of store, so that the options of one fit the other."""
    schemes = [str(place).partition("://")[0] for place in (one, other) if "://" in str(place)]
    return len(schemes) == 2 and schemes[0] == schemes[1]


def _report(
    snapshot: Snapshot, spool: TableSpool, now: Figures, before: Figures | None, to: str | os.PathLike[str]
) -> str:
    from wandb_ops.export.snapshots.report import COLUMNS, snapshot_page, write_page

    values = {pair: found.to_pylist() for pair, found in now.values.items()}
    earlier = {} if before is None else {pair: before.by_run(pair) for pair in values}
    return write_page(snapshot_page(snapshot, spool.table(COLUMNS), values, earlier), to)


def _goals(
    metrics: Mapping[str, Goal | Sequence[Goal]] | Iterable[tuple[str, Goal | Sequence[Goal]]],
) -> Goals:
    """Pairs of metric and goal, each once."""
    pairs: dict[tuple[str, Goal], None] = {}
    for name, given in metrics.items() if isinstance(metrics, Mapping) else metrics:
        for goal in (given,) if isinstance(given, str) else tuple(given):
            if goal not in get_args(Goal):
                raise UsageError(f"Of {name!r} there is the 'min', 'max', 'last' and 'mean', not {goal!r}")
            pairs[name, cast("Goal", goal)] = None
    return tuple(pairs)


def _moment(at: datetime | None) -> datetime:
    if at is None:
        at = datetime.now(UTC)
    if at.tzinfo is None:
        raise UsageError("A snapshot's time needs a time zone", hint="Write at.replace(tzinfo=UTC).")
    return at.astimezone(UTC).replace(microsecond=0)


def _states(spool: TableSpool) -> dict[str, int]:
    states: Counter[Any] = Counter()
    for rows in spool.tables():
        states.update(rows.column("state").to_pylist())
    return dict(sorted(states.items()))
