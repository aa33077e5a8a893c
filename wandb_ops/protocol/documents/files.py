"""Operations on the files of a run."""

from __future__ import annotations

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

RUN_FILES = Operation(
    name="RunFiles",
    kind=Kind.QUERY,
    text="""
query RunFiles(
  $project: String!, $entity: String!, $name: String!, $fileCursor: String, $fileLimit: Int = 50,
  $fileNames: [String] = [], $upload: Boolean = false, $pattern: String
) {
  project(name: $project, entityName: $entity) {
    internalId
    run(name: $name) {
      fileCount
      files(names: $fileNames, after: $fileCursor, first: $fileLimit, pattern: $pattern) {
        edges {
          cursor
          node { id name url(upload: $upload) directUrl sizeBytes mimetype updatedAt md5 }
        }
        pageInfo { endCursor hasNextPage }
      }
    }
  }
}
""",
)

#: Deleting what is already gone leaves the same state, so it may be sent again.
DELETE_FILES = Operation(
    name="deleteFiles",
    kind=Kind.UPSERT,
    text="""
mutation deleteFiles($files: [ID!]!, $projectId: Int) {
  deleteFiles(input: {files: $files, projectId: $projectId}) { success }
}
""",
)
