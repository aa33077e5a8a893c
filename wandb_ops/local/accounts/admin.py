"""The admin API: users, teams and organisations over HTTP, for test suites that provision themselves.

It answers under ``/admin/v1`` to whoever sends the admin key as Bearer, and does not exist without one. It
sees everything; the rules of who may see what are for accounts.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from wandb_ops.local.accounts import directory, membership, organizations, provision
from wandb_ops.local.accounts.accounts import ADMIN, MEMBER, TEAM
from wandb_ops.local.accounts.auth import key_of
from wandb_ops.local.errors import NotFound, Refused

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from wandb_ops.local.accounts.directory import Entity, User
    from wandb_ops.local.accounts.organizations import Organization
    from wandb_ops.local.service import Service

    Handler = Callable[[Service, Request], Awaitable[Response]]

_MAX_BODY = 1 << 20
_BOOLEAN, _TEXT, _TEXTS = "true or false", "a text", "a list of texts"


def _admit(service: Service, request: Request) -> None:
    """:class:`NotFound` where there is no admin API, :class:`Refused` (401) unless the key is sent."""
    wanted = service.settings.admin_key
    if wanted is None:
        raise NotFound("not found")
    key = key_of(request.headers.get("authorization")) or ""
    if not hmac.compare_digest(key.encode("utf-8", "replace"), wanted.encode()):
        raise Refused("missing or invalid admin key: send it as Bearer", 401)


async def _given(request: Request, fields: Mapping[str, str]) -> dict[str, Any]:
    """The JSON object sent, or :class:`Refused` naming the field that is unknown or of the wrong type."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise Refused("the body is too large", 413)
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused("the body is not valid JSON") from None
    if not isinstance(given, dict):
        raise Refused("the body must be a JSON object")
    for name, value in given.items():
        wanted = fields.get(name)
        if wanted is None:
            raise Refused(f"unknown field {name!r}; known are {', '.join(fields)}")
        if value is not None and not _fits(value, wanted):
            raise Refused(f"{name} must be {wanted}")
    return {name: value for name, value in given.items() if value is not None}


def _fits(value: Any, wanted: str) -> bool:
    if wanted == _TEXTS:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return isinstance(value, bool if wanted == _BOOLEAN else str)


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _user(service: Service, found: User) -> dict[str, Any]:
    account = service.accounts.account(found.pk)
    return {
        "username": found.username,
        "name": found.name,
        "email": found.email,
        "admin": bool(found.admin),
        "entities": list(account.entities) if account else [],
    }


def _team(db: sqlite3.Connection, found: Entity) -> dict[str, Any]:
    return {"name": found.name, "organization": found.organization, "members": _members(db, found.pk)}


def _members(db: sqlite3.Connection, entity: int) -> list[dict[str, Any]]:
    return [
        {
            "username": each.username,
            "email": each.email or each.invited,
            "role": each.role,
            "pending": each.user is None,
            "service": bool(each.service),
        }
        for each in membership.of_entity(db, entity)
    ]


def _organization(db: sqlite3.Connection, found: Organization) -> dict[str, Any]:
    entity = directory.entity(db, found.entity)
    return {
        "name": found.name,
        "entity": found.entity,
        "teams": [each.name for each in directory.entities(db, TEAM) if each.organization == found.name],
        "members": _members(db, entity.pk) if entity else [],
    }


# -- users -------------------------------------------------------------------------------------------------


def _list_users(service: Service) -> Response:
    with service.store.reading() as db:
        found = directory.users(db)
    return _json({"users": [_user(service, each) for each in found]})


def _create_user(service: Service, given: dict[str, Any]) -> Response:
    made = provision.add_user(
        service,
        given.pop("username", None) or "",
        email=given.get("email"),
        name=given.get("name"),
        admin=given.get("admin", False),
        teams=given.get("teams", ()),
        api_key=given.get("api_key"),
    )
    with service.store.reading() as db:
        found = directory.get_user(db, made.username)
    return _json({**_user(service, found), "api_key": made.api_key}, 201)


def _create_key(service: Service, username: str, given: dict[str, Any]) -> Response:
    with service.accounts.changing() as db:
        found = directory.get_user(db, username)
        _, text = service.accounts.add_key(db, found.pk, description=given.get("description"))
    return _json({"username": found.username, "api_key": text}, 201)


def _delete_user(service: Service, username: str) -> Response:
    provision.remove_user(service, username)
    return Response(status_code=204)


# -- teams -------------------------------------------------------------------------------------------------


def _list_teams(service: Service) -> Response:
    with service.store.reading() as db:
        return _json({"teams": [_team(db, each) for each in directory.entities(db, TEAM)]})


def _create_team(service: Service, given: dict[str, Any]) -> Response:
    roles = dict.fromkeys(given.get("members", ()), MEMBER) | dict.fromkeys(given.get("admins", ()), ADMIN)
    made = provision.add_team(
        service, given.get("name") or "", members=roles, organization=given.get("organization")
    )
    with service.store.reading() as db:
        return _json(_team(db, directory.get_team(db, made.name)), 201)


def _create_service_account(service: Service, team: str, given: dict[str, Any]) -> Response:
    made = provision.add_service_account(service, team, given.get("description") or "")
    return _json({"username": made.username, "team": made.entity, "api_key": made.api_key}, 201)


def _delete_team(service: Service, name: str) -> Response:
    provision.remove_team(service, name)
    return Response(status_code=204)


# -- organisations -----------------------------------------------------------------------------------------


def _list_organizations(service: Service) -> Response:
    with service.store.reading() as db:
        found = [_organization(db, each) for each in organizations.every(db)]
    return _json({"organizations": found})


def _create_organization(service: Service, given: dict[str, Any]) -> Response:
    made = provision.add_organization(
        service,
        given.get("name") or "",
        entity=given.get("entity"),
        teams=given.get("teams", ()),
        members=given.get("members", ()),
    )
    with service.store.reading() as db:
        return _json(_organization(db, organizations.get(db, made.name)), 201)


def _delete_organization(service: Service, name: str) -> Response:
    provision.remove_organization(service, name)
    return Response(status_code=204)


# -- routes ------------------------------------------------------------------------------------------------


def _listing(answer: Callable[[Service], Response]) -> Handler:
    async def handle(service: Service, request: Request) -> Response:
        _admit(service, request)
        return await run_in_threadpool(answer, service)

    return handle


def _creating(answer: Callable[[Service, dict[str, Any]], Response], **fields: str) -> Handler:
    async def handle(service: Service, request: Request) -> Response:
        _admit(service, request)
        return await run_in_threadpool(answer, service, await _given(request, fields))

    return handle


def _adding(answer: Callable[[Service, str, dict[str, Any]], Response], **fields: str) -> Handler:
    async def handle(service: Service, request: Request) -> Response:
        _admit(service, request)
        given = await _given(request, fields)
        return await run_in_threadpool(answer, service, request.path_params["name"], given)

    return handle


def _deleting(answer: Callable[[Service, str], Response]) -> Handler:
    async def handle(service: Service, request: Request) -> Response:
        _admit(service, request)
        return await run_in_threadpool(answer, service, request.path_params["name"])

    return handle


_USERS, _TEAMS, _ORGANIZATIONS = (f"/admin/v1/{kind}" for kind in ("users", "teams", "organizations"))

#: (path, handler, method)
ROUTES: list[tuple[str, Handler, str]] = [
    (_USERS, _listing(_list_users), "GET"),
    (
        _USERS,
        _creating(
            _create_user, username=_TEXT, email=_TEXT, name=_TEXT, admin=_BOOLEAN, teams=_TEXTS, api_key=_TEXT
        ),
        "POST",
    ),
    (f"{_USERS}/{{name}}/keys", _adding(_create_key, description=_TEXT), "POST"),
    (f"{_USERS}/{{name}}", _deleting(_delete_user), "DELETE"),
    (_TEAMS, _listing(_list_teams), "GET"),
    (
        _TEAMS,
        _creating(_create_team, name=_TEXT, members=_TEXTS, admins=_TEXTS, organization=_TEXT),
        "POST",
    ),
    (f"{_TEAMS}/{{name}}/service-accounts", _adding(_create_service_account, description=_TEXT), "POST"),
    (f"{_TEAMS}/{{name}}", _deleting(_delete_team), "DELETE"),
    (_ORGANIZATIONS, _listing(_list_organizations), "GET"),
    (
        _ORGANIZATIONS,
        _creating(_create_organization, name=_TEXT, entity=_TEXT, teams=_TEXTS, members=_TEXTS),
        "POST",
    ),
    (f"{_ORGANIZATIONS}/{{name}}", _deleting(_delete_organization), "DELETE"),
]
