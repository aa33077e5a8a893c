"""Operations on automations (the schema's triggers) and integrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

if TYPE_CHECKING:
    from collections.abc import Collection

_SCOPE = """
fragment TriggerFields on Trigger {
  id
  createdAt
  updatedAt
  name
  description
  enabled
  scope {
    __typename
    ... on Project { id name }
    ... on ArtifactPortfolio { id name }
    ... on ArtifactSequence { id name }
"""
_ENTITY = """
    ... on Entity { id name entityType }
"""
_ACTION = """
  }
  event: triggeringCondition {
    __typename
    ... on FilterEventTriggeringCondition { eventType filter }
  }
  action: triggeredAction {
    __typename
    ... on QueueJobTriggeredAction { queue { id name } template }
    ... on NotificationTriggeredAction {
      notified: integration { __typename ... on SlackIntegration { id } }
      title
      message
      severity
    }
    ... on GenericWebhookTriggeredAction {
      called: integration { __typename ... on GenericWebhookIntegration { id } }
      requestPayload
    }
    ... on NoOpTriggeredAction { noOp }
"""
_ARIA = """
    ... on ARIATriggeredAction { prompt }
"""
_END = """
  }
}
"""
_TRIGGER = _SCOPE + _ENTITY + _ACTION + _ARIA + _END

GET_AUTOMATIONS = Operation(
    name="GetEntityAutomations",
    kind=Kind.QUERY,
    text="""
query GetEntityAutomations($entity: String!, $cursor: String, $perPage: Int, $filters: JSONString) {
  entity(name: $entity) {
    triggers(after: $cursor, first: $perPage, filters: $filters) {
      pageInfo { endCursor hasNextPage }
      edges { node { ...TriggerFields } }
    }
  }
}
"""
    + _TRIGGER,
)

VISIBLE_ENTITIES = Operation(
    name="VisibleEntities",
    kind=Kind.QUERY,
    text="""
query VisibleEntities {
  viewer {
    entity
    teams { edges { node { name } } }
    organizations { orgEntity { name } }
  }
}
""",
)

CREATE_AUTOMATION = Operation(
    name="CreateAutomation",
    kind=Kind.MUTATION,
    text="""
mutation CreateAutomation($input: CreateFilterTriggerInput!) {
  createFilterTrigger(input: $input) { trigger { ...TriggerFields } }
}
"""
    + _TRIGGER,
)

UPDATE_AUTOMATION = Operation(
    name="UpdateAutomation",
    kind=Kind.UPSERT,
    text="""
mutation UpdateAutomation($input: UpdateFilterTriggerInput!) {
  updateFilterTrigger(input: $input) { trigger { ...TriggerFields } }
}
"""
    + _TRIGGER,
)

DELETE_AUTOMATION = Operation(
    name="DeleteAutomation",
    kind=Kind.MUTATION,
    text="""
mutation DeleteAutomation($id: ID!) {
  deleteTrigger(input: {triggerID: $id}) { success }
}
""",
)

GET_INTEGRATIONS = Operation(
    name="IntegrationsByEntity",
    kind=Kind.QUERY,
    text="""
query IntegrationsByEntity($entity: String!, $cursor: String, $perPage: Int) {
  entity(name: $entity) {
    integrations(after: $cursor, first: $perPage) {
      pageInfo { endCursor hasNextPage }
      edges {
        node {
          __typename
          ... on SlackIntegration { id teamName channelName }
          ... on GenericWebhookIntegration { id name urlEndpoint }
        }
      }
    }
  }
}
""",
)


def for_server(operation: Operation, features: Collection[str]) -> Operation:
    """The operation without what a server of these features would not understand."""
    entity = _ENTITY if "AUTOMATION_SCOPE_ENTITY" in features else ""
    aria = _ARIA if "AUTOMATION_ACTION_ARIA" in features else ""
    body = operation.text.removesuffix(_TRIGGER)
    return Operation(operation.name, body + _SCOPE + entity + _ACTION + aria + _END, operation.kind)
