"""Folders of files that were downloaded: each file streamed, checked by size and MD5, and named safely.

Names come from runs and artifacts. They stay inside the folder on every system, or they are refused. What is
there already with the right bytes is not fetched again.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from wandb_ops.export.places.atomic import Discard
from wandb_ops.export.places.targets import explained, measure
from wandb_ops.protocol.storage import safe_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_ops.export.places.targets import Folder, Target

_MD5_LENGTH = 24  # 16 bytes in base64


def place_in(folder: Folder, name: str) -> Target:
    """Where a file of that name goes.

    Raises:
        UnsafePath: The name would lead out of the folder, or cannot be a file's everywhere.
    """
    safe_path(Path(folder.uri) if "://" not in folder.uri else Path("/nowhere"), name)
    return folder.file(name)


def holds(target: Target, size: int | None, md5: str) -> bool:
    """Whether a file is there and has these bytes; without an MD5 nothing can be told."""
    if not md5 or len(md5) != _MD5_LENGTH:
        return False
    with explained(target.uri, "read"):
        if not target.exists():
            return False
        digest, seen = hashlib.md5(usedforsecurity=False), 0
        with target.open() as standing:
            while block := standing.read(1 << 20):
                digest.update(block)
                seen += len(block)
                if size is not None and seen > size:
                    return False
    return (size is None or seen == size) and b64encode(digest.digest()).decode() == md5


def put(target: Target, fetch: Callable[[BinaryIO], object]) -> bool:
    """Put in place what `fetch` writes; False when the same bytes stood there."""
    changed = True
    with explained(target.uri, "write"), target.publish() as out:
        fetch(out)
        out.flush()
        if target.exists():
            with target.open() as standing:
                changed = measure(standing) != measure(out)
        if not changed:
            raise Discard
    return changed
