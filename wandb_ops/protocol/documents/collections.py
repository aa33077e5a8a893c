"""Operations on the types and collections of artifacts."""

from __future__ import annotations

from wandb_ops.protocol.documents.artifacts import COLLECTION_FIELDS
from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

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
    + COLLECTION_FIELDS,
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
    + COLLECTION_FIELDS,
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
    + COLLECTION_FIELDS,
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
