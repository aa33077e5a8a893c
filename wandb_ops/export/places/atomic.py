"""A local file that appears whole or not at all.

The bytes go to a temporary file beside the target, which is flushed and fsynced, renamed over the target,
and the folder is fsynced: after a crash or a power cut a reader finds the old file or the new one. A failure
before the rename leaves the old file byte for byte, and no temporary file.

A process that is killed cannot clean up after itself. Each temporary file is therefore locked by its writer;
the next writer of the same target removes those that nobody holds any more. Several writers of one target
do not disturb each other: each has its own temporary file, and the last to finish wins.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from wandb_ops.errors import UnsafePath, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SUFFIX = ".wandb-ops-part"
_NAME_MAX = 255
_NO_DIRECTORY_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES})


def check_target(path: Path) -> None:
    """Refuse a target that is no plain file: a symlink would send the bytes elsewhere.

    Raises:
        UnsafePath: `path` is a symbolic link.
        UsageError: `path` is a folder or a device.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(mode):
        raise UnsafePath(
            "The target is a symbolic link", where=str(path), hint="Name the file that it points to."
        )
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no plain file"
        raise UsageError(f"The target is {kind}", where=str(path), hint="Name a file.")


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """A writable binary file that becomes `path` when the block ends without an error.

    Leave the block with an error (or with `Discard`) and `path` is as it was.

    Args:
        path: The target; its folder is created. Permissions are those of the file that stood there, else
            what the umask gives; while it is written, only its owner can read it.

    Raises:
        UnsafePath: `path` is a symbolic link.
        UsageError: `path` is a folder or a device.
        OSError: The system refused; the old file stands.
    """
    check_target(path)
    _make_folder(path.parent)
    _sweep(path)
    temporary, descriptor, mode = _create(path)
    published = False
    try:
        # Closing the file is what gives the lock up: it stays open until the rename is done.
        with os.fdopen(descriptor, "w+b") as out:
            yield out
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
            temporary.replace(path)
            published = True
    except Discard:
        pass
    finally:
        if not published:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
    if published:
        sync_folder(path.parent)


class Discard(Exception):
    """Raised inside `replace_file`: the new content is not wanted, the old file stays."""


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError as error:
        if error.errno in _NO_DIRECTORY_SYNC:
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for part in reversed(missing):
        part.mkdir(exist_ok=True)
        sync_folder(part.parent)


def _prefix(path: Path) -> str:
    """What the temporary files of `path` begin with: hidden, recognisable, within the length limit."""
    room = _NAME_MAX - len(_SUFFIX) - 20
    return "." + path.name.encode()[:room].decode(errors="ignore") + "."


def _create(path: Path) -> tuple[Path, int, int]:
    """A new locked temporary file for `path`: (its path, descriptor, permissions it is to end with)."""
    while True:
        temporary = path.with_name(f"{_prefix(path)}{secrets.token_hex(6)}{_SUFFIX}")
        flags = (
            os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        )
        # Asking for 0666 is the one way to learn the umask without changing it for other threads.
        descriptor = os.open(temporary, flags, 0o666)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            os.fchmod(descriptor, 0o600)
            _lock(descriptor, wait=True)
            with contextlib.suppress(FileNotFoundError):
                mode = stat.S_IMODE(os.lstat(path).st_mode)
            if os.fstat(descriptor).st_nlink:
                return temporary, descriptor, mode
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise
        os.close(descriptor)  # a sweeper came between open and lock: take another name


def _sweep(path: Path) -> None:
    """Remove temporary files of `path` whose writer is gone."""
    prefix = _prefix(path)
    with os.scandir(path.parent) as entries:
        names = [e.name for e in entries if e.name.startswith(prefix) and e.name.endswith(_SUFFIX)]
    for stale in (path.parent / name for name in names):
        try:
            descriptor = os.open(stale, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue  # gone already, or not ours to open
        try:
            if _lock(descriptor, wait=False):
                with contextlib.suppress(OSError):
                    stale.unlink()
        finally:
            os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file; False when another holds it, or the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
