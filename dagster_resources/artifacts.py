"""Artifacts in Dagster: an asset that logs a folder as a version, and a sensor that tells of new versions."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_resources.metadata import artifact_metadata
from dagster_resources.partitions import partition_path
from dagster_resources.resource import WandbResource
from dagster_resources.translator import WandbArtifactProps, WandbTranslator
from wandb_ops import steps
from wandb_ops.errors import RateLimited

Content = str | Path | Mapping[str, str] | Callable[[str | None], Any]


def wandb_artifact_asset(
    *,
    name: str,
    artifact_type: str,
    content: Content,
    project: str,
    entity: str | None = None,
    partitions_def: dg.PartitionsDefinition[str] | None = None,
    aliases: Sequence[str] = (),
    tags: Sequence[str] = (),
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    references: Mapping[str, str] | None = None,
    run: str | None = None,
    translator: WandbTranslator | None = None,
    deps: Iterable[Any] = (),
    pool: str | None = "wandb",
    resource_key: str = "wandb",
) -> dg.AssetsDefinition:
    """An asset that is a version of a W&B artifact: what lies in a folder, logged.

    The same content is the same version, so materializing it again changes nothing; the data version is the
    content's digest, so assets downstream are stale only when the content changed.

    Args:
        name: The collection. With partitions, each has one of its own: `name.partition`.
        artifact_type: What kind it is, such as "dataset" or "model".
        content: A file, a folder, a dict from names in the artifact to them, or a function from partition key
            to one of these. With partitions and a folder: its sub-folder named by the partition key.
        project: W&B project.
        entity: User or team; None takes the resource's default.
        partitions_def: A collection per partition; None for one.
        aliases: Besides `latest`.
        tags: Of a new version.
        description: Of a new version.
        metadata: Of a new version.
        references: Names in the artifact to addresses, whose content stays where it is.
        run: `entity/project/run_id` of the run that made the content. None makes a run for each Dagster run,
            which only stands for the logging, and ends it.
        translator: Names, groups and tags of the asset.
        deps: Assets this one comes after.
        pool: Concurrency pool.
        resource_key: Key of the `WandbResource`.
    """
    props = WandbArtifactProps(name=name, artifact_type=artifact_type, project=project, entity=entity)
    spec = (translator or WandbTranslator()).get_asset_spec(props).merge_attributes(deps=list(deps))

    @dg.multi_asset(
        name=spec.key.to_python_identifier(),
        specs=[spec],
        partitions_def=partitions_def,
        backfill_policy=dg.BackfillPolicy.multi_run() if partitions_def else None,
        pool=pool,
        required_resource_keys={resource_key},
    )
    def artifact(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # no value is returned
        wandb: WandbResource = getattr(context.resources, resource_key)
        key = context.partition_key if partitions_def is not None else None
        with wandb.failures():
            owner = wandb.resolve_entity(entity)
            result = wandb.log_artifact(
                run=run or f"{owner}/{project}/{dagster_run_id(context.run, *spec.key.path, key)}",
                name=collection_name(name, key),
                type=artifact_type,
                content=_content(content, key),
                references=references,
                description=description,
                metadata={**(metadata or {}), "dagster_run_id": context.run_id} if metadata else None,
                aliases=aliases,
                tags=tags,
                make_run=run is None,
            )
        context.log.info("%s is %s", result.path, "new" if result.created else "there already")
        return dg.MaterializeResult(
            asset_key=spec.key,
            metadata=artifact_metadata(result),
            data_version=dg.DataVersion(result.digest),
        )

    return artifact


def build_wandb_artifact_sensor(
    *,
    name: str,
    project: str,
    entity: str | None = None,
    artifact_type: str | None = None,
    target: Any = None,
    asset_key: dg.AssetKey | None = None,
    include_existing: bool = False,
    max_versions_per_tick: int = 20,
    sensor_name: str | None = None,
    translator: WandbTranslator | None = None,
    minimum_interval_seconds: int = 60,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    resource_key: str = "wandb",
) -> dg.SensorDefinition:
    """A sensor that records each new version of a collection, and starts what depends on it.

    Each version is a materialization of the artifact's asset (an external one; `wandb_artifact_spec` declares
    it), with the content's digest as its data version, and, with `target`, a run request tagged
    `wandb/artifact`. The cursor is the newest version told; run keys are versions, so none is started twice.

    Args:
        name: The collection.
        project: W&B project.
        entity: User or team; None takes the resource's default.
        artifact_type: Its type; None asks for it at each tick, with one more request.
        target: Job or assets to run for each version; None only records it.
        asset_key: Key of the asset; None takes the translator's.
        include_existing: Tell of the versions that are there at the first tick, too.
        max_versions_per_tick: At most so many, oldest first; the rest come with the next ticks.
        sensor_name: None takes the asset's name.
        translator: Names of the asset.
        minimum_interval_seconds: Time between ticks.
        default_status: Whether it starts running.
        resource_key: Key of the `WandbResource`.
    """
    spec = wandb_artifact_spec(
        name=name, artifact_type=artifact_type or "", project=project, entity=entity, translator=translator
    )
    key = asset_key or spec.key

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        wandb: WandbResource = getattr(context.resources, resource_key)
        told = json.loads(context.cursor)["told"] if context.cursor else None
        first = told is None and not include_existing
        try:
            owner = wandb.resolve_entity(entity)
            found = wandb.list_artifact_versions(
                collection=f"{owner}/{project}/{name}",
                type=artifact_type,
                after=-1 if told is None else told,
                limit=None if first else max_versions_per_tick,
            )
        except RateLimited as error:
            return dg.SkipReason(f"W&B asks to slow down; the cursor stays: {error}")
        newest = max((one.index for one in found), default=-1 if told is None else told)
        if first or not found:
            context.update_cursor(json.dumps({"told": newest}))
            return dg.SkipReason(f"No version of {name} after v{newest}" if newest >= 0 else f"No {name} yet")
        events = [
            dg.AssetMaterialization(
                asset_key=key,
                metadata=artifact_metadata(one),
                tags={"dagster/data_version": one.digest},
            )
            for one in found
        ]
        requests = [dg.RunRequest(run_key=one.path, tags={"wandb/artifact": one.path}) for one in found]
        return dg.SensorResult(
            asset_events=events,
            run_requests=requests if target is not None else None,
            cursor=json.dumps({"told": newest}),
        )

    return dg.SensorDefinition(
        name=sensor_name or f"{key.to_python_identifier()}_versions",
        evaluation_fn=tick,
        target=target,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        required_resource_keys={resource_key},
        description=f"Records each new version of the artifact {name} of {project}.",
    )


def wandb_artifact_spec(
    *,
    name: str,
    project: str,
    artifact_type: str = "",
    entity: str | None = None,
    translator: WandbTranslator | None = None,
) -> dg.AssetSpec:
    """The asset of an artifact that others log: to be declared in the definitions, and depended on."""
    props = WandbArtifactProps(name=name, artifact_type=artifact_type, project=project, entity=entity)
    return (translator or WandbTranslator()).get_asset_spec(props)


def collection_name(name: str, partition_key: str | None) -> str:
    """The collection of a partition. W&B takes no / and : in names; keys that differ in them stay apart."""
    if partition_key is None:
        return name
    return f"{name}.{partition_key.replace('%', '%25').replace('/', '%2F').replace(':', '%3A')}"


def dagster_run_id(run: dg.DagsterRun, *parts: str | None) -> str:
    """The id of the W&B run that stands for a Dagster run; a retry from failure belongs to the first one."""
    root = run.root_run_id or run.run_id
    return steps.stable_run_id(parts[-1] or parts[-2] if len(parts) > 1 else "run", "dagster", root, *parts)


def _content(content: Content, key: str | None) -> Any:
    if callable(content):
        return content(key)
    if isinstance(content, Mapping):
        return dict(content)
    return str(content) if key is None else partition_path(str(content), key)
