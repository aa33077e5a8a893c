"""Projects: rows keyed by entity and name."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import NotFound
from wandb_ops.local.names import check_name, encode_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

_COLUMNS = (
    "id, entity, name, description, access, views, created_at, updated_at,"
    " (SELECT username FROM users WHERE users.id = projects.user)"
)


@dataclass(frozen=True, slots=True)
class Project:
    """One row of ``projects``; times in milliseconds; ``username`` made it, if he was not deleted."""

    pk: int
    entity: str
    name: str
    description: str | None
    access: str
    views: str | None
    created_at: int
    updated_at: int
    username: str | None

    @property
    def id(self) -> str:
        """The opaque id of the project."""
        return encode_id("Project", self.name, self.entity)

    @property
    def internal_id(self) -> str:
        """The id behind the name, which survives a rename."""
        return base64.b64encode(f"ProjectInternalId:{self.pk}".encode()).decode()


def find(connection: sqlite3.Connection, entity: str, name: str) -> Project | None:
    """The project of that name, or None."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM projects WHERE entity=? AND name=?",  # noqa: S608 - only constants are put in
        (entity, name),
    ).fetchone()
    return Project(*row) if row else None


def get(connection: sqlite3.Connection, entity: str, name: str) -> Project:
    """The project of that name, or :class:`NotFound`."""
    project = find(connection, entity, name)
    if project is None:
        raise NotFound(f"project {entity}/{name} not found")
    return project


def by_pk(connection: sqlite3.Connection, pk: int) -> Project:
    """The project with that row number."""
    query = f"SELECT {_COLUMNS} FROM projects WHERE id=?"  # noqa: S608 - only constants are put in
    return Project(*connection.execute(query, (pk,)).fetchone())


def page(connection: sqlite3.Connection, entity: str, after: int, first: int) -> Sequence[Project]:
    """Up to ``first`` projects of an entity whose row number is above ``after``, oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM projects WHERE entity=? AND id>? ORDER BY id LIMIT ?",  # noqa: S608 - only constants are put in
        (entity, after, first),
    )
    return [Project(*row) for row in rows]


def upsert(
    connection: sqlite3.Connection,
    now: int,
    entity: str,
    name: str,
    changes: dict[str, Any] | None = None,
    *,
    user: int | None = None,
) -> tuple[Project, bool]:
    """Make the project when it is absent and change what is given; returns it and whether it was made.

    Args:
        changes: Values of ``description``, ``access``, ``views``; None leaves what is there.
        user: Row of the user who makes it.
    """
    check_name("project", name)
    values = {key: value for key, value in (changes or {}).items() if value is not None}
    known = find(connection, entity, name)
    if known is None:
        connection.execute(
            "INSERT INTO projects(entity, name, description, access, views, created_at, updated_at, user)"
            " VALUES(?,?,?,?,?,?,?,?)",
            (
                entity,
                name,
                values.get("description"),
                values.get("access", "PRIVATE"),
                values.get("views"),
                now,
                now,
                user,
            ),
        )
    elif values:
        assignments = ", ".join(f"{column}=?" for column in values)
        connection.execute(
            f"UPDATE projects SET {assignments}, updated_at=? WHERE id=?",  # noqa: S608 - only constants are put in
            (*values.values(), now, known.pk),
        )
    return get(connection, entity, name), known is None
