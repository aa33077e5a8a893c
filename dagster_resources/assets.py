"""`wandb_history_assets`: the exact history of each run of a project, in a file of its own or in a lake."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from dagster_resources.checks import (
    Completeness,
    completeness,
    completeness_check_result,
    completeness_check_spec,
)
from dagster_resources.metadata import Metadata, chart, export_metadata, numbers, trend_table
from dagster_resources.partitions import partition_path, run_deps, run_partitions
from dagster_resources.preview import preview_parquet
from dagster_resources.resource import StorageOptions, WandbResource
from dagster_resources.resource import storage_options as resolved
from dagster_resources.translator import WandbHistoryProps, WandbTranslator
from wandb_ops.errors import Error
from wandb_ops.steps import ExportResult

Format = Literal["parquet", "csv", "jsonl", "delta"]


class WandbExportConfig(dg.Config):
    """What the launchpad can change of one export."""

    force: bool = Field(default=False, description="Write the files even where nothing changed.")


def wandb_history_assets(
    *,
    project: str,
    destination: str | Path,
    entity: str | None = None,
    partitions_def: dg.PartitionsDefinition[str] | None = None,
    format: Format = "parquet",
    keys: Sequence[str] | None = None,
    keys_mode: Literal["all", "any"] = "any",
    chart_keys: Sequence[str] | None = None,
    require_finished: bool = False,
    translator: WandbTranslator | None = None,
    deps: Iterable[Any] = (),
    backfill_policy: dg.BackfillPolicy | None = None,
    pool: str | None = "wandb",
    resource_key: str = "wandb",
    storage_options: StorageOptions | None = None,
) -> dg.AssetsDefinition:
    """An asset partitioned by run: each partition is one run's whole history, in a file or in a lake's table.

    Every row is exported and the count proven against the server's. A partition materialized again, with
    nothing new on the server, leaves its file as it is. A backfill may give a step one run or many.

    Args:
        project: W&B project, as W&B spells it.
        destination: Folder or URL; partition `abc` is `destination/abc.parquet`. With "delta" a lake, which
            holds all of them in its table `history`.
        entity: User or team; None takes the resource's default.
        partitions_def: Partitions whose keys are run ids; None makes the dynamic ones that
            `build_wandb_run_sensor` fills.
        format: `parquet`, `csv`, `jsonl` or `delta`. Charts and final values are shown for Parquet.
        keys: Columns to keep; None keeps all.
        keys_mode: Keep rows with "any" of the keys, or only those with "all" of them.
        chart_keys: Columns to draw; None takes the losses.
        require_finished: Fail for a run that has not ended, instead of warning by the check.
        translator: Names, groups and tags of the asset.
        deps: Assets this one comes after.
        backfill_policy: None gives each run a Dagster run of its own.
        pool: Concurrency pool, so that an instance can bound how many steps ask W&B at once.
        resource_key: Key of the `WandbResource`.
        storage_options: Options of the store that `destination` is in, credentials among them, by fsspec's
            names; values may be `dg.EnvVar`. None takes them from the environment.

    Example:
        .. code-block:: python

            history = wandb_history_assets(project="mnist", entity="my-team", destination="exports/mnist")
            defs = dg.Definitions(
                assets=[history],
                sensors=[build_wandb_run_sensor(history, project="mnist", entity="my-team")],
                resources={"wandb": WandbResource(api_key=dg.EnvVar("WANDB_API_KEY"))},
            )
    """
    folder = str(destination)
    props = WandbHistoryProps(project=project, entity=entity, format=format)
    spec = (translator or WandbTranslator()).get_asset_spec(props).merge_attributes(deps=run_deps(deps))

    @dg.multi_asset(
        name=spec.key.to_python_identifier(),
        specs=[spec],
        check_specs=[completeness_check_spec(spec.key)],
        partitions_def=partitions_def or run_partitions(project, entity),
        backfill_policy=backfill_policy or dg.BackfillPolicy.multi_run(),
        pool=pool,
        required_resource_keys={resource_key},
    )
    def history(context: dg.AssetExecutionContext, config: WandbExportConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]  # no value is returned
        wandb: WandbResource = getattr(context.resources, resource_key)
        found: dict[str, Completeness] = {}
        exported: dict[str, ExportResult] = {}
        with wandb.failures():
            owner = wandb.resolve_entity(entity)
            for run_id in context.partition_keys:
                result = wandb.export_history(
                    run=f"{owner}/{project}/{run_id}",
                    to=folder if format == "delta" else partition_path(folder, run_id, f".{format}"),
                    format=format,
                    keys=keys,
                    keys_mode=keys_mode,
                    force=config.force,
                    require_finished=require_finished,
                    storage_options=resolved(storage_options),
                )
                status = wandb.run_status(run=result.path)
                found[run_id] = completeness(result, server_rows=status.history_lines, whole=keys is None)
                exported[run_id] = result
                context.log.info("%s: %s, %d rows", run_id, result.action, result.rows)
                look = _look(context, result, status.display_name, chart_keys)
                context.add_asset_metadata(
                    {**look, **export_metadata(result)}, asset_key=spec.key, partition_key=run_id
                )
        alone = next(iter(exported.values())) if len(exported) == 1 else None
        return dg.MaterializeResult(
            asset_key=spec.key,
            check_results=[completeness_check_result(spec.key, found)],
            data_version=dg.DataVersion(alone.sha256) if alone and alone.sha256 else None,
        )

    return history


def _look(
    context: dg.AssetExecutionContext, result: ExportResult, title: str, chart_keys: Sequence[str] | None
) -> Metadata:
    """Trends, final values and a chart, where the file is Parquet and on a local disk."""
    if result.format != "parquet" or "://" in result.uri:
        return {}
    preview = preview_parquet(result.uri, chart_keys=chart_keys)
    picture: Metadata = {}
    name = title or result.run_id
    try:
        picture = chart(partial(preview.draw, name), name) if preview.lines else {}
    except Error as error:  # matplotlib is an extra; the export itself is done
        context.log.warning("No chart: %s", error)
    return {**picture, **trend_table(preview.trends), **numbers("final/", preview.final)}
