"""What Dagster shows beside an asset: links, counts, numbers that plot, a schema, a chart.

Everything here is small. A materialization is a row of the event log and the UI loads many of them, so
lists are cut, with the whole count said, and a chart that grows past 20 kB is left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import dagster as dg
from dagster._core.definitions.metadata.metadata_set import NamespacedMetadataSet

from wandb_ops import charts
from wandb_ops.steps import (
    ArtifactResult,
    ColumnInfo,
    ExportResult,
    ProjectExportResult,
    QueuedRunStatus,
    QueueResult,
    RunStatus,
    SnapshotResult,
    SyncResult,
)

Metadata = dict[str, dg.MetadataValue]

MAX_CHART_BYTES = 20_000
MAX_COLUMNS = 200
MAX_NUMBERS = 40
MAX_TABLE_ROWS = 50
_CHART_SHAPES: tuple[tuple[charts.ChartFormat, int], ...] = (
    ("svg", 640),
    ("png", 640),
    ("png", 400),
    ("png", 320),
)


class WandbMetadataSet(NamespacedMetadataSet):
    """The W&B names behind an asset, under `wandb/`, as W&B spells them."""

    entity: str | None = None
    project: str | None = None
    run_id: str | None = None
    queue: str | None = None
    artifact: str | None = None

    @classmethod
    def namespace(cls) -> str:
        return "wandb"


def link(url: str) -> dg.MetadataValue:
    """`url` as a link where it is one of the web, as plain text where it is anything else."""
    web = urlsplit(url).scheme in {"http", "https"}
    return dg.MetadataValue.url(url) if web else dg.MetadataValue.text(url)


def numbers(prefix: str, values: Mapping[str, float | None]) -> Metadata:
    """Finite numbers as floats, which Dagster plots; NaN and infinities would break its plots."""
    finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
    cut = list(finite.items())[:MAX_NUMBERS]
    return {f"{prefix}{name}": dg.MetadataValue.float(float(value)) for name, value in cut}


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How one metric went."""

    metric: str
    least: float
    greatest: float
    last: float
    line: str  # a curve in text


def trend_table(trends: Iterable[Trend]) -> Metadata:
    """The metrics as a table, which Dagster shows without a click; nothing when there are none."""
    records = [
        dg.TableRecord(
            {
                "metric": one.metric,
                "last": f"{one.last:.6g}",
                "trend": one.line,
                "min": f"{one.least:.6g}",
                "max": f"{one.greatest:.6g}",
            }
        )
        for one in trends
    ]
    return {"metrics": dg.MetadataValue.table(records)} if records else {}


def counts(name: str, values: Mapping[str, int]) -> Metadata:
    """`values` as JSON; nothing when there are none."""
    return {name: dg.MetadataValue.json(dict(values))} if values else {}


def column_schema(columns: Iterable[ColumnInfo]) -> Metadata:
    """Dagster's column schema, the first 200 columns of it."""
    every = list(columns)
    shown = [dg.TableColumn(name=column.name, type=column.type) for column in every[:MAX_COLUMNS]]
    schema: Metadata = {"dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns=shown))}
    return schema | ({"columns": dg.MetadataValue.int(len(every))} if len(every) > len(shown) else {})


def chart(draw: Callable[[charts.ChartFormat, int], bytes], alt: str) -> Metadata:
    """A picture as Markdown: as SVG, sharp at any size; as PNG, and smaller, where an SVG is too large.

    Args:
        draw: Draws it in a format, so many pixels wide.
        alt: What stands in its place where pictures are off.
    """
    words = "".join(char if char.isalnum() or char in " -_./" else " " for char in alt)
    for kind, width in _CHART_SHAPES:
        text = f"![{words}]({charts.data_uri(draw(kind, width), kind)})"
        if len(text) <= MAX_CHART_BYTES:
            return {"chart": dg.MetadataValue.md(text)}
    return {}


def export_metadata(result: ExportResult) -> Metadata:
    """A history file: where it is, what is in it, and the run it came from."""
    entity, project, run_id = result.path.split("/", 2)
    return {
        "url": link(result.url),
        "dagster/uri": dg.MetadataValue.text(result.uri),
        "dagster/partition_row_count": dg.MetadataValue.int(result.rows),
        **column_schema(result.columns),
        "rows": dg.MetadataValue.int(result.rows),
        "bytes": dg.MetadataValue.int(result.bytes),
        "first_step": dg.MetadataValue.int(result.first_step),
        "last_step": dg.MetadataValue.int(result.last_step),
        "state": dg.MetadataValue.text(result.state),
        "complete": dg.MetadataValue.bool(result.complete),
        "action": dg.MetadataValue.text(result.action),
        **({"sha256": dg.MetadataValue.text(result.sha256)} if result.sha256 else {}),
        **_names(WandbMetadataSet(entity=entity, project=project, run_id=run_id)),
        **counts("left_out", result.left_out),
    }


def sync_metadata(result: SyncResult) -> Metadata:
    """A folder of tfevents that became a run."""
    entity, project, run_id = result.path.split("/", 2)
    return {
        "url": link(result.url),
        "rows_sent": dg.MetadataValue.int(result.rows),
        "history_rows": dg.MetadataValue.int(result.history_lines),
        "resumed_at_line": dg.MetadataValue.int(result.resumed_at_line),
        "last_step": dg.MetadataValue.int(result.last_step),
        "scalars": dg.MetadataValue.int(result.scalars),
        "media": dg.MetadataValue.int(result.media),
        "event_files": dg.MetadataValue.int(result.files),
        "bytes_read": dg.MetadataValue.int(result.bytes_read),
        "bytes_skipped": dg.MetadataValue.int(result.bytes_skipped),
        **_names(WandbMetadataSet(entity=entity, project=project, run_id=run_id)),
        **counts("left_out", result.left_out),
    }


def project_export_metadata(result: ProjectExportResult) -> Metadata:
    """A project at its destination, and what was not taken."""
    missing = [
        dg.TableRecord({"run": one.run_id, "what": one.what, "error": f"{one.error}: {one.message}"[:300]})
        for one in result.not_taken[:MAX_TABLE_ROWS]
    ]
    table: Metadata = {"not_taken": dg.MetadataValue.table(missing)} if missing else {}
    numbers_of = ("runs", "written", "unchanged", "rows", "system_rows", "artifacts", "files", "bytes")
    return {
        **table,
        "url": link(result.url),
        "dagster/uri": dg.MetadataValue.text(result.uri),
        **{name: dg.MetadataValue.int(getattr(result, name)) for name in numbers_of},
        "format": dg.MetadataValue.text(result.format),
        "include": dg.MetadataValue.json(list(result.include)),
        "deleted_upstream": dg.MetadataValue.int(len(result.deleted_upstream)),
        **_names(WandbMetadataSet(entity=result.entity, project=result.project)),
        **counts("left_out", result.left_out),
    }


def run_table(runs: Sequence[RunStatus]) -> Metadata:
    """Runs as a table; nothing when there are none."""
    records = [
        dg.TableRecord(
            {
                "run": run.display_name or run.run_id,
                "state": run.state,
                "rows": run.history_lines,
                "heartbeat": run.heartbeat_at,
            }
        )
        for run in runs[:MAX_TABLE_ROWS]
    ]
    return {"latest_runs": dg.MetadataValue.table(records)} if records else {}


def artifact_metadata(result: ArtifactResult) -> Metadata:
    """A version of an artifact."""
    return {
        "url": link(result.url),
        "dagster/uri": dg.MetadataValue.text(f"wandb-artifact:///{result.path}"),
        "version": dg.MetadataValue.text(result.version),
        "aliases": dg.MetadataValue.json(list(result.aliases)),
        "type": dg.MetadataValue.text(result.type),
        "digest": dg.MetadataValue.text(result.digest),
        "files": dg.MetadataValue.int(result.files),
        "bytes": dg.MetadataValue.int(result.size),
        "created": dg.MetadataValue.bool(result.created),
        **_names(WandbMetadataSet(entity=result.entity, project=result.project, artifact=result.path)),
    }


def launch_metadata(status: QueuedRunStatus, run_id: str) -> Metadata:
    """A job on a launch queue and the run that came of it; `job` is what finds it again."""
    job = {name: getattr(status, name) for name in ("queue", "item_id", "project", "entity")}
    names = WandbMetadataSet(
        entity=status.entity, project=status.project, queue=status.queue, run_id=run_id or None
    )
    return {
        "url": link(status.url),
        "state": dg.MetadataValue.text(status.state),
        "terminal": dg.MetadataValue.bool(status.run is not None and status.run.terminal),
        "job": dg.MetadataValue.json({**job, "run_id": run_id}),
        **({"history_rows": dg.MetadataValue.int(status.run.history_lines)} if status.run else {}),
        **_names(names),
    }


def queue_metadata(result: QueueResult) -> Metadata:
    """A launch queue, and what this materialization changed of it."""
    changes: Metadata = (
        {"changes": dg.MetadataValue.json(result.to_json()["changes"])} if result.changes else {}
    )
    return {
        "url": link(result.url),
        "action": dg.MetadataValue.text(result.action),
        "queue_id": dg.MetadataValue.text(result.queue_id),
        **_names(WandbMetadataSet(entity=result.entity, queue=result.name)),
        **changes,
    }


def snapshot_metadata(result: SnapshotResult) -> Metadata:
    """The best runs as a table, how many runs are in which state, and what changed."""
    alike = Counter(one.metric for one in result.best)
    names = {one: one.metric if alike[one.metric] == 1 else f"{one.metric}.{one.goal}" for one in result.best}
    best = [
        dg.TableRecord(
            {
                "metric": one.metric,
                "best": f"{one.value:.6g}",
                "run": one.display_name,
                "change": _change(one.delta),
            }
        )
        for one in result.best[:MAX_TABLE_ROWS]
    ]
    table: Metadata = {"best_runs": dg.MetadataValue.table(best)} if best else {}
    changed = [
        dg.TableRecord(
            {
                "metric": f"{one.metric} ({one.goal})",
                "runs": one.runs,
                "changed": one.changed,
                "most": one.display_name or one.run_id or "",
                "by": "" if one.delta is None else f"{one.delta:+.4g}",
            }
        )
        for one in result.changes[:MAX_TABLE_ROWS]
    ]
    return {
        **table,
        **({"changes": dg.MetadataValue.table(changed)} if changed and result.previous else {}),
        "url": link(result.url),
        "dagster/uri": dg.MetadataValue.text(result.uri),
        "dagster/row_count": dg.MetadataValue.int(result.rows),
        "at": dg.MetadataValue.text(result.at),
        "runs": dg.MetadataValue.int(result.runs),
        "new_runs": dg.MetadataValue.int(result.new_runs),
        "bytes": dg.MetadataValue.int(result.bytes),
        **{f"runs_{state}": dg.MetadataValue.int(n) for state, n in sorted(result.states.items())},
        **numbers("best/", {names[one]: one.value for one in result.best}),
        **numbers("delta/", {names[one]: one.delta for one in result.best}),
        **({"previous": dg.MetadataValue.text(result.previous)} if result.previous else {}),
        **({"report": link(result.report)} if result.report else {}),
        **_names(WandbMetadataSet(entity=result.entity, project=result.project)),
        **counts("left_out", result.left_out),
    }


def _change(delta: float | None) -> str:
    if delta is None:
        return "first seen"
    return f"{delta:+.4g}" if delta else "none"


def _names(names: WandbMetadataSet) -> Metadata:
    return {key: dg.MetadataValue.text(str(names[key])) for key in names.keys()}  # noqa: SIM118 - no mapping
