"""`wandb_run_queue_asset`: a launch queue as an asset, kept as the code says."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from dagster_resources.metadata import queue_metadata
from dagster_resources.resource import WandbResource
from dagster_resources.translator import WandbRunQueueProps, WandbTranslator


def wandb_run_queue_asset(
    *,
    name: str,
    resource_type: str,
    resource_config: Mapping[str, Any],
    entity: str | None = None,
    template_variables: Mapping[str, Any] | None = None,
    external_links: Mapping[str, str] | None = None,
    prioritization_mode: str | None = None,
    translator: WandbTranslator | None = None,
    deps: Iterable[Any] = (),
    resource_key: str = "wandb",
) -> dg.AssetsDefinition:
    """An asset that makes the queue, or changes what differs; an argument left out keeps what is there.

    Args:
        name: Name of the queue.
        resource_type: `local-container`, `local-process`, `kubernetes`, `sagemaker`, `gcp-vertex` …
        resource_config: The queue's default resource configuration.
        entity: User or team; None takes the resource's default.
        template_variables: Variables that a launch may set, with their schema.
        external_links: Name -> URL, shown with the queue.
        prioritization_mode: `DISABLED` or `V0`.
        translator: Names, groups and tags of the asset.
        deps: Assets this one comes after.
        resource_key: Key of the `WandbResource`.
    """
    props = WandbRunQueueProps(name=name, resource_type=resource_type, entity=entity)
    spec = (translator or WandbTranslator()).get_asset_spec(props).merge_attributes(deps=list(deps))

    @dg.multi_asset(name=spec.key.to_python_identifier(), specs=[spec], required_resource_keys={resource_key})
    def run_queue(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]  # no value is returned
        wandb: WandbResource = getattr(context.resources, resource_key)
        with wandb.failures():
            result = wandb.upsert_run_queue(
                name=name,
                resource_type=resource_type,
                resource_config=resource_config,
                entity=wandb.resolve_entity(entity),
                template_variables=template_variables,
                external_links=external_links,
                prioritization_mode=prioritization_mode,
            )
        context.log.info("queue %s: %s", result.name, result.action)
        return dg.MaterializeResult(asset_key=spec.key, metadata=queue_metadata(result))

    return run_queue
