"""Users, and the entities that own projects: rows, and the rules of making and deleting them.

Names of users, teams and organisations' entities are one namespace, as in W&B's URLs. Nothing here asks who
is asking: the resolvers do, and the admin API is for whoever holds the admin key. Who belongs to a team is in
`membership`, organisations are in `organizations`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_ops.local.accounts.accounts import TEAM, USER
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import check_name

if TYPE_CHECKING:
    import sqlite3

# The first parts of this server's own paths: an entity of that name would have no page.
_RESERVED = frozenset(
    {"admin", "artifacts", "artifactsv2", "exports", "files", "graphql", "healthz", "login", "sdk", "static"}
    | {"storage"}
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_USER = (
    "SELECT u.id, u.username, u.name, u.email, u.admin, e.name, t.name, u.created_at FROM users u"
    " LEFT JOIN entities e ON e.id=u.entity LEFT JOIN entities t ON t.id=u.service_team"
)
_ENTITY = (
    "SELECT e.id, e.name, e.kind, o.name, e.created_at FROM entities e"
    " LEFT JOIN organizations o ON o.id=e.organization"
)


@dataclass(frozen=True, slots=True)
class User:
    """One row of ``users``; a service account has no entity of its own but a team."""

    pk: int
    username: str
    name: str
    email: str | None
    admin: int
    entity: str | None
    service_team: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class Entity:
    """One row of ``entities``: whatever owns projects."""

    pk: int
    name: str
    kind: str
    organization: str | None
    created_at: int


@dataclass(frozen=True, slots=True)
class Gone:
    """Rows that were deleted and whose blobs are to follow after the commit."""

    projects: list[int]
    runs: list[int]


def check_new(db: sqlite3.Connection, kind: str, name: str) -> str:
    """`name` itself, when something of that kind may be called so.

    Raises:
        Refused: It may not, or the name is taken (409).
    """
    check_name(kind, name)
    if not _NAME.fullmatch(name) or len(name) > 64:
        raise Refused(f"invalid {kind} name: 1 to 64 letters, digits, '_', '-' and '.'")
    if name.lower() in _RESERVED:
        raise Refused(f"{kind} name {name!r} is reserved")
    for query in ("SELECT 1 FROM entities WHERE name=?", "SELECT 1 FROM users WHERE username=?"):
        if db.execute(query, (name,)).fetchone():
            raise Refused(f"the name {name!r} is taken", 409)
    return name


def add_entity(db: sqlite3.Connection, now: int, name: str, kind: str, organization: int | None) -> int:
    """Put an entity into its table; returns the row."""
    cursor = db.execute(
        "INSERT INTO entities(name, kind, organization, created_at) VALUES(?,?,?,?)",
        (name, kind, organization, now),
    )
    return int(cursor.lastrowid or 0)


# -- users -------------------------------------------------------------------------------------------------


def user(db: sqlite3.Connection, pk: int) -> User | None:
    """The user of that row, or None."""
    row = db.execute(f"{_USER} WHERE u.id=?", (pk,)).fetchone()
    return User(*row) if row else None


def find_user(db: sqlite3.Connection, username_or_email: str) -> User | None:
    """The user of exactly that username or address, or None. Service accounts have a username only."""
    column = "email" if "@" in username_or_email else "username"
    row = db.execute(f"{_USER} WHERE u.{column}=?", (username_or_email,)).fetchone()
    return User(*row) if row else None


def get_user(db: sqlite3.Connection, username_or_email: str) -> User:
    """As :func:`find_user`, or :class:`NotFound`."""
    found = find_user(db, username_or_email)
    if found is None:
        raise NotFound(f"user {username_or_email!r} not found")
    return found


def users(db: sqlite3.Connection, text: str = "") -> list[User]:
    """Persons whose username or address holds ``text``, by row."""
    rows = db.execute(f"{_USER} WHERE u.entity IS NOT NULL ORDER BY u.id")
    wanted = text.lower()
    found = [User(*row) for row in rows]
    return [each for each in found if wanted in each.username.lower() or wanted in (each.email or "").lower()]


def create_user(
    db: sqlite3.Connection,
    now: int,
    username: str,
    *,
    email: str | None = None,
    name: str | None = None,
    admin: bool = False,
) -> User:
    """Make a user with an entity of the same name. Invites to his address become memberships.

    Raises:
        Refused: The name or address is taken (409), or cannot be one.
    """
    check_new(db, "user", username)
    if email is not None and not EMAIL.fullmatch(email):
        raise Refused(f"{email!r} is not an email address")
    address = email or f"{username}@localhost"
    if db.execute("SELECT 1 FROM users WHERE email=?", (address,)).fetchone():
        raise Refused(f"a user with the address {address!r} exists already", 409)
    entity = add_entity(db, now, username, USER, None)
    cursor = db.execute(
        "INSERT INTO users(entity, username, name, email, admin, created_at) VALUES(?,?,?,?,?,?)",
        (entity, username, name or username, address, int(admin), now),
    )
    pk = int(cursor.lastrowid or 0)
    db.execute("UPDATE members SET user=?, email=NULL WHERE email=?", (pk, address))
    found = user(db, pk)
    assert found is not None
    return found


def username_for(db: sqlite3.Connection, email: str) -> str:
    """A free username for an address: what stands before the ``@``, with a number where it is taken."""
    if not EMAIL.fullmatch(email):
        raise Refused(f"{email!r} is not an email address")
    base = re.sub(r"[^A-Za-z0-9_\-]+", "-", email.partition("@")[0]).strip("-_")[:48] or "user"
    names = {row[0].lower() for row in db.execute("SELECT name FROM entities")}
    names |= {row[0].lower() for row in db.execute("SELECT username FROM users")} | _RESERVED
    number, name = 1, base
    while name.lower() in names:
        number += 1
        name = f"{base}-{number}"
    return name


def ensure_owner(db: sqlite3.Connection, now: int, username: str) -> User:
    """The server's own user; made, as its administrator, when absent.

    Raises:
        Refused: The name is a team's or an organisation's.
    """
    found = find_user(db, username)
    if found is None and db.execute("SELECT 1 FROM entities WHERE name=?", (username,)).fetchone():
        raise Refused(f"{username!r} is no user of this server but a team or an organisation")
    if found is not None and found.entity != username:
        raise Refused(f"{username!r} is no user of this server under exactly that name")
    if found is not None:
        return found
    entity = add_entity(db, now, username, USER, None)
    db.execute(
        "INSERT INTO users(entity, username, name, email, admin, created_at) VALUES(?,?,?,?,1,?)",
        (entity, username, username, f"{username}@localhost", now),
    )
    return get_user(db, username)


def delete_user(db: sqlite3.Connection, found: User) -> Gone:
    """Remove a user, his keys, his entity and all its projects; returns what may leave the disk.

    Runs that he made in teams stay, and belong to nobody then.
    """
    gone = delete_entity(db, found.entity) if found.entity else Gone([], [])
    db.execute("DELETE FROM users WHERE id=?", (found.pk,))
    return gone


# -- entities and teams ------------------------------------------------------------------------------------


def entity(db: sqlite3.Connection, name: str) -> Entity | None:
    """The entity of that name, or None."""
    row = db.execute(f"{_ENTITY} WHERE e.name=?", (name,)).fetchone()
    return Entity(*row) if row and row[1] == name else None


def entities(db: sqlite3.Connection, kind: str) -> list[Entity]:
    """All entities of a kind, by row."""
    return [Entity(*row) for row in db.execute(f"{_ENTITY} WHERE e.kind=? ORDER BY e.id", (kind,))]


def get_team(db: sqlite3.Connection, name: str) -> Entity:
    """The team of that name, or :class:`NotFound`."""
    found = entity(db, name)
    if found is None or found.kind != TEAM:
        raise NotFound(f"team {name!r} not found")
    return found


def create_team(db: sqlite3.Connection, now: int, name: str, organization: int | None = None) -> Entity:
    """Make a team without members, in the organisation of that row if there is one.

    Raises:
        Refused: The name is taken (409) or cannot be one.
    """
    add_entity(db, now, check_new(db, "team", name), TEAM, organization)
    return get_team(db, name)


def delete_entity(db: sqlite3.Connection, name: str) -> Gone:
    """Remove an entity with its projects, members and service accounts; returns what may leave the disk."""
    projects = [row[0] for row in db.execute("SELECT id FROM projects WHERE entity=?", (name,))]
    query = "SELECT r.id FROM runs r JOIN projects p ON p.id=r.project WHERE p.entity=?"
    runs = [row[0] for row in db.execute(query, (name,))]
    db.execute("DELETE FROM projects WHERE entity=?", (name,))
    db.execute("DELETE FROM resource_configs WHERE entity=?", (name,))
    db.execute("DELETE FROM users WHERE service_team=(SELECT id FROM entities WHERE name=?)", (name,))
    db.execute("DELETE FROM entities WHERE name=?", (name,))
    return Gone(projects, runs)
