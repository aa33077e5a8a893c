"""`wandb_project_export_asset`: a whole project at its destination, incrementally, and proven to be right."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from dagster_resources.metadata import Metadata, chart, project_export_metadata, run_table
from dagster_resources.partitions import partition_path
from dagster_resources.resource import StorageOptions, WandbResource
from dagster_resources.resource import storage_options as resolved
from dagster_resources.translator import WandbProjectExportProps, WandbTranslator
from wandb_ops import charts, steps
from wandb_ops.errors import Error
from wandb_ops.steps import RunStatus, VerifyResult

CHECK_NAME = "verified"
_SHOWN_RUNS = 50
_BARS = 12
_NAMED = 20


class WandbProjectExportConfig(dg.Config):
    """What the launchpad can change of one export."""

    force: bool = Field(default=False, description="Fetch even what has not changed.")
    verify: bool = Field(default=True, description="Read everything again afterwards, for the check.")


def wandb_project_export_asset(
    *,
    project: str,
    destination: str | Path,
    entity: str | None = None,
    partitions_def: dg.TimeWindowPartitionsDefinition | None = None,
    filters: Mapping[str, Any] | None = None,
    keys: Sequence[str] | None = None,
    format: Literal["parquet", "csv", "jsonl", "delta"] = "parquet",
    include: Sequence[Any] = ("runs", "history"),
    concurrency: int = 8,
    allow_partial: bool = False,
    translator: WandbTranslator | None = None,
    deps: Iterable[Any] = (),
    pool: str | None = "wandb",
    resource_key: str = "wandb",
    storage_options: StorageOptions | None = None,
) -> dg.AssetsDefinition:
    """An asset that is every run of a project at a destination; what did not change is not fetched again.

    A run that fails does not keep the others back; but the step fails at the end, with a retry where that may
    help, and then only what is missing is fetched.

    Args:
        project: W&B project.
        destination: Folder, or URL of one, which belongs to this project; a lake ("delta") may hold many.
        entity: User or team; None takes the resource's default.
        partitions_def: Time windows: each partition has the runs made in its window, in a folder named by the
            partition (in a lake: in the same tables). None for all runs at once.
        filters: Only runs that match, in W&B's filter language.
        keys: History columns to keep; None keeps all.
        format: One file per run ("parquet", "csv", "jsonl"), or Delta Lake tables ("delta").
        include: What to take, as for `steps.export_project`.
        concurrency: Requests at once.
        allow_partial: Materialize though runs were not taken; the check says so.
        translator: Names, groups and tags of the asset.
        deps: Assets this one comes after.
        pool: Concurrency pool.
        resource_key: Key of the `WandbResource`.
        storage_options: Options of the store that `destination` is in, credentials among them, by fsspec's
            names; values may be `dg.EnvVar`. None takes them from the environment.

    Example:
        .. code-block:: python

            by_day = wandb_project_export_asset(
                project="mnist",
                destination="s3://lake/mnist",
                partitions_def=dg.DailyPartitionsDefinition("2026-01-01"),
            )
    """
    folder = str(destination)
    props = WandbProjectExportProps(project=project, entity=entity, format=format)
    spec = (translator or WandbTranslator()).get_asset_spec(props).merge_attributes(deps=list(deps))
    check = dg.AssetCheckSpec(
        CHECK_NAME,
        asset=spec.key,
        description="Every file or table holds what it says, and nothing newer is on the server.",
    )

    @dg.multi_asset(
        name=spec.key.to_python_identifier(),
        specs=[spec],
        check_specs=[check],
        partitions_def=partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions_def else None,
        pool=pool,
        required_resource_keys={resource_key},
    )
    def export(context: dg.AssetExecutionContext, config: WandbProjectExportConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]  # no value is returned
        wandb: WandbResource = getattr(context.resources, resource_key)
        verified: dict[str, VerifyResult] = {}
        partial_runs: dict[str, list[str]] = {}
        with wandb.failures():
            for key in [None] if partitions_def is None else context.partition_keys:
                condition = _condition(filters, partitions_def, key)
                where: dict[str, Any] = {
                    "project": project,
                    "to": folder if key is None or format == "delta" else partition_path(folder, key),
                    "entity": wandb.resolve_entity(entity),
                    "filters": condition,
                    "keys": keys,
                    "format": format,
                    "include": include,
                    "storage_options": resolved(storage_options),
                }
                result = wandb.export_project(
                    **where, force=config.force, concurrency=concurrency, progress=False
                )
                context.log.info("%s: %d written, %d unchanged", result.uri, result.written, result.unchanged)
                if not allow_partial:
                    steps.check_export(result)
                partial_runs[key or ""] = [one.run_id for one in result.not_taken]
                if config.verify:
                    verified[key or ""] = wandb.verify_export(**where)
                runs = wandb.list_runs(
                    project=project,
                    entity=where["entity"],
                    filters=condition,
                    limit=_SHOWN_RUNS,
                    newest_first=True,
                )
                metadata = {**_look(context, project, runs), **project_export_metadata(result)}
                context.add_asset_metadata(metadata, asset_key=spec.key, partition_key=key)
        return dg.MaterializeResult(
            asset_key=spec.key, check_results=[_judge(spec.key, verified, partial_runs)]
        )

    return export


def _condition(
    filters: Mapping[str, Any] | None, partitions: dg.TimeWindowPartitionsDefinition | None, key: str | None
) -> Mapping[str, Any] | None:
    """The filter that picks a partition's runs: those made in its window."""
    if partitions is None or key is None:
        return filters
    window = partitions.time_window_for_partition_key(key)
    made = {"createdAt": {"$gte": window.start.isoformat(), "$lt": window.end.isoformat()}}
    return {"$and": [made, *([filters] if filters else [])]}


def _judge(
    asset: dg.AssetKey, verified: Mapping[str, VerifyResult], partial_runs: Mapping[str, list[str]]
) -> dg.AssetCheckResult:
    """What came of the check: damage is an error; what the server got meanwhile is a warning."""
    found: dict[str, dg.MetadataValue] = {}
    for name in ("problems", "missing", "stale", "deleted_upstream"):
        listed = [one for result in verified.values() for one in getattr(result, name)]
        if listed:
            found[name] = dg.MetadataValue.json(
                [*listed[:_NAMED], *([f"… {len(listed)} in all"] * (len(listed) > _NAMED))]
            )
    untaken = [run_id for runs in partial_runs.values() for run_id in runs]
    if untaken:
        found["not_taken"] = dg.MetadataValue.json(untaken[:_NAMED])
    whole = all(result.ok for result in verified.values())
    current = all(result.current for result in verified.values()) and not untaken
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=CHECK_NAME,
        passed=whole and current,
        severity=dg.AssetCheckSeverity.WARN if whole and not current else dg.AssetCheckSeverity.ERROR,
        description=None if verified else "Not verified: it was switched off for this run.",
        metadata={
            "rows": dg.MetadataValue.int(sum(result.rows for result in verified.values())),
            "parts": dg.MetadataValue.int(sum(result.parts for result in verified.values())),
            **found,
        },
    )


def _look(context: dg.AssetExecutionContext, project: str, runs: Sequence[RunStatus]) -> Metadata:
    """The runs as a table, and the longest of them as bars."""
    longest = sorted(runs, key=lambda run: -run.history_lines)[:_BARS]
    bars = {run.display_name or run.run_id: float(run.history_lines) for run in longest if run.history_lines}
    picture: Metadata = {}
    if bars:
        draw = partial(charts.bar_chart, bars, title=project, x_label="history rows")
        try:
            picture = chart(lambda kind, width: draw(format=kind, width=width), project)
        except Error as error:  # matplotlib is an extra; the export itself is done
            context.log.warning("No chart: %s", error)
    return {**run_table(runs), **picture}
