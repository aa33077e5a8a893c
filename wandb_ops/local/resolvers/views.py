"""Reports: views of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects, views
from wandb_ops.local.errors import NotFound
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
from wandb_ops.local.resolvers.entities import user
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_ops.local.views import View


def _all_views(project: projects.Project, context: Context, args: Args) -> dict[str, Any]:
    first, after = page_size(args, 50), cursor_number(args.get("after"), 0)
    with context.service.store.reading() as db:
        found = views.page(db, project.pk, args.get("viewType"), args.get("viewName"), after, first + 1)
    return connection([(view, number_cursor(view.pk)) for view in found[:first]], len(found) > first)


def _view(_source: Any, context: Context, args: Args) -> View | None:
    with context.service.store.reading() as db:
        view = views.find(db, required(args, "id"))
    if view is None or (args.get("type") and view.type != args["type"]):
        return None
    return view if context.sees(view.entity) else None


def _upsert(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        if given.get("id"):
            known = views.find(db, given["id"])
            if known is None or not context.sees(known.entity):
                raise NotFound("view not found")
            project = known.project_pk
        else:
            owner = context.check_entity(given.get("entityName"))
            project = projects.get(db, owner, required(given, "projectName")).pk
        view, inserted = views.upsert(db, context.now(), project, context.account.username, given)
    return {"view": view, "inserted": inserted, "clientMutationId": given.get("clientMutationId")}


def _delete(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        view = views.find(db, required(given, "id"))
        if view is None or not context.sees(view.entity):
            raise NotFound("view not found")
        views.delete(db, view)
    return {"success": True, "pendingDrafts": False, "clientMutationId": given.get("clientMutationId")}


def _of(value: Callable[[View], Any]) -> Resolver:
    """A field that is read off the row."""
    return lambda view, _context, _args: value(view)


def _project(view: View, context: Context, _args: Args) -> projects.Project:
    with context.service.store.reading() as db:
        return projects.by_pk(db, view.project_pk)


RESOLVERS: dict[str, Resolver] = {
    "Query.view": _view,
    "Mutation.upsertView": _upsert,
    "Mutation.deleteView": _delete,
    "Project.allViews": _all_views,
    "View.id": _of(lambda view: view.id),
    "View.name": _of(lambda view: view.name),
    "View.displayName": _of(lambda view: view.display_name),
    "View.description": _of(lambda view: view.description),
    "View.type": _of(lambda view: view.type),
    "View.spec": _of(lambda view: view.spec),
    "View.user": lambda view, context, _args: user(context, view.author),
    "View.project": _project,
    "View.projectName": _of(lambda view: view.project),
    "View.entityName": _of(lambda view: view.entity),
    "View.createdAt": _of(lambda view: iso(view.created_at)),
    "View.updatedAt": _of(lambda view: iso(view.updated_at)),
}
