"""What steps return: frozen, JSON-safe values; ids, counts, paths and urls, never data.

`to_json()` of each is a plain dict that fits an Airflow XCom and Dagster metadata: no NaN, no numpy, no
bytes (non-finite numbers become the strings "NaN", "Infinity", "-Infinity").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


def json_safe(value: Any) -> JsonValue:
    """`value` in JSON's types only; anything foreign is an error, not a `str()`."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item) for item in value]
    if isinstance(value, Result):
        return value.to_json()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Base of all step results."""

    def to_json(self) -> dict[str, Any]:
        """A plain dict of JSON values, the same for the same result."""
        return {f.name: json_safe(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, kw_only=True)
class RunResult(Result):
    """A run, as an orchestrator needs to know it."""

    entity: str
    project: str
    run_id: str
    path: str  # entity/project/run_id
    url: str  # page of the run in the W&B app
    display_name: str
    state: str  # running, finished, failed, crashed, killed, preempted, ...
    created: bool = False  # True when this very call made it
    history_lines: int = 0


@dataclass(frozen=True, kw_only=True)
class LogResult(Result):
    """Rows appended to a run's history."""

    path: str
    url: str
    rows: int  # sent by this call
    skipped: int  # already on the server (a retry)
    last_step: int  # -1 when the run has no row
    history_lines: int  # the server's count afterwards


@dataclass(frozen=True, kw_only=True)
class SyncResult(Result):
    """What `sync_tensorboard` did."""

    path: str
    url: str
    run_id: str
    rows: int  # history rows sent by this call
    scalars: int  # scalar values in those rows
    media: int  # histograms and images in those rows
    files: int  # event files read
    bytes_read: int
    bytes_skipped: int  # damaged, see `left_out`
    resumed_at_line: int  # history line the first new row got
    history_lines: int  # the server's count afterwards
    last_step: int  # last `_step`; -1 when there is none
    left_out: dict[str, int] = field(default_factory=dict)  # reason -> records not taken


@dataclass(frozen=True, kw_only=True)
class QueueResult(Result):
    """A launch queue after an upsert."""

    entity: str
    name: str
    queue_id: str
    url: str
    action: Literal["created", "unchanged", "changed"]
    changes: dict[str, Any] = field(default_factory=dict)  # field -> {"before": ..., "after": ...}


@dataclass(frozen=True, kw_only=True)
class QueuedJobResult(Result):
    """A job on a launch queue."""

    entity: str
    project: str  # that the run is logged to
    queue: str
    item_id: str  # "" when the run was there already and nothing was queued
    run_id: str  # "" when the agent is to make one up
    path: str  # entity/project/run_id; "" without a run_id
    url: str  # page of the queues in the W&B app
    enqueued: bool  # True when this very call put it there


@dataclass(frozen=True, kw_only=True)
class ColumnInfo(Result):
    """One column of an exported table."""

    name: str
    type: str  # Arrow's name: int64, double, string, bool, ...


@dataclass(frozen=True, kw_only=True)
class ExportResult(Result):
    """One run's history, written to one file."""

    path: str  # entity/project/run_id
    url: str
    run_id: str
    uri: str  # the file, or the table of a lake
    format: Literal["parquet", "csv", "jsonl", "delta"]
    action: Literal["written", "appended", "replaced", "unchanged"]  # two of them for a lake only
    rows: int
    bytes: int
    columns: tuple[ColumnInfo, ...]
    first_step: int  # -1 when there is no row
    last_step: int
    sha256: str  # of the file; "" for a lake
    complete: bool  # False only while the run is still being written
    state: str
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class NotTakenInfo(Result):
    """One part of one run that could not be exported; what an earlier export left of it stands."""

    run_id: str  # "" for the table of runs
    what: Literal["runs", "history", "system", "files", "artifacts"]
    error: str  # class of the error
    message: str
    retryable: bool


@dataclass(frozen=True, kw_only=True)
class ProjectExportResult(Result):
    """A project at its destination, and what could not be taken there."""

    entity: str
    project: str
    url: str
    uri: str
    format: Literal["parquet", "csv", "jsonl", "delta"]
    include: tuple[str, ...]
    runs: int  # looked at
    written: int  # parts of runs (history, system metrics, files) written anew or extended
    unchanged: int  # parts of runs that were there already
    rows: int  # history rows written
    system_rows: int
    files: int  # of runs and artifacts, written
    bytes: int
    deleted_upstream: tuple[str, ...]  # run ids that the destination keeps and the server has no longer
    not_taken: tuple[NotTakenInfo, ...]
    artifacts: int = 0  # versions whose files were brought
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything asked for is at the destination."""
        return not self.not_taken


@dataclass(frozen=True, kw_only=True)
class ExportPlanResult(Result):
    """What an export of a project would fetch."""

    entity: str
    project: str
    url: str
    uri: str
    format: Literal["parquet", "csv", "jsonl", "delta"]
    include: tuple[str, ...]
    runs: int
    changed: int  # runs of which something is to be fetched
    rows: int
    system_rows: int
    requests: int  # at least
    shards: tuple[dict[str, Any], ...]  # each a value for `export_project(shard=)`


@dataclass(frozen=True, kw_only=True)
class VerifyResult(Result):
    """What was found when an export of a project was checked."""

    uri: str
    ok: bool  # everything holds what it says
    current: bool  # and the server has nothing that is newer or missing there
    parts: int
    rows: int
    problems: tuple[str, ...]
    missing: tuple[str, ...]
    stale: tuple[str, ...]
    deleted_upstream: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MetricBest(Result):
    """The best run of a snapshot, by one metric."""

    metric: str
    goal: Literal["min", "max"]
    value: float
    run_id: str
    display_name: str
    url: str
    delta: float | None  # to the best of the previous snapshot; None when there is none


@dataclass(frozen=True, kw_only=True)
class MetricChange(Result):
    """A metric over the runs of a snapshot, and the run in which it changed most since the one before."""

    metric: str
    goal: Literal["min", "max", "last", "mean"]
    runs: int  # that have a finite value
    changed: int  # of those, runs with another value than in the previous snapshot
    run_id: str | None = None  # that changed most; None when none did
    display_name: str | None = None
    url: str | None = None
    value: float | None = None
    delta: float | None = None


@dataclass(frozen=True, kw_only=True)
class SnapshotResult(Result):
    """One row per run at one moment, written to one file."""

    entity: str
    project: str
    url: str
    at: str  # ISO 8601, UTC
    uri: str
    runs: int
    rows: int
    bytes: int
    metrics: tuple[str, ...]
    states: dict[str, int]  # state -> runs
    best: tuple[MetricBest, ...]
    new_runs: int  # not in the previous snapshot
    previous: str | None  # uri of the snapshot compared with
    changes: tuple[MetricChange, ...] = ()
    report: str = ""  # uri of the page; "" when none was asked for
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunStatus(Result):
    """One look at a run."""

    path: str
    run_id: str
    url: str
    display_name: str
    state: str
    terminal: bool
    succeeded: bool
    history_lines: int = 0
    created_at: str = ""  # ISO 8601, UTC, as the server gives it
    heartbeat_at: str = ""


@dataclass(frozen=True, kw_only=True)
class QueuedRunStatus(Result):
    """One look at a job on a launch queue."""

    entity: str
    project: str  # that the run is logged to
    queue: str
    item_id: str
    state: str  # "queued" until a run came of it, then that run's
    url: str  # page of the run; of the queues until then
    run: RunStatus | None


@dataclass(frozen=True, kw_only=True)
class CancelledJobResult(Result):
    """A job that is not wanted any more."""

    queue: str
    item_id: str
    path: str  # of the run that came of it; "" when none did
    action: Literal["removed", "stopping", "ended"]  # off the queue; asked to stop; nothing was left to do


@dataclass(frozen=True, kw_only=True)
class ArtifactResult(Result):
    """One version of an artifact, as it was when the step looked."""

    path: str  # entity/project/name:v3, where it was found
    entity: str
    project: str
    name: str  # of the collection
    version: str  # v0, v1, ...
    index: int  # of the version: 0, 1, ...
    type: str
    digest: str  # of all its content, hexadecimal
    size: int  # bytes, as far as known
    files: int  # files and references
    aliases: tuple[str, ...]  # without vN
    created_at: str  # ISO 8601, UTC, as the server gives it
    url: str
    created: bool = False  # True when this very call made the version
    run: str = ""  # entity/project/run_id that logged or used it by this call


@dataclass(frozen=True, kw_only=True)
class DownloadResult(Result):
    """A version of an artifact in a folder."""

    artifact: ArtifactResult
    folder: str
    files: int
    bytes: int
    deleted: int  # files that did not belong to it


@dataclass(frozen=True, kw_only=True)
class SweepResult(Result):
    """A sweep, as it was when the step looked."""

    path: str  # entity/project/sweep_id
    entity: str
    project: str
    sweep_id: str
    name: str
    url: str
    state: str  # PENDING, RUNNING, PAUSED, FINISHED, CANCELED, ...
    ended: bool
    succeeded: bool
    runs: int  # begun so far
    expected_runs: int | None  # None when only somebody's word ends it
    created: bool = False  # True when this very call made it
    best_run: str = ""  # entity/project/run_id, by the config's metric; "" until the sweep has ended
    warnings: tuple[str, ...] = ()  # what the server thinks of the config
