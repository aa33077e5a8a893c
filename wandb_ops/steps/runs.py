"""Create, fill, finish and wait for runs; each safe to repeat."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import NotFoundError, RunConflict, RunFailed, UsageError, WaitTimeout
from wandb_ops.steps.results import SUCCESS_STATES, TERMINAL_STATES, LogResult, RunResult, RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wandb_ops.public.api import Api
    from wandb_ops.public.runs.run import Run

HISTORY_FILE = "wandb-history.jsonl"

# W&B shows a run as crashed when nobody was heard from it for some minutes. Nobody ended it: the task that
# fills it may be between two tries, or its next task still queued. So its own steps may go on with it.
_ENDED_STATES = TERMINAL_STATES - {"crashed"}

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
    if existing is not None and existing.state in _ENDED_STATES:
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


def log_metrics(
    api: Api,
    *,
    run: str,
    rows: Iterable[Mapping[str, Any]],
    first_line: int | None = None,
    clock: Callable[[], float] = time.time,
) -> LogResult:
    """Append rows to a run's history.

    Rows get `_step` (their line number), `_timestamp` (seconds, now) and `_runtime` where they lack them.

    Args:
        api: The client.
        run: `entity/project/run_id`.
        rows: One mapping per row: numbers, strings, bools, lists, dicts; NaN and infinities are kept. Also
            `Histogram`, `Image` (or a list of them), `Html` and `Table`; their files are stored first.
        first_line: History line the first row is meant for. With it the call is idempotent: rows that the
            server has already are skipped. Without it rows go to the end, and repeating the call repeats
            the rows.
        clock: Seconds since the epoch.

    Raises:
        RunConflict: The server's history does not fit `first_line`, or its last row is not the one this
            call would have written there: someone else writes this run. Or there are rows to add and the
            run has ended: they would reopen it, and nobody would end it again.
    """
    from wandb_ops.protocol import values
    from wandb_ops.protocol.filestream import FileStream
    from wandb_ops.protocol.runs import resume_status
    from wandb_ops.public.media.rows import RunMedia

    found = api.run(run)
    entity, project, run_id = found.path
    media = RunMedia(entity, project, run_id)
    status = resume_status(api.transport, entity=entity, project=project, run_id=run_id)
    if status is None:
        raise NotFoundError("the run does not exist", where=run)
    wanted = list(rows)
    lines_there = status.history_lines
    begin = lines_there if first_line is None else first_line
    skipped = lines_there - begin
    if not 0 <= skipped <= len(wanted):
        raise RunConflict(
            f"the history has {lines_there} lines; {len(wanted)} rows from line {begin} do not follow on",
            where=run,
            hint="Another writer appended to this run, or the run was rewound.",
        )
    if skipped:
        last = wanted[skipped - 1]
        seen = RunMedia(entity, project, run_id).row(last, last.get("_step", lines_there - 1))
        _must_match(seen, status.last_history_row, run)
    if skipped < len(wanted) and found.state in _ENDED_STATES:
        raise RunConflict(
            f"the run has ended as {found.state}; {len(wanted) - skipped} more rows would reopen it",
            where=run,
            hint='Reopen it with create_run(..., on_finished="resume"), and end it again afterwards.',
        )
    summary: dict[str, Any] = dict(status.summary)
    lines: list[str] = []
    started = summary.get("_timestamp", 0.0) - summary.get("_runtime", 0.0) if lines_there else None
    for number, row in enumerate(wanted[skipped:], start=lines_there):
        now = clock()
        started = now if started is None else started
        stamp = row.get("_timestamp", now)
        full = {**row, "_step": row.get("_step", number), "_timestamp": stamp}
        full.setdefault("_runtime", max(0.0, stamp - started))
        full = media.row(full, full["_step"])
        lines.append(values.dumps(full))
        summary.update(full)
    if lines:
        media.save(api.transport)
        stream = FileStream(
            api.transport,
            entity=entity,
            project=project,
            run_id=run_id,
            offsets={HISTORY_FILE: lines_there},
        )
        stream.append(HISTORY_FILE, lines)
        stream.set_summary(values.dumps(summary))
        stream.flush()
    return LogResult(
        path=run,
        url=found.url,
        rows=len(lines),
        skipped=skipped,
        last_step=int(summary.get("_step", -1)),
        history_lines=lines_there + len(lines),
    )


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
    if found.state in _ENDED_STATES:
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


def run_status(api: Api, *, run: str) -> RunStatus:
    """One look at a run: one request."""
    return status_of(api.run(run))


def list_runs(
    api: Api,
    *,
    project: str,
    entity: str | None = None,
    states: Sequence[str] | None = None,
    filters: Mapping[str, Any] | None = None,
    updated_after: str | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> list[RunStatus]:
    """The project's runs, those that changed longest ago first.

    Args:
        api: The client.
        project: Project name.
        entity: User or team; None for the client's default.
        states: Keep only these states.
        filters: Further conditions in W&B's filter language.
        updated_after: ISO 8601 time; keep runs whose heartbeat is at that time or later (at the same
            instant too: a caller that pages by time must drop the ids it has seen).
        limit: At most so many runs.
        newest_first: Those that changed last come first.
    """
    conditions: list[dict[str, Any]] = []
    if states:
        conditions.append({"state": {"$in": list(states)}})
    if updated_after:
        conditions.append({"heartbeatAt": {"$gte": updated_after}})
    if filters:
        conditions.append(dict(filters))
    found = api.runs(
        f"{api.entity_or_default(entity)}/{project}",
        filters={"$and": conditions} if conditions else None,
        order="-heartbeat_at" if newest_first else "+heartbeat_at",
        per_page=min(limit, 500) if limit else 500,
        lazy=True,  # a status needs no config and no summary
    )
    statuses: list[RunStatus] = []
    for run in found:
        if limit is not None and len(statuses) >= limit:
            break
        statuses.append(status_of(run))
    return statuses


def wait_for_run(
    api: Api,
    *,
    run: str,
    timeout: float,
    poll_interval: float = 30.0,
    fail_on_bad_end: bool = True,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> RunStatus:
    """Wait until the run has ended; every terminal state ends the wait.

    Args:
        api: The client.
        run: `entity/project/run_id`.
        timeout: Seconds until `WaitTimeout`.
        poll_interval: Seconds between looks.
        fail_on_bad_end: Raise `RunFailed` for an end other than `finished`; else return its status.
        sleep: Waits so many seconds.
        clock: A monotonic clock in seconds.
    """
    if poll_interval <= 0 or timeout < 0:
        raise UsageError("poll_interval must be positive and timeout not negative", where=run)
    end = clock() + timeout
    while True:
        status = run_status(api, run=run)
        if status.terminal:
            return check_end(status) if fail_on_bad_end else status
        left = end - clock()
        if left <= 0:
            raise WaitTimeout(f"the run is still {status.state} after {timeout:g} s", where=run)
        sleep(min(poll_interval, left))


def bare_project(project: str) -> str:
    """`project` itself.

    Raises:
        UsageError: It is a path, or empty.
    """
    owner, slash, name = project.strip("/").rpartition("/")
    if slash and owner and name:
        raise UsageError(
            f"{project!r} is a path, not the name of a project",
            hint=f"Pass entity={owner!r}, project={name!r}.",
        )
    if not name or project != name:
        raise UsageError(f"{project!r} is not the name of a project")
    return project


def check_end(status: RunStatus) -> RunStatus:
    """`status` itself when the run ended well; `RunFailed` when it ended otherwise."""
    if status.terminal and not status.succeeded:
        raise RunFailed(f"the run ended as {status.state}", where=status.path, hint=f"See {status.url}")
    return status


def status_of(run: Run) -> RunStatus:
    """The status of a run already loaded; no request."""
    return RunStatus(
        path="/".join(run.path),
        run_id=run.id,
        url=run.url,
        display_name=run.name or run.id,
        state=run.state,
        terminal=run.state in TERMINAL_STATES,
        succeeded=run.state in SUCCESS_STATES,
        history_lines=run.history_line_count,
        created_at=run.created_at or "",
        heartbeat_at=run.heartbeat_at or "",
    )


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


def _must_match(wanted: Mapping[str, Any], there: Mapping[str, Any] | None, where: str) -> None:
    from wandb_ops.protocol import values

    shared = {key: value for key, value in wanted.items() if key not in {"_timestamp", "_runtime", "_step"}}
    theirs = {key: (there or {}).get(key) for key in shared}
    # Through the wire form, so that NaN equals NaN and 1.0 read back as 1.0 equals itself.
    if values.dumps(values.loads(values.dumps(shared))) != values.dumps(theirs):
        raise RunConflict(
            "the last row on the server is not the one this call wrote",
            where=where,
            hint="Another writer appended to this run.",
        )


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
