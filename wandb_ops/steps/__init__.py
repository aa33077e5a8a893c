"""The one door for pipelines: idempotent steps on an `Api`, with JSON-safe results.

Both orchestrator adapters and the command line call these and nothing below. Each step may be repeated:
the same arguments twice leave the same state.
"""

from __future__ import annotations

from wandb_ops.steps.export import export_history
from wandb_ops.steps.identity import stable_run_id
from wandb_ops.steps.launch import upsert_run_queue
from wandb_ops.steps.results import (
    ColumnInfo,
    ExportResult,
    LogResult,
    MetricBest,
    QueueResult,
    RunResult,
    RunStatus,
    SnapshotResult,
    SyncResult,
)
from wandb_ops.steps.runs import (
    check_end,
    create_run,
    finish_run,
    list_runs,
    log_metrics,
    run_status,
    update_run,
    wait_for_run,
)
from wandb_ops.steps.snapshot import snapshot
from wandb_ops.steps.tensorboard import sync_tensorboard

__all__ = [
    "ColumnInfo",
    "ExportResult",
    "LogResult",
    "MetricBest",
    "QueueResult",
    "RunResult",
    "RunStatus",
    "SnapshotResult",
    "SyncResult",
    "check_end",
    "create_run",
    "export_history",
    "finish_run",
    "list_runs",
    "log_metrics",
    "run_status",
    "snapshot",
    "stable_run_id",
    "sync_tensorboard",
    "update_run",
    "upsert_run_queue",
    "wait_for_run",
]
