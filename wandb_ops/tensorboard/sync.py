"""A folder of tfevents files to the history of one run, so that nothing is lost and nothing comes twice."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import NotFoundError
from wandb_ops.protocol.runs import resume_status, upsert_run
from wandb_ops.redaction import safe_url
from wandb_ops.tensorboard.discover import exists, find_directories
from wandb_ops.tensorboard.sending import RunBefore
from wandb_ops.tensorboard.sources import is_remote
from wandb_ops.tensorboard.writer import RunSync

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from wandb_ops.tensorboard.discover import Directory
    from wandb_ops.transport.session import Transport

HEARTBEAT = 30.0  # seconds; W&B calls a run crashed when its writer is silent for minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What one sync did; the fields of `steps.SyncResult`."""

    path: str  # entity/project/run_id
    url: str
    run_id: str
    rows: int  # history rows sent by this call
    scalars: int  # scalar values in those rows
    media: int  # histograms, images and other values in those rows
    files: int  # event files in the folder
    bytes_read: int
    bytes_skipped: int  # damaged
    resumed_at_line: int  # history line the first new row got
    history_lines: int  # the server's count afterwards
    last_step: int  # last `_step`; -1 when there is none
    left_out: dict[str, int] = field(default_factory=dict)  # reason -> records or values not taken


def sync_directory(
    transport: Transport,
    root_dir: str | os.PathLike[str],
    *,
    entity: str,
    project: str,
    run_id: str,
    finish: bool = True,
    display_name: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] | None = None,
    config: Mapping[str, Any] | None = None,
    prefixed_step: bool = False,
    reopen: bool = True,
    progress: Callable[[int, int, int], None] | None = None,
) -> Synced:
    """Send what the event files under `root_dir` hold and the run does not have yet.

    The run is made when it does not exist. A second call sends only what came since; a call after one that
    was interrupted, or whose answer was lost, completes it.

    Args:
        transport: Talks to the server.
        root_dir: The folder of event files, or its URL in a store (`s3://bucket/logs`); its directories
            become prefixes of the history keys.
        entity: Of the run.
        project: Of the run.
        run_id: Of the run.
        finish: Finish the run with exit code 0 afterwards. A run that had failed stays failed.
        display_name: For a run that is made.
        group: For a run that is made.
        job_type: For a run that is made.
        tags: For a run that is made.
        config: For a run that is made; hyperparameters in the event files are added to it.
        prefixed_step: Also give each row `<directory>/global_step`, as wandb 0.29 did. To be the same in
            every call for one run.
        reopen: What is new may reopen a run that has ended, though `finish` is off.
        progress: Called now and then with (bytes read, bytes in all, rows sent).

    Raises:
        NotFoundError: There is no such folder, or no event file in it.
        RunConflict: The run holds rows that did not come from this folder; or not `reopen`, and it has ended.
    """
    directories = find_directories(root_dir)
    if not directories:
        raise _no_events(root_dir)
    made = _Made(display_name, group, job_type, tags, config)
    run, sync = _open(
        transport, entity, project, run_id, made, progress, prefixed_step, reopen=finish or reopen
    )
    sync.take(directories)
    sync.end(finish=finish)
    return _result(transport, run, sync, run_id, directories)


def follow_directory(
    transport: Transport,
    root_dir: str | os.PathLike[str],
    *,
    entity: str,
    project: str,
    run_id: str,
    finish: bool = True,
    poll_interval: float = 5.0,
    idle_limit: float | None = None,
    hold_limit: float = 60.0,
    should_stop: Callable[[], bool] | None = None,
    display_name: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] | None = None,
    config: Mapping[str, Any] | None = None,
    prefixed_step: bool = False,
    reopen: bool = True,
    progress: Callable[[int, int, int], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Synced:
    """Like `sync_directory`, but goes on while the folder grows, until told to stop or nothing more comes.

    New files and directories are found as they appear; the folder itself need not exist yet. The last step of
    each directory is held back until another step follows it, so that values of one step share a row although
    they reach the disk one after the other.

    Args:
        transport: Talks to the server.
        root_dir: The folder of event files.
        entity: Of the run.
        project: Of the run.
        run_id: Of the run.
        finish: Finish the run at the end.
        poll_interval: Seconds between two looks at the folder.
        idle_limit: End after this many seconds without anything new; None waits for `should_stop`.
        hold_limit: Send the steps that are held back after this many seconds without anything new.
        should_stop: Asked before every wait; True takes one last look and ends.
        display_name: For a run that is made.
        group: For a run that is made.
        job_type: For a run that is made.
        tags: For a run that is made.
        config: For a run that is made.
        prefixed_step: As for `sync_directory`.
        reopen: As for `sync_directory`.
        progress: As for `sync_directory`.
        clock: Seconds, monotonic.
        sleep: Waits that many seconds.

    Raises:
        NotFoundError: There was no event file to the end.
        RunConflict: As for `sync_directory`.
    """
    made = _Made(display_name, group, job_type, tags, config)
    where = {"entity": entity, "project": project, "run_id": run_id}
    opened: tuple[RunBefore, RunSync] | None = None
    # A run that does not exist is made when there is something for it; one that does is kept alive till then.
    exists_already = resume_status(transport, **where) is not None
    directories: list[Directory] = []
    sizes: dict[str, int] = {}
    changed = beat = clock()
    held = False
    while True:
        last_look = should_stop is not None and should_stop()
        directories = find_directories(root_dir) if exists(root_dir) else []
        seen = {file.name: file.size for directory in directories for file in directory.files}
        now = clock()
        if grown := seen != sizes:
            sizes, changed = seen, now
        ending = last_look or (idle_limit is not None and now - changed >= idle_limit)
        hold = not ending and now - changed < hold_limit
        if opened is None and (exists_already or directories):
            opened = _open(
                transport, entity, project, run_id, made, progress, prefixed_step, reopen=finish or reopen
            )
        if opened is not None:
            _, sync = opened
            if grown or (held and not hold):
                rows = sync.rows
                sync.take(directories, hold=hold)
                sync.publish()
                held = hold
                beat = now if sync.rows > rows else beat
            if not ending and now - beat >= HEARTBEAT:
                sync.heartbeat()
                beat = now
        if ending:
            break
        sleep(poll_interval)
    if opened is None or not directories:
        raise _no_events(root_dir)
    run, sync = opened
    sync.end(finish=finish)
    return _result(transport, run, sync, run_id, directories)


@dataclass(frozen=True, slots=True)
class _Made:
    """What a run gets that does not exist yet."""

    display_name: str | None
    group: str | None
    job_type: str | None
    tags: Sequence[str] | None
    config: Mapping[str, Any] | None


def _no_events(root_dir: str | os.PathLike[str]) -> NotFoundError:
    return NotFoundError(
        "there are no TensorBoard event files (*tfevents*) in the folder",
        where=safe_url(str(root_dir)) if is_remote(root_dir) else str(root_dir),
        hint="Give the folder that the writers log to, or one above it.",
    )


def _open(
    transport: Transport,
    entity: str,
    project: str,
    run_id: str,
    made: _Made,
    progress: Callable[[int, int, int], None] | None,
    prefixed_step: bool,
    *,
    reopen: bool,
) -> tuple[RunBefore, RunSync]:
    """The run as it is, made when it does not exist."""
    where = f"{entity}/{project}/{run_id}"
    status = resume_status(transport, entity=entity, project=project, run_id=run_id)
    if status is None:
        config = dict(made.config or {})
        upsert_run(
            transport,
            entity=entity,
            project=project,
            run_id=run_id,
            display_name=made.display_name,
            group=made.group,
            job_type=made.job_type,
            tags=made.tags,
            config=config,
        )
        run = RunBefore(where, 0, 0, 0, None, {}, config, "running")
    else:
        run = RunBefore(
            where,
            status.history_lines,
            status.events_lines,
            status.log_lines,
            status.last_history_row,
            status.summary,
            status.config,
            status.state,
        )
    sync = RunSync(
        transport, entity, project, run_id, run, progress, prefixed_step=prefixed_step, may_reopen=reopen
    )
    return run, sync


def _result(
    transport: Transport, run: RunBefore, sync: RunSync, run_id: str, directories: list[Directory]
) -> Synced:
    return Synced(
        path=run.where,
        url=f"{transport.settings.app_url}/{run.where.rpartition('/')[0]}/runs/{run_id}",
        run_id=run_id,
        rows=sync.rows,
        scalars=sync.scalars,
        media=sync.media,
        files=sum(len(directory.files) for directory in directories),
        bytes_read=sync.bytes_read,
        bytes_skipped=sync.damage.bytes,
        resumed_at_line=run.lines,
        history_lines=sync.lines,
        last_step=sync.lines - 1,
        left_out=dict(sorted(sync.reasons().items())),
    )
