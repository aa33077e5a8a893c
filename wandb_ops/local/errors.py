"""The refusals that a client may read. Anything else that goes wrong is an internal error without details."""

from __future__ import annotations

import errno
import sqlite3

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Refused(Exception):
    """The request cannot be done; ``str()`` of it is meant for the client.

    Args:
        message: One sentence for the client.
        status: The HTTP status, where the answer is not GraphQL.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class NotFound(Refused):
    """What the request names does not exist."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 404)


def storage_problem(error: BaseException | None) -> Refused | None:
    """What to tell a client of a disk that is full or fails (507: try again later); None for other errors."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return _full()
    if not isinstance(error, sqlite3.DatabaseError):
        return None
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return _full()
    if name.startswith("SQLITE_IOERR"):
        return Refused("the server's disk fails: nothing of this request was stored", 507)
    if name in {"SQLITE_CORRUPT", "SQLITE_NOTADB"}:
        return Refused("the server's database is damaged: restore its data folder from a copy", 500)
    return None


def _full() -> Refused:
    return Refused("the server's disk is full: nothing of this request was stored; try again later", 507)
