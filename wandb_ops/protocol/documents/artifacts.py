"""Operations on artifacts: reading, changing, linking and deleting versions.

Making them is in `artifactstorage`, collections are in `collections`. The fragments of all three are here.
"""

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

#: Fragments that the operations on registries and collections end with.
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
