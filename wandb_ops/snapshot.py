"""A project at one moment: one row per run, the best of each metric, and what changed since last time.

Each snapshot is one Parquet file in a folder, named by its time, or rows of a lake's table `snapshots`. There
is no index and no state: the one before is found by name or by query, and a file says what it covers.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from dataclasses import InitVar, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from wandb_ops.errors import UsageError
from wandb_ops.export.atomic import Discard
from wandb_ops.export.metadata import fingerprint, origin
from wandb_ops.export.runs import path_of_field, runs_table
from wandb_ops.export.scope import project_of, project_url
from wandb_ops.export.targets import Folder, Target, explained, folder, measure, shown

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from wandb_ops.export.parquet import Footer
    from wandb_ops.public.api import Api

logger = logging.getLogger("wandb_ops.snapshot")

Goal = Literal["min", "max"]
SnapshotFormat = Literal["parquet", "delta"]
_NAME = re.compile(r"snapshot-(\d{8}T\d{6}Z)\.parquet")
_TIME = "%Y%m%dT%H%M%SZ"
_PAGE = 200  # runs per request: config and summary come with them


@dataclass(frozen=True, kw_only=True)
class BestRun:
    """The best run of a snapshot, by one metric."""

    metric: str
    goal: Goal
    value: float
    run_id: str
    display_name: str
    url: str
    delta: float | None  # to the best of the previous snapshot; None when there is none


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One row per run at one moment: `table`, and what the rows come to."""

    entity: str
    project: str
    url: str
    at: str  # ISO 8601, UTC
    uri: str  # "" when no file was asked for
    runs: int
    rows: int
    bytes: int
    metrics: tuple[str, ...]
    states: dict[str, int]  # state -> runs
    best: tuple[BestRun, ...]
    new_runs: int  # not in the previous snapshot; all of them when there is none
    previous: str | None  # uri of the snapshot compared with
    report: str = ""  # uri of the page; "" when none was asked for
    left_out: dict[str, int] = field(default_factory=dict)  # reason -> values or runs not taken
    arrow: InitVar[pa.Table | None] = None

    def __post_init__(self, arrow: pa.Table | None) -> None:
        # No field: `asdict` and `==` are about the numbers, and a table is neither JSON nor comparable.
        object.__setattr__(self, "_table", arrow)

    @property
    def table(self) -> pa.Table:
        """The rows, as `wandb_ops.export.runs.runs_table` makes them."""
        return cast("pa.Table", self.__dict__["_table"])


def take_snapshot(
    api: Api,
    *,
    project: str,
    entity: str | None = None,
    to: str | os.PathLike[str] | None = None,
    metrics: Mapping[str, Goal] | Iterable[tuple[str, Goal]] = (),
    filters: Mapping[str, Any] | None = None,
    at: datetime | None = None,
    format: SnapshotFormat = "parquet",
    report: str | os.PathLike[str] | None = None,
) -> Snapshot:
    """Look at every run of a project once, and write what was seen.

    A snapshot is compared with the latest earlier one in the same folder that covers the same project with
    the same filters. The same `at` writes the same file again; a project needs a folder of its own.

    Args:
        api: The client.
        project: Project name, or "entity/project".
        entity: User or team; None for the client's default.
        to: Folder or URL; None writes no file.
        metrics: Summary keys, and whether the least or the greatest value is best. A dot reaches into nested
            values ("loss.min"). NaN and infinite values never win.
        filters: Only runs that match, in W&B's filter language.
        at: The moment the snapshot is for, with a time zone; None for now. Cut to whole seconds. An
            orchestrator passes the time of its own run, so that a retry finds its own file again.
        format: "parquet" for one file per snapshot; "delta" adds rows to the table `snapshots` of the lake
            `to`, with a column `delta.METRIC` for each metric: the change since the snapshot before.
        report: Path or URL of an HTML page to write: charts and a table, with nothing to load.

    Raises:
        UsageError: A goal other than "min" and "max", a time without a zone, or a folder whose file of that
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
    place = _keeper(to, format, scope, moment, goals)
    before, previous = place.before(left_out)
    runs = api.runs(f"{entity}/{project}", filters=dict(filters or {}), order="+created_at", per_page=_PAGE)
    table, dropped = runs_table(runs, at=moment)
    left_out.update(dropped)
    size = place.put(table, before)
    snapshot = Snapshot(
        entity=entity,
        project=project,
        url=project_url(settings.app_url, entity, project),
        at=_iso(moment),
        uri=place.uri,
        runs=table.num_rows,
        rows=table.num_rows,
        bytes=size,
        metrics=tuple(goals),
        states=_states(table),
        best=_best(table, goals, before, left_out),
        new_runs=table.num_rows if before is None else len(_ids(table) - _ids(before)),
        previous=previous,
        left_out=dict(left_out),
        arrow=table,
    )
    if report is not None:
        snapshot = replace(snapshot, report=_report(snapshot, goals, before, report), arrow=table)
    logger.info("snapshot of %s/%s at %s: %d runs", entity, project, snapshot.at, snapshot.runs)
    return snapshot


class _Keeper:
    """Where snapshots are kept; this one keeps none."""

    uri = ""

    def before(self, left_out: Counter[str]) -> tuple[pa.Table | None, str | None]:
        """The rows of the snapshot before, and what to call it."""
        del left_out
        return None, None

    def put(self, table: pa.Table, before: pa.Table | None) -> int:
        """Keep the rows; returns the bytes of the file."""
        del table, before
        return 0


class _Files(_Keeper):
    """One file per snapshot in a folder."""

    def __init__(
        self,
        to: str | os.PathLike[str],
        scope: Mapping[str, Any],
        moment: datetime,
        goals: Mapping[str, Goal],
    ) -> None:
        self._folder = folder(to)
        self._scope = scope
        self._about = {**scope, "scope": fingerprint(scope), "at": _iso(moment), "metrics": goals}
        self._name = f"snapshot-{moment.strftime(_TIME)}.parquet"
        self._file = self._folder.file(self._name)
        self.uri = self._file.uri

    def before(self, left_out: Counter[str]) -> tuple[pa.Table | None, str | None]:
        with explained(self._folder.uri, "read"):
            _refuse_foreign(self._folder, self._name, self._scope)
            earlier = _earlier(self._folder, self._name, self._scope, left_out)
        return (None, None) if earlier is None else (_read(earlier), earlier.uri)

    def put(self, table: pa.Table, before: pa.Table | None) -> int:
        del before
        return _write(self._file, table, self._about)


class _Lake(_Keeper):
    """Rows of a table that all projects share."""

    def __init__(
        self,
        to: str | os.PathLike[str],
        scope: Mapping[str, Any],
        moment: datetime,
        goals: Mapping[str, Goal],
    ) -> None:
        from wandb_ops.export.lakesnapshot import SnapshotTable

        self._table = SnapshotTable(to, scope)
        self._moment = moment
        self._goals = goals
        self.uri = self._table.uri

    def before(self, left_out: Counter[str]) -> tuple[pa.Table | None, str | None]:
        del left_out
        found = self._table.before(self._moment)
        return (None, None) if found is None else (found[0], f"{self.uri} at {_iso(found[1])}")

    def put(self, table: pa.Table, before: pa.Table | None) -> int:
        import pyarrow as pa

        from wandb_ops.history.unify import KIND

        for metric, goal in self._goals.items():
            old = _by_run(before, metric, goal)
            ids: list[Any] = table.column("run_id").to_pylist()
            values = _metric(table, metric, goal)
            changes = [
                None if value is None or run_id not in old else value - old[run_id]
                for run_id, value in zip(ids, values, strict=True)
            ]
            name = f"delta.{metric}".encode("utf-8", "backslashreplace").decode()
            one = pa.field(name, pa.float64(), metadata=cast("Any", {KIND: b"float"}))
            table = table.append_column(one, pa.chunked_array([pa.array(changes, pa.float64())]))
        self._table.put(table, self._moment)
        return 0


def _keeper(
    to: str | os.PathLike[str] | None,
    format: str,
    scope: Mapping[str, Any],
    moment: datetime,
    goals: Mapping[str, Goal],
) -> _Keeper:
    if format not in ("parquet", "delta"):
        raise UsageError(f"There is no format {format!r}", hint="There are parquet and delta.")
    if to is None:
        return _Keeper()
    return (_Lake if format == "delta" else _Files)(to, scope, moment, goals)


def _by_run(table: pa.Table | None, metric: str, goal: Goal) -> dict[str, float]:
    """A metric's value in each run that has a finite one."""
    if table is None:
        return {}
    pairs = zip(table.column("run_id").to_pylist(), _metric(table, metric, goal), strict=True)
    return {str(run): value for run, value in pairs if value is not None and math.isfinite(value)}


def _report(
    snapshot: Snapshot, goals: Mapping[str, Goal], before: pa.Table | None, to: str | os.PathLike[str]
) -> str:
    from wandb_ops.export.report import snapshot_page, write_page

    values = {name: _metric(snapshot.table, name, goal) for name, goal in goals.items()}
    earlier = {name: _by_run(before, name, goal) for name, goal in goals.items()}
    return write_page(snapshot_page(snapshot, values, earlier), to)


def _goals(metrics: Mapping[str, Goal] | Iterable[tuple[str, Goal]]) -> dict[str, Goal]:
    goals = dict(metrics)
    for name, goal in goals.items():
        if goal not in ("min", "max"):
            raise UsageError(f"The best {name!r} is its 'min' or its 'max', not {goal!r}")
    return goals


def _moment(at: datetime | None) -> datetime:
    if at is None:
        at = datetime.now(UTC)
    if at.tzinfo is None:
        raise UsageError("A snapshot's time needs a time zone", hint="Write at.replace(tzinfo=UTC).")
    return at.astimezone(UTC).replace(microsecond=0)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _footer(file: Target) -> Footer | None:
    from wandb_ops.export.parquet import read_footer

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


def _read(file: Target) -> pa.Table:
    import pyarrow.parquet as pq

    with explained(file.uri, "read"), file.open() as source, pq.ParquetFile(source) as parquet:
        return parquet.read()


def _write(file: Target, table: pa.Table, description: Mapping[str, Any]) -> int:
    """Write the rows; the same rows again leave the file as it stands. Returns its size in bytes."""
    from wandb_ops.export.parquet import ParquetSink

    size = 0
    with explained(shown(file.uri), "write"), file.publish() as out:
        with ParquetSink(out, table.schema) as sink:
            sink.write(table)
            sink.close(description)
        out.flush()
        size, digest = measure(out)
        if file.exists():
            with file.open() as standing:
                same = measure(standing) == (size, digest)
            if same:
                raise Discard
    return size


def _ids(table: pa.Table) -> set[Any]:
    return set(table.column("run_id").to_pylist())


def _states(table: pa.Table) -> dict[str, int]:
    states: list[Any] = table.column("state").to_pylist()
    return dict(sorted(Counter(states).items()))


def _best(
    table: pa.Table, goals: Mapping[str, Goal], before: pa.Table | None, left_out: Counter[str]
) -> tuple[BestRun, ...]:
    found = []
    for metric, goal in goals.items():
        values = _metric(table, metric, goal)
        for value in values:
            if value is None:
                left_out[f"{metric}: missing"] += 1
            elif not math.isfinite(value):
                left_out[f"{metric}: not a finite number"] += 1
        place = _winner(values, goal)
        if place is None:
            continue
        value = cast("float", values[place])
        old = [] if before is None else _metric(before, metric, goal)
        old_place = _winner(old, goal)
        row = table.select(["run_id", "display_name", "url"]).slice(place, 1).to_pylist()[0]
        found.append(
            BestRun(
                metric=metric,
                goal=goal,
                value=value,
                run_id=row["run_id"],
                display_name=row["display_name"] or row["run_id"],
                url=row["url"],
                delta=None if old_place is None else value - cast("float", old[old_place]),
            )
        )
    return tuple(found)


def _winner(values: list[float | None], goal: Goal) -> int | None:
    """Place of the best finite value, the earlier run when two are equal; None when there is none."""
    candidates = [i for i, value in enumerate(values) if value is not None and math.isfinite(value)]
    if not candidates:
        return None
    sign = 1.0 if goal == "min" else -1.0
    return min(candidates, key=lambda i: sign * cast("float", values[i]))


def _metric(table: pa.Table, metric: str, goal: Goal) -> list[float | None]:
    """A metric's value of each run: None where it has none, NaN where it is no number.

    A summary key of that name comes first, then nested values; of a metric that W&B summarises under several
    heads (`{"loss": {"min": …, "last": …}}`) the one called like the goal is taken.
    """
    from wandb_ops.history.table import key_of_field, rows_of_batch

    wanted = [("summary", metric), ("summary", *metric.split("."))]
    wanted += [(*path, goal) for path in wanted]
    names = {path_of_field(column): column.name for column in table.schema if path_of_field(column)}
    values: list[float | None] = [None] * table.num_rows
    for path in dict.fromkeys(wanted):
        if path not in names:
            continue
        column = table.select([names[path]])
        key = key_of_field(column.schema.field(0))
        rows = [row for batch in column.to_batches() for row in rows_of_batch(batch)]
        for place, row in enumerate(rows):
            if values[place] is None and row.get(key) is not None:
                values[place] = _number(row[key])
    return values


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
