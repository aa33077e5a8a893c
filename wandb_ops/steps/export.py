"""A run's exact history becomes one file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from wandb_ops.errors import RunConflict
from wandb_ops.steps.results import ColumnInfo, ExportResult
from wandb_ops.steps.runs import run_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_ops.public.api import Api

Format = Literal["parquet", "csv", "jsonl"]


def export_history(
    api: Api,
    *,
    run: str,
    to: str,
    format: Format | None = None,
    keys: Sequence[str] | None = None,
    keys_mode: Literal["all", "any"] = "any",
    min_step: int = 0,
    max_step: int | None = None,
    force: bool = False,
    require_finished: bool = False,
) -> ExportResult:
    """Write every row of a run's history to one file, proven complete, or raise.

    A reader sees the old file or the new one, never half of one. A Parquet file that is already what the
    server holds is left alone and costs one request.

    Args:
        api: The client.
        run: `entity/project/run_id`.
        to: Path or URL of the file.
        format: None takes it from the suffix.
        keys: Columns to keep; None keeps all.
        keys_mode: Keep rows with "any" of the keys, or only those with "all" of them.
        min_step: First step taken.
        max_step: First step no longer taken; None for all.
        force: Write even when nothing changed.
        require_finished: Refuse a run that has not ended.

    Raises:
        IncompleteHistory: Fewer rows came than the server says exist.
        RunConflict: `require_finished` and the run has not ended.
    """
    from wandb_ops.export.files import export_run
    from wandb_ops.history.ref import RunRef

    where = api.locate(run)
    if require_finished:
        status = run_status(api, run=str(where))
        if not status.terminal:
            raise RunConflict(
                f"the run is still {status.state}", where=str(where), hint="Wait for it to end."
            )
    exported = export_run(
        api.transport,
        RunRef(where.entity, where.project, where.run_id),
        to=to,
        format=format,
        keys=keys,
        keys_mode=keys_mode,
        min_step=min_step,
        max_step=max_step,
        force=force,
    )
    values = asdict(exported)
    values["columns"] = tuple(ColumnInfo(name=name, type=kind) for name, kind in exported.columns)
    return ExportResult(**values)
