"""Operations on sweeps and their agents."""

from __future__ import annotations

from typing import Final

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

_SWEEP_FIELDS = """
fragment SweepFields on Sweep {
  id
  name
  displayName
  method
  state
  description
  bestLoss
  config
  createdAt
  updatedAt
  runCount
  runCountExpected
}
"""

_AGENT_FIELDS = """
fragment AgentFields on Agent {
  id
  name
  host
  state
  totalRuns
  createdAt
  heartbeatAt
}
"""

GET_SWEEP: Final = Operation(
    name="GetSweep",
    kind=Kind.QUERY,
    text="""
query GetSweep($name: String!, $project: String!, $entity: String!) {
  project(name: $project, entityName: $entity) {
    sweep(sweepName: $name) { ...SweepFields }
  }
}
"""
    + _SWEEP_FIELDS,
)

#: For servers that know less of a sweep.
GET_SWEEP_LEGACY: Final = Operation(
    name="GetSweepLegacy",
    kind=Kind.QUERY,
    text="""
query GetSweepLegacy($name: String!, $project: String!, $entity: String!) {
  project(name: $project, entityName: $entity) {
    sweep(sweepName: $name) { id name state bestLoss config }
  }
}
""",
)

#: Without filters, which older servers do not take.
GET_SWEEPS: Final = Operation(
    name="GetSweeps",
    kind=Kind.QUERY,
    text="""
query GetSweeps($project: String!, $entity: String!, $cursor: String, $perPage: Int = 50) {
  project(name: $project, entityName: $entity) {
    totalSweeps
    sweeps(after: $cursor, first: $perPage) {
      pageInfo { endCursor hasNextPage }
      edges { node { ...SweepFields } }
    }
  }
}
"""
    + _SWEEP_FIELDS,
)

GET_FILTERED_SWEEPS: Final = Operation(
    name="GetSweeps",
    kind=Kind.QUERY,
    text="""
query GetSweeps(
  $project: String!, $entity: String!, $filters: JSONString!, $cursor: String, $perPage: Int = 50
) {
  project(name: $project, entityName: $entity) {
    sweeps(after: $cursor, first: $perPage, filters: $filters) {
      pageInfo { endCursor hasNextPage }
      edges { node { ...SweepFields } }
    }
  }
}
"""
    + _SWEEP_FIELDS,
)

GET_SWEEP_AGENT: Final = Operation(
    name="GetSweepAgent",
    kind=Kind.QUERY,
    text="""
query GetSweepAgent($agentID: String!, $sweep: String!, $entity: String!, $project: String!) {
  project(name: $project, entityName: $entity) {
    sweep(sweepName: $sweep) {
      agent(agentName: $agentID) { ...AgentFields }
    }
  }
}
"""
    + _AGENT_FIELDS,
)

GET_SWEEP_AGENTS: Final = Operation(
    name="GetSweepAgents",
    kind=Kind.QUERY,
    text="""
query GetSweepAgents($sweep: String!, $entity: String!, $project: String!) {
  project(name: $project, entityName: $entity) {
    sweep(sweepName: $sweep) {
      agents { edges { node { ...AgentFields } } }
    }
  }
}
"""
    + _AGENT_FIELDS,
)

GET_AGENT_RUNS: Final = Operation(
    name="GetAgentRuns",
    kind=Kind.QUERY,
    text="""
query GetAgentRuns(
  $agentID: String!, $sweep: String!, $entity: String!, $project: String!,
  $after: String, $first: Int, $order: String
) {
  project(name: $project, entityName: $entity) {
    sweep(sweepName: $sweep) {
      agent(agentName: $agentID) {
        runs(after: $after, first: $first, order: $order) {
          pageInfo { endCursor hasNextPage }
          edges {
            cursor
            node {
              id
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
          }
        }
      }
    }
  }
}
""",
)

ENQUEUE_SWEEP_RUN: Final = Operation(
    name="EnqueueSweepRun",
    kind=Kind.MUTATION,
    text="""
mutation EnqueueSweepRun($id: ID!, $config: JSONString!, $displayName: String) {
  enqueueSweepRun(input: {id: $id, config: $config, displayName: $displayName}) { id runQueueItemId }
}
""",
)

#: Without an id it makes a sweep each time it is sent; the protocol has no id of the caller's choice.
CREATE_SWEEP: Final = Operation(
    name="UpsertSweep",
    kind=Kind.MUTATION,
    text="""
mutation UpsertSweep($entity: String!, $project: String!, $config: String!, $displayName: String) {
  upsertSweep(
    input: {entityName: $entity, projectName: $project, config: $config, displayName: $displayName}
  ) {
    sweep { name }
    configValidationWarnings
  }
}
""",
)
