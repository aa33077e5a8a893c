"""The files that runs saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_ops.errors import AuthenticationError, Error
from wandb_ops.export.places.tree import holds, place_in, put
from wandb_ops.export.request.project import NotTaken, Taken
from wandb_ops.public.runs.files import Files, fetch

if TYPE_CHECKING:
    from wandb_ops.export.places.targets import Folder
    from wandb_ops.export.runs.listing import Listed

_PAGE = 200


def files_stand(listed: Listed, place: Folder) -> int | None:
    """How many files of a run are there as the list of runs shows them; None when one is not, or when the
    list does not show all."""
    if listed.saved is None:
        return None
    try:
        for saved in listed.saved:
            if not holds(place_in(place, saved.name), saved.size, saved.md5):
                return None
    except Error:  # a name that cannot be: `take_files` says so
        return None
    return len(listed.saved)


def take_files(listed: Listed, place: Folder, *, force: bool = False) -> list[Taken | NotTaken]:
    """Bring every file of a run below `place`. One that is there with the size and MD5 that the server names
    is not fetched again; one that fails, or whose name would lead out of `place`, does not keep the others
    back.
    """
    run = listed.run
    outcomes: list[Taken | NotTaken] = []
    written = size = unchanged = 0
    for file in Files(run, per_page=_PAGE):
        try:
            target = place_in(place, file.name)
            if not force and holds(target, file.size, file.md5 or ""):
                unchanged += 1
                continue
            if put(target, lambda out, file=file: fetch(file, out)):  # type: ignore[misc]  # the default binds
                written, size = written + 1, size + file.size
            else:
                unchanged += 1
        except AuthenticationError:
            raise
        except (Error, OSError) as error:
            outcomes.append(NotTaken.of(run.id, "files", error))
    if written or unchanged or not outcomes:
        action = "written" if written else "unchanged"
        outcomes.append(
            Taken(run_id=run.id, what="files", action=action, bytes=size, files=written)  # type: ignore[arg-type]  # one of two
        )
    return outcomes
