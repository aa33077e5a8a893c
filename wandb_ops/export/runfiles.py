"""The files that runs saved: streamed, checked by size and MD5, under names that stay inside."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

from wandb_ops.errors import AuthenticationError, Error
from wandb_ops.export.atomic import Discard
from wandb_ops.export.project import NotTaken, Taken
from wandb_ops.export.targets import explained, measure
from wandb_ops.protocol.storage import safe_path
from wandb_ops.public.runs.files import Files, fetch

if TYPE_CHECKING:
    from wandb_ops.export.targets import Folder, Target
    from wandb_ops.public.runs.files import File
    from wandb_ops.public.runs.run import Run

_PAGE = 200
_MD5_LENGTH = 24  # 16 bytes in base64


def take_files(run: Run, place: Folder, *, force: bool = False) -> list[Taken | NotTaken]:
    """Bring every file of `run` below `place`. One that is there with the size and MD5 that the server names
    is not fetched again; one that fails, or whose name would lead out of `place`, does not keep the others
    back.
    """
    outcomes: list[Taken | NotTaken] = []
    written = size = unchanged = 0
    for file in Files(run, per_page=_PAGE):
        try:
            safe_path(Path(place.uri) if "://" not in place.uri else Path("/nowhere"), file.name)
            target = place.file(file.name)
            if not force and _is_there(target, file):
                unchanged += 1
                continue
            if _download(target, file):
                written, size = written + 1, size + file.size
            else:
                unchanged += 1
        except AuthenticationError:
            raise
        except (Error, OSError) as error:
            outcomes.append(NotTaken.of(run.id, "files", error))
    action = "written" if written else "unchanged"
    if written or unchanged or not outcomes:
        outcomes.append(
            Taken(run_id=run.id, what="files", action=action, bytes=size, files=written)  # type: ignore[arg-type]  # one of two
        )
    return outcomes


def _is_there(target: Target, file: File) -> bool:
    if not file.md5 or len(file.md5) != _MD5_LENGTH:
        return False
    with explained(target.uri, "read"):
        if not target.exists():
            return False
        digest, size = hashlib.md5(usedforsecurity=False), 0
        with target.open() as standing:
            while block := standing.read(1 << 20):
                digest.update(block)
                size += len(block)
                if size > file.size:
                    return False
    return size == file.size and b64encode(digest.digest()).decode() == file.md5


def _download(target: Target, file: File) -> bool:
    """Put the file in place; False when the same bytes stood there."""
    changed = True
    with explained(target.uri, "write"), target.publish() as out:
        fetch(file, out)
        out.flush()
        if target.exists():
            with target.open() as standing:
                changed = measure(standing) != measure(out)
        if not changed:
            raise Discard
    return changed
