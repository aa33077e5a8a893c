"""What a run's writer asks for besides writing: alerts, and going back to an earlier step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused
from wandb_ops.local.resolvers.context import Args, Context, Resolver, required
from wandb_ops.local.runs import alerts, rewind, runs

if TYPE_CHECKING:
    import sqlite3


def _run(db: sqlite3.Connection, context: Context, given: Args) -> runs.Run:
    owner = context.check_entity(given.get("entityName"))
    project = given.get("projectName") or runs.DEFAULT_PROJECT
    return runs.get(db, owner, project, required(given, "runName"))


def _alert(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        alerts.add(db, context.now(), _run(db, context, given), given)
    return {"success": True}  # dropped on the sender's own wish is done, too


def _rewind(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    if given.get("metricValue") is None:
        raise Refused("metricValue is required")
    with context.service.store.writing() as db:
        run = _run(db, context, given)
        found = rewind.rewind(db, context.now(), run, required(given, "metricName"), given["metricValue"])
    return {"rewoundRun": found}


RESOLVERS: dict[str, Resolver] = {
    "Mutation.notifyScriptableRunAlert": _alert,
    "Mutation.rewindRun": _rewind,
}
