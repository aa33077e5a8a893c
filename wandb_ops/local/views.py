"""Views: reports and workspaces, kept as the JSON specs that clients make of them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.jsontext import loads_object
from wandb_ops.local.names import new_run_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

_MAX_SPEC = 16 << 20
_SELECT = (
    "SELECT v.id, v.project, p.entity, p.name, v.name, v.display_name, v.description, v.type, v.spec,"
    " v.author, v.created_at, v.updated_at FROM views v JOIN projects p ON p.id = v.project"
)
_COLUMNS = {"name": "name", "displayName": "display_name", "description": "description", "type": "type"}


@dataclass(frozen=True, slots=True)
class View:
    """One row of ``views`` with its project's names; times in milliseconds."""

    pk: int
    project_pk: int
    entity: str
    project: str
    name: str
    display_name: str | None
    description: str | None
    type: str
    spec: str
    author: str
    created_at: int
    updated_at: int

    @property
    def id(self) -> str:
        """The opaque id, which people see at the end of a report's address."""
        return base64.b64encode(f"View:{self.pk}".encode()).decode()


def _number(value: str) -> int:
    """The row number in an id; addresses leave its padding out."""
    try:
        text = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        text = ""
    kind, _, number = text.partition(":")
    if kind != "View" or not (number.isascii() and number.isdigit() and len(number) < 19):
        raise Refused("invalid View id")
    return int(number)


def find(db: sqlite3.Connection, value: str) -> View | None:
    """The view with that opaque id, or None."""
    row = db.execute(f"{_SELECT} WHERE v.id=?", (_number(value),)).fetchone()
    return View(*row) if row else None


def page(
    db: sqlite3.Connection, project: int, kind: str | None, name: str | None, after: int, first: int
) -> list[View]:
    """Up to ``first`` views behind row ``after``, oldest first.

    Args:
        kind: Type of view (reports are ``runs``); None is all.
        name: Only the views of that name, or of that title.
    """
    rows = db.execute(
        f"{_SELECT} WHERE v.project=? AND v.id>? AND (? IS NULL OR v.type=?)"
        " AND (? IS NULL OR v.name=? OR v.display_name=?) ORDER BY v.id LIMIT ?",
        (project, after, kind, kind, name, name, name, first),
    )
    return [View(*row) for row in rows]


def upsert(
    db: sqlite3.Connection, now: int, project: int, author: str, given: Mapping[str, Any]
) -> tuple[View, bool]:
    """Make a view, or change what is given of the one named by ``id``; returns it and whether it was made."""
    spec = given.get("spec")
    if spec is not None:
        if len(spec) > _MAX_SPEC:
            raise Refused("the spec is larger than 16 MiB")
        loads_object(spec, "spec")
    changes = {column: given[field] for field, column in _COLUMNS.items() if given.get(field) is not None}
    if spec is not None:
        changes["spec"] = spec
    if given.get("id"):
        known = find(db, given["id"])
        if known is None or known.project_pk != project:
            raise NotFound("view not found")
        changes["updated_at"] = now
        assignments = ", ".join(f"{column}=?" for column in changes)
        db.execute(
            f"UPDATE views SET {assignments} WHERE id=?",  # noqa: S608 - only constants are put in
            (*changes.values(), known.pk),
        )
        pk, inserted = known.pk, False
    else:
        values = {
            "project": project,
            "name": new_run_id(),
            "type": "runs",
            "spec": "{}",
            "author": author,
            "created_at": now,
            "updated_at": now,
            **changes,
        }
        cursor = db.execute(
            f"INSERT INTO views({', '.join(values)}) VALUES({', '.join('?' * len(values))})",
            tuple(values.values()),
        )
        pk, inserted = int(cursor.lastrowid or 0), True
    return View(*db.execute(f"{_SELECT} WHERE v.id=?", (pk,)).fetchone()), inserted


def delete(db: sqlite3.Connection, view: View) -> None:
    """Remove a view."""
    db.execute("DELETE FROM views WHERE id=?", (view.pk,))
