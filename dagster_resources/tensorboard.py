"""`wandb_tensorboard_asset`: a folder of tfevents becomes a W&B run, and stays in step with it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import dagster as dg

from dagster_resources.metadata import sync_metadata
from dagster_resources.partitions import partition_path
from dagster_resources.resource import WandbResource
from dagster_resources.translator import WandbTensorboardProps, WandbTranslator
from wandb_ops import steps

RunConfig = Mapping[str, Any] | Callable[[str | None], Mapping[str, Any]]


def wandb_tensorboard_asset(
    *,
    name: str,
    root_dir: str | Path,
    project: str,
    entity: str | None = None,
    partitions_def: dg.PartitionsDefinition[str] | None = None,
    run_id: str | None = None,
    config: RunConfig | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] | None = None,
    finish: bool = True,
    on_finished: Literal["error", "resume"] = "error",
    prefixed_step: bool = False,
    translator: WandbTranslator | None = None,
    deps: Iterable[Any] = (),
    pool: str | None = "wandb",
    resource_key: str = "wandb",
) -> dg.AssetsDefinition:
    """An asset that is a W&B run, filled from the tfevents below a folder.

    The run's id comes from asset key and partition, so a retry, or a materialization next week, finds its
    run again and sends only what is new.

    Args:
        name: Last part of the asset key, and the run's display name.
        root_dir: Folder with tfevents, at any depth, or its URL in a store. With partitions: the folder
            whose sub-folders are named by the partition keys, one run each.
        project: W&B project.
        entity: User or team; None takes the resource's default.
        partitions_def: One run per partition; None for a single run.
        run_id: A run id of your own, for an asset without partitions.
        config: Hyperparameters of the run, or a function from partition key to them.
        group: Group of the runs.
        job_type: Job type of the runs.
        tags: Tags of the runs.
        finish: End the run afterwards; False while a training still writes.
        on_finished: Without `finish`, when the run has ended and there is something to send: fail ("error"),
            or reopen it ("resume"), and leave it open.
        prefixed_step: Also give each row `<directory>/global_step`, as wandb 0.29 did.
        translator: Names, groups and tags of the asset.
        deps: Assets this one comes after.
        pool: Concurrency pool.
        resource_key: Key of the `WandbResource`.
    """
    if run_id is not None and partitions_def is not None:
        raise dg.DagsterInvalidDefinitionError("run_id names one run; a partitioned asset has many")
    folder = str(root_dir)
    props = WandbTensorboardProps(name=name, root_dir=folder, project=project, entity=entity)
    spec = (translator or WandbTranslator()).get_asset_spec(props).merge_attributes(deps=list(deps))

    @dg.multi_asset(
        name=spec.key.to_python_identifier(),
        specs=[spec],
        partitions_def=partitions_def,
        backfill_policy=dg.BackfillPolicy.multi_run() if partitions_def else None,
        pool=pool,
        required_resource_keys={resource_key},
    )
    def tensorboard(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # no value is returned
        wandb: WandbResource = getattr(context.resources, resource_key)
        with wandb.failures():
            for key in [None] if partitions_def is None else context.partition_keys:
                run = wandb.create_run(
                    project=project,
                    entity=wandb.resolve_entity(entity),
                    run_id=run_id or tensorboard_run_id(spec.key, key),
                    display_name=key or name,
                    config=config(key) if callable(config) else config,
                    group=group,
                    job_type=job_type,
                    tags=tags,
                    on_finished="adopt",
                )
                result = wandb.sync_tensorboard(
                    partition_folder(folder, key),
                    run_id=run.run_id,
                    project=project,
                    entity=run.entity,
                    finish=finish,
                    on_finished=on_finished,
                    prefixed_step=prefixed_step,
                )
                context.log.info("%s: %d new rows", result.path, result.rows)
                context.add_asset_metadata(sync_metadata(result), asset_key=spec.key, partition_key=key)
        return dg.MaterializeResult(asset_key=spec.key)

    return tensorboard


def tensorboard_run_id(key: dg.AssetKey, partition_key: str | None = None) -> str:
    """The id of the run that a TensorBoard asset fills."""
    return steps.stable_run_id(partition_key or key.path[-1], "dagster", *key.path, partition_key)


def partition_folder(root_dir: str, partition_key: str | None) -> str:
    """The folder of one partition; never one outside `root_dir`."""
    return root_dir if partition_key is None else partition_path(root_dir, partition_key)
