"""Who is a member of a registry, and the changes to that list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.accounts import directory, registrymembers
from wandb_ops.local.errors import NotFound
from wandb_ops.local.names import decode_id
from wandb_ops.local.resolvers.context import Args, Context, Resolver, required
from wandb_ops.local.resolvers.entities import entity, user_node

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from wandb_ops.local.accounts.organizations import Organization

Node = dict[str, Any]


def _user_members(project: projects.Project, context: Context, _args: Args) -> list[Node]:
    with context.service.store.reading() as db:
        rows = [
            (each, directory.user(db, each.user))
            for each in registrymembers.members(db, project.pk)
            if each.user is not None
        ]
    return [{**user_node(who), "role": {"name": each.role}} for each, who in rows if who is not None]


def _team_members(project: projects.Project, context: Context, _args: Args) -> list[Node]:
    with context.service.store.reading() as db:
        rows = [
            (each.role, db.execute("SELECT name FROM entities WHERE id=?", (each.team,)).fetchone())
            for each in registrymembers.members(db, project.pk)
            if each.team is not None
        ]
    found = [(role, entity(context, row[0])) for role, row in rows]
    return [{"team": team, "role": {"name": role}} for role, team in found if team is not None]


def _registry(context: Context, db: sqlite3.Connection, value: str) -> tuple[projects.Project, Organization]:
    """The registry of an id, and its organisation; who asks administers it."""
    parts = decode_id("Project", value)
    found = projects.find(db, parts[1], parts[0]) if len(parts) == 2 and context.sees(parts[1]) else None
    if found is None:
        raise NotFound("registry not found")
    return found, registrymembers.check_admin(db, context.account, found)


def _changing(change: Callable[[sqlite3.Connection, projects.Project, Organization, Args], None]) -> Resolver:
    """A change to the list of a registry's members, for who administers it."""

    def resolve(_source: Any, context: Context, args: Args) -> Node:
        given = args["input"]
        with context.service.store.writing() as db:
            project, above = _registry(context, db, required(given, "projectId"))
            change(db, project, above, given)
        return {"success": True}

    return resolve


def _create(db: sqlite3.Connection, project: projects.Project, above: Organization, given: Args) -> None:
    registrymembers.add(db, project, above, "user", given.get("userIds") or ())
    registrymembers.add(db, project, above, "team", given.get("teamIds") or ())


def _delete(db: sqlite3.Connection, project: projects.Project, above: Organization, given: Args) -> None:
    registrymembers.remove(db, project, above, "user", given.get("userIds") or ())
    registrymembers.remove(db, project, above, "team", given.get("teamIds") or ())


def _update_user(db: sqlite3.Connection, project: projects.Project, above: Organization, given: Args) -> None:
    who, role = required(given, "userId"), required(given, "userProjectRole")
    registrymembers.set_role(db, project, above, "user", who, role)


def _update_team(db: sqlite3.Connection, project: projects.Project, above: Organization, given: Args) -> None:
    who, role = required(given, "teamId"), required(given, "teamProjectRole")
    registrymembers.set_role(db, project, above, "team", who, role)


RESOLVERS: dict[str, Resolver] = {
    "Project.members": _user_members,
    "Project.teamMembers": _team_members,
    "Mutation.createProjectMembers": _changing(_create),
    "Mutation.deleteProjectMembers": _changing(_delete),
    "Mutation.updateProjectMember": _changing(_update_user),
    "Mutation.updateProjectTeamMember": _changing(_update_team),
}
