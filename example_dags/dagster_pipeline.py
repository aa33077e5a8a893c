"""From tfevents to exact Parquet histories and a morning table, as Dagster assets.

    WANDB_API_KEY=... WANDB_PROJECT=digits WANDB_OPS_DEMO_TFEVENTS=tfevents \
        dagster dev -f example_dags/dagster_pipeline.py

Each sub-folder of the tfevents folder is one training. `trainings` makes a W&B run of each, the sensor finds
the runs that ended and adds them as partitions of `history`, and the schedule takes a snapshot every
morning. Loading this file asks W&B nothing.
"""

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_resources import (
    WandbResource,
    build_wandb_run_sensor,
    wandb_history_assets,
    wandb_run_queue_asset,
    wandb_snapshot_asset,
    wandb_snapshot_schedule,
    wandb_tensorboard_asset,
)

PROJECT = os.environ.get("WANDB_PROJECT", "digits")
TFEVENTS = Path(os.environ.get("WANDB_OPS_DEMO_TFEVENTS", "tfevents"))
EXPORTS = Path(os.environ.get("WANDB_OPS_DEMO_EXPORTS", "exports")) / PROJECT
SNAPSHOTS = Path(os.environ.get("WANDB_OPS_DEMO_SNAPSHOTS", "snapshots")) / PROJECT

FOLDERS = TFEVENTS.iterdir() if TFEVENTS.is_dir() else ()
TRAININGS = sorted(folder.name for folder in FOLDERS if folder.is_dir())


def hyperparameters(training: str | None) -> dict[str, Any]:
    """What the training was told, where it wrote that down."""
    written = TFEVENTS / str(training) / "config.json"
    return json.loads(written.read_text()) if written.is_file() else {}


# [START dagster_assets]
trainings = wandb_tensorboard_asset(
    name="trainings",
    root_dir=TFEVENTS,
    project=PROJECT,
    partitions_def=dg.StaticPartitionsDefinition(TRAININGS),
    config=hyperparameters,
    group="digits",
    tags=["example", "dagster"],
)

queue = wandb_run_queue_asset(
    name="digits",
    resource_type="local-container",
    resource_config={"cpus": 2, "memory": "4g"},
)

history = wandb_history_assets(project=PROJECT, destination=EXPORTS, deps=[trainings])

snapshot = wandb_snapshot_asset(
    project=PROJECT,
    destination=SNAPSHOTS,
    metrics={"validation/loss": "min", "validation/accuracy": "max"},
    deps=[history],
)

ended_runs = build_wandb_run_sensor(history, project=PROJECT)

every_morning = wandb_snapshot_schedule(snapshot, cron_schedule="0 6 * * *")

defs = dg.Definitions(
    assets=[trainings, queue, history, snapshot],
    sensors=[ended_runs],
    schedules=[every_morning],
    resources={"wandb": WandbResource(api_key=dg.EnvVar("WANDB_API_KEY"))},
)
# [END dagster_assets]
