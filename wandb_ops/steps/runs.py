"""Create, change and end runs; each safe to repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import NotFoundError, RunConflict, UsageError
from wandb_ops.protocol.states import ENDED_STATES, SUCCESS_STATES
from wandb_ops.steps.identity import bare_project
from wandb_ops.steps.results import RunResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wandb_ops.public.api import Api
    from wandb_ops.public.runs.run import Run

OnFinished = Literal["error", "adopt", "resume"]


def create_run(
    api: Api,
    *,
    project: str,
    run_id: str | None = None,
    entity: str | None = None,
    display_name: str | None = None,
    config: Mapping[str, Any] | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] | None = None,
    notes: str | None = None,
    on_finished: OnFinished = "error",
) -> RunResult:
    """Make the run with this id, or find it again.

    The same arguments twice leave one run: with `run_id` from the caller (`stable_run_id`), a retried
    task gets its own run back with `created=False`. A run that has ended is never reopened silently; one
    that W&B shows as crashed has only fallen silent, and goes on.

    Args:
        api: The client.
        project: Project name; made by the server when it does not exist.
        run_id: Id of the run; None lets W&B's rule make a random one (then a retry makes a second run).
        entity: User or team; None for the client's default.
        display_name: Name shown in the app.
        config: Hyperparameters; merged over what the run has.
        group: Group name.
        job_type: Job type.
        tags: Tags of the run.
        notes: Free text.
        on_finished: What to do when the run exists and has ended: raise `RunConflict` ("error"), return
            it untouched ("adopt"), or reopen it ("resume").

    Raises:
        RunConflict: The run has ended and `on_finished` is "error".
        UsageError: `project` or `run_id` is not a name.
    """
    from wandb_ops.protocol.runs import upsert_run
    from wandb_ops.public.runs.run import random_run_id

    bare_project(project)
    if run_id is not None and (not run_id or "/" in run_id):
        raise UsageError(f"{run_id!r} is not a run's id", hint="An id has no / in it: pass its last part.")
    entity = api.entity_or_default(entity)
    run_id = run_id or random_run_id()
    path = f"{entity}/{project}/{run_id}"
    existing = _find(api, path)
    if existing is not None and existing.state in ENDED_STATES:
        if on_finished == "error":
            raise RunConflict(
                f"the run exists and is {existing.state}",
                where=path,
                hint='Pass on_finished="adopt" to use it as it is, or "resume" to reopen it.',
            )
        if on_finished == "adopt":
            return _result(existing, created=False)
    upserted = upsert_run(
        api.transport,
        entity=entity,
        project=project,
        run_id=run_id,
        config=_merged_config(existing, config),
        display_name=display_name,
        group=group,
        job_type=job_type,
        tags=list(tags) if tags is not None else None,
        notes=notes,
        state="running",
    )
    return _result(api.run(path), created=upserted.inserted)


def finish_run(
    api: Api, *, run: str, exit_code: int = 0, summary: Mapping[str, Any] | None = None
) -> RunResult:
    """End a run: `finished` for exit code 0, `failed` for any other.

    Repeating it is harmless. A run that has already ended differently is not changed; one that W&B shows as
    crashed has only fallen silent, and is ended.

    Raises:
        RunConflict: The run has ended with the opposite outcome.
    """
    from wandb_ops.protocol.filestream import FileStream

    found = api.run(run)
    if found.state in ENDED_STATES:
        if (found.state in SUCCESS_STATES) != (exit_code == 0):
            raise RunConflict(
                f"the run has already ended as {found.state}",
                where=run,
                hint='Reopen it with create_run(..., on_finished="resume") to end it otherwise.',
            )
        return _result(found, created=False)
    if summary:
        found.summary.update(dict(summary))
    entity, project, run_id = found.path
    stream = FileStream(api.transport, entity=entity, project=project, run_id=run_id, offsets={})
    stream.finish(exit_code)
    return _result(api.run(run), created=False)


def update_run(
    api: Api,
    *,
    run: str,
    config: Mapping[str, Any] | None = None,
    summary: Mapping[str, Any] | None = None,
    remove_config: Iterable[str] = (),
    remove_summary: Iterable[str] = (),
    add_tags: Iterable[str] = (),
    remove_tags: Iterable[str] = (),
    notes: str | None = None,
    display_name: str | None = None,
) -> RunResult:
    """Change the named parts of a run and nothing else; what others changed meanwhile stays."""
    found = api.run(run)
    found.config.update(config or {})
    for key in remove_config:
        found.config.pop(key, None)
    drop = set(remove_tags)
    found.tags = [tag for tag in dict.fromkeys([*found.tags, *add_tags]) if tag not in drop]
    if notes is not None:
        found.notes = notes
    if display_name is not None:
        found.name = display_name
    found.update()
    gone = [key for key in remove_summary if key in found.summary]
    for key in gone:
        del found.summary[key]
    if summary or gone:
        found.summary.update(dict(summary or {}))
    return _result(api.run(run), created=False)


def _find(api: Api, path: str) -> Run | None:
    try:
        return api.run(path)
    except NotFoundError:
        return None


def _merged_config(existing: Run | None, config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not config:
        return None
    # Whole, with what the W&B client keeps there for itself: a config is stored as one piece.
    return {**(existing.rawconfig if existing is not None else {}), **config}


def _result(run: Run, *, created: bool) -> RunResult:
    entity, project, run_id = run.path
    return RunResult(
        entity=entity,
        project=project,
        run_id=run_id,
        path="/".join(run.path),
        url=run.url,
        display_name=run.name or run.id,
        state=run.state,
        created=created,
        history_lines=run.history_line_count,
    )
