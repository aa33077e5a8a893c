"""Who belongs to a team or an organisation: members, invites, and accounts that act for a team."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_ops.local.accounts.accounts import ADMIN, MEMBER
from wandb_ops.local.accounts.directory import EMAIL, find_user, user, username_for
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import encode_id

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.accounts.directory import Entity, User

_ROLES = frozenset({ADMIN, MEMBER})
_MEMBER = (
    "SELECT m.id, m.user, m.email, m.role, u.username, u.name, u.email, u.service_team IS NOT NULL"
    " FROM members m LEFT JOIN users u ON u.id=m.user"
)


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


def of_entity(db: sqlite3.Connection, entity_pk: int) -> list[Member]:
    """Members and pending invites of a team or organisation, oldest first."""
    return [Member(*row) for row in db.execute(f"{_MEMBER} WHERE m.entity=? ORDER BY m.id", (entity_pk,))]


def role_of(db: sqlite3.Connection, entity_pk: int, user_pk: int) -> str | None:
    """What the user is there, or None when he is no member."""
    row = db.execute("SELECT role FROM members WHERE entity=? AND user=?", (entity_pk, user_pk)).fetchone()
    return str(row[0]) if row else None


def add(
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
        return add(db, now, team, user_pk=found.pk, role=role)
    if "@" not in username_or_email:
        raise NotFound(f"user {username_or_email!r} not found")
    if not EMAIL.fullmatch(username_or_email):
        raise Refused(f"{username_or_email!r} is not an email address")
    return add(db, now, team, email=username_or_email, role=role)


def get(db: sqlite3.Connection, team: Entity, pk: int) -> Member:
    """The team's member of that row, or :class:`NotFound`."""
    row = db.execute(f"{_MEMBER} WHERE m.id=? AND m.entity=?", (pk, team.pk)).fetchone()
    if row is None:
        raise NotFound(f"{team.name!r} has no such member")
    return Member(*row)


def remove(db: sqlite3.Connection, team: Entity, who: Member) -> None:
    """Let a member go, or take an invite back; a service account is deleted with it.

    Raises:
        Refused: He is the last of the team's administrators.
    """
    if who.role == ADMIN and who.user is not None:
        admins = [each for each in of_entity(db, team.pk) if each.role == ADMIN and each.user is not None]
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
    add(db, now, team, user_pk=pk)
    found = user(db, pk)
    assert found is not None
    return found
