"""Projects: reading, listing, making and changing them, and the runs in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.artifacts import registries
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.names import decode_id
from wandb_ops.local.resolvers.context import (
    Args,
    Context,
    Resolver,
    connection,
    cursor_number,
    number_cursor,
    page_size,
    required,
)
from wandb_ops.local.resolvers.entities import entity, user
from wandb_ops.local.runs import runs
from wandb_ops.local.runs.runquery import RunQuery
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    from wandb_ops.local.projects import Project

_NO_CURSOR = 0


def _project(_source: Any, context: Context, args: Args) -> Project | None:
    name, owner = args.get("name"), args.get("entityName") or context.account.entity
    if not name or not context.sees(owner):
        return None
    with context.service.store.reading() as db:
        return projects.find(db, owner, name)


def _projects(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    return page_of(context.check_entity(args.get("entityName")), context, args)


def page_of(owner: str, context: Context, args: Args) -> dict[str, Any]:
    """The projects of an entity that who asks sees, oldest first."""
    first = page_size(args, 50)
    with context.service.store.reading() as db:
        found = projects.page(db, owner, cursor_number(args.get("after"), _NO_CURSOR), first + 1)
    nodes = [(project, number_cursor(project.pk)) for project in found[:first]]
    return connection(nodes, len(found) > first)


def _users_projects(source: dict[str, Any], context: Context, args: Args) -> dict[str, Any]:
    own = source["entity"]
    return page_of(own, context, args) if context.sees(own) else connection([], False)


def _upsert_model(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    owner, name = given.get("entityName"), given.get("name")
    if given.get("id"):
        parts = decode_id("Project", given["id"])
        if len(parts) != 2:
            raise Refused("invalid Project id")
        name, owner = parts
    owner = context.check_entity(owner)
    if not name:
        raise Refused("name is required")
    changes = {key: given.get(key) for key in ("description", "access", "views")}
    with context.service.store.writing() as db:
        if given.get("id"):
            projects.get(db, owner, name)
        project, inserted = projects.upsert(db, context.now(), owner, name, changes, user=context.account.pk)
        registries.settle(db, context.now(), project, given)
    return {"project": project, "model": project, "inserted": inserted}


def _run_query(context: Context, args: Args) -> RunQuery:
    return RunQuery(
        filters=args.get("filters"),
        order=args.get("order"),
        crash_after=context.service.settings.crash_after,
    )


def _runs(project: Project, context: Context, args: Args) -> dict[str, Any]:
    query, first = _run_query(context, args), page_size(args, 50)
    with context.service.store.reading() as db:
        nodes, more = query.page(db, project.pk, context.now(), args.get("after"), first)
    return connection(nodes, more, totalCount=(project, query))


def _total_count(source: dict[str, Any], context: Context, _args: Args) -> int:
    # Counted only when asked for: the connection carries the question.
    if isinstance(source["totalCount"], int):
        return source["totalCount"]
    project, query = source["totalCount"]
    with context.service.store.reading() as db:
        return int(query.count(db, project.pk, context.now()))


def _run_count(project: Project, context: Context, args: Args) -> int:
    with context.service.store.reading() as db:
        return _run_query(context, args).count(db, project.pk, context.now())


def _run(project: Project, context: Context, args: Args) -> runs.Run | None:
    with context.service.store.reading() as db:
        return runs.find(db, project.entity, project.name, required(args, "name"))


def _bucket(project: Project, context: Context, args: Args) -> runs.Run | None:
    run = _run(project, context, args)
    if run is None and not args.get("missingOk"):
        raise NotFound(f"run {project.entity}/{project.name}/{args['name']} not found")
    return run


RESOLVERS: dict[str, Resolver] = {
    "Query.project": _project,
    "Query.model": _project,
    "Query.models": _projects,
    "Query.projects": _projects,
    "User.projects": _users_projects,
    "Entity.project": lambda source, context, args: _project(
        None, context, {"name": args.get("name"), "entityName": source["name"]}
    ),
    "Mutation.upsertModel": _upsert_model,
    "Project.id": lambda project, _context, _args: project.id,
    "Project.internalId": lambda project, _context, _args: project.internal_id,
    "Project.name": lambda project, _context, _args: project.name,
    "Project.entity": lambda project, context, _args: entity(context, project.entity),
    "Project.entityName": lambda project, _context, _args: project.entity,
    "Project.description": lambda project, _context, _args: project.description,
    "Project.access": lambda project, _context, _args: project.access,
    "Project.views": lambda project, _context, _args: project.views,
    "Project.createdAt": lambda project, _context, _args: iso(project.created_at),
    "Project.updatedAt": lambda project, _context, _args: iso(project.updated_at),
    "Project.isBenchmark": lambda _project, _context, _args: False,
    "Project.readOnly": lambda _project, _context, _args: False,
    "Project.user": lambda project, context, _args: user(context, project.username),
    "Project.run": _run,
    "Project.bucket": _bucket,
    "Project.runs": _runs,
    "Project.runCount": _run_count,
    "RunConnection.totalCount": _total_count,
}
