"""Entities, users and organisations: what they tell of themselves to who may see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local.accounts import directory, membership, organizations
from wandb_ops.local.accounts.accounts import ADMIN, MEMBER, ORGANIZATION, TEAM, USER
from wandb_ops.local.names import encode_id, encode_row_id
from wandb_ops.local.resolvers.context import Args, Context, Resolver, number_cursor

if TYPE_CHECKING:
    from wandb_ops.local.accounts.directory import User
    from wandb_ops.local.accounts.membership import Member
    from wandb_ops.local.accounts.organizations import Organization

Node = dict[str, Any]


def user_node(found: User) -> Node:
    """A user; his keys, teams and organisations are resolved when they are asked for."""
    return {
        "id": encode_row_id("User", found.pk),
        "name": found.name,
        "username": found.username,
        "email": found.email,
        "admin": bool(found.admin),
        "flags": "{}",
        "entity": found.entity or found.service_team,
        "photoUrl": None,
        "deletedAt": None,
        "pk": found.pk,
    }


def user(context: Context, username: str | None = "") -> Node | None:
    """The user who asks; or the one of that name, and None for none (who was deleted)."""
    if username is None:
        return None
    with context.service.store.reading() as db:
        found = directory.find_user(db, username or context.account.username)
    return user_node(found) if found else None


def entity(context: Context, name: str | None = None) -> Node | None:
    """The entity of that name, or the account's own; None when there is none that it sees."""
    wanted = name or context.account.entity
    if not context.sees(wanted):
        return None
    with context.service.store.reading() as db:
        found = directory.entity(db, wanted)
    if found is None:
        return None
    return {
        "id": encode_row_id("Entity", found.pk),
        "name": found.name,
        "available": False,
        "codeSavingEnabled": False,
        "defaultAccess": "PRIVATE",
        "entityType": found.kind,
        "isPaid": False,
        "isTeam": found.kind == TEAM,
        "limits": None,
        "photoUrl": None,
        "privateOnly": False,
        "readOnly": False,
        "readOnlyAdmin": False,
        "xxhashDigestsEnabled": False,
        "pk": found.pk,
    }


def organization_node(found: Organization) -> Node:
    """An organisation; its entity is resolved when it is asked for."""
    return {"id": found.id, "name": found.name, "coreWeaveOrganizationId": None, "entity": found.entity}


def _member_node(context: Context, found: Member) -> Node:
    name = found.name or found.invited or ""
    return {
        "id": found.id,
        "name": name,
        "username": found.username,
        "email": found.email or found.invited,
        "admin": found.role == ADMIN,
        "photoUrl": None,
        "pending": found.user is None,
        "accountType": "SERVICE" if found.service else "MEMBER",
        "role": found.role,
        "apiKey": context.service.accounts.shown(found.user, context.account.pk) if found.user else None,
    }


def _members(source: Node, context: Context, _args: Args) -> list[Node]:
    with context.service.store.reading() as db:
        if source["entityType"] != USER:
            return [_member_node(context, each) for each in membership.of_entity(db, source["pk"])]
        own = directory.get_user(db, source["name"])
    node = {key: user_node(own)[key] for key in ("id", "name", "username", "email", "admin", "photoUrl")}
    return [{**node, "pending": False, "accountType": MEMBER.upper(), "role": "admin", "apiKey": None}]


def _organization_of(source: Node, context: Context, _args: Args) -> Node | None:
    with context.service.store.reading() as db:
        found = organizations.above(db, source["name"])
    return organization_node(found) if found and context.sees(found.entity) else None


def _organization(_source: Any, context: Context, args: Args) -> Node | None:
    with context.service.store.reading() as db:
        found = next(
            (
                each
                for each in organizations.every(db)
                if (args.get("name") == each.name or args.get("id") == each.id) and context.sees(each.entity)
            ),
            None,
        )
    return organization_node(found) if found else None


def _organizations(source: Node, context: Context, _args: Args) -> list[Node]:
    account = context.service.accounts.account(source["pk"])
    with context.service.store.reading() as db:
        return [
            organization_node(each)
            for each in organizations.every(db)
            if context.sees(each.entity) and account is not None and account.sees(each.entity)
        ]


def _storage_bytes(source: Node, context: Context, _args: Args) -> int:
    with context.service.store.reading() as db:
        row = db.execute(
            "SELECT coalesce(sum(f.size), 0) FROM files f JOIN runs r ON r.id=f.run"
            " JOIN projects p ON p.id=r.project WHERE p.entity=?",
            (source["name"],),
        ).fetchone()
    return int(row[0])


def _teams(source: Node, context: Context, _args: Args) -> Node:
    """The user's own entity and his teams, as far as who asks sees them too."""
    account = context.service.accounts.account(source["pk"])
    seen = [entity(context, name) for name in (account.entities if account else ())]
    nodes = [node for node in seen if node is not None and node["entityType"] != ORGANIZATION]
    return {"edges": [{"node": node, "cursor": number_cursor(n)} for n, node in enumerate(nodes, 1)]}


def _api_keys(source: Node, context: Context, _args: Args) -> Node | None:
    """Names of the user's keys, told to himself and to administrators; a name is the key's beginning only."""
    if source["pk"] != context.account.pk and not context.account.admin:
        return None
    with context.service.store.reading() as db:
        keys = context.service.accounts.keys(db, source["pk"])
    return {"edges": [{"node": key_node(key.pk, key.hint, key.description)} for key in keys]}


def key_node(pk: int, name: str, description: str | None) -> Node:
    """An API key as the schema shows it."""
    return {"id": encode_id("ApiKey", pk), "name": name, "description": description}


RESOLVERS: dict[str, Resolver] = {
    "Query.viewer": lambda _source, context, _args: user(context),
    "Query.entity": lambda _source, context, args: entity(context, args.get("name")),
    "Query.organization": _organization,
    "Entity.members": _members,
    "Entity.organization": _organization_of,
    "Entity.storageBytes": _storage_bytes,
    "Entity.user": lambda source, context, _args: (
        user(context, source["name"]) if source["entityType"] == USER else None
    ),
    "Organization.orgEntity": lambda source, context, _args: entity(context, source["entity"]),
    "User.teams": _teams,
    "User.apiKeys": _api_keys,
    "User.organizations": _organizations,
}
