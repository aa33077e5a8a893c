"""Exact histories become files: one run's, or those of a whole project."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from wandb_ops.errors import RunConflict
from wandb_ops.steps.results import (
    ColumnInfo,
    ExportPlanResult,
    ExportResult,
    NotTakenInfo,
    ProjectExportResult,
    VerifyResult,
)
from wandb_ops.steps.status import run_status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Required, Unpack

    from wandb_ops.public.api import Api

Format = Literal["parquet", "csv", "jsonl", "delta"]
What = Literal["runs", "history", "system", "files", "artifacts"]


class ProjectExportArguments(TypedDict, total=False):
    """What says which export is meant: of which runs, what of them, and where to.

    `plan_export`, `export_project` and `verify_export` take all of these as keywords, and speak of the same
    export when they are the same.

    Args:
        project: Project name, or "entity/project"; needed.
        to: Folder, or URL of one; needed.
        entity: User or team; None for the client's default.
        filters: Only runs that match, in W&B's filter language; None for all.
        keys: History columns to keep; None keeps all.
        format: One file per run ("parquet", the default, "csv", "jsonl"), or Delta Lake tables ("delta").
        include: What to take of "runs", "history" (these two are the default), "system" (system metrics),
            "files" and "artifacts" (those that the runs logged, with their files; those that they used are
            listed).
        storage_options: As for `export_history`.
    """

    project: Required[str]
    to: Required[str]
    entity: str | None
    filters: Mapping[str, Any] | None
    keys: Sequence[str] | None
    format: Format
    include: Sequence[What]
    storage_options: Mapping[str, Any] | None


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
    storage_options: Mapping[str, Any] | None = None,
) -> ExportResult:
    """Write every row of a run's history to one file or to a lake, proven complete, or raise.

    A reader sees the old file or the new one, never half of one. A Parquet file that is already what the
    server holds is left alone and costs one request.

    Args:
        api: The client.
        run: `entity/project/run_id`.
        to: Path or URL of the file, or of the lake.
        format: None takes it from the suffix; "delta" for the table `history` of a lake, the very one that
            `export_project` keeps. A lake holds runs whole: it takes no `keys_mode`, `min_step`, `max_step`.
        keys: Columns to keep; None keeps all.
        keys_mode: Keep rows with "any" of the keys, or only those with "all" of them.
        min_step: First step taken.
        max_step: First step no longer taken; None for all.
        force: Write even when nothing changed.
        require_finished: Refuse a run that has not ended.
        storage_options: Options of the store that `to` is in, credentials among them, by the names of fsspec
            or of object_store; None takes them from the environment. They are written nowhere.

    Raises:
        IncompleteHistory: Fewer rows came than the server says exist.
        RunConflict: `require_finished` and the run has not ended.
    """
    from wandb_ops.export.onerun import export_run
    from wandb_ops.export.places.places import placed
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
        to=placed(to, storage_options),
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


def export_project(
    api: Api,
    *,
    shard: Mapping[str, Any] | None = None,
    force: bool = False,
    concurrency: int = 8,
    progress: bool | None = None,
    **which: Unpack[ProjectExportArguments],
) -> ProjectExportResult:
    """Bring every run of a project to a folder or lake; what did not change costs no request of its own.

    A run that fails does not keep the others back and does not raise: it is named in `not_taken`, and what an
    earlier export left of it stands. Look at `ok`.

    Args:
        api: The client.
        shard: One of the `shards` of `plan_export`: take only its runs.
        force: Fetch even what has not changed.
        concurrency: Requests at once.
        progress: Show bars; None does when stderr is a terminal.
        which: `project`, `to` and so on, as `ProjectExportArguments` lists them.

    Raises:
        UsageError: Arguments that make no sense, or a destination that holds something else.
        NotFoundError: There is no such project.
    """
    from wandb_ops.export.engine import export_project as export

    done = export(api, **which, shard=shard, force=force, concurrency=concurrency, progress=progress)
    values = asdict(done)
    values["not_taken"] = tuple(
        NotTakenInfo(run_id=n.run_id, what=n.what, error=n.error, message=n.message, retryable=n.retryable)
        for n in done.not_taken
    )
    return ProjectExportResult(**values)


def plan_export(
    api: Api, *, shards: int = 1, force: bool = False, **which: Unpack[ProjectExportArguments]
) -> ExportPlanResult:
    """What `export_project` with the same arguments would fetch; only the list of runs is asked for.

    Args:
        api: The client.
        shards: How many parts of about equal work to make at most; each is a JSON value for
            `export_project(shard=)`. Exported in any order, twice or side by side, they come to the same as
            one export.
        force: As if everything had changed.
        which: As for `export_project`.
    """
    from wandb_ops.export.engine import plan_export as plan

    return ExportPlanResult(**asdict(plan(api, **which, shards=shards, force=force)))


def verify_export(api: Api, **which: Unpack[ProjectExportArguments]) -> VerifyResult:
    """Read an export of a project again and compare it with its marks and with the server's list of runs.

    The arguments are those of `export_project`. No history is asked for.
    """
    from wandb_ops.export.verify_project import verify_export as verify

    return VerifyResult(**asdict(verify(api, **which)))
