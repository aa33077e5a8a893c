"""What a W&B object is called in Dagster: one method, `WandbTranslator.get_asset_spec`, decides it all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from dagster_resources.metadata import WandbMetadataSet


@dataclass(frozen=True, kw_only=True)
class WandbHistoryProps:
    """The histories of a project's runs, one file per run."""

    project: str
    entity: str | None = None
    format: str = "parquet"


@dataclass(frozen=True, kw_only=True)
class WandbTensorboardProps:
    """A folder of tfevents that becomes a run."""

    name: str
    root_dir: str
    project: str | None = None
    entity: str | None = None


@dataclass(frozen=True, kw_only=True)
class WandbRunQueueProps:
    """A launch queue."""

    name: str
    resource_type: str
    entity: str | None = None


@dataclass(frozen=True, kw_only=True)
class WandbSnapshotProps:
    """The table of a project's runs at one moment."""

    project: str
    entity: str | None = None
    metrics: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    format: str = "parquet"


@dataclass(frozen=True, kw_only=True)
class WandbProjectExportProps:
    """All runs of a project at a destination."""

    project: str
    entity: str | None = None
    format: str = "parquet"


@dataclass(frozen=True, kw_only=True)
class WandbArtifactProps:
    """A collection of versions of an artifact."""

    name: str
    project: str
    artifact_type: str = ""
    entity: str | None = None


@dataclass(frozen=True, kw_only=True)
class WandbLaunchProps:
    """A job that W&B Launch runs."""

    name: str
    queue: str
    project: str
    entity: str | None = None


WandbProps = (
    WandbHistoryProps
    | WandbTensorboardProps
    | WandbRunQueueProps
    | WandbSnapshotProps
    | WandbProjectExportProps
    | WandbArtifactProps
    | WandbLaunchProps
)


def clean_name(name: str) -> str:
    """`name` with Dagster's letters only; the real name stays in the metadata."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name) or "_"


def asset_key(*parts: str | None) -> dg.AssetKey:
    """`wandb/<parts>`, each part cleaned, None left out."""
    return dg.AssetKey(["wandb", *(clean_name(part) for part in parts if part)])


class WandbTranslator:
    """Turns W&B objects into asset specs. Subclass it to rename, group, tag or own them.

    Example:
        .. code-block:: python

            class MyTranslator(WandbTranslator):
                def get_asset_spec(self, props: WandbProps) -> dg.AssetSpec:
                    return super().get_asset_spec(props).replace_attributes(group_name="training")
    """

    def get_asset_spec(self, props: WandbProps) -> dg.AssetSpec:
        """The spec of the asset made for `props`: key, group, kinds, description, metadata."""
        match props:
            case WandbHistoryProps():
                return dg.AssetSpec(
                    asset_key(props.entity, props.project, "history"),
                    group_name=clean_name(props.project),
                    kinds={"wandb", props.format},
                    description=(
                        f"Exact history of every run of `{_code(props.project)}`, "
                        f"one {props.format} file per run (partition)."
                    ),
                    metadata={**WandbMetadataSet(entity=props.entity, project=props.project)},
                )
            case WandbTensorboardProps():
                return dg.AssetSpec(
                    asset_key(props.entity, props.project, props.name),
                    group_name=clean_name(props.project) if props.project else None,
                    kinds={"wandb", "tensorboard"},
                    description="TensorBoard event files, synced to a W&B run.",
                    metadata={
                        **WandbMetadataSet(entity=props.entity, project=props.project),
                        "root_dir": dg.MetadataValue.path(props.root_dir),
                    },
                )
            case WandbRunQueueProps():
                return dg.AssetSpec(
                    asset_key(props.entity, "queues", props.name),
                    kinds={"wandb"},
                    description=f"W&B launch queue for `{_code(props.resource_type)}` jobs.",
                    metadata={**WandbMetadataSet(entity=props.entity, queue=props.name)},
                )
            case WandbSnapshotProps():
                return dg.AssetSpec(
                    asset_key(props.entity, props.project, "snapshot"),
                    group_name=clean_name(props.project),
                    kinds={"wandb", props.format},
                    description=(
                        f"State, config and summary of every run of `{_code(props.project)}` at one moment, "
                        "with the best runs and what changed since the snapshot before."
                    ),
                    metadata={**WandbMetadataSet(entity=props.entity, project=props.project)},
                )
            case WandbProjectExportProps():
                return dg.AssetSpec(
                    asset_key(props.entity, props.project, "export"),
                    group_name=clean_name(props.project),
                    kinds={"wandb", props.format},
                    description=f"Every run of `{_code(props.project)}`, exact and proven complete.",
                    metadata={**WandbMetadataSet(entity=props.entity, project=props.project)},
                )
            case WandbArtifactProps():
                return dg.AssetSpec(
                    asset_key(props.entity, props.project, "artifacts", props.name),
                    group_name=clean_name(props.project),
                    kinds={"wandb", *([clean_name(props.artifact_type)] if props.artifact_type else [])},
                    description=f"Versions of the W&B artifact `{_code(props.name)}`.",
                    metadata={**WandbMetadataSet(entity=props.entity, project=props.project)},
                )
            case WandbLaunchProps():
                return dg.AssetSpec(
                    asset_key(props.entity, props.project, props.name),
                    group_name=clean_name(props.project),
                    kinds={"wandb"},
                    description=f"A run that W&B Launch does, from the queue `{_code(props.queue)}`.",
                    metadata={
                        **WandbMetadataSet(entity=props.entity, project=props.project, queue=props.queue)
                    },
                )


def _code(text: str) -> str:
    """`text` safe inside Markdown's back quotes."""
    return text.replace("`", "'").replace("\n", " ")
