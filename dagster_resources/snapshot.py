"""`wandb_snapshot_asset` and `wandb_snapshot_schedule`: the table that a team looks at every morning."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from dagster_resources.metadata import Metadata, chart, snapshot_metadata
from dagster_resources.preview import ranking
from dagster_resources.resource import StorageOptions, WandbResource
from dagster_resources.resource import storage_options as resolved
from dagster_resources.translator import WandbSnapshotProps, WandbTranslator
from wandb_ops import charts
from wandb_ops.errors import Error
from wandb_ops.steps import Goal, SnapshotResult


class WandbSnapshotConfig(dg.Config):
    """Which moment a snapshot stands for."""

    at: str | None = Field(
        default=None,
        description="ISO 8601 time; the same time writes the same file. The schedule passes its own; "
        "None takes the time at which the Dagster run was made, so that a retry is the same snapshot.",
    )


def wandb_snapshot_asset(
    *,
    project: str,
    destination: str | Path,
    entity: str | None = None,
    metrics: Mapping[str, Goal | Sequence[Goal]] | None = None,
    filters: Mapping[str, Any] | None = None,
    translator: WandbTranslator | None = None,
    deps: Iterable[Any] = (),
    pool: str | None = "wandb",
    resource_key: str = "wandb",
    format: Literal["parquet", "delta"] = "parquet",
    report: str | Path | None = None,
    storage_options: StorageOptions | None = None,
) -> dg.AssetsDefinition:
    """An asset of one row per run: state, config, summary; best runs and changes in its metadata.

    Args:
        project: W&B project.
        destination: Folder; each snapshot is a file in it, named by its time.
        entity: User or team; None takes the resource's default.
        metrics: Summary keys to rank by, and whether the least ("min") or the greatest ("max") is best;
            "last" and "mean" rank nothing and only tell what changed. A key may have a list of these.
        filters: Only runs that match, in W&B's filter language.
        translator: Names, groups and tags of the asset.
        deps: Assets this one comes after.
        pool: Concurrency pool.
        resource_key: Key of the `WandbResource`.
        format: "parquet", a file per snapshot; or "delta", rows in the table of a lake.
        report: Path or URL of an HTML page to write at each snapshot; it needs no network.
        storage_options: Options of the store that `destination` is in, credentials among them, by fsspec's
            names; values may be `dg.EnvVar`. None takes them from the environment.
    """
    folder = str(destination)
    props = WandbSnapshotProps(project=project, entity=entity, metrics=dict(metrics or {}), format=format)
    spec = (translator or WandbTranslator()).get_asset_spec(props).merge_attributes(deps=list(deps))

    @dg.multi_asset(
        name=spec.key.to_python_identifier(),
        specs=[spec],
        pool=pool,
        required_resource_keys={resource_key},
    )
    def snapshot(context: dg.AssetExecutionContext, config: WandbSnapshotConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]  # no value is returned
        wandb: WandbResource = getattr(context.resources, resource_key)
        with wandb.failures():
            result = wandb.snapshot(
                project=project,
                to=folder,
                entity=wandb.resolve_entity(entity),
                metrics=metrics,
                filters=filters,
                at=config.at or _made_at(context),
                format=format,
                report=None if report is None else str(report),
                storage_options=resolved(storage_options),
            )
        context.log.info("snapshot of %d runs: %s", result.runs, result.uri)
        return dg.MaterializeResult(
            asset_key=spec.key, metadata={**_look(context, result), **snapshot_metadata(result)}
        )

    return snapshot


def wandb_snapshot_schedule(
    snapshot: dg.AssetsDefinition,
    *,
    cron_schedule: str = "0 6 * * *",
    execution_timezone: str = "UTC",
    name: str | None = None,
    default_status: dg.DefaultScheduleStatus = dg.DefaultScheduleStatus.STOPPED,
) -> dg.ScheduleDefinition:
    """A schedule that takes `snapshot`, each for the time it was scheduled for.

    A tick that runs late, or twice, writes the file of its scheduled time.

    Args:
        snapshot: What `wandb_snapshot_asset` returned.
        cron_schedule: When.
        execution_timezone: In which time zone.
        name: None takes the asset's name.
        default_status: Whether it starts running.
    """
    step = snapshot.op.name
    schedule_name = name or f"{step}_schedule"

    def run_config(context: dg.ScheduleEvaluationContext) -> dg.RunConfig:
        at = context.scheduled_execution_time.astimezone(UTC).isoformat()
        return dg.RunConfig(ops={step: WandbSnapshotConfig(at=at)})

    return dg.ScheduleDefinition(
        name=schedule_name,
        job=dg.define_asset_job(f"{schedule_name}_job", selection=[snapshot]),
        cron_schedule=cron_schedule,
        execution_timezone=execution_timezone,
        run_config_fn=run_config,
        default_status=default_status,
        description=f"Takes {snapshot.key.to_user_string()} for the scheduled time.",
    )


def _made_at(context: dg.AssetExecutionContext) -> str:
    """When the Dagster run was made: the same at every retry of its steps."""
    record = context.instance.get_run_record_by_id(context.run_id)
    made = record.create_timestamp if record else datetime.now(UTC)
    return (made if made.tzinfo else made.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def _look(context: dg.AssetExecutionContext, result: SnapshotResult) -> Metadata:
    """The runs ranked by the first metric, as bars."""
    if not result.best or "://" in result.uri or not result.uri.endswith(".parquet"):
        return {}
    best = result.best[0]
    bars = ranking(result.uri, best)
    if not bars:
        return {}
    title = f"{result.project} by {best.metric}"
    draw = partial(charts.bar_chart, bars, title=title, x_label=best.metric, highlight=next(iter(bars)))
    try:
        return chart(lambda kind, width: draw(format=kind, width=width), title)
    except Error as error:  # matplotlib is an extra; the snapshot itself is done
        context.log.warning("No chart: %s", error)
        return {}
