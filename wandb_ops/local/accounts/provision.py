"""Adding and removing whole users, teams and organisations, with keys and blobs.

For ``LocalServer`` in a test and for the admin API: each call is one transaction, and what it returns holds
the key, which is stored nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wandb_ops.local.accounts import directory, membership, organizations
from wandb_ops.local.accounts.accounts import MEMBER
from wandb_ops.local.errors import Refused
from wandb_ops.local.runs.files import remove_tree
from wandb_ops.local.service import ARTIFACTS, EXPORTS, FILES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_ops.local.accounts.directory import Gone
    from wandb_ops.local.service import Service


@dataclass(frozen=True, slots=True)
class AddedUser:
    """A user or a service account, and the only copy of its API key.

    Attributes:
        entity: The default entity: the user's own, or the service account's team.
    """

    username: str
    email: str | None
    admin: bool
    entity: str
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AddedTeam:
    """A team; its name is the name of its entity.

    Attributes:
        members: Role by username: "admin" or "member".
    """

    name: str
    members: dict[str, str]
    organization: str | None


@dataclass(frozen=True, slots=True)
class AddedOrganization:
    """An organisation.

    Attributes:
        entity: The entity that owns its registries.
    """

    name: str
    entity: str


def add_user(
    service: Service,
    username: str,
    *,
    email: str | None = None,
    name: str | None = None,
    admin: bool = False,
    teams: Iterable[str] = (),
    api_key: str | None = None,
) -> AddedUser:
    """Make a user with one key, a member of ``teams``.

    Raises:
        Refused: A name, address or key is taken or cannot be one.
        NotFound: There is no such team.
    """
    with service.accounts.changing() as db:
        now = service.store.now()
        made = directory.create_user(db, now, username, email=email, name=name, admin=admin)
        for team in teams:
            membership.add(db, now, directory.get_team(db, team), user_pk=made.pk)
        _, text = service.accounts.add_key(db, made.pk, key=api_key)
    return AddedUser(made.username, made.email, bool(made.admin), made.username, text)


def add_team(
    service: Service,
    name: str,
    *,
    members: Mapping[str, str] | Iterable[str] = (),
    organization: str | None = None,
) -> AddedTeam:
    """Make a team.

    Args:
        members: Usernames, or role by username.

    Raises:
        Refused: The name is taken or cannot be one.
        NotFound: There is no such user or organisation.
    """
    roles = dict(members) if isinstance(members, Mapping) else dict.fromkeys(members, MEMBER)
    with service.accounts.changing() as db:
        now = service.store.now()
        above = organizations.get(db, organization).pk if organization else None
        team = directory.create_team(db, now, name, above)
        for username, role in roles.items():
            found = directory.get_user(db, username)
            membership.add(db, now, team, user_pk=found.pk, role=role)
    return AddedTeam(team.name, roles, organization)


def add_service_account(service: Service, team: str, description: str) -> AddedUser:
    """Make an account that acts for a team alone."""
    with service.accounts.changing() as db:
        found = directory.get_team(db, team)
        made = membership.create_service_account(db, service.store.now(), found, description)
        _, text = service.accounts.add_key(db, made.pk, description=made.name)
    return AddedUser(made.username, None, False, found.name, text)


def add_organization(
    service: Service,
    name: str,
    *,
    entity: str | None = None,
    teams: Iterable[str] = (),
    members: Iterable[str] = (),
) -> AddedOrganization:
    """Make an organisation; see :func:`organizations.create`."""
    with service.accounts.changing() as db:
        made = organizations.create(
            db, service.store.now(), name, entity=entity, teams=teams, members=members
        )
    return AddedOrganization(made.name, made.entity)


def remove_user(service: Service, username: str) -> None:
    """Delete a user, his keys, his projects and their files.

    Raises:
        NotFound: There is no such user.
        Refused: (409) He is the server's own.
    """
    with service.accounts.changing() as db:
        found = directory.get_user(db, username)
        if found.username == service.entity:
            raise Refused("the server's own user cannot be deleted", 409)
        gone = directory.delete_user(db, found)
    remove_blobs(service, gone)


def remove_team(service: Service, name: str) -> None:
    """Delete a team, its service accounts, its projects and their files."""
    with service.accounts.changing() as db:
        gone = directory.delete_entity(db, directory.get_team(db, name).name)
    remove_blobs(service, gone)


def remove_organization(service: Service, name: str) -> None:
    """Delete an organisation and its registries; its teams stay, without one."""
    with service.accounts.changing() as db:
        gone = directory.delete_entity(db, organizations.get(db, name).entity)
    remove_blobs(service, gone)


def remove_blobs(service: Service, gone: Gone) -> None:
    """Remove from the disk what was deleted from the database."""
    for area, numbers in ((FILES, gone.runs), (EXPORTS, gone.runs), (ARTIFACTS, gone.projects)):
        for number in numbers:
            remove_tree(service.folder(area, number))


__all__ = [
    "AddedOrganization",
    "AddedTeam",
    "AddedUser",
    "add_organization",
    "add_service_account",
    "add_team",
    "add_user",
    "remove_blobs",
    "remove_organization",
    "remove_team",
    "remove_user",
]
