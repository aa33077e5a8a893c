"""A folder of tfevents becomes a run's history."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from wandb_ops.errors import UsageError
from wandb_ops.steps.identity import stable_run_id
from wandb_ops.steps.results import SyncResult

if TYPE_CHECKING:
    import os

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
) -> SyncResult:
    """Send what the tfevents below `root_dir` hold and the run does not have yet.

    The server's line count is the authority on what was sent: a retry after a lost answer duplicates
    nothing, a grown folder sends only its new rows, a second sync of the same folder sends none.

    Args:
        api: The client.
        root_dir: Folder with tfevents, at any depth; sub-folders become key prefixes.
        run_id: Run to fill, made when it does not exist; None derives one from the folder's real path,
            so that the same folder finds its run again.
        project: Project; None for the client's default, else "uncategorized".
        entity: User or team; None for the client's default.
        finish: End the run as finished afterwards.

    Raises:
        RunConflict: The run holds rows that this folder did not write.
    """
    from wandb_ops.tensorboard.sync import sync_directory

    folder = Path(root_dir)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="root_dir is the folder that holds the tfevents.")
    synced = sync_directory(
        api.transport,
        folder,
        entity=api.entity_or_default(entity),
        project=project or api.settings.get("project") or DEFAULT_PROJECT,
        run_id=run_id or stable_run_id(folder.resolve().name, str(folder.resolve())),
        finish=finish,
    )
    return SyncResult(**asdict(synced))
