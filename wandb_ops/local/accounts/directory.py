"""Users, teams and organisations: rows, and the rules of making, joining, leaving and deleting them.

Names of users, teams and organisations' entities are one namespace, as in W&B's URLs. Nothing here asks who
is asking: the resolvers do, and the admin API is for whoever holds the admin key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_ops.local.accounts.accounts import ADMIN, MEMBER, ORGANIZATION, TEAM, USER
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import check_name, encode_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

# The first parts of this server's own paths: an entity of that name would have no page.
_RESERVED = frozenset(
    {"admin", "artifacts", "artifactsv2", "exports", "files", "graphql", "healthz", "login", "sdk", "static"}
    | {"storage"}
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_ROLES = frozenset({ADMIN, MEMBER})

_USER = (
    "SELECT u.id, u.username, u.name, u.email, u.admin, e.name, t.name, u.created_at FROM users u"
    " LEFT JOIN entities e ON e.id=u.entity LEFT JOIN entities t ON t.id=u.service_team"
)
_ENTITY = (
    "SELECT e.id, e.name, e.kind, o.name, e.created_at FROM entities e"
    " LEFT JOIN organizations o ON o.id=e.organization"
)
_MEMBER = (
    "SELECT m.id, m.user, m.email, m.role, u.username, u.name, u.email, u.service_team IS NOT NULL"
    " FROM members m LEFT JOIN users u ON u.id=m.user"
)
_ORGANIZATION = "SELECT o.id, o.name, e.name FROM organizations o JOIN entities e ON e.id=o.entity"


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
class Member:
    """A member of a team or organisation; ``user`` is None while an invite waits for its account."""

    pk: int
    user: int | None
    invited: str | None
    role: str
    username: str | None
    name: str | None
    email: str | None
    service: int

    @property
    def id(self) -> str:
        """The opaque id of the membership."""
        return encode_id("Member", self.pk)


@dataclass(frozen=True, slots=True)
class Gone:
    """Rows that were deleted and whose blobs are to follow after the commit."""

    projects: list[int]
    runs: list[int]


@dataclass(frozen=True, slots=True)
class Organization:
    """One row of ``organizations``, and the entity that owns its registries."""

    pk: int
    name: str
    entity: str

    @property
    def id(self) -> str:
        """The opaque id of the organisation."""
        return encode_id("Organization", self.pk)


def _check_new(db: sqlite3.Connection, kind: str, name: str) -> str:
    check_name(kind, name)
    if not _NAME.fullmatch(name) or len(name) > 64:
        raise Refused(f"invalid {kind} name: 1 to 64 letters, digits, '_', '-' and '.'")
    if name.lower() in _RESERVED:
        raise Refused(f"{kind} name {name!r} is reserved")
    for query in ("SELECT 1 FROM entities WHERE name=?", "SELECT 1 FROM users WHERE username=?"):
        if db.execute(query, (name,)).fetchone():
            raise Refused(f"the name {name!r} is taken", 409)
    return name


def _add_entity(db: sqlite3.Connection, now: int, name: str, kind: str, organization: int | None) -> int:
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
    _check_new(db, "user", username)
    if email is not None and not _EMAIL.fullmatch(email):
        raise Refused(f"{email!r} is not an email address")
    address = email or f"{username}@localhost"
    if db.execute("SELECT 1 FROM users WHERE email=?", (address,)).fetchone():
        raise Refused(f"a user with the address {address!r} exists already", 409)
    entity = _add_entity(db, now, username, USER, None)
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
    if not _EMAIL.fullmatch(email):
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
    entity = _add_entity(db, now, username, USER, None)
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


def create_team(db: sqlite3.Connection, now: int, name: str, organization: str | None = None) -> Entity:
    """Make a team without members.

    Raises:
        Refused: The name is taken (409) or cannot be one.
        NotFound: There is no such organisation.
    """
    above = get_organization(db, organization).pk if organization else None
    _add_entity(db, now, _check_new(db, "team", name), TEAM, above)
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


# -- members -----------------------------------------------------------------------------------------------


def members(db: sqlite3.Connection, entity_pk: int) -> list[Member]:
    """Members and pending invites of a team or organisation, oldest first."""
    return [Member(*row) for row in db.execute(f"{_MEMBER} WHERE m.entity=? ORDER BY m.id", (entity_pk,))]


def role(db: sqlite3.Connection, entity_pk: int, user_pk: int) -> str | None:
    """What the user is there, or None when he is no member."""
    row = db.execute("SELECT role FROM members WHERE entity=? AND user=?", (entity_pk, user_pk)).fetchone()
    return str(row[0]) if row else None


def add_member(
    db: sqlite3.Connection,
    now: int,
    team: Entity,
    *,
    user_pk: int | None = None,
    email: str | None = None,
    role: str = MEMBER,
) -> Member:
    """Make a user a member, or leave an invite for an address that no user has yet.

    Raises:
        Refused: (409) He is a member or invited already.
    """
    if role not in _ROLES:
        raise Refused(f"role must be one of {', '.join(sorted(_ROLES))}")
    column, value = ("user", user_pk) if user_pk is not None else ("email", email)
    query = f"SELECT 1 FROM members WHERE entity=? AND {column}=?"  # noqa: S608 - only constants are put in
    if db.execute(query, (team.pk, value)).fetchone():
        raise Refused(f"already a member of {team.name!r}, or invited", 409)
    cursor = db.execute(
        "INSERT INTO members(entity, user, email, role, created_at) VALUES(?,?,?,?,?)",
        (team.pk, user_pk, email, role, now),
    )
    return Member(*db.execute(f"{_MEMBER} WHERE m.id=?", (cursor.lastrowid,)).fetchone())


def invite(db: sqlite3.Connection, now: int, team: Entity, username_or_email: str, role: str) -> Member:
    """Make a member of a user by name or address; an address that nobody has becomes a pending invite.

    Raises:
        NotFound: There is no user of that name.
        Refused: (409) He is a member or invited already; or that is no address.
    """
    found = find_user(db, username_or_email)
    if found is not None and found.entity is not None:
        return add_member(db, now, team, user_pk=found.pk, role=role)
    if "@" not in username_or_email:
        raise NotFound(f"user {username_or_email!r} not found")
    if not _EMAIL.fullmatch(username_or_email):
        raise Refused(f"{username_or_email!r} is not an email address")
    return add_member(db, now, team, email=username_or_email, role=role)


def member(db: sqlite3.Connection, team: Entity, pk: int) -> Member:
    """The team's member of that row, or :class:`NotFound`."""
    row = db.execute(f"{_MEMBER} WHERE m.id=? AND m.entity=?", (pk, team.pk)).fetchone()
    if row is None:
        raise NotFound(f"{team.name!r} has no such member")
    return Member(*row)


def remove_member(db: sqlite3.Connection, team: Entity, who: Member) -> None:
    """Let a member go, or take an invite back; a service account is deleted with it.

    Raises:
        Refused: He is the last of the team's administrators.
    """
    if who.role == ADMIN and who.user is not None:
        admins = [each for each in members(db, team.pk) if each.role == ADMIN and each.user is not None]
        if len(admins) == 1:
            raise Refused(f"the last administrator of {team.name!r} cannot be removed")
    db.execute("DELETE FROM members WHERE id=?", (who.pk,))
    if who.service:
        db.execute("DELETE FROM users WHERE id=?", (who.user,))


def create_service_account(db: sqlite3.Connection, now: int, team: Entity, description: str) -> User:
    """Make an account that acts for the team alone; it has no entity of its own."""
    text = description.strip()
    if not text:
        raise Refused("a service account needs a description")
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:24] or "account"
    username = username_for(db, f"service-{team.name[:24]}-{words}@localhost")
    cursor = db.execute(
        "INSERT INTO users(username, name, admin, service_team, created_at) VALUES(?,?,0,?,?)",
        (username, text, team.pk, now),
    )
    pk = int(cursor.lastrowid or 0)
    add_member(db, now, team, user_pk=pk)
    found = user(db, pk)
    assert found is not None
    return found


# -- organisations -----------------------------------------------------------------------------------------


def organizations(db: sqlite3.Connection) -> list[Organization]:
    """All organisations, by row."""
    return [Organization(*row) for row in db.execute(f"{_ORGANIZATION} ORDER BY o.id")]


def find_organization(db: sqlite3.Connection, name: str) -> Organization | None:
    """The organisation of that name, or None."""
    row = db.execute(f"{_ORGANIZATION} WHERE o.name=?", (name,)).fetchone()
    return Organization(*row) if row else None


def get_organization(db: sqlite3.Connection, name: str) -> Organization:
    """The organisation of that name, or :class:`NotFound`."""
    found = find_organization(db, name)
    if found is None:
        raise NotFound(f"organization {name!r} not found")
    return found


def organization_of(db: sqlite3.Connection, entity_name: str) -> Organization | None:
    """The organisation of a team, or the one whose own entity that is; None when there is none."""
    query = f"{_ORGANIZATION} WHERE e.name=:name OR o.id=(SELECT organization FROM entities WHERE name=:name)"  # noqa: S608 - only constants are put in
    row = db.execute(query, {"name": entity_name}).fetchone()
    return Organization(*row) if row else None


def create_organization(
    db: sqlite3.Connection,
    now: int,
    name: str,
    *,
    entity: str | None = None,
    teams: Iterable[str] = (),
    members: Iterable[str] = (),
) -> Organization:
    """Make an organisation and the entity that owns its registries.

    Args:
        entity: Name of that entity; None makes one from the organisation's name.
        teams: Teams that belong to it from now on.
        members: Usernames.

    Raises:
        Refused: A name is taken (409) or cannot be one, or a team belongs to another organisation.
        NotFound: There is no such team or user.
    """
    check_name("organization", name)
    if find_organization(db, name) is not None:
        raise Refused(f"organization {name!r} exists already", 409)
    words = re.sub(r"[^A-Za-z0-9_\-]+", "-", name).strip("-_")[:48] or "organization"
    owner = _add_entity(
        db, now, _check_new(db, "organization entity", entity or f"{words}-org"), ORGANIZATION, None
    )
    db.execute("INSERT INTO organizations(name, entity) VALUES(?,?)", (name, owner))
    made = get_organization(db, name)
    for team in teams:
        found = get_team(db, team)
        if found.organization is not None:
            raise Refused(f"team {team!r} belongs to another organization", 409)
        db.execute("UPDATE entities SET organization=? WHERE id=?", (made.pk, found.pk))
    above = Entity(owner, made.entity, ORGANIZATION, None, now)
    for username in members:
        add_member(db, now, above, user_pk=get_user(db, username).pk)
    return made
