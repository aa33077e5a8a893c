"""The one account of the server and its one user."""

from __future__ import annotations

from typing import Any

from wandb_ops.local.names import encode_id
from wandb_ops.local.resolvers.context import Args, Context, Resolver, number_cursor


def user(context: Context) -> dict[str, Any]:
    """The user whom the API key stands for."""
    name = context.service.entity
    return {
        "id": encode_id("User", name),
        "name": name,
        "username": name,
        "email": f"{name}@localhost",
        "admin": True,
        "flags": "{}",
        "entity": name,
        "photoUrl": None,
        "deletedAt": None,
    }


def entity(context: Context) -> dict[str, Any]:
    """The account."""
    name = context.service.entity
    member = user(context)
    return {
        "id": encode_id("Entity", name),
        "name": name,
        "available": False,
        "codeSavingEnabled": False,
        "defaultAccess": "PRIVATE",
        "entityType": "user",
        "isPaid": False,
        "isTeam": False,
        "members": [
            {
                **{key: member[key] for key in ("id", "name", "username", "email", "admin", "photoUrl")},
                "pending": False,
                "accountType": "MEMBER",
                "role": "admin",
                "apiKey": None,
            }
        ],
        "organization": None,
        "photoUrl": None,
        "privateOnly": False,
        "readOnly": False,
        "readOnlyAdmin": False,
        "xxhashDigestsEnabled": False,
    }


def _entity(_source: Any, context: Context, args: Args) -> dict[str, Any] | None:
    name = args.get("name")
    return entity(context) if not name or name == context.service.entity else None


def _storage_bytes(_source: Any, context: Context, _args: Args) -> int:
    with context.service.store.reading() as connection:
        return int(connection.execute("SELECT coalesce(sum(size), 0) FROM files").fetchone()[0])


def _teams(_source: Any, context: Context, _args: Args) -> dict[str, Any]:
    return {"edges": [{"node": entity(context), "cursor": number_cursor(1)}]}


def _api_keys(_source: Any, context: Context, _args: Args) -> dict[str, Any]:
    # The name tells keys apart and must not give one away: its first characters only.
    key = {"id": encode_id("ApiKey", 1), "name": f"{context.service.api_key[:4]}…", "description": None}
    return {"edges": [{"node": key}]}


RESOLVERS: dict[str, Resolver] = {
    "Query.viewer": lambda _source, context, _args: user(context),
    "Query.entity": _entity,
    "Entity.storageBytes": _storage_bytes,
    "User.teams": _teams,
    "User.apiKeys": _api_keys,
}
