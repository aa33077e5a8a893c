"""The operations of an export: runs with all that tells a change, and what many of them have at once."""

from __future__ import annotations

from typing import Final

from wandb_ops.protocol.documents.artifacts import _ARTIFACT
from wandb_ops.protocol.documents.runs import _FULL_FIELDS
from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

#: The list of runs with the number of system metrics rows besides: no run needs a request of its own.
EXPORT_RUNS: Final = Operation(
    name="ExportRuns",
    kind=Kind.QUERY,
    text="""
query ExportRuns(
  $project: String!, $entity: String!, $cursor: String, $perPage: Int = 50,
  $order: String, $filters: JSONString
) {
  project(name: $project, entityName: $entity) {
    runCount(filters: $filters)
    runs(filters: $filters, after: $cursor, first: $perPage, order: $order) {
      edges { cursor node { ...FullRunFields eventsLineCount } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""
    + _FULL_FIELDS,
)

#: The same with the size and MD5 of each run's files, so that unchanged files cost no request either.
EXPORT_RUNS_AND_FILES: Final = Operation(
    name="ExportRuns",
    kind=Kind.QUERY,
    text="""
query ExportRuns(
  $project: String!, $entity: String!, $cursor: String, $perPage: Int = 50,
  $order: String, $filters: JSONString, $fileLimit: Int = 100
) {
  project(name: $project, entityName: $entity) {
    runCount(filters: $filters)
    runs(filters: $filters, after: $cursor, first: $perPage, order: $order) {
      edges {
        cursor
        node {
          ...FullRunFields
          eventsLineCount
          files(first: $fileLimit) {
            edges { node { id name sizeBytes md5 } }
            pageInfo { endCursor hasNextPage }
          }
        }
      }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""
    + _FULL_FIELDS,
)

#: One step window of several runs, each with at most $pageSize rows: more would be thinned out.
EXPORT_HISTORIES: Final = Operation(
    name="ExportHistories",
    kind=Kind.QUERY,
    text="""
query ExportHistories(
  $entity: String!, $project: String!, $filters: JSONString, $first: Int,
  $minStep: Int64!, $maxStep: Int64!, $pageSize: Int!
) {
  project(name: $project, entityName: $entity) {
    runs(filters: $filters, first: $first) {
      edges { node { name history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize) } }
    }
  }
}
""",
)

#: What several runs logged and used, the first of each.
EXPORT_ARTIFACTS: Final = Operation(
    name="ExportArtifacts",
    kind=Kind.QUERY,
    text="""
query ExportArtifacts(
  $entity: String!, $project: String!, $filters: JSONString, $first: Int, $each: Int
) {
  project(name: $project, entityName: $entity) {
    runs(filters: $filters, first: $first) {
      edges {
        node {
          name
          outputArtifacts(first: $each) {
            pageInfo { endCursor hasNextPage }
            edges { node { ...ArtifactFields ...ExportedLinks } }
          }
          inputArtifacts(first: $each) {
            pageInfo { endCursor hasNextPage }
            edges { node { ...ArtifactFields ...ExportedLinks } }
          }
        }
      }
    }
  }
}

fragment ExportedLinks on Artifact {
  artifactMemberships {
    edges { node { versionIndex artifactCollection { ...CollectionInfo } } }
  }
}
"""
    + _ARTIFACT,
)
