"""Operations on registries: projects of an organisation's entity, their collections and linked versions."""

from __future__ import annotations

from wandb_ops.protocol.documents.artifacts import COLLECTION_FIELDS, MEMBERSHIP_FIELDS
from wandb_ops.protocol.documents.teams import TEAM_FIELDS
from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

_REGISTRY = """
fragment RegistryFields on Project {
  id
  internalId
  name
  entity { name organization { name } }
  description
  createdAt
  updatedAt
  access
  allowAllArtifactTypes: allowAllArtifactTypesInRegistry
  artifactTypes(includeAll: true) { edges { node { name } } }
}
"""

GET_REGISTRY = Operation(
    name="FetchRegistry",
    kind=Kind.QUERY,
    text="""
query FetchRegistry($name: String, $entity: String) {
  entity(name: $entity) { project(name: $name) { ...RegistryFields } }
}
"""
    + _REGISTRY,
)

GET_REGISTRIES = Operation(
    name="FetchRegistries",
    kind=Kind.QUERY,
    text="""
query FetchRegistries(
  $organization: String!, $filters: JSONString, $cursor: String, $perPage: Int, $order: String
) {
  organization(name: $organization) {
    orgEntity {
      projects(filters: $filters, after: $cursor, first: $perPage, order: $order) {
        pageInfo { endCursor hasNextPage }
        edges { node { ...RegistryFields } }
      }
    }
  }
}
"""
    + _REGISTRY,
)

GET_COLLECTIONS = Operation(
    name="RegistryCollections",
    kind=Kind.QUERY,
    text="""
query RegistryCollections(
  $organization: String!, $registryFilter: JSONString, $collectionFilter: JSONString, $cursor: String,
  $perPage: Int, $order: String
) {
  organization(name: $organization) {
    orgEntity {
      artifactCollections(
        projectFilters: $registryFilter
        filters: $collectionFilter
        collectionTypes: [PORTFOLIO]
        after: $cursor
        first: $perPage
        order: $order
      ) {
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

GET_VERSIONS = Operation(
    name="RegistryVersions",
    kind=Kind.QUERY,
    text="""
query RegistryVersions(
  $organization: String!, $registryFilter: JSONString, $collectionFilter: JSONString,
  $artifactFilter: JSONString, $cursor: String, $perPage: Int, $order: String
) {
  organization(name: $organization) {
    orgEntity {
      artifactMemberships(
        projectFilters: $registryFilter
        collectionFilters: $collectionFilter
        filters: $artifactFilter
        after: $cursor
        first: $perPage
        order: $order
      ) {
        pageInfo { endCursor hasNextPage }
        edges { node { ...MembershipFields } }
      }
    }
  }
}
"""
    + MEMBERSHIP_FIELDS,
)

ADVANCED_SEARCH = Operation(
    name="FetchAdvancedRegistryFeatures",
    kind=Kind.QUERY,
    text="""
query FetchAdvancedRegistryFeatures($organization: String!) {
  organization(name: $organization) { advancedRegistryFeatures { advancedSearch } }
}
""",
)

UPSERT_REGISTRY = Operation(
    name="UpsertRegistry",
    kind=Kind.UPSERT,
    text="""
mutation UpsertRegistry($input: UpsertModelInput!) {
  upsertModel(input: $input) { inserted project { ...RegistryFields } }
}
"""
    + _REGISTRY,
)

RENAME_REGISTRY = Operation(
    name="RenameRegistry",
    kind=Kind.MUTATION,
    text="""
mutation RenameRegistry($input: RenameProjectInput!) {
  renameProject(input: $input) { project { ...RegistryFields } }
}
"""
    + _REGISTRY,
)

DELETE_REGISTRY = Operation(
    name="DeleteRegistry",
    kind=Kind.MUTATION,
    text="""
mutation DeleteRegistry($id: String!) {
  deleteModel(input: {id: $id}) { success }
}
""",
)

GET_USER_MEMBERS = Operation(
    name="RegistryUserMembers",
    kind=Kind.QUERY,
    text="""
query RegistryUserMembers($project: String!, $entity: String!) {
  project(name: $project, entityName: $entity) {
    members { id name username email role { name } }
  }
}
""",
)

GET_TEAM_MEMBERS = Operation(
    name="RegistryTeamMembers",
    kind=Kind.QUERY,
    text="""
query RegistryTeamMembers($project: String!, $entity: String!) {
  project(name: $project, entityName: $entity) {
    teamMembers { team { ...TeamFields } role { name } }
  }
}
"""
    + TEAM_FIELDS,
)

CREATE_MEMBERS = Operation(
    name="CreateRegistryMembers",
    kind=Kind.MUTATION,
    text="""
mutation CreateRegistryMembers($input: CreateProjectMembersInput!) {
  result: createProjectMembers(input: $input) { success }
}
""",
)

DELETE_MEMBERS = Operation(
    name="DeleteRegistryMembers",
    kind=Kind.MUTATION,
    text="""
mutation DeleteRegistryMembers($input: DeleteProjectMembersInput!) {
  result: deleteProjectMembers(input: $input) { success }
}
""",
)

UPDATE_USER_MEMBER = Operation(
    name="UpdateUserRegistryRole",
    kind=Kind.UPSERT,
    text="""
mutation UpdateUserRegistryRole($input: UpdateProjectMemberInput!) {
  result: updateProjectMember(input: $input) { success }
}
""",
)

UPDATE_TEAM_MEMBER = Operation(
    name="UpdateTeamRegistryRole",
    kind=Kind.UPSERT,
    text="""
mutation UpdateTeamRegistryRole($input: UpdateProjectTeamMemberInput!) {
  result: updateProjectTeamMember(input: $input) { success }
}
""",
)
