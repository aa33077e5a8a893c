"""Mutations of a run."""

from __future__ import annotations

from typing import Any

from wandb_ops.local import runs
from wandb_ops.local.files import remove_tree
from wandb_ops.local.resolvers.context import Args, Context, Resolver, required
from wandb_ops.local.service import EXPORTS, FILES


def _upsert(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    entity = context.service.check_entity(given.get("entityName"))
    with context.service.store.writing() as db:
        run, inserted = runs.upsert(db, context.now(), entity, given)
    return {"bucket": run, "inserted": inserted}


def _delete(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    with context.service.store.writing() as db:
        run = runs.by_id(db, required(args["input"], "id"))
        runs.delete(db, run)
    for area in (FILES, EXPORTS):
        remove_tree(context.service.folder(area, run.pk))
    return {"clientMutationId": None}


def _update_state(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        runs.set_state(db, context.now(), runs.by_id(db, given["id"]), given["state"])
    return {"success": True}


def _stop(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        runs.request_stop(db, context.now(), runs.by_id(db, required(given, "id")))
    return {"success": True}


RESOLVERS: dict[str, Resolver] = {
    "Mutation.upsertBucket": _upsert,
    "Mutation.deleteRun": _delete,
    "Mutation.updateRunState": _update_state,
    "Mutation.stopRun": _stop,
}
