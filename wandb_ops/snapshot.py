"""A project at one moment: one row per run, the best of each metric, and what changed since last time.

Each snapshot is one Parquet file in a folder, named by its time. There is no index and no state: the one
before is found by name, and what it covers stands in its own footer.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import quote

from wandb_ops.errors import UsageError
from wandb_ops.export.atomic import Discard
from wandb_ops.export.metadata import fingerprint, origin
from wandb_ops.export.runs import path_of_field, runs_table
from wandb_ops.export.targets import Folder, Target, explained, folder, measure, shown

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from wandb_ops.export.parquet import Footer
    from wandb_ops.public.api import Api

logger = logging.getLogger("wandb_ops.snapshot")

Goal = Literal["min", "max"]
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

    Raises:
        UsageError: A goal other than "min" and "max", a time without a zone, or a folder whose file of that
            time belongs to another project.
        OutputError: The file could not be written; the old one stands.
    """
    goals = _goals(metrics)
    moment = _moment(at)
    entity, project = _project(api, project, entity)
    settings = api.transport.settings
    scope = {
        "kind": "snapshot",
        "base_url": origin(settings.base_url),
        "entity": entity,
        "project": project,
        "filters": dict(filters) if filters else None,
    }
    place = None if to is None else folder(to)
    name = f"snapshot-{moment.strftime(_TIME)}.parquet"
    left_out: Counter[str] = Counter()
    earlier: Target | None = None
    if place is not None:
        with explained(place.uri, "read"):
            _refuse_foreign(place, name, scope)
            earlier = _earlier(place, name, scope, left_out)

    runs = api.runs(f"{entity}/{project}", filters=dict(filters or {}), order="+created_at", per_page=_PAGE)
    table, dropped = runs_table(runs, at=moment)
    left_out.update(dropped)
    before = None if earlier is None else _read(earlier)
    size, uri = 0, ""
    if place is not None:
        file = place.file(name)
        uri = file.uri
        description = {**scope, "scope": fingerprint(scope), "at": _iso(moment), "metrics": goals}
        size = _write(file, table, description)
    snapshot = Snapshot(
        entity=entity,
        project=project,
        url=f"{settings.app_url}/{quote(entity, safe='')}/{quote(project, safe='')}",
        at=_iso(moment),
        uri=uri,
        runs=table.num_rows,
        rows=table.num_rows,
        bytes=size,
        metrics=tuple(goals),
        states=_states(table),
        best=_best(table, goals, before, left_out),
        new_runs=table.num_rows if before is None else len(_ids(table) - _ids(before)),
        previous=None if earlier is None else earlier.uri,
        left_out=dict(left_out),
        arrow=table,
    )
    logger.info("snapshot of %s/%s at %s: %d runs", entity, project, snapshot.at, snapshot.runs)
    return snapshot


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


def _project(api: Api, project: str, entity: str | None) -> tuple[str, str]:
    head, slash, tail = project.partition("/")
    if slash:
        if entity not in (None, head) or "/" in tail or not head or not tail:
            raise UsageError(f"{project!r} is no project's name", hint="Write the name, or entity/project.")
        return head, tail
    owner = entity or api.settings.get("entity") or api.default_entity
    if not owner or not project:
        raise UsageError("A snapshot needs an entity and a project", hint="Pass entity= and project=.")
    return str(owner), project


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
