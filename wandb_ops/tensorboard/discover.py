"""The event files under a folder, by directory, in the order in which they are to be read."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import NotFoundError
from wandb_ops.redaction import safe_url
from wandb_ops.tensorboard.sources import (
    GzipFile,
    LocalFile,
    RemoteFile,
    is_remote,
    local_path,
    open_store,
    readable,
    store_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_ops.tensorboard.records import Source

_NAME = re.compile(r"tfevents\.\d+")
# Names that TensorFlow's profiler and SageMaker leave beside event files; they hold no events of their own.
_NOT_EVENTS = (".profile-empty", ".sagemaker-uploaded")
_GZIP = ".gz"

logger = logging.getLogger("wandb_ops.tensorboard")


@dataclass(frozen=True, slots=True)
class EventFile:
    """One event file, as it is now."""

    # Relative to the root, with "/", without ".gz": a file that is compressed later is the same file.
    name: str
    size: int  # bytes, uncompressed
    source: Source = field(compare=False)
    is_whole: bool = True  # False for a gzip stream that breaks off

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`; fewer at the end."""
        return self.source.read(offset, size)


@dataclass(frozen=True, slots=True)
class Directory:
    """One log directory: what TensorBoard calls a run."""

    name: str  # relative to the root, with "/"; "" for the root itself
    files: tuple[EventFile, ...]


def is_event_file(name: str) -> bool:
    """Whether TensorBoard would read a file of this name, or would if it were not compressed.

    Not so a hidden one: tools that copy files give them such names until they are whole.
    """
    return (
        _NAME.search(name) is not None
        and not name.startswith(".")
        and not name.removesuffix(_GZIP).endswith(_NOT_EVENTS)
    )


def find_directories(root_dir: str | os.PathLike[str]) -> list[Directory]:
    """The directories under `root_dir` (itself included) that hold event files, by name.

    Linked folders are followed, each real folder once. Empty files count: a writer may just have opened them.
    A folder that may not be read is skipped with a warning: volumes have such of their own.

    Args:
        root_dir: A folder, or one in a store: a URL that fsspec knows (`s3://bucket/logs`), or a path object
            of its kind.

    Raises:
        NotFoundError: There is no such folder.
        UsageError: The library for this kind of store is not installed.
        CommError: The store did not answer, or refused.
    """
    found: defaultdict[str, dict[str, EventFile]] = defaultdict(dict)
    for name, source, size, version in _listing(root_dir):
        folder, _, file = name.rpartition("/")
        if not is_event_file(file):
            continue
        plain = name.removesuffix(_GZIP)
        if plain == name:
            found[folder][plain] = EventFile(plain, size, source)
        elif plain not in found[folder]:  # while a file is being compressed, both are there
            length, is_whole = _measure(source, str(root_dir), name, size, version)
            found[folder].setdefault(plain, EventFile(plain, length, GzipFile(source), is_whole))
    return [
        Directory(name, tuple(files[file] for file in sorted(files))) for name, files in sorted(found.items())
    ]


def exists(root_dir: str | os.PathLike[str]) -> bool:
    """Whether there is a local folder; of a folder in a store nobody can say before it has a file."""
    return is_remote(root_dir) or local_path(root_dir).is_dir()


def _listing(root_dir: str | os.PathLike[str]) -> Iterator[tuple[str, Source, int, str]]:
    """(name, source, bytes, version) of the files that may be event files; plain before compressed ones."""
    found = _remote_listing(root_dir) if is_remote(root_dir) else _local_listing(local_path(root_dir))
    return iter(sorted(found, key=lambda item: (item[0].endswith(_GZIP), item[0])))


def _local_listing(root: Path) -> Iterator[tuple[str, Source, int, str]]:
    if not root.is_dir():
        raise NotFoundError(
            f"there is no folder {os.fspath(root)!r}",
            hint="Give the folder that the writers log to, or one above it.",
        )
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_skipped):
        try:
            status = Path(folder).stat()
        except FileNotFoundError:  # cleaned away while we look
            continue
        if (status.st_dev, status.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        subfolders.sort()
        for file in names:
            if not is_event_file(file):
                continue
            path = Path(folder) / file
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                name = readable(path.relative_to(root).as_posix())
                yield name, LocalFile(path), status.st_size, str(status.st_mtime_ns)


def _skipped(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        _warn(str(error.filename), error.strerror)


@lru_cache(maxsize=1024)  # a folder that is followed is looked at again and again
def _warn(folder: str, reason: str) -> None:
    logger.warning("skipped the folder %r: %s", folder, reason)


def _remote_listing(root_dir: str | os.PathLike[str]) -> Iterator[tuple[str, Source, int, str]]:
    filesystem, root = open_store(root_dir)
    shown = safe_url(str(root_dir))
    try:
        filesystem.invalidate_cache()  # a folder that is followed grows
        entries: dict[str, Any] = filesystem.find(root, detail=True)
    except FileNotFoundError:
        entries = {}
    except Exception as error:  # every store has its own errors
        raise store_error(error, shown) from error
    for path, entry in entries.items():
        if entry.get("type") == "file" and is_event_file(PurePosixPath(path).name):
            name = str(path).strip("/").removeprefix(root.strip("/")).strip("/")
            size = _size(filesystem, str(path), entry)
            version = str(entry.get("ETag") or entry.get("mtime") or entry.get("LastModified") or "")
            yield name or PurePosixPath(path).name, RemoteFile(filesystem, str(path), size), size, version


def _size(filesystem: Any, path: str, entry: dict[str, Any]) -> int:
    """Bytes of an object; a web server's listing does not say them."""
    size = entry.get("size")
    if size is None:
        try:
            size = filesystem.size(path)
        except Exception as error:  # every store has its own errors
            raise store_error(error, path) from error
    return int(size or 0)


def _measure(source: Source, root: str, name: str, size: int, version: str) -> tuple[int, bool]:
    """Uncompressed bytes of a gzip file, and whether it ends as one does; measured once per version of it."""
    return _measured(_Measured(root, name, size, version, source))


@dataclass(frozen=True, slots=True)
class _Measured:
    root: str
    name: str
    size: int
    version: str
    source: Source = field(compare=False)


@lru_cache(maxsize=4096)
def _measured(file: _Measured) -> tuple[int, bool]:
    gzip = GzipFile(file.source)
    return gzip.measure(), gzip.whole
