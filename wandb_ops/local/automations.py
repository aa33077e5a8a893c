"""Automations and integrations as data: kept, listed and given out as they were sent; nothing is triggered.

An automation belongs to the entity of its scope: a project, a collection in one, or a team or organisation.
The integration that its action names belongs to the same entity, so who sees one sees the other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.accounts import directory
from wandb_ops.local.accounts.accounts import USER
from wandb_ops.local.artifacts import artifacts
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.jsontext import loads_object
from wandb_ops.local.names import decode_id, decode_number, decode_row_id, encode_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

PROJECT, COLLECTION, ENTITY = "PROJECT", "ARTIFACT_COLLECTION", "ENTITY"
SLACK, WEBHOOK = "SlackIntegration", "GenericWebhookIntegration"

_MAX_FILTER = 1 << 20
_MAX_NAME = 1024
_RUN_EVENTS = {
    "RUN_METRIC": "run_metric_filter",
    "RUN_METRIC_CHANGE": "run_metric_filter",
    "RUN_METRIC_ZSCORE": "run_metric_filter",
    "RUN_STATE": "run_state_filter",
}
# Type of action -> field of its input, type of its node, kind of integration that it needs.
_ACTIONS: dict[str, tuple[str, str, str | None]] = {
    "NOTIFICATION": ("notificationActionInput", "NotificationTriggeredAction", SLACK),
    "GENERIC_WEBHOOK": ("genericWebhookActionInput", "GenericWebhookTriggeredAction", WEBHOOK),
    "NO_OP": ("noOpActionInput", "NoOpTriggeredAction", None),
    "ARIA": ("ariaActionInput", "ARIATriggeredAction", None),
}
_TRIGGER = (
    "SELECT t.id, t.entity, e.name, t.project, t.collection, t.name, t.description, t.enabled, t.event_type,"
    " t.filter, t.action_type, t.action, t.created_at, t.updated_at"
    " FROM triggers t JOIN entities e ON e.id=t.entity"
)
_INTEGRATION = (
    "SELECT i.id, i.entity, e.name, i.kind, i.name, i.detail FROM integrations i"
    " JOIN entities e ON e.id=i.entity"
)


@dataclass(frozen=True, slots=True)
class Integration:
    """A row of ``integrations``: a webhook's name and URL, or a Slack team's name and its channel."""

    pk: int
    entity_pk: int
    entity: str
    kind: str
    name: str
    detail: str

    @property
    def id(self) -> str:
        """The opaque id."""
        return encode_id("Integration", self.pk)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A row of ``triggers`` with its entity's name; times in milliseconds."""

    pk: int
    entity_pk: int
    entity: str
    project_pk: int | None
    collection_pk: int | None
    name: str
    description: str | None
    enabled: int
    event_type: str
    filter: str
    action_type: str
    action: str
    created_at: int
    updated_at: int | None

    @property
    def id(self) -> str:
        """The opaque id."""
        return encode_id("Trigger", self.pk)

    @property
    def saved_filter(self) -> str:
        """The event's filter as it is read: one level deeper than it was sent, but for events of runs."""
        return self.filter if self.event_type in _RUN_EVENTS else json.dumps({"filter": self.filter})

    @property
    def action_input(self) -> dict[str, Any]:
        """The action's own input."""
        given: dict[str, Any] = json.loads(self.action)
        return given

    @property
    def action_kind(self) -> str:
        """The type of the action's node."""
        return _ACTIONS[self.action_type][1]


@dataclass(frozen=True, slots=True)
class _Scope:
    """Rows of what an automation watches."""

    entity_pk: int
    project: int | None = None
    collection: int | None = None


def add_integration(
    db: sqlite3.Connection, now: int, entity: str, kind: str, name: str, detail: str
) -> Integration:
    """Make an integration of an entity.

    Raises:
        NotFound: There is no such entity.
        Refused: A text is missing.
    """
    found = directory.entity(db, entity)
    if found is None:
        raise NotFound(f"entity {entity!r} not found")
    if not name.strip() or not detail.strip():
        raise Refused("an integration needs a name and where it leads")
    cursor = db.execute(
        "INSERT INTO integrations(entity, kind, name, detail, created_at) VALUES(?,?,?,?,?)",
        (found.pk, kind, name, detail, now),
    )
    return Integration(*db.execute(f"{_INTEGRATION} WHERE i.id=?", (cursor.lastrowid,)).fetchone())


def integration(db: sqlite3.Connection, value: str) -> Integration | None:
    """The integration with that opaque id, or None."""
    row = db.execute(f"{_INTEGRATION} WHERE i.id=?", (decode_number("Integration", value),)).fetchone()
    return Integration(*row) if row else None


def integrations(db: sqlite3.Connection, entity_pk: int, after: int, first: int) -> list[Integration]:
    """Up to ``first`` integrations of an entity behind row ``after``, oldest first."""
    rows = db.execute(
        f"{_INTEGRATION} WHERE i.entity=? AND i.id>? ORDER BY i.id LIMIT ?", (entity_pk, after, first)
    )
    return [Integration(*row) for row in rows]


def find(db: sqlite3.Connection, value: str) -> Trigger | None:
    """The automation with that opaque id, or None."""
    row = db.execute(f"{_TRIGGER} WHERE t.id=?", (decode_number("Trigger", value),)).fetchone()
    return Trigger(*row) if row else None


def of_entity(db: sqlite3.Connection, entity_pk: int) -> list[Trigger]:
    """The automations of an entity and of all in it, oldest first."""
    rows = db.execute(f"{_TRIGGER} WHERE t.entity=? ORDER BY t.id", (entity_pk,))
    return [Trigger(*row) for row in rows]


def of_project(db: sqlite3.Connection, project: int) -> list[Trigger]:
    """The automations of a project and of the collections in it, oldest first."""
    rows = db.execute(
        f"{_TRIGGER} LEFT JOIN artifact_collections c ON c.id=t.collection"
        " WHERE t.project=? OR c.project=? ORDER BY t.id",
        (project, project),
    )
    return [Trigger(*row) for row in rows]


def save(
    db: sqlite3.Connection,
    now: int,
    given: Mapping[str, Any],
    sees: Callable[[str], bool],
    known: Trigger | None = None,
) -> Trigger:
    """Make an automation, or change what is given of a known one.

    Args:
        given: The input of ``createFilterTrigger`` or ``updateFilterTrigger``.
        sees: Whether an entity exists for who asks.

    Raises:
        NotFound: The scope or the integration is not there, for who asks.
        Refused: The name is taken, or something is not what such an automation has.
    """
    scope = _scope(db, given, sees, known)
    event_type = given.get("triggeringEventType") or (known.event_type if known else "")
    action_type = given.get("triggeredActionType") or (known.action_type if known else "")
    name = given.get("name") or (known.name if known else "")
    if not name.strip() or len(name) > _MAX_NAME:
        raise Refused(f"an automation has a name of at most {_MAX_NAME} characters")
    values = {
        "entity": scope.entity_pk,
        "project": scope.project,
        "collection": scope.collection,
        "name": name,
        "event_type": event_type,
        "filter": _filter(event_type, given, known),
        "action_type": action_type,
        "action": _action(db, action_type, given, scope.entity_pk, known),
    }
    for field in ("description", "enabled"):
        if given.get(field) is not None:
            values[field] = given[field]
    taken = db.execute(
        "SELECT id FROM triggers WHERE entity=? AND name=? AND id IS NOT ?",
        (scope.entity_pk, name, known.pk if known else None),
    ).fetchone()
    if taken:
        raise Refused(f"automation {name!r} exists already", 409)
    if known is None:
        values["created_at"] = now
        cursor = db.execute(
            f"INSERT INTO triggers({', '.join(values)}) VALUES({', '.join('?' * len(values))})",
            tuple(values.values()),
        )
        pk = int(cursor.lastrowid or 0)
    else:
        values["updated_at"], pk = now, known.pk
        assignments = ", ".join(f"{column}=?" for column in values)
        db.execute(
            f"UPDATE triggers SET {assignments} WHERE id=?",  # noqa: S608 - only constants are put in
            (*values.values(), pk),
        )
    return Trigger(*db.execute(f"{_TRIGGER} WHERE t.id=?", (pk,)).fetchone())


def delete(db: sqlite3.Connection, trigger: Trigger) -> None:
    """Remove an automation."""
    db.execute("DELETE FROM triggers WHERE id=?", (trigger.pk,))


def _scope(
    db: sqlite3.Connection, given: Mapping[str, Any], sees: Callable[[str], bool], known: Trigger | None
) -> _Scope:
    kind, value = given.get("scopeType"), given.get("scopeID")
    if known is not None and not (kind and value):
        if kind or value:
            raise Refused("scopeType and scopeID go together")
        return _Scope(known.entity_pk, known.project_pk, known.collection_pk)
    if not kind or not value:
        raise Refused("scopeType and scopeID are required")
    if kind == PROJECT:
        parts = decode_id("Project", value)
        found = projects.find(db, parts[1], parts[0]) if len(parts) == 2 and sees(parts[1]) else None
        if found is None:
            raise NotFound("the automation's project is not found")
        return _Scope(_entity_pk(db, found.entity), project=found.pk)
    if kind == COLLECTION:
        collection = artifacts.collection_by_pk(db, decode_number("ArtifactCollection", value))
        if collection is None or not sees(collection.entity):
            raise NotFound("the automation's collection is not found")
        return _Scope(_entity_pk(db, collection.entity), collection=collection.pk)
    row = db.execute("SELECT name FROM entities WHERE id=?", (decode_row_id("Entity", value),)).fetchone()
    owner = directory.entity(db, row[0]) if row and sees(row[0]) else None
    if owner is None:
        raise NotFound("the automation's entity is not found")
    if owner.kind == USER:
        raise Refused("an automation of a whole entity needs a team or an organization")
    return _Scope(owner.pk)


def _entity_pk(db: sqlite3.Connection, name: str) -> int:
    found = directory.entity(db, name)
    assert found is not None
    return found.pk


def _filter(event_type: str, given: Mapping[str, Any], known: Trigger | None) -> str:
    """The event's filter as it was sent, or :class:`Refused` when it does not go with the event."""
    text = given.get("eventFilter")
    if text is None:
        if known is None or known.event_type != event_type:
            raise Refused("eventFilter is required")
        return known.filter
    if len(text) > _MAX_FILTER:
        raise Refused("the event's filter is larger than 1 MiB")
    needed, found = _RUN_EVENTS.get(event_type), loads_object(text, "eventFilter")
    if needed and needed not in found:
        raise Refused(f"the filter of {event_type} events needs {needed}")
    return str(text)


def _action(
    db: sqlite3.Connection, action_type: str, given: Mapping[str, Any], entity: int, known: Trigger | None
) -> str:
    """The action's own input as JSON text; its integration is one of the automation's entity."""
    if action_type not in _ACTIONS:
        raise Refused(f"{action_type} actions cannot be made on this server")
    field, _, needed = _ACTIONS[action_type]
    config = given.get("triggeredActionConfig")
    if config is None:
        if known is None or known.action_type != action_type:
            raise Refused("triggeredActionConfig is required")
        own = known.action_input
    else:
        own = dict(config.get(field) or {})
        if not own and action_type != "NO_OP":
            raise Refused(f"{field} is required for {action_type} actions")
    if needed:
        found = integration(db, own["integrationID"])
        if found is None or found.kind != needed or found.entity_pk != entity:
            raise NotFound("the action's integration is not found")
    if own.get("requestPayload") is not None:
        loads_object(own["requestPayload"], "requestPayload")
    return json.dumps(own)
