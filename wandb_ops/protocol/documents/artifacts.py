"""Operations on artifacts: reading, making, changing, linking and deleting them, and their collections."""

from __future__ import annotations

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

_PROJECT = """
fragment ProjectInfo on Project { id internalId name entity { name } }
"""
_COLLECTION_INFO = """
fragment CollectionInfo on ArtifactCollection { __typename name project { ...ProjectInfo } }
"""
_ARTIFACT_ALONE = """
fragment ArtifactFields on Artifact {
  id
  artifactSequence { name project { ...ProjectInfo } }
  versionIndex
  artifactType { name }
  description
  metadata
  ttlDurationSeconds
  ttlIsInherited
  tags { id name }
  historyStep
  state
  size
  digest
  commitHash
  fileCount
  createdAt
  updatedAt
  aliases { id alias artifactCollection { ...CollectionInfo } }
}
"""
_ARTIFACT = _ARTIFACT_ALONE + _COLLECTION_INFO + _PROJECT
_MEMBERSHIP = (
    """
fragment MembershipFields on ArtifactCollectionMembership {
  id
  versionIndex
  createdAt
  aliases { id alias }
  artifactCollection { ...CollectionInfo }
  artifact { ...ArtifactFields }
}
"""
    + _ARTIFACT
)
_COLLECTION = (
    """
fragment CollectionFields on ArtifactCollection {
  __typename
  id
  name
  description
  createdAt
  updatedAt
  project { ...ProjectInfo }
  type: defaultArtifactType { name }
  tags { edges { node { id name } } }
}
"""
    + _PROJECT
)

#: Fragments that the registries' operations end with.
MEMBERSHIP_FIELDS, COLLECTION_FIELDS = _MEMBERSHIP, _COLLECTION

# -- versions ----------------------------------------------------------------------------------------------

MEMBERSHIP_BY_NAME = Operation(
    name="ArtifactMembershipByName",
    kind=Kind.QUERY,
    text="""
query ArtifactMembershipByName($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifactCollectionMembership(name: $name) { ...MembershipFields }
  }
}
"""
    + _MEMBERSHIP,
)

ARTIFACT_BY_ID = Operation(
    name="ArtifactByID",
    kind=Kind.QUERY,
    text="""
query ArtifactByID($id: ID!) {
  artifact(id: $id) { ...ArtifactFields }
}
"""
    + _ARTIFACT,
)

ARTIFACT_STATE = Operation(
    name="ArtifactState",
    kind=Kind.QUERY,
    text="""
query ArtifactState($id: ID!) {
  artifact(id: $id) { id state digest }
}
""",
)

ARTIFACT_MANIFEST = Operation(
    name="FetchArtifactManifest",
    kind=Kind.QUERY,
    text="""
query FetchArtifactManifest($id: ID!) {
  artifact(id: $id) { currentManifest { file { directUrl } } }
}
""",
)

FILE_URLS = Operation(
    name="ArtifactFileURLsByManifestEntries",
    kind=Kind.QUERY,
    text="""
query ArtifactFileURLsByManifestEntries(
  $id: ID!, $entries: [ArtifactManifestEntryInput!], $storageLayout: String!, $manifestVersion: String!
) {
  artifact(id: $id) {
    filesByManifestEntries(
      storageLayout: $storageLayout, manifestVersion: $manifestVersion, entries: $entries
    ) {
      pageInfo { hasNextPage endCursor }
      edges { node { name directUrl } }
    }
  }
}
""",
)

MEMBERSHIP_FILES = Operation(
    name="ArtifactMembershipFiles",
    kind=Kind.QUERY,
    text="""
query ArtifactMembershipFiles(
  $entity: String!, $project: String!, $collection: String!, $alias: String!, $fileNames: [String!],
  $cursor: String, $perPage: Int = 50
) {
  project(name: $project, entityName: $entity) {
    artifactCollection(name: $collection) {
      __typename
      artifactMembership(aliasName: $alias) {
        files(names: $fileNames, after: $cursor, first: $perPage) {
          pageInfo { endCursor hasNextPage }
          edges {
            node {
              id name: displayName url directUrl sizeBytes storagePath mimetype updatedAt digest md5
            }
          }
        }
      }
    }
  }
}
""",
)

PROJECT_ARTIFACTS = Operation(
    name="ProjectArtifacts",
    kind=Kind.QUERY,
    text="""
query ProjectArtifacts(
  $entity: String!, $project: String!, $type: String!, $collection: String!, $cursor: String,
  $perPage: Int = 50, $order: String, $filters: JSONString
) {
  project(name: $project, entityName: $entity) {
    artifactType(name: $type) {
      artifactCollection(name: $collection) {
        __typename
        artifacts(after: $cursor, first: $perPage, order: $order, filters: $filters) {
          totalCount
          pageInfo { endCursor hasNextPage }
          edges { version node { ...ArtifactFields } }
        }
      }
    }
  }
}
"""
    + _ARTIFACT,
)

RUN_OUTPUT_ARTIFACTS = Operation(
    name="RunOutputArtifacts",
    kind=Kind.QUERY,
    text="""
query RunOutputArtifacts(
  $entity: String!, $project: String!, $run: String!, $cursor: String, $perPage: Int
) {
  project(name: $project, entityName: $entity) {
    run(name: $run) {
      artifacts: outputArtifacts(after: $cursor, first: $perPage) {
        totalCount
        pageInfo { endCursor hasNextPage }
        edges { node { ...ArtifactFields } }
      }
    }
  }
}
"""
    + _ARTIFACT,
)

RUN_INPUT_ARTIFACTS = Operation(
    name="RunInputArtifacts",
    kind=Kind.QUERY,
    text="""
query RunInputArtifacts(
  $entity: String!, $project: String!, $run: String!, $cursor: String, $perPage: Int
) {
  project(name: $project, entityName: $entity) {
    run(name: $run) {
      artifacts: inputArtifacts(after: $cursor, first: $perPage) {
        totalCount
        pageInfo { endCursor hasNextPage }
        edges { node { ...ArtifactFields } }
      }
    }
  }
}
"""
    + _ARTIFACT,
)

LINKED_ARTIFACTS = Operation(
    name="FetchLinkedArtifacts",
    kind=Kind.QUERY,
    text="""
query FetchLinkedArtifacts($id: ID!) {
  artifact(id: $id) {
    artifactMemberships {
      edges {
        node { id versionIndex createdAt aliases { id alias } artifactCollection { ...CollectionInfo } }
      }
    }
  }
}
"""
    + _COLLECTION_INFO
    + _PROJECT,
)

USED_BY = Operation(
    name="ArtifactUsedBy",
    kind=Kind.QUERY,
    text="""
query ArtifactUsedBy($id: ID!) {
  artifact(id: $id) { usedBy { edges { node { id name project { ...ProjectInfo } } } } }
}
"""
    + _PROJECT,
)

CREATED_BY = Operation(
    name="ArtifactCreatedBy",
    kind=Kind.QUERY,
    text="""
query ArtifactCreatedBy($id: ID!) {
  artifact(id: $id) { createdBy { __typename ... on Run { id name project { ...ProjectInfo } } } }
}
"""
    + _PROJECT,
)

# -- making a version: every step may be repeated, because the client id is made from the content -----------

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

# -- changing a version ------------------------------------------------------------------------------------

UPDATE_ARTIFACT = Operation(
    name="UpdateArtifact",
    kind=Kind.UPSERT,
    text="""
mutation UpdateArtifact($input: UpdateArtifactInput!) {
  updateArtifact(input: $input) { artifact { ...ArtifactFields } }
}
"""
    + _ARTIFACT,
)

ADD_ALIASES = Operation(
    name="AddAliases",
    kind=Kind.UPSERT,
    text="""
mutation AddAliases($input: AddAliasesInput!) {
  addAliases(input: $input) { success }
}
""",
)

DELETE_ALIASES = Operation(
    name="DeleteAliases",
    kind=Kind.UPSERT,
    text="""
mutation DeleteAliases($input: DeleteAliasesInput!) {
  deleteAliases(input: $input) { success }
}
""",
)

LINK_ARTIFACT = Operation(
    name="LinkArtifact",
    kind=Kind.UPSERT,
    text="""
mutation LinkArtifact($input: LinkArtifactInput!) {
  linkArtifact(input: $input) { versionIndex }
}
""",
)

UNLINK_ARTIFACT = Operation(
    name="UnlinkArtifact",
    kind=Kind.UPSERT,
    text="""
mutation UnlinkArtifact($input: UnlinkArtifactInput!) {
  unlinkArtifact(input: $input) { success }
}
""",
)

DELETE_ARTIFACT = Operation(
    name="DeleteArtifact",
    kind=Kind.MUTATION,
    text="""
mutation DeleteArtifact($input: DeleteArtifactInput!) {
  deleteArtifact(input: $input) { artifact { id } }
}
""",
)

# -- types and collections ---------------------------------------------------------------------------------

PROJECT_TYPES = Operation(
    name="ProjectArtifactTypes",
    kind=Kind.QUERY,
    text="""
query ProjectArtifactTypes($entity: String!, $project: String!, $cursor: String, $perPage: Int) {
  project(name: $project, entityName: $entity) {
    artifactTypes(after: $cursor, first: $perPage) {
      edges { node { id name description createdAt } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
""",
)

PROJECT_TYPE = Operation(
    name="ProjectArtifactType",
    kind=Kind.QUERY,
    text="""
query ProjectArtifactType($entity: String!, $project: String!, $type: String!) {
  project(name: $project, entityName: $entity) {
    artifactType(name: $type) { id name description createdAt }
  }
}
""",
)

TYPE_COLLECTIONS = Operation(
    name="ArtifactTypeArtifactCollections",
    kind=Kind.QUERY,
    text="""
query ArtifactTypeArtifactCollections(
  $entity: String!, $project: String!, $type: String!, $cursor: String, $perPage: Int,
  $filters: JSONString, $order: String
) {
  project(name: $project, entityName: $entity) {
    artifactType(name: $type) {
      artifactCollections(after: $cursor, first: $perPage, filters: $filters, order: $order) {
        totalCount
        pageInfo { endCursor hasNextPage }
        edges { node { ...CollectionFields } }
      }
    }
  }
}
"""
    + _COLLECTION,
)

PROJECT_COLLECTIONS = Operation(
    name="ProjectArtifactCollections",
    kind=Kind.QUERY,
    text="""
query ProjectArtifactCollections(
  $entity: String!, $project: String!, $cursor: String, $perPage: Int, $filters: JSONString,
  $order: String
) {
  project(name: $project, entityName: $entity) {
    artifactCollections(after: $cursor, first: $perPage, filters: $filters, order: $order) {
      totalCount
      pageInfo { endCursor hasNextPage }
      edges { node { ...CollectionFields } }
    }
  }
}
"""
    + _COLLECTION,
)

PROJECT_COLLECTION = Operation(
    name="ProjectArtifactCollection",
    kind=Kind.QUERY,
    text="""
query ProjectArtifactCollection($entity: String!, $project: String!, $type: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifactType(name: $type) { artifactCollection(name: $name) { ...CollectionFields } }
  }
}
"""
    + _COLLECTION,
)

COLLECTION_ALIASES = Operation(
    name="ArtifactCollectionAliases",
    kind=Kind.QUERY,
    text="""
query ArtifactCollectionAliases($id: ID!, $cursor: String, $perPage: Int = 1000) {
  artifactCollection(id: $id) {
    __typename
    aliases(after: $cursor, first: $perPage) {
      pageInfo { endCursor hasNextPage }
      edges { node { id alias } }
    }
  }
}
""",
)

UPDATE_SEQUENCE = Operation(
    name="UpdateArtifactSequence",
    kind=Kind.UPSERT,
    text="""
mutation UpdateArtifactSequence($input: UpdateArtifactSequenceInput!) {
  updateArtifactSequence(input: $input) { artifactCollection { __typename id } }
}
""",
)

UPDATE_PORTFOLIO = Operation(
    name="UpdateArtifactPortfolio",
    kind=Kind.UPSERT,
    text="""
mutation UpdateArtifactPortfolio($input: UpdateArtifactPortfolioInput!) {
  updateArtifactPortfolio(input: $input) { artifactCollection { __typename id } }
}
""",
)

MOVE_SEQUENCE = Operation(
    name="UpdateArtifactSequenceType",
    kind=Kind.UPSERT,
    text="""
mutation UpdateArtifactSequenceType($input: MoveArtifactSequenceInput!) {
  moveArtifactSequence(input: $input) { artifactCollection { __typename id } }
}
""",
)

ADD_COLLECTION_TAGS = Operation(
    name="AddArtifactCollectionTags",
    kind=Kind.UPSERT,
    text="""
mutation AddArtifactCollectionTags($input: CreateArtifactCollectionTagAssignmentsInput!) {
  createArtifactCollectionTagAssignments(input: $input) { tags { id name } }
}
""",
)

DELETE_COLLECTION_TAGS = Operation(
    name="DeleteArtifactCollectionTags",
    kind=Kind.UPSERT,
    text="""
mutation DeleteArtifactCollectionTags($input: DeleteArtifactCollectionTagAssignmentsInput!) {
  deleteArtifactCollectionTagAssignments(input: $input) { success }
}
""",
)

DELETE_SEQUENCE = Operation(
    name="DeleteArtifactSequence",
    kind=Kind.MUTATION,
    text="""
mutation DeleteArtifactSequence($id: ID!) {
  deleteArtifactSequence(input: {artifactSequenceID: $id}) { artifactCollection { __typename state } }
}
""",
)

DELETE_PORTFOLIO = Operation(
    name="DeleteArtifactPortfolio",
    kind=Kind.MUTATION,
    text="""
mutation DeleteArtifactPortfolio($id: ID!) {
  deleteArtifactPortfolio(input: {artifactPortfolioID: $id}) { artifactCollection { __typename state } }
}
""",
)
