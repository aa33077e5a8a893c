"""Run queues of W&B Launch: queues with a default resource config, and the items in them.

An item is PENDING until an agent takes it (LEASED), tells which run it became (CLAIMED) or reports FAILED;
when that run ended, the item says how.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.jsontext import dumps, loads_object
from wandb_ops.local.names import check_name, encode_id
from wandb_ops.local.runs import runs

if TYPE_CHECKING:
    import sqlite3

RESOURCES = frozenset({"local-container", "local-process", "kubernetes", "sagemaker", "gcp-vertex"})
PRIORITIES = range(4)  # 0 is critical, 3 is low
DEFAULT_PRIORITY = 2
#: The project in which the SDK keeps an entity's queues; W&B shows it under other names than a project.
PROJECT = "model-registry"

_ENDS = frozenset({"finished", "failed", "crashed", "killed", "preempted"})

_QUEUE = "q.id, q.project, q.name, q.access, q.prioritization_mode, q.external_links, q.config"
_ITEM = "i.id, i.queue, i.state, i.associated_run, i.run_spec"
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


@dataclass(frozen=True, slots=True)
class Queue:
    """One row of ``queues``."""

    pk: int
    project: int
    name: str
    access: str
    prioritization_mode: str
    external_links: str
    config: int | None

    @property
    def id(self) -> str:
        """The opaque id of the queue."""
        return encode_id("RunQueue", self.pk)


@dataclass(frozen=True, slots=True)
class Item:
    """One row of ``queue_items``."""

    pk: int
    queue: int
    state: str
    associated_run: str | None
    run_spec: str

    @property
    def id(self) -> str:
        """The opaque id of the item."""
        return encode_id("RunQueueItem", self.pk)


def find(db: sqlite3.Connection, project: int, name: str) -> Queue | None:
    """The queue of that name in a project, or None."""
    query = f"SELECT {_QUEUE} FROM queues q WHERE q.project=? AND q.name=?"  # noqa: S608 - only constants are put in
    row = db.execute(query, (project, name)).fetchone()
    return Queue(*row) if row else None


def get(db: sqlite3.Connection, entity: str, project: str, name: str) -> Queue:
    """The queue, or :class:`NotFound`."""
    queue = find(db, projects.get(db, entity, project).pk, name)
    if queue is None:
        raise NotFound(f"run queue {name!r} not found in {entity}/{project}")
    return queue


def by_pk(db: sqlite3.Connection, pk: int) -> Queue:
    """The queue with that row number, or :class:`NotFound`."""
    row = db.execute(f"SELECT {_QUEUE} FROM queues q WHERE q.id=?", (pk,)).fetchone()  # noqa: S608 - only constants are put in
    if row is None:
        raise NotFound("run queue not found")
    return Queue(*row)


def of_project(db: sqlite3.Connection, project: int) -> list[Queue]:
    """A project's queues, oldest first."""
    query = f"SELECT {_QUEUE} FROM queues q WHERE q.project=? ORDER BY q.id"  # noqa: S608 - only constants are put in
    return [Queue(*row) for row in db.execute(query, (project,))]


def schema_errors(resource: str, config: dict[str, Any], variables: dict[str, Any]) -> list[str]:
    """What is wrong with a queue's config and template variables, in words; it is stored all the same."""
    errors = []
    arguments = config.get("resource_args")
    if not isinstance(arguments, dict):
        errors.append("resource_args is missing or not an object")
    elif not isinstance(arguments.get(resource), dict):
        errors.append(f"resource_args.{resource} is missing or not an object")
    for name, variable in variables.items():
        schema = variable.get("schema") if isinstance(variable, dict) else None
        if not isinstance(schema, dict):
            errors.append(f"template variable {name}: schema is missing or not an object")
        elif schema.get("type") not in _TYPES:
            errors.append(f"template variable {name}: type must be one of {', '.join(sorted(_TYPES))}")
        elif "default" in schema and (problem := value_error(schema, schema["default"])):
            errors.append(f"template variable {name}: its default {problem}")
    return errors


def value_error(schema: dict[str, Any], value: Any) -> str | None:
    """What is wrong with a template variable's value, or None."""
    wanted = str(schema.get("type"))
    if not isinstance(value, _TYPES.get(wanted, ())) or (isinstance(value, bool) and wanted != "boolean"):
        return f"is not of type {wanted}"
    if "enum" in schema and value not in schema["enum"]:
        return "is not one of the values allowed"
    if "minimum" in schema and value < schema["minimum"]:
        return f"is below the minimum {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        return f"is above the maximum {schema['maximum']}"
    return None


def create_config(
    db: sqlite3.Connection, entity: str, resource: str, config: str | None, variables: str | None
) -> int:
    """Store a default resource config; returns its row number."""
    if resource not in RESOURCES:
        raise Refused(f"resource must be one of {', '.join(sorted(RESOURCES))}")
    loads_object(config, "config")
    loads_object(variables, "templateVariables")
    cursor = db.execute(
        "INSERT INTO resource_configs(entity, resource, config, template_variables) VALUES(?,?,?,?)",
        (entity, resource, config or "{}", variables or "{}"),
    )
    return int(cursor.lastrowid or 0)


def create(db: sqlite3.Connection, now: int, project: int, name: str, values: dict[str, Any]) -> Queue:
    """Make a queue; :class:`Refused` when the project has one of that name."""
    check_name("run queue", name)
    if find(db, project, name) is not None:
        raise Refused(f"run queue {name!r} already exists")
    db.execute(
        "INSERT INTO queues(project, name, access, prioritization_mode, external_links, config, created_at)"
        " VALUES(?,?,?,?,?,?,?)",
        (
            project,
            name,
            values.get("access") or "PROJECT",
            values.get("prioritization_mode") or "DISABLED",
            values.get("external_links") or '{"links":[]}',
            values.get("config"),
            now,
        ),
    )
    queue = find(db, project, name)
    assert queue is not None
    return queue


def upsert(
    db: sqlite3.Connection, now: int, entity: str, project: int, name: str, values: dict[str, Any]
) -> list[str]:
    """Make or replace a queue with its config; what is not given falls back to its default.

    Args:
        values: ``resource``, ``config``, ``variables``, ``prioritization_mode``, ``external_links``.

    Returns:
        What is wrong with the config or the template variables, in words.
    """
    resource = values["resource"]
    errors = schema_errors(
        resource,
        loads_object(values.get("config"), "resourceConfig"),
        loads_object(values.get("variables"), "templateVariables"),
    )
    loads_object(values.get("external_links"), "externalLinks")
    config = create_config(db, entity, resource, values.get("config"), values.get("variables"))
    known = find(db, project, name)
    if known is None:
        create(db, now, project, name, {**values, "config": config})
        return errors
    db.execute(
        "UPDATE queues SET config=?, prioritization_mode=?, external_links=? WHERE id=?",
        (
            config,
            values.get("prioritization_mode") or "DISABLED",
            values.get("external_links") or '{"links":[]}',
            known.pk,
        ),
    )
    if known.config is not None:
        db.execute(
            "DELETE FROM resource_configs WHERE id=? AND id NOT IN"
            " (SELECT config FROM queues WHERE config IS NOT NULL)",
            (known.config,),
        )
    return errors


def push(
    db: sqlite3.Connection,
    now: int,
    queue: Queue,
    spec: str | None,
    *,
    priority: int | None,
    values: str | None,
) -> Item:
    """Add an item; values of template variables are checked against the queue's schemas."""
    content = loads_object(spec, "runSpec")
    if priority is not None and priority not in PRIORITIES:
        raise Refused("priority must be between 0 (critical) and 3 (low)")
    given = loads_object(values, "templateVariableValues")
    if given:
        row = db.execute(
            "SELECT template_variables FROM resource_configs WHERE id=?", (queue.config,)
        ).fetchone()
        declared = loads_object(row[0] if row else None, "templateVariables")
        for name, value in given.items():
            variable = declared.get(name)
            schema = variable.get("schema") if isinstance(variable, dict) else None
            if not isinstance(schema, dict):
                raise Refused(f"the queue has no template variable {name!r}")
            if problem := value_error(schema, value):
                raise Refused(f"template variable {name}: the value {problem}")
        spec = dumps({**content, "template_variables": given})
    cursor = db.execute(
        "INSERT INTO queue_items(queue, run_spec, priority, state, created_at, updated_at)"
        " VALUES(?,?,?,'PENDING',?,?)",
        (queue.pk, spec or "{}", DEFAULT_PRIORITY if priority is None else priority, now, now),
    )
    return item(db, int(cursor.lastrowid or 0))


def item(db: sqlite3.Connection, pk: int) -> Item:
    """The item with that row number, or :class:`NotFound`."""
    row = db.execute(f"SELECT {_ITEM} FROM queue_items i WHERE i.id=?", (pk,)).fetchone()  # noqa: S608 - only constants are put in
    if row is None:
        raise NotFound("run queue item not found")
    return Item(*row)


def items(db: sqlite3.Connection, queue: int, first: int) -> list[Item]:
    """A queue's items, oldest first."""
    query = f"SELECT {_ITEM} FROM queue_items i WHERE i.queue=? ORDER BY i.id LIMIT ?"  # noqa: S608 - only constants are put in
    return [Item(*row) for row in db.execute(query, (queue, first))]


def pop(db: sqlite3.Connection, now: int, queue: Queue, agent: int | None) -> Item | None:
    """Lease the next pending item: the most urgent where the queue has priorities, else the oldest."""
    order = "i.priority, i.id" if queue.prioritization_mode == "V0" else "i.id"
    row = db.execute(
        f"SELECT {_ITEM} FROM queue_items i WHERE i.queue=? AND i.state='PENDING' ORDER BY {order} LIMIT 1",  # noqa: S608 - only constants are put in
        (queue.pk,),
    ).fetchone()
    if row is None:
        return None
    db.execute(
        "UPDATE queue_items SET state='LEASED', agent=?, updated_at=? WHERE id=?", (agent, now, row[0])
    )
    return item(db, row[0])


def acknowledge(db: sqlite3.Connection, now: int, pk: int, run: str | None) -> bool:
    """Note the run that a leased item became; False when it was not leased or is another run's."""
    found = item(db, pk)
    if found.state == "CLAIMED" and found.associated_run == run:
        return True
    if found.state != "LEASED":
        return False
    db.execute(
        "UPDATE queue_items SET state='CLAIMED', associated_run=?, updated_at=? WHERE id=?", (run, now, pk)
    )
    return True


def annotate(db: sqlite3.Connection, now: int, pk: int, column: str, given: dict[str, Any]) -> None:
    """Note an error, which fails the item, or a warning, which does not."""
    item(db, pk)
    note = dumps({key: given.get(key) for key in ("message", "stage", "filePaths")})
    assert column in {"error", "warning"}
    state = ", state='FAILED'" if column == "error" else ""
    db.execute(f"UPDATE queue_items SET {column}=?, updated_at=?{state} WHERE id=?", (note, now, pk))  # noqa: S608 - only constants are put in


def delete_item(db: sqlite3.Connection, queue: int, pk: int) -> None:
    """Remove an item from its queue."""
    if item(db, pk).queue != queue:
        raise NotFound("run queue item not found in that queue")
    db.execute("DELETE FROM queue_items WHERE id=?", (pk,))


def delete(db: sqlite3.Connection, pk: int) -> None:
    """Remove a queue, its items and its config."""
    queue = by_pk(db, pk)
    db.execute("DELETE FROM queues WHERE id=?", (pk,))
    if queue.config is not None:
        db.execute(
            "DELETE FROM resource_configs WHERE id=? AND id NOT IN"
            " (SELECT config FROM queues WHERE config IS NOT NULL)",
            (queue.config,),
        )


def state(db: sqlite3.Connection, now: int, found: Item, crash_after: float) -> str:
    """The item's state: once a run came of it and ended, how that ended.

    The run is looked for in the project that the item's spec names, else in the queue's own.
    """
    if found.state != "CLAIMED" or not found.associated_run:
        return found.state
    spec = loads_object(found.run_spec, "runSpec")
    row = db.execute(
        "SELECT p.entity, p.name FROM queues q JOIN projects p ON p.id = q.project WHERE q.id=?",
        (found.queue,),
    ).fetchone()
    run = runs.find(db, row[0], str(spec.get("project") or row[1]), found.associated_run)
    ended = run.state(now, crash_after) if run else ""
    return ended.upper() if ended in _ENDS else found.state
