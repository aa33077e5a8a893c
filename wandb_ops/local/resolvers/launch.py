"""Launch: run queues, their items, and the agents that work on them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects, queues
from wandb_ops.local.errors import NotFound
from wandb_ops.local.jsontext import loads, strict
from wandb_ops.local.names import decode_number, encode_id, encode_row_id
from wandb_ops.local.resolvers.context import Args, Context, Resolver, page_size, required
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    from wandb_ops.local.queues import Item, Queue


def _own(context: Context, given: Args) -> str:
    return context.check_entity(given.get("entityName"))


def _queue_of(context: Context, db: Any, given: Args) -> Queue:
    return queues.get(db, _own(context, given), required(given, "projectName"), required(given, "queueName"))


def _queue_by_pk(context: Context, db: Any, pk: int) -> Queue:
    queue = queues.by_pk(db, pk)
    if not context.sees_project(db, queue.project):
        raise NotFound("run queue not found")
    return queue


def _item_by_pk(context: Context, db: Any, pk: int) -> Item:
    item = queues.item(db, pk)
    if not context.sees_project(db, queues.by_pk(db, item.queue).project):
        raise NotFound("run queue item not found")
    return item


def _config(source: Any, context: Context, args: Args) -> dict[str, Any] | None:
    if not args.get("id"):
        return None
    with context.service.store.reading() as db:
        row = db.execute(
            "SELECT resource, config, template_variables FROM resource_configs WHERE id=? AND entity=?",
            (decode_number("DefaultResourceConfig", args["id"]), source["name"]),
        ).fetchone()
    if row is None:
        return None
    resource, config, variables = row
    return {
        "resource": resource,
        "config": strict(loads(config)),
        "templateVariables": [
            {
                "name": name,
                "schema": json.dumps(variable.get("schema") if isinstance(variable, dict) else None),
            }
            for name, variable in loads(variables).items()
        ],
    }


def _create_config(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    entity = _own(context, given)
    with context.service.store.writing() as db:
        pk = queues.create_config(
            db, entity, required(given, "resource"), given.get("config"), given.get("templateVariables")
        )
    return {"defaultResourceConfigID": encode_id("DefaultResourceConfig", pk), "success": True}


def _create(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    entity, config = _own(context, given), given.get("defaultResourceConfigID")
    with context.service.store.writing() as db:
        project = projects.get(db, entity, required(given, "projectName"))
        if (
            config
            and not db.execute(
                "SELECT 1 FROM resource_configs WHERE id=? AND entity=?",
                (decode_number("DefaultResourceConfig", config), entity),
            ).fetchone()
        ):
            raise NotFound("default resource config not found")
        values = {
            "access": given.get("access"),
            "prioritization_mode": given.get("prioritizationMode"),
            "config": decode_number("DefaultResourceConfig", config) if config else None,
        }
        queue = queues.create(db, context.now(), project.pk, required(given, "queueName"), values)
    return {"queueID": queue.id, "success": True}


def _upsert(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    entity = _own(context, given)
    values = {
        "resource": required(given, "resourceType"),
        "config": given.get("resourceConfig"),
        "variables": given.get("templateVariables"),
        "prioritization_mode": given.get("prioritizationMode"),
        "external_links": given.get("externalLinks"),
    }
    with context.service.store.writing() as db:
        project = projects.get(db, entity, required(given, "projectName"))
        errors = queues.upsert(db, context.now(), entity, project.pk, required(given, "queueName"), values)
    return {"success": True, "configSchemaValidationErrors": errors}


def _delete(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    pks = [decode_number("RunQueue", value) for value in args["input"].get("queueIDs") or ()]
    with context.service.store.writing() as db:
        for pk in pks:
            queues.delete(db, _queue_by_pk(context, db, pk).pk)
    return {"success": True}


def _delete_item(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    queue = decode_number("RunQueue", required(given, "queueID"))
    item = decode_number("RunQueueItem", required(given, "runQueueItemId"))
    with context.service.store.writing() as db:
        _item_by_pk(context, db, item)
        queues.delete_item(db, queue, item)
    return {"success": True}


def _push_by_name(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        item = queues.push(
            db,
            context.now(),
            _queue_of(context, db, given),
            given.get("runSpec"),
            priority=given.get("priority"),
            values=given.get("templateVariableValues"),
        )
    return {"runQueueItemId": item.id, "runSpec": item.run_spec}


def _push(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    pk = decode_number("RunQueue", required(given, "queueID"))
    with context.service.store.writing() as db:
        item = queues.push(
            db,
            context.now(),
            _queue_by_pk(context, db, pk),
            given.get("runSpec"),
            priority=None,
            values=given.get("templateVariableValues"),
        )
    return {"runQueueItemId": item.id}


def _pop(_source: Any, context: Context, args: Args) -> dict[str, Any] | None:
    given = args["input"]
    agent = given.get("launchAgentId")
    with context.service.store.writing() as db:
        queue = _queue_of(context, db, given)
        item = queues.pop(db, context.now(), queue, decode_number("LaunchAgent", agent) if agent else None)
    if item is None:
        return None
    return {"runQueueItemId": item.id, "runSpec": strict(loads(item.run_spec))}


def _acknowledge(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    pk = decode_number("RunQueueItem", required(given, "runQueueItemId"))
    with context.service.store.writing() as db:
        item = _item_by_pk(context, db, pk)
        return {"success": queues.acknowledge(db, context.now(), item.pk, given.get("runName"))}


def _annotate(column: str) -> Resolver:
    def resolve(_source: Any, context: Context, args: Args) -> dict[str, Any]:
        given = args["input"]
        pk = decode_number("RunQueueItem", required(given, "runQueueItemId"))
        with context.service.store.writing() as db:
            queues.annotate(db, context.now(), _item_by_pk(context, db, pk).pk, column, given)
        return {"success": True}

    return resolve


def _queue(project: projects.Project, context: Context, args: Args) -> Queue | None:
    with context.service.store.reading() as db:
        return queues.find(db, project.pk, required(args, "name"))


def _queues(project: projects.Project, context: Context, _args: Args) -> list[Queue]:
    with context.service.store.reading() as db:
        return queues.of_project(db, project.pk)


def _items(queue: Queue, context: Context, args: Args) -> dict[str, Any]:
    with context.service.store.reading() as db:
        found = queues.items(db, queue.pk, page_size(args, 100))
    return {"edges": [{"node": item} for item in found]}


def _item(queue: Queue, context: Context, args: Args) -> Item | None:
    pk = decode_number("RunQueueItem", required(args, "id"))
    with context.service.store.reading() as db:
        try:
            found = queues.item(db, pk)
        except NotFound:
            return None
    return found if found.queue == queue.pk else None


def _state(item: Item, context: Context, _args: Args) -> str:
    with context.service.store.reading() as db:
        return queues.state(db, context.now(), item, context.service.settings.crash_after)


def _create_agent(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    with context.service.store.writing() as db:
        project = projects.get(db, _own(context, given), required(given, "projectName"))
        cursor = db.execute(
            "INSERT INTO launch_agents(project, hostname, queues, status, config, version, heartbeat_at)"
            " VALUES(?,?,?,'POLLING',?,?,?)",
            (
                project.pk,
                required(given, "hostname"),
                json.dumps(given.get("runQueues") or []),
                given.get("agentConfig"),
                given.get("version"),
                context.now(),
            ),
        )
    return {"launchAgentId": encode_id("LaunchAgent", cursor.lastrowid)}


def _update_agent(_source: Any, context: Context, args: Args) -> dict[str, Any]:
    given = args["input"]
    pk = decode_number("LaunchAgent", required(given, "launchAgentId"))
    with context.service.store.writing() as db:
        row = db.execute("SELECT project FROM launch_agents WHERE id=?", (pk,)).fetchone()
        if row is None or not context.sees_project(db, row[0]):
            return {"success": False}
        db.execute(
            "UPDATE launch_agents SET status=coalesce(?, status), heartbeat_at=? WHERE id=?",
            (given.get("agentStatus"), context.now(), pk),
        )
    return {"success": True}


def _agent(_source: Any, context: Context, args: Args) -> dict[str, Any] | None:
    with context.service.store.reading() as db:
        row = db.execute(
            "SELECT id, hostname, queues, status, heartbeat_at, project FROM launch_agents WHERE id=?",
            (decode_number("LaunchAgent", required(args, "id")),),
        ).fetchone()
        if row is None or not context.sees_project(db, row[5]):
            return None
    return {
        "id": encode_id("LaunchAgent", row[0]),
        "name": f"agent-{row[0]}",
        "hostname": row[1],
        "runQueues": json.loads(row[2]),
        "agentStatus": row[3],
        "stopPolling": False,
        "heartbeatAt": iso(row[4]),
    }


RESOLVERS: dict[str, Resolver] = {
    "Entity.defaultResourceConfig": _config,
    "Query.launchAgent": _agent,
    "Mutation.createDefaultResourceConfig": _create_config,
    "Mutation.createRunQueue": _create,
    "Mutation.upsertRunQueue": _upsert,
    "Mutation.deleteRunQueues": _delete,
    "Mutation.deleteFromRunQueue": _delete_item,
    "Mutation.pushToRunQueue": _push,
    "Mutation.pushToRunQueueByName": _push_by_name,
    "Mutation.popFromRunQueue": _pop,
    "Mutation.ackRunQueueItem": _acknowledge,
    "Mutation.failRunQueueItem": _annotate("error"),
    "Mutation.updateRunQueueItemWarning": _annotate("warning"),
    "Mutation.createLaunchAgent": _create_agent,
    "Mutation.updateLaunchAgent": _update_agent,
    "Project.runQueue": _queue,
    "Project.runQueues": _queues,
    "RunQueue.id": lambda queue, _context, _args: queue.id,
    "RunQueue.name": lambda queue, _context, _args: queue.name,
    "RunQueue.access": lambda queue, _context, _args: queue.access,
    "RunQueue.createdBy": lambda _queue, context, _args: encode_row_id("User", context.account.pk),
    "RunQueue.defaultResourceConfigID": lambda queue, _context, _args: (
        encode_id("DefaultResourceConfig", queue.config) if queue.config is not None else None
    ),
    "RunQueue.externalLinks": lambda queue, _context, _args: loads(queue.external_links),
    "RunQueue.prioritizationMode": lambda queue, _context, _args: queue.prioritization_mode,
    "RunQueue.runQueueItem": _item,
    "RunQueue.runQueueItems": _items,
    "RunQueueItem.id": lambda item, _context, _args: item.id,
    "RunQueueItem.state": _state,
    "RunQueueItem.associatedRunId": lambda item, _context, _args: item.associated_run,
}
