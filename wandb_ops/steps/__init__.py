"""The one door for pipelines: idempotent steps on an `Api`, with JSON-safe results.

Both orchestrator adapters and the command line call these and nothing below. Each step may be repeated:
the same arguments twice leave the same state. The one exception, `enqueue_job`, says so.
"""

from __future__ import annotations

from wandb_ops.steps.export import export_history, export_project, plan_export, verify_export
from wandb_ops.steps.identity import stable_run_id
from wandb_ops.steps.launch import enqueue_job, upsert_run_queue, wait_for_queued_run
from wandb_ops.steps.results import (
    ColumnInfo,
    ExportPlanResult,
    ExportResult,
    LogResult,
    MetricBest,
    NotTakenInfo,
    ProjectExportResult,
    QueuedJobResult,
    QueueResult,
    RunResult,
    RunStatus,
    SnapshotResult,
    SyncResult,
    VerifyResult,
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
from wandb_ops.steps.tensorboard import follow_tensorboard, sync_tensorboard

__all__ = [
    "ColumnInfo",
    "ExportPlanResult",
    "ExportResult",
    "LogResult",
    "MetricBest",
    "NotTakenInfo",
    "ProjectExportResult",
    "QueueResult",
    "QueuedJobResult",
    "RunResult",
    "RunStatus",
    "SnapshotResult",
    "SyncResult",
    "VerifyResult",
    "check_end",
    "create_run",
    "enqueue_job",
    "export_history",
    "export_project",
    "finish_run",
    "follow_tensorboard",
    "list_runs",
    "log_metrics",
    "plan_export",
    "run_status",
    "snapshot",
    "stable_run_id",
    "sync_tensorboard",
    "update_run",
    "upsert_run_queue",
    "verify_export",
    "wait_for_queued_run",
    "wait_for_run",
]
