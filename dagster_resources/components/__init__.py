"""Components: the same assets from a `defs.yaml`, without a line of Python.

Each one only hands its attributes to the builder of the same subject; what it cannot say, Python can. The
connection is one more component, or a resource `wandb` among the project's definitions.
"""

from dagster_resources.components.base import WandbComponent
from dagster_resources.components.connection import WandbResourceComponent
from dagster_resources.components.history import WandbHistoryComponent
from dagster_resources.components.project import WandbProjectExportComponent
from dagster_resources.components.snapshot import WandbSnapshotComponent
from dagster_resources.components.tensorboard import WandbTensorboardComponent

__all__ = [
    "WandbComponent",
    "WandbHistoryComponent",
    "WandbProjectExportComponent",
    "WandbResourceComponent",
    "WandbSnapshotComponent",
    "WandbTensorboardComponent",
]
