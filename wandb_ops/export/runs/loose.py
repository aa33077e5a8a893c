"""What stays files whatever the format: those of runs and artifacts, below the folder or beside tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from wandb_ops.export.places.naming import safe_name
from wandb_ops.export.places.places import child
from wandb_ops.export.places.targets import folder
from wandb_ops.export.runs.artifactfiles import ArtifactTaker
from wandb_ops.export.runs.runfiles import files_stand, take_files

if TYPE_CHECKING:
    from wandb_ops.export.places.targets import Folder
    from wandb_ops.export.request.project import NotTaken, PerRun, ProjectRequest, Taken
    from wandb_ops.export.runs.listing import Listed
    from wandb_ops.transport.session import Transport


def path_below(request: ProjectRequest, what: Literal["files", "artifacts"]) -> str:
    """Where such files go below `to`; in a lake, which many projects may share, each has its own folder."""
    # Not "artifacts": in a lake that is a table, whose folder `vacuum` sweeps.
    name = "files" if what == "files" else "artifact_files"
    if request.format != "delta":
        return name
    return f"{name}/{safe_name(request.entity)}/{safe_name(request.project)}"


class LooseFiles:
    """The folders of an export that hold such files."""

    def __init__(self, transport: Transport, request: ProjectRequest) -> None:
        self._request = request
        below = path_below(request, "artifacts")
        self._artifacts = ArtifactTaker(transport, request.to, below, force=request.force)

    def standing(self, listed: Listed, what: PerRun) -> int | None:
        """Files that are there as the server has them; None when something is missing."""
        if what == "files":
            return files_stand(listed, self._files_of(listed))
        return None if self._artifacts.missing(listed) else 0

    def take(self, listed: Listed, what: PerRun) -> list[Taken | NotTaken]:
        """Bring what is missing."""
        if what == "files":
            return take_files(listed, self._files_of(listed), force=self._request.force)
        return self._artifacts.take(listed)

    def _files_of(self, listed: Listed) -> Folder:
        path = f"{path_below(self._request, 'files')}/{safe_name(listed.ref.run_id)}"
        return folder(child(self._request.to, path))
