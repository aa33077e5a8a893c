"""Mutations of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import NotFound
from wandb_ops.local.resolvers.artifactwrites import delete_made_by, remove_made_by
from wandb_ops.local.resolvers.context import Args, Context, Resolver, required
from wandb_ops.local.runs import runs
from wandb_ops.local.runs.files import remove_tree
from wandb_ops.local.service import EXPORTS, FILES

if TYPE_CHECKING:
    import sqlite3


def _run(context: Context, db: sqlite3.Connection, value: str) -> runs.Run:
    """The run with that opaque id, or :class:`NotFound` in the same words whether it is hidden or absent."""
    run = runs.by_id(db, value)
    if not context.sees(run.entity):
        raise NotFound(f"run {run.entity}/{run.project}/{run.name} not found")
    return run


def _upsert(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    entity = context.check_entity(given.get("entityName"))
    with context.service.store.writing() as db:
        if given.get("id"):
            _run(context, db, given["id"])
        run, inserted = runs.upsert(db, context.now(), entity, given, user=context.account.pk)
    return {"bucket": run, "inserted": inserted}


def _delete(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    with context.service.store.writing() as db:
        run = _run(context, db, required(args["input"], "id"))
        gone = delete_made_by(db, run.pk) if args["input"].get("deleteArtifacts") else {}
        runs.delete(db, run)
    for area in (FILES, EXPORTS):
        remove_tree(context.service.folder(area, run.pk))
    remove_made_by(context.service, gone)
    return {"clientMutationId": None}


def _update_state(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        runs.set_state(db, context.now(), _run(context, db, given["id"]), given["state"])
    return {"success": True}


def _stop(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        runs.request_stop(db, context.now(), _run(context, db, required(given, "id")))
    return {"success": True}


RESOLVERS: dict[str, Resolver] = {
    "Mutation.upsertBucket": _upsert,
    "Mutation.deleteRun": _delete,
    "Mutation.updateRunState": _update_state,
    "Mutation.stopRun": _stop,
}
