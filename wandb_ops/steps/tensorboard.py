"""A folder of tfevents becomes a run's history."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import UsageError
from wandb_ops.redaction import safe_url
from wandb_ops.steps.identity import bare_project, stable_run_id
from wandb_ops.steps.results import SyncResult

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from wandb_ops.public.api import Api

DEFAULT_PROJECT = "uncategorized"


def sync_tensorboard(
    api: Api,
    root_dir: str | os.PathLike[str],
    *,
    run_id: str | None = None,
    project: str | None = None,
    entity: str | None = None,
    finish: bool = True,
    on_finished: Literal["error", "resume"] = "error",
    prefixed_step: bool = False,
    progress: Callable[[int, int, int], None] | None = None,
) -> SyncResult:
    """Send what the tfevents below `root_dir` hold and the run does not have yet.

    The server's line count is the authority on what was sent: a retry after a lost answer duplicates
    nothing, a grown folder sends only its new rows, a second sync of the same folder sends none.

    Args:
        api: The client.
        root_dir: Folder with tfevents, at any depth, or its URL in a store (`s3://bucket/logs`); sub-folders
            become key prefixes.
        run_id: Run to fill, made when it does not exist; None derives one from the folder's real path,
            so that the same folder finds its run again.
        project: Project; None for the client's default, else "uncategorized".
        entity: User or team; None for the client's default.
        finish: End the run as finished afterwards.
        on_finished: Without `finish`, when the run has ended and there is something to send: raise
            `RunConflict` ("error"), or reopen the run ("resume"), which then stays open.
        prefixed_step: Also give each row `<directory>/global_step`, as wandb 0.29 did.
        progress: Called now and then with (bytes read, bytes in all, rows sent).

    Raises:
        RunConflict: The run holds rows that this folder did not write, or has ended (see `on_finished`).
    """
    from wandb_ops.tensorboard.discover import exists
    from wandb_ops.tensorboard.sync import sync_directory

    if not exists(root_dir):
        raise UsageError(
            f"{root_dir} is not a folder", hint="root_dir is the folder that holds the tfevents."
        )
    synced = sync_directory(
        api.transport,
        root_dir,
        **_run(api, root_dir, run_id, project, entity),
        finish=finish,
        reopen=on_finished == "resume",
        prefixed_step=prefixed_step,
        progress=progress,
    )
    return SyncResult(**asdict(synced))


def follow_tensorboard(
    api: Api,
    root_dir: str | os.PathLike[str],
    *,
    run_id: str | None = None,
    project: str | None = None,
    entity: str | None = None,
    finish: bool = True,
    on_finished: Literal["error", "resume"] = "error",
    prefixed_step: bool = False,
    poll_interval: float = 5.0,
    idle_limit: float | None = None,
    should_stop: Callable[[], bool] | None = None,
    progress: Callable[[int, int, int], None] | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> SyncResult:
    """Like `sync_tensorboard`, but go on while the folder grows.

    Args:
        api: The client.
        root_dir: As for `sync_tensorboard`; a local folder need not exist yet.
        run_id: As for `sync_tensorboard`.
        project: As for `sync_tensorboard`.
        entity: As for `sync_tensorboard`.
        finish: End the run at the end.
        on_finished: As for `sync_tensorboard`.
        prefixed_step: As for `sync_tensorboard`.
        poll_interval: Seconds between two looks.
        idle_limit: End after this many seconds without anything new; None waits for `should_stop`.
        should_stop: Asked before every look; True takes one last look and ends.
        progress: As for `sync_tensorboard`.
        sleep: Waits that many seconds, or less when it is time to stop.

    Raises:
        NotFoundError: There was no event file to the end.
        RunConflict: As for `sync_tensorboard`.
    """
    from wandb_ops.tensorboard.sync import follow_directory

    synced = follow_directory(
        api.transport,
        root_dir,
        **_run(api, root_dir, run_id, project, entity),
        finish=finish,
        reopen=on_finished == "resume",
        prefixed_step=prefixed_step,
        poll_interval=poll_interval,
        idle_limit=idle_limit,
        should_stop=should_stop,
        progress=progress,
        sleep=sleep,
    )
    return SyncResult(**asdict(synced))


def _run(
    api: Api,
    root_dir: str | os.PathLike[str],
    run_id: str | None,
    project: str | None,
    entity: str | None,
) -> dict[str, Any]:
    """Which run to fill."""
    if project:
        bare_project(project)
    return {
        "entity": api.entity_or_default(entity),
        "project": project or api.settings.get("project") or DEFAULT_PROJECT,
        "run_id": run_id or _run_id(root_dir),
    }


def _run_id(root_dir: str | os.PathLike[str]) -> str:
    from wandb_ops.tensorboard.sources import is_remote, local_path, readable

    if is_remote(root_dir):
        place = safe_url(str(root_dir)).rstrip("/")
        return stable_run_id(place.rsplit("/", 1)[-1], place)
    folder = local_path(root_dir).resolve()
    return stable_run_id(readable(folder.name), readable(str(folder)))
