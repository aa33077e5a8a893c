"""The event files under a folder, by directory, in the order in which they are to be read."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from wandb_ops.errors import NotFoundError

_NAME = re.compile(r"tfevents\.\d+")
# Names that TensorFlow's profiler and SageMaker leave beside event files; they hold no events of their own.
_NOT_EVENTS = (".profile-empty", ".sagemaker-uploaded")


@dataclass(frozen=True, slots=True)
class EventFile:
    """One event file, as it is now."""

    name: str  # relative to the root, with "/"; the file's identity in the sync state
    path: Path
    size: int  # bytes

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`. Opened per read: a folder may hold thousands of files."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(offset)
            parts = []
            while size > 0:
                part = file.read(size)
                if not part:
                    break
                parts.append(part)
                size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True, slots=True)
class Directory:
    """One log directory: what TensorBoard calls a run."""

    name: str  # relative to the root, with "/"; "" for the root itself
    files: tuple[EventFile, ...]


def is_event_file(name: str) -> bool:
    """Whether TensorBoard would read a file of this name."""
    return _NAME.search(name) is not None and not name.endswith(_NOT_EVENTS)


def find_directories(root_dir: str | os.PathLike[str]) -> list[Directory]:
    """The directories under `root_dir` (itself included) that hold event files, by name.

    Linked folders are followed, each real folder once. Empty files count: a writer may just have opened them.

    Raises:
        NotFoundError: There is no such folder.
    """
    root = Path(root_dir)
    if not root.is_dir():
        raise NotFoundError(
            f"there is no folder {os.fspath(root_dir)!r}",
            hint="Give the folder that the writers log to, or one above it.",
        )
    found: dict[str, Directory] = {}
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders.sort()
        relative = Path(folder).relative_to(root).as_posix()
        name = "" if relative == "." else relative
        files = []
        for file in sorted(names):
            path = Path(folder) / file
            if is_event_file(file) and path.is_file():
                files.append(EventFile(f"{name}/{file}" if name else file, path, path.stat().st_size))
        if files:
            found[name] = Directory(name, tuple(files))
    return [found[name] for name in sorted(found)]
