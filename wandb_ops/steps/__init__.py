"""The one door for pipelines: idempotent steps on an `Api`, with JSON-safe results.

Both orchestrator adapters and the command line call these and nothing below. Each step may be repeated:
the same arguments twice leave the same state. The one exception, `enqueue_job`, says so.
"""

from __future__ import annotations

from wandb_ops.steps.artifacts import (
    artifact_status,
    download_artifact,
    list_artifact_versions,
    log_artifact,
    promote_artifact,
    use_artifact,
)
from wandb_ops.steps.checks import check_export, check_verified
from wandb_ops.steps.export import (
    ProjectExportArguments,
    export_history,
    export_project,
    plan_export,
    verify_export,
)
from wandb_ops.steps.identity import stable_run_id
from wandb_ops.steps.launch import (
    cancel_queued_job,
    enqueue_job,
    queued_run_status,
    upsert_run_queue,
    wait_for_queued_run,
)
from wandb_ops.steps.metrics import log_metrics
from wandb_ops.steps.results import (
    ArtifactResult,
    CancelledJobResult,
    ColumnInfo,
    DownloadResult,
    ExportPlanResult,
    ExportResult,
    LogResult,
    MetricBest,
    MetricChange,
    NotTakenInfo,
    ProjectExportResult,
    QueuedJobResult,
    QueuedRunStatus,
    QueueResult,
    RunResult,
    RunStatus,
    SnapshotResult,
    SweepResult,
    SyncResult,
    VerifyResult,
)
from wandb_ops.steps.runs import create_run, finish_run, update_run
from wandb_ops.steps.snapshot import Goal, snapshot
from wandb_ops.steps.status import check_end, list_runs, run_status, wait_for_run
from wandb_ops.steps.sweeps import create_sweep, sweep_status, wait_for_sweep
from wandb_ops.steps.tensorboard import follow_tensorboard, sync_tensorboard

__all__ = [
    "ArtifactResult",
    "CancelledJobResult",
    "ColumnInfo",
    "DownloadResult",
    "ExportPlanResult",
    "ExportResult",
    "Goal",
    "LogResult",
    "MetricBest",
    "MetricChange",
    "NotTakenInfo",
    "ProjectExportArguments",
    "ProjectExportResult",
    "QueueResult",
    "QueuedJobResult",
    "QueuedRunStatus",
    "RunResult",
    "RunStatus",
    "SnapshotResult",
    "SweepResult",
    "SyncResult",
    "VerifyResult",
    "artifact_status",
    "cancel_queued_job",
    "check_end",
    "check_export",
    "check_verified",
    "create_run",
    "create_sweep",
    "download_artifact",
    "enqueue_job",
    "export_history",
    "export_project",
    "finish_run",
    "follow_tensorboard",
    "list_artifact_versions",
    "list_runs",
    "log_artifact",
    "log_metrics",
    "plan_export",
    "promote_artifact",
    "queued_run_status",
    "run_status",
    "snapshot",
    "stable_run_id",
    "sweep_status",
    "sync_tensorboard",
    "update_run",
    "upsert_run_queue",
    "use_artifact",
    "verify_export",
    "wait_for_queued_run",
    "wait_for_run",
    "wait_for_sweep",
]
