"""Operations that store an artifact. Every one may be repeated: the client id is made from the content."""

from __future__ import annotations

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

CREATE_ARTIFACT = Operation(
    name="CreateArtifact",
    kind=Kind.UPSERT,
    text="""
mutation CreateArtifact($input: CreateArtifactInput!) {
  createArtifact(input: $input) { artifact { id state digest } }
}
""",
)

CREATE_MANIFEST = Operation(
    name="CreateArtifactManifest",
    kind=Kind.UPSERT,
    text="""
mutation CreateArtifactManifest(
  $artifactID: ID!, $baseArtifactID: ID, $name: String!, $digest: String!, $entityName: String!,
  $projectName: String!, $runName: String!, $manifestType: ArtifactManifestType!, $includeUpload: Boolean!
) {
  createArtifactManifest(
    input: {
      artifactID: $artifactID, baseArtifactID: $baseArtifactID, name: $name, digest: $digest,
      entityName: $entityName, projectName: $projectName, runName: $runName, type: $manifestType
    }
  ) {
    artifactManifest {
      id
      file { id uploadUrl @include(if: $includeUpload) uploadHeaders @include(if: $includeUpload) }
    }
  }
}
""",
)

CREATE_FILES = Operation(
    name="CreateArtifactFiles",
    kind=Kind.UPSERT,
    text="""
mutation CreateArtifactFiles($input: CreateArtifactFilesInput!) {
  createArtifactFiles(input: $input) {
    files {
      edges {
        node {
          storagePath
          uploadUrl
          uploadHeaders
          uploadMultipartUrls { uploadID uploadUrlParts { partNumber uploadUrl } }
          artifact { id }
        }
      }
    }
  }
}
""",
)

COMPLETE_MULTIPART = Operation(
    name="CompleteMultipartUploadArtifact",
    kind=Kind.UPSERT,
    text="""
mutation CompleteMultipartUploadArtifact(
  $completeMultipartAction: CompleteMultipartAction!, $completedParts: [UploadPartsInput!]!,
  $artifactID: ID!, $storagePath: String!, $uploadID: String!
) {
  completeMultipartUploadArtifact(
    input: {
      completeMultipartAction: $completeMultipartAction, completedParts: $completedParts,
      artifactID: $artifactID, storagePath: $storagePath, uploadID: $uploadID
    }
  ) { digest }
}
""",
)

COMMIT_ARTIFACT = Operation(
    name="CommitArtifact",
    kind=Kind.UPSERT,
    text="""
mutation CommitArtifact($artifactID: ID!) {
  commitArtifact(input: {artifactID: $artifactID}) { artifact { id digest } }
}
""",
)

USE_ARTIFACT = Operation(
    name="UseArtifact",
    kind=Kind.UPSERT,
    text="""
mutation UseArtifact($input: UseArtifactInput!) {
  useArtifact(input: $input) { artifact { id } }
}
""",
)
