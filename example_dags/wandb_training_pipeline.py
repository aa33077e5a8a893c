"""From a folder of TensorBoard logs to exact Parquet files and a ranking of runs, in Airflow.

For each training below `logdir` (a folder with tfevents; its `config.json`, if any, has the hyperparameters):
make a W&B run, fill it from the tfevents, wait until it has ended, export its whole history. Beside it, keep
a launch queue and, where the parameter `image` names one, have W&B Launch run a training from it: the task
gives its worker back until that run has ended. Then write down how all runs of the project stand.

Every task may be retried or cleared: the run ids come from the DAG run and the map index, so that a second
try finds the run of the first one, sends only the rows that are missing and leaves a finished file alone.

Needs a connection `wandb_default` or `WANDB_API_KEY` (see docs/airflow.md).
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task, task_group

from airflow_provider.operators.enqueue import WandbEnqueueJobOperator
from airflow_provider.operators.export import WandbExportHistoryOperator
from airflow_provider.operators.launch import WandbUpsertRunQueueOperator
from airflow_provider.operators.runs import WandbCreateRunOperator
from airflow_provider.operators.snapshot import WandbSnapshotOperator
from airflow_provider.operators.tensorboard import WandbSyncTensorboardOperator
from airflow_provider.sensors.run import WandbRunSensor

RUN_ID = "{{ ti.xcom_pull(task_ids='training.create_run', key='run_id', map_indexes=ti.map_index) }}"


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    params={
        "project": Param("training-pipeline", type="string", description="W&B project"),
        "logdir": Param(
            os.environ.get("TRAINING_LOGDIR", "/data/trainings"),
            type="string",
            description="Folder with one sub-folder of tfevents per training",
        ),
        "output_dir": Param(
            os.environ.get("TRAINING_OUTPUT_DIR", "/data/wandb"),
            type="string",
            description="Folder for the Parquet files",
        ),
        "queue": Param("training-queue", type="string", description="W&B launch queue"),
        "image": Param("", type="string", description="Image of a training to launch; empty: none"),
    },
    tags=["wandb", "example"],
    doc_md=__doc__,
)
def wandb_training_pipeline() -> None:
    @task
    def find_trainings() -> list[dict[str, Any]]:
        """One entry per training; small, since it travels through the metadata database."""
        root = Path(get_current_context()["params"]["logdir"])
        trainings = []
        for folder in sorted(path for path in root.iterdir() if path.is_dir()):
            config = folder / "config.json"
            trainings.append(
                {
                    "name": folder.name,
                    "root_dir": str(folder),
                    "config": json.loads(config.read_text()) if config.exists() else {},
                }
            )
        return trainings

    @task_group
    def training(name: str, root_dir: str, config: dict[str, Any]) -> None:
        """What happens to one training; mapped over all of them."""
        created = WandbCreateRunOperator(
            task_id="create_run",
            project="{{ params.project }}",
            display_name=name,
            config=config,
            job_type="training",
            tags=["airflow"],
        )
        synced = WandbSyncTensorboardOperator(
            task_id="sync_tensorboard",
            root_dir=root_dir,
            project="{{ params.project }}",
            run_id=created.output["run_id"],
        )
        ended = WandbRunSensor(
            task_id="wait_for_run",
            run=created.output["run_path"],
            deferrable=True,
            poke_interval=10,
            timeout=3600,
        )
        exported = WandbExportHistoryOperator(
            task_id="export_history",
            run=created.output["run_path"],
            to="{{ params.output_dir }}/history/" + RUN_ID + ".parquet",
            require_finished=True,
        )
        synced >> ended >> exported

    queue = WandbUpsertRunQueueOperator(
        task_id="upsert_queue",
        name="{{ params.queue }}",
        resource_type="local-container",
        # W&B fills the double braces when a job is queued; Airflow leaves this argument alone.
        resource_config={"cpus": "{{cpus}}", "memory": "4g"},
        template_variables={
            "cpus": {"schema": {"type": "integer", "default": 2, "minimum": 1, "maximum": 8}}
        },
    )

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def wants_launch() -> bool:
        return bool(get_current_context()["params"]["image"])

    launched = WandbEnqueueJobOperator(
        task_id="launch",
        run_queue="{{ params.queue }}",
        project="{{ params.project }}",
        docker_image="{{ params.image }}",
        name="launched",
        run_config={"hidden": [32], "learning_rate": 0.01},
        template_variables={"cpus": 2},
        wait_for_completion=True,
        deferrable=True,
        poll_interval=2,
        wait_timeout=3600,
    )
    queue >> wants_launch() >> launched
    snapshot = WandbSnapshotOperator(
        task_id="snapshot",
        trigger_rule="none_failed",
        project="{{ params.project }}",
        to="{{ params.output_dir }}/snapshots",
        metrics={"validation/loss": "min", "validation/accuracy": "max"},
    )
    [training.expand_kwargs(find_trainings()), launched] >> snapshot


pipeline = wandb_training_pipeline()

if __name__ == "__main__":
    pipeline.test()
