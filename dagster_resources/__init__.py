"""Weights & Biases in Dagster: a resource, assets, a sensor, a schedule and checks over `wandb_ops.steps`.

Importing this asks no server anything and loads neither pandas nor pyarrow.
"""

from dagster_shared.libraries import DagsterLibraryRegistry

from dagster_resources.artifacts import (
    build_wandb_artifact_sensor,
    wandb_artifact_asset,
    wandb_artifact_spec,
)
from dagster_resources.assets import WandbExportConfig, wandb_history_assets
from dagster_resources.checks import completeness_check_spec
from dagster_resources.components import (
    WandbComponent,
    WandbHistoryComponent,
    WandbProjectExportComponent,
    WandbResourceComponent,
    WandbSnapshotComponent,
    WandbTensorboardComponent,
)
from dagster_resources.failures import wandb_failures
from dagster_resources.io_manager import WandbArtifactIOManager
from dagster_resources.launch import wandb_run_queue_asset
from dagster_resources.metadata import WandbMetadataSet
from dagster_resources.partitions import run_partitions
from dagster_resources.project import WandbProjectExportConfig, wandb_project_export_asset
from dagster_resources.queued import build_wandb_launch_sensor, wandb_launch_asset
from dagster_resources.resource import WandbConnection, WandbResource
from dagster_resources.sensors import RunCursor, build_wandb_run_sensor
from dagster_resources.snapshot import WandbSnapshotConfig, wandb_snapshot_asset, wandb_snapshot_schedule
from dagster_resources.tensorboard import tensorboard_run_id, wandb_tensorboard_asset
from dagster_resources.translator import (
    WandbArtifactProps,
    WandbHistoryProps,
    WandbLaunchProps,
    WandbProjectExportProps,
    WandbProps,
    WandbRunQueueProps,
    WandbSnapshotProps,
    WandbTensorboardProps,
    WandbTranslator,
)
from wandb_ops.version import __version__

DagsterLibraryRegistry.register("wandb-ops", __version__, is_dagster_package=False)

__all__ = [
    "RunCursor",
    "WandbArtifactIOManager",
    "WandbArtifactProps",
    "WandbComponent",
    "WandbConnection",
    "WandbExportConfig",
    "WandbHistoryComponent",
    "WandbHistoryProps",
    "WandbLaunchProps",
    "WandbMetadataSet",
    "WandbProjectExportComponent",
    "WandbProjectExportConfig",
    "WandbProjectExportProps",
    "WandbProps",
    "WandbResource",
    "WandbResourceComponent",
    "WandbRunQueueProps",
    "WandbSnapshotComponent",
    "WandbSnapshotConfig",
    "WandbSnapshotProps",
    "WandbTensorboardComponent",
    "WandbTensorboardProps",
    "WandbTranslator",
    "build_wandb_artifact_sensor",
    "build_wandb_launch_sensor",
    "build_wandb_run_sensor",
    "completeness_check_spec",
    "run_partitions",
    "tensorboard_run_id",
    "wandb_artifact_asset",
    "wandb_artifact_spec",
    "wandb_failures",
    "wandb_history_assets",
    "wandb_launch_asset",
    "wandb_project_export_asset",
    "wandb_run_queue_asset",
    "wandb_snapshot_asset",
    "wandb_snapshot_schedule",
    "wandb_tensorboard_asset",
]
