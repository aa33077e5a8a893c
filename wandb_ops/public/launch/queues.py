"""Launch queues as values: read, compare, create, upsert.

W&B's own upsert sets back whatever is left out (priorities off, no links), and its create leaves half a queue
when it fails in the middle. Here a queue is looked up first: what is not named stays, and what is equal is
not sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import AmbiguousOutcome, CommError, NotFoundError, UsageError
from wandb_ops.protocol import values
from wandb_ops.protocol.documents import launch as documents
from wandb_ops.protocol.documents.projects import CREATE_PROJECT
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.encode import to_stored
from wandb_ops.public.merge import same
from wandb_ops.redaction import terminal_safe

if TYPE_CHECKING:
    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.public")

#: The project that W&B keeps an entity's queues in.
QUEUE_PROJECT = "model-registry"
RESOURCE_TYPES = ("local-container", "local-process", "kubernetes", "sagemaker", "gcp-vertex")
MAX_NAME = 64
_VARIABLE_TYPES = frozenset({"string", "number", "integer"})
_SCHEMA_KEYS = frozenset({"type", "default", "minimum", "maximum", "enum"})


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """A queue as it is on the server, or as it is wanted.

    Attributes:
        id: The server's identifier; empty before the queue exists.
        resource_type: One of `RESOURCE_TYPES`.
        resource_config: The default resource config, without its `resource_args` wrapping.
        template_variables: `{name: {"schema": {...}}}`.
        external_links: `{label: url}`.
        prioritization_mode: "DISABLED" or "V0".
        access: "PROJECT" or "USER".
        config_id: The server's identifier of the resource config.
        stored_config: The resource config as the server keeps it, wrapping included.
    """

    entity: str
    name: str
    id: str = ""
    resource_type: str = ""
    resource_config: dict[str, Any] = field(default_factory=dict)
    template_variables: dict[str, Any] = field(default_factory=dict)
    external_links: dict[str, str] = field(default_factory=dict)
    prioritization_mode: str = "DISABLED"
    access: str = "PROJECT"
    config_id: str | None = None
    stored_config: dict[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """What an upsert sets, by the names of its arguments."""
        return {
            "resource_type": self.resource_type,
            "resource_config": self.resource_config,
            "template_variables": self.template_variables,
            "external_links": self.external_links,
            "prioritization_mode": self.prioritization_mode,
        }


@dataclass(frozen=True, kw_only=True)
class QueueChange:
    """What an upsert found and left.

    Attributes:
        before: The queue that was there; None when there was none.
        after: The queue as it is now.
        changes: Argument -> `{"before": ..., "after": ...}`; empty when nothing was sent.
        warnings: What the server has to say about the resource config.
    """

    before: QueueState | None
    after: QueueState
    changes: dict[str, dict[str, Any]]
    warnings: tuple[str, ...] = ()


def read_queue(transport: Transport, entity: str, name: str) -> QueueState | None:
    """The queue as the server has it; None when there is none."""
    where = _where(entity, name)
    variables = {"projectName": QUEUE_PROJECT, "entityName": entity, "runQueue": name}
    data = execute(transport, documents.GET_RUN_QUEUE, variables, where=where)
    node = (data.get("project") or {}).get("runQueue")
    if node is None:
        return None
    config_id = node.get("defaultResourceConfigID")
    state = QueueState(
        entity=entity,
        name=name,
        id=str(node["id"]),
        access=node.get("access") or "PROJECT",
        prioritization_mode=node.get("prioritizationMode") or "DISABLED",
        external_links=_links(node.get("externalLinks")),
        config_id=str(config_id) if config_id is not None else None,
    )
    return state if state.config_id is None else _with_config(transport, state)


def _with_config(transport: Transport, state: QueueState) -> QueueState:
    variables = {"entityName": state.entity, "id": state.config_id}
    where = _where(state.entity, state.name)
    data = execute(transport, documents.GET_DEFAULT_RESOURCE_CONFIG, variables, where=where)
    node = (data.get("entity") or {}).get("defaultResourceConfig")
    if node is None:
        return state
    resource = str(node.get("resource") or "")
    stored = _parsed(node.get("config"))
    arguments = stored.get("resource_args") if isinstance(stored, dict) else None
    inner = arguments.get(resource) if isinstance(arguments, dict) else None
    return replace(
        state,
        resource_type=resource,
        resource_config=inner if isinstance(inner, dict) else {},
        stored_config=stored if isinstance(stored, dict) else {},
        template_variables={
            item["name"]: {"schema": _parsed(item.get("schema"))}
            for item in node.get("templateVariables") or []
        },
    )


def create_queue(
    transport: Transport,
    *,
    entity: str,
    name: str,
    resource_type: str,
    config: Mapping[str, Any] | None,
    template_variables: Mapping[str, Any] | None,
    prioritization_mode: str | None,
) -> QueueState:
    """Create a queue that is not there yet.

    Raises:
        UsageError: An argument is wrong, or there is a queue of that name.
        CommError: The server did not make it.
    """
    check_name(name)
    check_resource_type(resource_type)
    mode = check_mode(prioritization_mode, allowed=("V0",)) if prioritization_mode else None
    stored = to_stored({"resource_args": {resource_type: dict(config or {})}}, where="config")
    variables_stored = check_template_variables(template_variables or {})
    where = _where(entity, name)
    ensure_project(transport, entity)
    if read_queue(transport, entity, name) is not None:
        raise UsageError(
            "There is a queue of that name already",
            where=where,
            hint="`Api.upsert_run_queue` changes it.",
        )
    answer = (
        execute(
            transport,
            documents.CREATE_DEFAULT_RESOURCE_CONFIG,
            {
                "entityName": entity,
                "resource": resource_type,
                "config": values.dumps(stored),
                "templateVariables": values.dumps(variables_stored),
            },
            where=where,
        ).get("createDefaultResourceConfig")
        or {}
    )
    if not answer.get("success"):
        raise CommError("The server did not take the resource config", where=where)
    _create(transport, entity, name, mode, str(answer["defaultResourceConfigID"]))
    made = read_queue(transport, entity, name)
    if made is None:
        raise CommError("The server made the queue and does not show it", where=where)
    return made


def _create(transport: Transport, entity: str, name: str, mode: str | None, config_id: str) -> None:
    variables: dict[str, Any] = {
        "entity": entity,
        "project": QUEUE_PROJECT,
        "queueName": name,
        "access": "PROJECT",
        "defaultResourceConfigID": config_id,
    }
    if mode is not None:
        variables["prioritizationMode"] = mode
    where = _where(entity, name)
    try:
        data = execute(transport, documents.CREATE_RUN_QUEUE, variables, where=where)
    except AmbiguousOutcome:
        # The answer was lost. Sending it again could make two queues, so look instead.
        found = read_queue(transport, entity, name)
        if found is None or found.config_id != config_id:
            raise
        return
    if not (data.get("createRunQueue") or {}).get("success"):
        raise CommError("The server did not create the queue", where=where)


def upsert_queue(
    transport: Transport,
    *,
    entity: str,
    name: str,
    resource_type: str,
    resource_config: Mapping[str, Any],
    template_variables: Mapping[str, Any] | None = None,
    external_links: Mapping[str, str] | None = None,
    prioritization_mode: str | None = None,
) -> QueueChange:
    """Make the queue what the arguments say; an argument left out (None) keeps what is there.

    Nothing is sent when the queue is like that already, so the same call twice changes nothing.

    Raises:
        UsageError: An argument is wrong.
        CommError: The server did not take it.
    """
    check_name(name)
    check_resource_type(resource_type)
    if not isinstance(resource_config, Mapping):
        raise UsageError(f"resource_config is a dict, not {type(resource_config).__name__}")
    wanted: dict[str, Any] = {
        "resource_type": resource_type,
        "resource_config": to_stored(resource_config, where="resource_config"),
    }
    if template_variables is not None:
        wanted["template_variables"] = check_template_variables(template_variables)
    if external_links is not None:
        wanted["external_links"] = check_links(external_links)
    if prioritization_mode is not None:
        wanted["prioritization_mode"] = check_mode(prioritization_mode, allowed=("V0", "DISABLED"))
    before = read_queue(transport, entity, name)
    after = replace(before or QueueState(entity=entity, name=name), **wanted)
    old = before.settings() if before else {}
    changes = {
        key: {"before": old.get(key), "after": value}
        for key, value in after.settings().items()
        if before is None or not same(old.get(key), value)
    }
    if not changes:
        return QueueChange(before=before, after=after, changes={})
    ensure_project(transport, entity)
    warnings = _send(transport, after)
    now = read_queue(transport, entity, name)
    if now is None:
        raise CommError("The server took the queue and does not show it", where=_where(entity, name))
    return QueueChange(before=before, after=now, changes=changes, warnings=warnings)


def _send(transport: Transport, queue: QueueState) -> tuple[str, ...]:
    where = _where(queue.entity, queue.name)
    links = [{"label": label, "url": url} for label, url in queue.external_links.items()]
    variables = {
        "entityName": queue.entity,
        "projectName": QUEUE_PROJECT,
        "queueName": queue.name,
        "resourceType": queue.resource_type,
        "resourceConfig": values.dumps({"resource_args": {queue.resource_type: queue.resource_config}}),
        "templateVariables": values.dumps(queue.template_variables),
        "prioritizationMode": queue.prioritization_mode,
        "externalLinks": values.dumps({"links": links}),
    }
    answer = (
        execute(transport, documents.UPSERT_RUN_QUEUE, variables, where=where).get("upsertRunQueue") or {}
    )
    if not answer.get("success"):
        raise CommError("The server did not take the queue", where=where)
    warnings = tuple(str(text) for text in answer.get("configSchemaValidationErrors") or ())
    for text in warnings:
        logger.warning("Queue %s: resource config: %s", where, terminal_safe(text))
    return warnings


def ensure_project(transport: Transport, entity: str) -> None:
    """Make the project that holds the entity's queues, where it is missing."""
    variables = {"input": {"name": QUEUE_PROJECT, "entityName": entity}}
    data = execute(transport, CREATE_PROJECT, variables, where=f"{entity}/{QUEUE_PROJECT}")
    if data.get("upsertModel") is None:
        raise NotFoundError("There is no such user or team", where=entity)


# -- what arguments must be --------------------------------------------------------------------------------


def check_name(name: object) -> None:
    """Raise UsageError unless `name` can be a queue's."""
    if not isinstance(name, str) or not name.strip():
        raise UsageError("A queue's name is a text that is not empty")
    if len(name) > MAX_NAME:
        raise UsageError(f"A queue's name has at most {MAX_NAME} characters, not {len(name)}")


def check_resource_type(resource_type: object) -> None:
    """Raise UsageError unless queues have this resource type."""
    if resource_type not in RESOURCE_TYPES:
        raise UsageError(f"The resource type is one of {', '.join(RESOURCE_TYPES)}, not {resource_type!r}")


def check_mode(mode: object, *, allowed: tuple[str, ...]) -> str:
    """The prioritization mode in capitals, or UsageError."""
    if not isinstance(mode, str) or mode.upper() not in allowed:
        raise UsageError(f"prioritization_mode is {' or '.join(map(repr, allowed))} or None, not {mode!r}")
    return mode.upper()


def check_links(links: object) -> dict[str, str]:
    """External links as `{label: url}`, or UsageError."""
    if not isinstance(links, Mapping) or not all(
        isinstance(label, str) and isinstance(url, str) for label, url in links.items()
    ):
        raise UsageError("external_links is a dict of label to url, both text")
    return dict(links)


def check_template_variables(variables: object) -> dict[str, Any]:
    """Template variables as `{name: {"schema": {...}}}`, or UsageError naming the one that is wrong."""
    if not isinstance(variables, Mapping):
        raise UsageError(f"template_variables is a dict, not {type(variables).__name__}")
    for name, variable in variables.items():
        schema = variable.get("schema") if isinstance(variable, Mapping) else None
        if not isinstance(name, str) or not isinstance(schema, Mapping):
            raise UsageError(f'Template variable {name!r} is {{"schema": {{...}}}} under a name that is text')
        if schema.get("type") not in _VARIABLE_TYPES:
            kinds = ", ".join(sorted(_VARIABLE_TYPES))
            raise UsageError(f"The type of template variable {name!r} is one of {kinds}")
        if unknown := set(schema) - _SCHEMA_KEYS:
            raise UsageError(f"Template variable {name!r} has unknown parts: {sorted(map(str, unknown))}")
    stored: dict[str, Any] = to_stored(variables, where="template_variables")
    return stored


def _where(entity: str, name: str) -> str:
    return f"{entity}/{QUEUE_PROJECT}/{name}"


def _parsed(value: Any) -> Any:
    """A JSON field: servers give it parsed, or as text."""
    return values.loads(value) if isinstance(value, (str, bytes)) and value else value


def _links(value: Any) -> dict[str, str]:
    parsed = _parsed(value)
    links = parsed.get("links") if isinstance(parsed, dict) else None
    return {str(item["label"]): str(item["url"]) for item in links or [] if isinstance(item, dict)}
