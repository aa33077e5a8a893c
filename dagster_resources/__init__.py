"""Weights & Biases in Dagster: a resource, assets, a sensor, a schedule and checks over `wandb_ops.steps`.

Importing this asks no server anything and loads neither pandas nor pyarrow.
"""

from dagster_shared.libraries import DagsterLibraryRegistry

from dagster_resources.assets import WandbExportConfig, wandb_history_assets
from dagster_resources.checks import completeness_check_spec
from dagster_resources.failures import wandb_failures
from dagster_resources.launch import wandb_run_queue_asset
from dagster_resources.metadata import WandbMetadataSet
from dagster_resources.partitions import run_partitions
from dagster_resources.resource import WandbConnection, WandbResource
from dagster_resources.sensors import RunCursor, build_wandb_run_sensor
from dagster_resources.snapshot import WandbSnapshotConfig, wandb_snapshot_asset, wandb_snapshot_schedule
from dagster_resources.tensorboard import tensorboard_run_id, wandb_tensorboard_asset
from dagster_resources.translator import (
    WandbHistoryProps,
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
    "WandbConnection",
    "WandbExportConfig",
    "WandbHistoryProps",
    "WandbMetadataSet",
    "WandbProps",
    "WandbResource",
    "WandbRunQueueProps",
    "WandbSnapshotConfig",
    "WandbSnapshotProps",
    "WandbTensorboardProps",
    "WandbTranslator",
    "build_wandb_run_sensor",
    "completeness_check_spec",
    "run_partitions",
    "tensorboard_run_id",
    "wandb_failures",
    "wandb_history_assets",
    "wandb_run_queue_asset",
    "wandb_snapshot_asset",
    "wandb_snapshot_schedule",
    "wandb_tensorboard_asset",
]
