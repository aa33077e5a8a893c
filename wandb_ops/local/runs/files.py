"""Run files: names in a table, contents as blobs whose paths no client ever chooses.

A file's contents live at ``files/<run>/<random>``; its name is a key and never becomes a path here. A new
upload writes a new blob and swaps the row to it, so that a reader sees the old file or the new one whole.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import os
import secrets
import shutil
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, BinaryIO

from wandb_ops.local.errors import Refused
from wandb_ops.local.names import check_file_name, encode_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

_COLUMNS = "id, run, name, size, md5, mimetype, blob, updated_at"


@dataclass(frozen=True, slots=True)
class RunFile:
    """One row of ``files``; ``blob`` is None until contents arrived."""

    pk: int
    run: int
    name: str
    size: int
    md5: str | None
    mimetype: str | None
    blob: str | None
    updated_at: int

    @property
    def id(self) -> str:
        """The opaque id of the file."""
        return encode_id("File", self.pk)


class Upload:
    """A file on its way in: written beside its final place, then moved there at once."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.blob = secrets.token_hex(16)
        self._target = folder / self.blob
        self._part = folder / f"{self.blob}.part"
        self._handle: BinaryIO = self._part.open("wb")
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._handle.write(data)
        self._md5.update(data)
        self.size += len(data)

    @property
    def path(self) -> Path:
        """Where the bytes are once they are committed."""
        return self._target

    @property
    def md5(self) -> str:
        """Base64 of the MD5 of what came so far, as in ``Content-MD5``."""
        return base64.b64encode(self._md5.digest()).decode()

    def commit(self) -> None:
        """Force the bytes to disk and give them their final name."""
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._handle.close()
        self._part.rename(self._target)

    def discard(self) -> None:
        """Forget what came."""
        self._handle.close()
        self._part.unlink(missing_ok=True)
        self._target.unlink(missing_ok=True)


def find(connection: sqlite3.Connection, run: int, name: str) -> RunFile | None:
    """The row of that file name, or None."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM files WHERE run=? AND name=?",  # noqa: S608 - only constants are put in
        (run, name),
    ).fetchone()
    return RunFile(*row) if row else None


def declare(connection: sqlite3.Connection, now: int, run: int, names: Iterable[str]) -> None:
    """Note that files of these names will be uploaded."""
    connection.executemany(
        "INSERT OR IGNORE INTO files(run, name, mimetype, updated_at) VALUES(?,?,?,?)",
        [(run, check_file_name(name), _mimetype(name), now) for name in names],
    )


def _mimetype(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def touch(connection: sqlite3.Connection, now: int, run: int, names: Iterable[str]) -> None:
    """The writer says that these files are complete."""
    connection.executemany(
        "UPDATE files SET updated_at=? WHERE run=? AND name=?", [(now, run, name) for name in names]
    )


def put(connection: sqlite3.Connection, now: int, run: int, name: str, upload: Upload) -> str | None:
    """Point the file's row to an upload; returns the blob that it replaces, to be removed after commit."""
    known = find(connection, run, name)
    connection.execute(
        "INSERT INTO files(run, name, size, md5, mimetype, blob, updated_at) VALUES(?,?,?,?,?,?,?)"
        " ON CONFLICT(run, name) DO UPDATE SET size=excluded.size, md5=excluded.md5,"
        " mimetype=excluded.mimetype, blob=excluded.blob, updated_at=excluded.updated_at",
        (run, name, upload.size, upload.md5, _mimetype(name), upload.blob, now),
    )
    return known.blob if known else None


def page(
    connection: sqlite3.Connection,
    run: int,
    *,
    names: Sequence[str],
    pattern: str | None,
    after: int,
    first: int,
) -> list[RunFile]:
    """Files that have contents, by row number above ``after``; one more than ``first`` tells of a next page.

    With ``names``, a file that does not exist comes back all the same, with md5 ``"0"`` and size 0, as W&B
    answers. ``pattern`` is SQL's LIKE (``%`` and ``_``) or a shell pattern (``*`` and ``?``).
    """
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM files WHERE run=? AND id>? ORDER BY id",  # noqa: S608 - only constants are put in
        (run, after),
    )
    wanted = set(names)
    found: list[RunFile] = []
    for row in rows:
        file = RunFile(*row)
        if wanted and file.name not in wanted:
            continue
        if file.blob is None or not _matches(file.name, pattern):
            continue
        found.append(file)
        if len(found) > first:
            break
    if wanted and not after and not pattern:
        missing = wanted - {file.name for file in found}
        found += [RunFile(0, run, name, 0, "0", None, None, 0) for name in names if name in missing]
    return found


def _matches(name: str, pattern: str | None) -> bool:
    if not pattern:
        return True
    shell = pattern.replace("[", "[[]").replace("%", "*")
    return fnmatchcase(name, shell)


def count(connection: sqlite3.Connection, run: int) -> int:
    """How many files of the run have contents."""
    query = "SELECT count(*) FROM files WHERE run=? AND blob IS NOT NULL"
    return int(connection.execute(query, (run,)).fetchone()[0])


def delete(
    connection: sqlite3.Connection, pks: Sequence[int], project: int | None, seen: Callable[[int], bool]
) -> list[tuple[int, str]]:
    """Remove rows; returns ``(run, blob)`` of the contents to remove after the commit.

    Args:
        project: The one that all of them must be of; None takes any.
        seen: Whether the project of that row exists for who asks.

    Raises:
        Refused: A file is unknown or of another project; nothing is removed then.
    """
    gone: list[tuple[int, str]] = []
    for pk in pks:
        row = connection.execute(
            "SELECT f.run, f.blob, r.project FROM files f JOIN runs r ON r.id=f.run WHERE f.id=?", (pk,)
        ).fetchone()
        if row is None or (project is not None and row[2] != project) or not seen(row[2]):
            raise Refused("file not found")
        connection.execute("DELETE FROM files WHERE id=?", (pk,))
        if row[1]:
            gone.append((row[0], row[1]))
    return gone


def remove_tree(folder: Path) -> None:
    """Remove a run's folder of blobs or exports, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
