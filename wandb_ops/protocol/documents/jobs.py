"""Operations on jobs, which are artifacts of the type `job`."""

from __future__ import annotations

from typing import Final

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

JOBS: Final = Operation(
    name="ArtifactOfType",
    kind=Kind.QUERY,
    text="""
query ArtifactOfType(
  $entityName: String!, $projectName: String!, $artifactTypeName: String!, $after: String, $first: Int
) {
  project(name: $projectName, entityName: $entityName) {
    artifactType(name: $artifactTypeName) {
      artifactCollections(after: $after, first: $first) {
        pageInfo { endCursor hasNextPage }
        edges {
          node {
            name
            artifacts {
              pageInfo { endCursor hasNextPage }
              edges { node { id state aliases { alias } artifactSequence { name } } }
            }
          }
        }
      }
    }
  }
}
""",
)

#: The versions of a job that did not fit into the list of jobs.
JOB_VERSIONS: Final = Operation(
    name="JobVersions",
    kind=Kind.QUERY,
    text="""
query JobVersions(
  $entityName: String!, $projectName: String!, $artifactTypeName: String!, $name: String!,
  $after: String, $first: Int
) {
  project(name: $projectName, entityName: $entityName) {
    artifactType(name: $artifactTypeName) {
      artifactCollection(name: $name) {
        artifacts(after: $after, first: $first) {
          pageInfo { endCursor hasNextPage }
          edges { node { id state aliases { alias } artifactSequence { name } } }
        }
      }
    }
  }
}
""",
)
