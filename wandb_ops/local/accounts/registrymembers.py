"""Members of registries: users and teams of the organisation, each with a role.

Roles are kept as data: everyone in the organisation sees and fills its registries. Only the list of members
itself is guarded: who administers the registry, the organisation or the server changes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wandb_ops.local.accounts import directory, membership, organizations
from wandb_ops.local.accounts.accounts import ADMIN, TEAM, Account
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import decode_row_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from wandb_ops.local.accounts.directory import Entity, User
    from wandb_ops.local.accounts.organizations import Organization
    from wandb_ops.local.projects import Project

Kind = Literal["user", "team"]
ROLES = frozenset({"admin", "member", "viewer", "restricted_viewer"})
_NEW = "viewer"
_ID_KINDS: dict[Kind, str] = {"user": "User", "team": "Entity"}


@dataclass(frozen=True, slots=True)
class RegistryMember:
    """One row of ``registry_members``: ``user`` or ``team`` is the row of who it is, the other is None."""

    pk: int
    user: int | None
    team: int | None
    role: str


def members(db: sqlite3.Connection, project: int) -> list[RegistryMember]:
    """The members of a registry, oldest first."""
    rows = db.execute(
        "SELECT id, user, team, role FROM registry_members WHERE project=? ORDER BY id", (project,)
    )
    return [RegistryMember(*row) for row in rows]


def found(db: sqlite3.Connection, project: Project) -> None:
    """Make who made a registry its first administrator."""
    db.execute(
        "INSERT OR IGNORE INTO registry_members(project, user, role)"
        " SELECT id, user, 'admin' FROM projects WHERE id=? AND user IS NOT NULL",
        (project.pk,),
    )


def check_admin(db: sqlite3.Connection, account: Account, project: Project) -> Organization:
    """The organisation of a registry that the account administers.

    Raises:
        NotFound: It is no registry.
        Refused: The account administers neither the registry nor its organisation nor the server.
    """
    above = organizations.above(db, project.entity)
    if above is None or above.entity != project.entity:
        raise NotFound(f"registry {project.entity}/{project.name} not found")
    owner = directory.entity(db, above.entity)
    if account.admin or (owner is not None and membership.role_of(db, owner.pk, account.pk) == ADMIN):
        return above
    for each in members(db, project.pk):
        own = each.user == account.pk
        if each.role == ADMIN and (own or (each.team and membership.role_of(db, each.team, account.pk))):
            return above
    raise Refused("permission denied: only administrators of a registry change its members")


def add(
    db: sqlite3.Connection, project: Project, above: Organization, kind: Kind, ids: Iterable[str]
) -> None:
    """Add users or teams as viewers; who is there already keeps his role.

    Raises:
        NotFound: One of them is not in the organisation.
    """
    for value in ids:
        row = _row(db, above, kind, value)
        db.execute(
            f"INSERT OR IGNORE INTO registry_members(project, {kind}, role) VALUES(?,?,?)",
            (project.pk, row, _NEW),
        )


def remove(
    db: sqlite3.Connection, project: Project, above: Organization, kind: Kind, ids: Iterable[str]
) -> None:
    """Remove users or teams; who is no member is passed over. Errors as :func:`add`."""
    for value in ids:
        row = _row(db, above, kind, value)
        db.execute(
            f"DELETE FROM registry_members WHERE project=? AND {kind}=?",  # noqa: S608 - one of two words
            (project.pk, row),
        )


def set_role(
    db: sqlite3.Connection, project: Project, above: Organization, kind: Kind, value: str, role: str
) -> None:
    """Give a member another role.

    Raises:
        NotFound: He is not in the organisation, or no member of the registry.
        Refused: There is no such role.
    """
    if role not in ROLES:
        raise Refused(f"there is no role {role!r} in a registry: {', '.join(sorted(ROLES))}")
    row = _row(db, above, kind, value)
    changed = db.execute(
        f"UPDATE registry_members SET role=? WHERE project=? AND {kind}=?",  # noqa: S608 - one of two words
        (role, project.pk, row),
    )
    if not changed.rowcount:
        raise NotFound(f"the {kind} is no member of registry {project.entity}/{project.name}")


def _row(db: sqlite3.Connection, above: Organization, kind: Kind, value: str) -> int:
    pk = decode_row_id(_ID_KINDS[kind], value)
    who = _user(db, above, pk) if kind == "user" else _team(db, above, pk)
    if who is None:
        raise NotFound(f"there is no such {kind} in the organization")
    return who.pk


def _user(db: sqlite3.Connection, above: Organization, pk: int) -> User | None:
    within = (
        "SELECT 1 FROM members m JOIN entities e ON e.id=m.entity"
        " WHERE m.user=? AND (e.name=? OR e.organization=?)"
    )
    if db.execute(within, (pk, above.entity, above.pk)).fetchone() is None:
        return None
    return directory.user(db, pk)


def _team(db: sqlite3.Connection, above: Organization, pk: int) -> Entity | None:
    row = db.execute("SELECT name FROM entities WHERE id=? AND kind=?", (pk, TEAM)).fetchone()
    who = directory.entity(db, row[0]) if row else None
    return who if who is not None and who.organization == above.name else None
