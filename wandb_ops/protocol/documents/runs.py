"""Operations on runs: look, list, change, delete."""

from __future__ import annotations

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

_LIGHT_FIELDS = """
fragment LightRunFields on Run {
  id
  projectId
  name
  displayName
  state
  group
  jobType
  sweepName
  tags
  commit
  notes
  description
  readOnly
  createdAt
  heartbeatAt
  historyLineCount
  user { name username }
}
"""

_FULL_FIELDS = (
    """
fragment FullRunFields on Run {
  ...LightRunFields
  config
  summaryMetrics
  systemMetrics
  historyKeys
}
"""
    + _LIGHT_FIELDS
)

RUN = Operation(
    name="Run",
    kind=Kind.QUERY,
    text="""
query Run($project: String!, $entity: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    run(name: $name) { ...FullRunFields }
  }
}
"""
    + _FULL_FIELDS,
)

RUNS = Operation(
    name="Runs",
    kind=Kind.QUERY,
    text="""
query Runs(
  $project: String!, $entity: String!, $cursor: String, $perPage: Int = 50,
  $order: String, $filters: JSONString
) {
  project(name: $project, entityName: $entity) {
    internalId
    readOnly
    runCount(filters: $filters)
    runs(filters: $filters, after: $cursor, first: $perPage, order: $order) {
      edges { cursor node { ...FullRunFields } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""
    + _FULL_FIELDS,
)

#: The same list without config, summary, system metrics and the key index, which can be megabytes per run.
LIGHT_RUNS = Operation(
    name="Runs",
    kind=Kind.QUERY,
    text="""
query Runs(
  $project: String!, $entity: String!, $cursor: String, $perPage: Int = 50,
  $order: String, $filters: JSONString
) {
  project(name: $project, entityName: $entity) {
    internalId
    readOnly
    runCount(filters: $filters)
    runs(filters: $filters, after: $cursor, first: $perPage, order: $order) {
      edges { cursor node { ...LightRunFields } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""
    + _LIGHT_FIELDS,
)

RUN_STATE = Operation(
    name="RunState",
    kind=Kind.QUERY,
    text="""
query RunState($project: String!, $entity: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    run(name: $name) { id state }
  }
}
""",
)

#: Only the variables given are changed: one left out is absent from the input, which the server leaves as it
#: is.
UPDATE_RUN = Operation(
    name="UpsertBucket",
    kind=Kind.UPSERT,
    text="""
mutation UpsertBucket(
  $id: String!, $description: String, $display_name: String, $notes: String, $tags: [String!],
  $config: JSONString, $groupName: String, $jobType: String, $summaryMetrics: JSONString
) {
  upsertBucket(input: {
    id: $id, description: $description, displayName: $display_name, notes: $notes, tags: $tags,
    config: $config, groupName: $groupName, jobType: $jobType, summaryMetrics: $summaryMetrics
  }) {
    bucket { ...FullRunFields }
  }
}
"""
    + _FULL_FIELDS,
)

UPDATE_RUN_STATE = Operation(
    name="UpdateRunState",
    kind=Kind.UPSERT,
    text="""
mutation UpdateRunState($input: UpdateRunStateInput!) {
  updateRunState(input: $input) { success }
}
""",
)

DELETE_RUN = Operation(
    name="DeleteRun",
    kind=Kind.MUTATION,
    text="""
mutation DeleteRun($id: ID!, $deleteArtifacts: Boolean) {
  deleteRun(input: {id: $id, deleteArtifacts: $deleteArtifacts}) { clientMutationId }
}
""",
)
