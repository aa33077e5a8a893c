"""Operations on projects."""

from __future__ import annotations

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

_PROJECT_FIELDS = """
fragment ProjectFields on Project {
  id
  name
  entityName
  createdAt
  isBenchmark
  user { id name username email }
}
"""

GET_PROJECT = Operation(
    name="GetProject",
    kind=Kind.QUERY,
    text="""
query GetProject($name: String!, $entity: String!) {
  project(name: $name, entityName: $entity) { ...ProjectFields }
}
"""
    + _PROJECT_FIELDS,
)

GET_PROJECTS = Operation(
    name="GetProjects",
    kind=Kind.QUERY,
    text="""
query GetProjects($entity: String, $cursor: String, $perPage: Int = 50) {
  models(entityName: $entity, after: $cursor, first: $perPage) {
    edges { node { ...ProjectFields } }
    pageInfo { endCursor hasNextPage }
  }
}
"""
    + _PROJECT_FIELDS,
)

CREATE_PROJECT = Operation(
    name="CreateProject",
    kind=Kind.UPSERT,
    text="""
mutation CreateProject($input: UpsertModelInput!) {
  upsertModel(input: $input) {
    project { id name entityName }
    inserted
  }
}
""",
)
