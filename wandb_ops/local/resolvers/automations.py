"""Automations (the schema's triggers) and the integrations that their actions use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wandb_ops.local import automations, projects
from wandb_ops.local.artifacts import artifacts
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.resolvers.artifactlists import select
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
from wandb_ops.local.resolvers.entities import entity
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from wandb_ops.local.automations import Integration, Trigger

Node = dict[str, Any]


def _document(trigger: Trigger) -> Node:
    """What filters and orders see of an automation."""
    return {
        "id": trigger.id,
        "name": trigger.name,
        "description": trigger.description,
        "enabled": bool(trigger.enabled),
        "createdAt": trigger.created_at,
        "updatedAt": trigger.updated_at,
    }


def _of_entity(source: Node, context: Context, args: Args) -> Node:
    with context.service.store.reading() as db:
        found = automations.of_entity(db, source["pk"])
    return select([(each.pk, each) for each in found], args, _document, default="+createdAt")


def _of_organization(source: Node, context: Context, args: Args) -> Node:
    owner = entity(context, source["entity"])
    return _of_entity(owner, context, args) if owner else connection([], False)


def _of_project(project: projects.Project, context: Context, _args: Args) -> list[Trigger]:
    with context.service.store.reading() as db:
        return automations.of_project(db, project.pk)


def _integrations(source: Node, context: Context, args: Args) -> Node:
    first, after = page_size(args, 50), cursor_number(args.get("after"), 0)
    with context.service.store.reading() as db:
        found = automations.integrations(db, source["pk"], after, first + 1)
    return connection([(each, number_cursor(each.pk)) for each in found[:first]], len(found) > first)


def _known(context: Context, db: sqlite3.Connection, value: str) -> Trigger:
    found = automations.find(db, value)
    if found is None or not context.sees(found.entity):
        raise NotFound("automation not found")
    return found


def _create(_source: Any, context: Context, args: Args) -> Node:
    given = args["input"]
    with context.service.store.writing() as db:
        made = automations.save(db, context.now(), given, context.sees)
    return {"trigger": made, "clientMutationId": given.get("clientMutationId")}


def _update(_source: Any, context: Context, args: Args) -> Node:
    given = args["input"]
    with context.service.store.writing() as db:
        known = _known(context, db, required(given, "id"))
        changed = automations.save(db, context.now(), given, context.sees, known)
    return {"trigger": changed, "clientMutationId": given.get("clientMutationId")}


def _delete(_source: Any, context: Context, args: Args) -> Node:
    with context.service.store.writing() as db:
        automations.delete(db, _known(context, db, required(args["input"], "triggerID")))
    return {"success": True}


def _create_webhook(_source: Any, context: Context, args: Args) -> Node:
    given = args["input"]
    owner, url = context.check_entity(required(given, "entityName")), required(given, "urlEndpoint")
    if urlsplit(url).scheme not in {"http", "https"}:
        raise Refused("urlEndpoint must be an http or https URL")
    with context.service.store.writing() as db:
        made = automations.add_integration(
            db, context.now(), owner, automations.WEBHOOK, required(given, "name"), url
        )
    return {"integration": made, "clientMutationId": given.get("clientMutationId")}


def _scope(trigger: Trigger, context: Context, _args: Args) -> Any:
    with context.service.store.reading() as db:
        if trigger.project_pk is not None:
            return projects.by_pk(db, trigger.project_pk)
        if trigger.collection_pk is not None:
            return artifacts.collection_by_pk(db, trigger.collection_pk)
    return entity(context, trigger.entity)


def _integration(trigger: Trigger, context: Context, _args: Args) -> Integration | None:
    with context.service.store.reading() as db:
        return automations.integration(db, trigger.action_input["integrationID"])


def _of(value: Callable[[Any], Any]) -> Resolver:
    """A field that is read off the row."""
    return lambda row, _context, _args: value(row)


def _sent(field: str) -> Resolver:
    """A field of the action as it was sent."""
    return lambda trigger, _context, _args: trigger.action_input.get(field)


def scope_type(source: Any) -> str:
    """The GraphQL type of what an automation watches."""
    if isinstance(source, projects.Project):
        return "Project"
    if isinstance(source, artifacts.Collection):
        return "ArtifactSequence" if source.kind == artifacts.SEQUENCE else "ArtifactPortfolio"
    return "Entity"


RESOLVE_TYPES: dict[str, Callable[[Any], str]] = {
    "Scope": scope_type,
    "TriggeredAction": lambda trigger: str(trigger.action_kind),
    "Integration": lambda integration: str(integration.kind),
}

RESOLVERS: dict[str, Resolver] = {
    "Entity.triggers": _of_entity,
    "Entity.integrations": _integrations,
    "Organization.triggers": _of_organization,
    "Project.triggers": _of_project,
    "Mutation.createFilterTrigger": _create,
    "Mutation.updateFilterTrigger": _update,
    "Mutation.deleteTrigger": _delete,
    "Mutation.createGenericWebhookIntegration": _create_webhook,
    "Trigger.id": _of(lambda trigger: trigger.id),
    "Trigger.name": _of(lambda trigger: trigger.name),
    "Trigger.description": _of(lambda trigger: trigger.description),
    "Trigger.enabled": _of(lambda trigger: bool(trigger.enabled)),
    "Trigger.createdAt": _of(lambda trigger: iso(trigger.created_at)),
    "Trigger.updatedAt": _of(lambda trigger: iso(trigger.updated_at) if trigger.updated_at else None),
    "Trigger.scope": _scope,
    "Trigger.triggeringCondition": _of(lambda trigger: trigger),
    "Trigger.triggeredAction": _of(lambda trigger: trigger),
    "FilterEventTriggeringCondition.eventType": _of(lambda trigger: trigger.event_type),
    "FilterEventTriggeringCondition.filter": _of(lambda trigger: trigger.saved_filter),
    "NotificationTriggeredAction.integration": _integration,
    "NotificationTriggeredAction.title": _sent("title"),
    "NotificationTriggeredAction.message": _sent("message"),
    "NotificationTriggeredAction.severity": _sent("severity"),
    "GenericWebhookTriggeredAction.integration": _integration,
    "GenericWebhookTriggeredAction.requestPayload": _sent("requestPayload"),
    "NoOpTriggeredAction.noOp": _sent("noOp"),
    "ARIATriggeredAction.prompt": _sent("prompt"),
    "SlackIntegration.id": _of(lambda found: found.id),
    "SlackIntegration.teamName": _of(lambda found: found.name),
    "SlackIntegration.channelName": _of(lambda found: found.detail),
    "GenericWebhookIntegration.id": _of(lambda found: found.id),
    "GenericWebhookIntegration.name": _of(lambda found: found.name),
    "GenericWebhookIntegration.urlEndpoint": _of(lambda found: found.detail),
}
