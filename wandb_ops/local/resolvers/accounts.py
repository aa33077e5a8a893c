"""Making and changing users, teams, memberships and keys, by who may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local.accounts import directory, membership
from wandb_ops.local.accounts.accounts import ADMIN, MEMBER
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import decode_number
from wandb_ops.local.resolvers.context import Args, Context, Resolver, required
from wandb_ops.local.resolvers.entities import entity, key_node, user_node
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.accounts.directory import Entity, User


def _person(context: Context) -> None:
    if context.account.service:
        raise Refused("permission denied: service accounts do not administer")


def _team(context: Context, db: sqlite3.Connection, name: str) -> Entity:
    """A team that who asks administers.

    Raises:
        NotFound: It is none, or he does not see it.
        Refused: He is a member only.
    """
    if not context.sees(name):
        raise NotFound(f"team {name!r} not found")
    found = directory.get_team(db, name)
    if membership.role_of(db, found.pk, context.account.pk) != ADMIN:
        raise Refused(f"permission denied: only administrators of {name!r} change its members")
    return found


def _visible(context: Context, found: User) -> bool:
    """Whether a person exists for who asks: himself, who shares a team with him, all for administrators."""
    if context.account.admin or found.pk == context.account.pk:
        return True
    account = context.service.accounts.account(found.pk)
    return account is not None and any(context.sees(name) for name in account.entities)


def _create_team(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    _person(context)
    wanted = given.get("teamAdminUserName") or context.account.username
    with context.service.accounts.changing() as db:
        chosen = directory.find_user(db, wanted)
        if chosen is None or chosen.entity is None or not _visible(context, chosen):
            raise NotFound(f"user {wanted!r} not found")
        team = directory.create_team(db, context.now(), required(given, "teamName"))
        membership.add(db, context.now(), team, user_pk=chosen.pk, role=ADMIN)
        if chosen.pk != context.account.pk:
            # Who makes a team for somebody else stays in it, or he could not see what he made.
            membership.add(db, context.now(), team, user_pk=context.account.pk)
    account = context.service.accounts.account(context.account.pk)
    assert account is not None
    return {"entity": entity(Context(context.service, account, context.base_url), team.name)}


def _create_invite(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    who = given.get("username") or required(given, "email")
    with context.service.accounts.changing() as db:
        team = _team(context, db, required(given, "entityName"))
        member = membership.invite(db, context.now(), team, who, ADMIN if given.get("admin") else MEMBER)
        invited = directory.user(db, member.user) if member.user is not None else None
    return {
        "invite": {
            "id": member.id,
            "name": member.name or member.invited,
            "email": member.email or member.invited,
            "createdAt": iso(context.now()),
            "toUser": user_node(invited) if invited else None,
        }
    }


def _delete_invite(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    name, pk = required(given, "entityName"), decode_number("Member", required(given, "id"))
    with context.service.accounts.changing() as db:
        own = context.sees(name) and directory.get_team(db, name)
        leaving = own and membership.get(db, own, pk).user == context.account.pk
        team = own if own and leaving else _team(context, db, name)
        membership.remove(db, team, membership.get(db, team, pk))
    return {"success": True}


def _create_service_account(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given, accounts = args["input"], context.service.accounts
    with accounts.changing() as db:
        team = _team(context, db, required(given, "entityName"))
        made = membership.create_service_account(db, context.now(), team, given.get("description") or "")
        _, text = accounts.add_key(db, made.pk, description=made.name)
    accounts.show_once(made.pk, text, context.account.pk)
    return {"user": user_node(made)}


def _create_user(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    if not context.account.admin:
        raise Refused("permission denied: only administrators of the server create users")
    email = required(given, "email")
    with context.service.accounts.changing() as db:
        username = directory.username_for(db, email)
        made = directory.create_user(db, context.now(), username, email=email, admin=bool(given.get("admin")))
    return {"user": user_node(made)}


def _users(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    with context.service.store.reading() as db:
        found = [each for each in directory.users(db, args.get("query") or "") if _visible(context, each)]
    # Exact matches first: clients that want one take the first.
    wanted = (args.get("query") or "").lower()
    found.sort(key=lambda each: wanted not in {each.username.lower(), (each.email or "").lower()})
    return {"edges": [{"node": user_node(each), "cursor": str(each.pk)} for each in found]}


def _user(_source: Any, context: Context, args: Args) -> dict[str, Any] | None:
    with context.service.store.reading() as db:
        found = directory.find_user(db, args.get("userName") or "")
        return user_node(found) if found and _visible(context, found) else None


def _generate_api_key(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    """A new key of who asks. Its name is its text this once, as W&B answers; a list of keys shows it cut."""
    accounts = context.service.accounts
    with accounts.changing() as db:
        key, text = accounts.add_key(db, context.account.pk, description=args["input"].get("description"))
    return {"apiKey": key_node(key.pk, text, key.description)}


def _delete_api_key(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    accounts, pk = context.service.accounts, decode_number("ApiKey", required(args["input"], "id"))
    with accounts.changing() as db:
        key = accounts.key(db, pk)
        if key is None or (key.user != context.account.pk and not context.account.admin):
            raise NotFound("API key not found")
        accounts.delete_key(db, pk)
    return {"success": True}


RESOLVERS: dict[str, Resolver] = {
    "Query.users": _users,
    "Query.user": _user,
    "Mutation.createTeam": _create_team,
    "Mutation.createInvite": _create_invite,
    "Mutation.deleteInvite": _delete_invite,
    "Mutation.createServiceAccount": _create_service_account,
    "Mutation.createUser": _create_user,
    "Mutation.generateApiKey": _generate_api_key,
    "Mutation.deleteApiKey": _delete_api_key,
}
