"""Organisations: what stands above teams, with an entity of its own that owns the registries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wandb_ops.local.accounts import membership
from wandb_ops.local.accounts.accounts import ORGANIZATION
from wandb_ops.local.accounts.directory import Entity, add_entity, check_new, get_team, get_user
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import check_name, encode_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_ORGANIZATION = "SELECT o.id, o.name, e.name FROM organizations o JOIN entities e ON e.id=o.entity"


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


def every(db: sqlite3.Connection) -> list[Organization]:
    """All organisations, by row."""
    return [Organization(*row) for row in db.execute(f"{_ORGANIZATION} ORDER BY o.id")]


def find(db: sqlite3.Connection, name: str) -> Organization | None:
    """The organisation of that name, or None."""
    row = db.execute(f"{_ORGANIZATION} WHERE o.name=?", (name,)).fetchone()
    return Organization(*row) if row else None


def get(db: sqlite3.Connection, name: str) -> Organization:
    """The organisation of that name, or :class:`NotFound`."""
    found = find(db, name)
    if found is None:
        raise NotFound(f"organization {name!r} not found")
    return found


def above(db: sqlite3.Connection, entity_name: str) -> Organization | None:
    """The organisation of a team, or the one whose own entity that is; None when there is none."""
    query = f"{_ORGANIZATION} WHERE e.name=:name OR o.id=(SELECT organization FROM entities WHERE name=:name)"  # noqa: S608 - only constants are put in
    row = db.execute(query, {"name": entity_name}).fetchone()
    return Organization(*row) if row else None


def create(
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
    if find(db, name) is not None:
        raise Refused(f"organization {name!r} exists already", 409)
    words = re.sub(r"[^A-Za-z0-9_\-]+", "-", name).strip("-_")[:48] or "organization"
    owner = add_entity(
        db, now, check_new(db, "organization entity", entity or f"{words}-org"), ORGANIZATION, None
    )
    db.execute("INSERT INTO organizations(name, entity) VALUES(?,?)", (name, owner))
    made = get(db, name)
    for team in teams:
        found = get_team(db, team)
        if found.organization is not None:
            raise Refused(f"team {team!r} belongs to another organization", 409)
        db.execute("UPDATE entities SET organization=? WHERE id=?", (made.pk, found.pk))
    own = Entity(owner, made.entity, ORGANIZATION, None, now)
    for username in members:
        membership.add(db, now, own, user_pk=get_user(db, username).pk)
    return made
