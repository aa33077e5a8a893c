"""Operations on launch queues and their items."""

from __future__ import annotations

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

GET_RUN_QUEUE = Operation(
    name="GetRunQueueMetadata",
    kind=Kind.QUERY,
    text="""
query GetRunQueueMetadata($projectName: String!, $entityName: String!, $runQueue: String!) {
  project(name: $projectName, entityName: $entityName) {
    runQueue(name: $runQueue) { id access defaultResourceConfigID prioritizationMode externalLinks }
  }
}
""",
)

GET_DEFAULT_RESOURCE_CONFIG = Operation(
    name="GetDefaultResourceConfig",
    kind=Kind.QUERY,
    text="""
query GetDefaultResourceConfig($entityName: String!, $id: ID!) {
  entity(name: $entityName) {
    defaultResourceConfig(id: $id) {
      config
      resource
      templateVariables { name schema }
    }
  }
}
""",
)

GET_RUN_QUEUE_ITEMS = Operation(
    name="GetRunQueueItems",
    kind=Kind.QUERY,
    text="""
query GetRunQueueItems($projectName: String!, $entityName: String!, $runQueue: String!, $first: Int) {
  project(name: $projectName, entityName: $entityName) {
    runQueue(name: $runQueue) {
      runQueueItems(first: $first) { edges { node { id } } }
    }
  }
}
""",
)

GET_RUN_QUEUE_ITEM = Operation(
    name="GetRunQueueItem",
    kind=Kind.QUERY,
    text="""
query GetRunQueueItem($projectName: String!, $entityName: String!, $runQueue: String!, $itemId: ID!) {
  project(name: $projectName, entityName: $entityName) {
    runQueue(name: $runQueue) {
      runQueueItem(id: $itemId) { id state associatedRunId }
    }
  }
}
""",
)

#: For servers that cannot look up a single item.
GET_RUN_QUEUE_ITEM_STATES = Operation(
    name="GetRunQueueItem",
    kind=Kind.QUERY,
    text="""
query GetRunQueueItem($projectName: String!, $entityName: String!, $runQueue: String!) {
  project(name: $projectName, entityName: $entityName) {
    runQueue(name: $runQueue) {
      runQueueItems { edges { node { id state associatedRunId } } }
    }
  }
}
""",
)

#: A second one by a retry is an unused row and changes no queue.
CREATE_DEFAULT_RESOURCE_CONFIG = Operation(
    name="CreateDefaultResourceConfig",
    kind=Kind.UPSERT,
    text="""
mutation CreateDefaultResourceConfig(
  $entityName: String!, $resource: String!, $config: JSONString!, $templateVariables: JSONString
) {
  createDefaultResourceConfig(input: {
    entityName: $entityName, resource: $resource, config: $config, templateVariables: $templateVariables
  }) { defaultResourceConfigID success }
}
""",
)

CREATE_RUN_QUEUE = Operation(
    name="CreateRunQueue",
    kind=Kind.MUTATION,
    text="""
mutation CreateRunQueue(
  $entity: String!, $project: String!, $queueName: String!, $access: RunQueueAccessType!,
  $prioritizationMode: RunQueuePrioritizationMode, $defaultResourceConfigID: ID
) {
  createRunQueue(input: {
    entityName: $entity, projectName: $project, queueName: $queueName, access: $access,
    prioritizationMode: $prioritizationMode, defaultResourceConfigID: $defaultResourceConfigID
  }) { success queueID }
}
""",
)

UPSERT_RUN_QUEUE = Operation(
    name="UpsertRunQueue",
    kind=Kind.UPSERT,
    text="""
mutation UpsertRunQueue(
  $entityName: String!, $projectName: String!, $queueName: String!, $resourceType: String!,
  $resourceConfig: JSONString!, $templateVariables: JSONString,
  $prioritizationMode: RunQueuePrioritizationMode, $externalLinks: JSONString
) {
  upsertRunQueue(input: {
    entityName: $entityName, projectName: $projectName, queueName: $queueName, resourceType: $resourceType,
    resourceConfig: $resourceConfig, templateVariables: $templateVariables,
    prioritizationMode: $prioritizationMode, externalLinks: $externalLinks
  }) { success configSchemaValidationErrors }
}
""",
)

DELETE_RUN_QUEUE = Operation(
    name="DeleteRunQueue",
    kind=Kind.MUTATION,
    text="""
mutation DeleteRunQueue($id: ID!) {
  deleteRunQueues(input: {queueIDs: [$id]}) { success }
}
""",
)

DELETE_FROM_RUN_QUEUE = Operation(
    name="DeleteFromRunQueue",
    kind=Kind.MUTATION,
    text="""
mutation DeleteFromRunQueue($queueID: ID!, $runQueueItemId: ID!) {
  deleteFromRunQueue(input: {queueID: $queueID, runQueueItemId: $runQueueItemId}) { success }
}
""",
)

PUSH_TO_RUN_QUEUE_BY_NAME = Operation(
    name="pushToRunQueueByName",
    kind=Kind.MUTATION,
    text="""
mutation pushToRunQueueByName(
  $entityName: String!, $projectName: String!, $queueName: String!, $runSpec: JSONString!,
  $priority: Int, $templateVariableValues: JSONString
) {
  pushToRunQueueByName(input: {
    entityName: $entityName, projectName: $projectName, queueName: $queueName, runSpec: $runSpec,
    priority: $priority, templateVariableValues: $templateVariableValues
  }) { runQueueItemId }
}
""",
)
