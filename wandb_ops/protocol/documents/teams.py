"""Operations on teams, their members, and organisations."""

from __future__ import annotations

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

TEAM_FIELDS = """
fragment TeamFields on Entity {
  id
  name
  available
  photoUrl
  readOnly
  readOnlyAdmin
  isTeam
  entityType
  privateOnly
  storageBytes
  codeSavingEnabled
  defaultAccess
  isPaid
  members { id admin pending email username name photoUrl accountType apiKey }
}
"""

GET_TEAM = Operation(
    name="GetTeamEntity",
    kind=Kind.QUERY,
    text="""
query GetTeamEntity($name: String!) {
  entity(name: $name) { ...TeamFields }
}
"""
    + TEAM_FIELDS,
)

CREATE_TEAM = Operation(
    name="CreateTeam",
    kind=Kind.MUTATION,
    text="""
mutation CreateTeam($teamName: String!, $teamAdminUserName: String) {
  createTeam(input: {teamName: $teamName, teamAdminUserName: $teamAdminUserName}) {
    entity { id name }
  }
}
""",
)

CREATE_INVITE = Operation(
    name="CreateInvite",
    kind=Kind.MUTATION,
    text="""
mutation CreateInvite($entity: String!, $email: String, $username: String, $admin: Boolean) {
  createInvite(input: {entityName: $entity, email: $email, username: $username, admin: $admin}) {
    invite { id }
  }
}
""",
)

DELETE_INVITE = Operation(
    name="DeleteInvite",
    kind=Kind.MUTATION,
    text="""
mutation DeleteInvite($id: String, $entity: String) {
  deleteInvite(input: {id: $id, entityName: $entity}) { success }
}
""",
)

CREATE_SERVICE_ACCOUNT = Operation(
    name="CreateServiceAccount",
    kind=Kind.MUTATION,
    text="""
mutation CreateServiceAccount($entity: String!, $description: String!) {
  createServiceAccount(input: {description: $description, entityName: $entity}) {
    user { id username }
  }
}
""",
)

ORGANIZATIONS_OF_ENTITY = Operation(
    name="FetchOrgInfoFromEntity",
    kind=Kind.QUERY,
    text="""
query FetchOrgInfoFromEntity($entity: String!) {
  entity(name: $entity) {
    organization { name orgEntity { name } }
    user { organizations { name orgEntity { name } } }
  }
}
""",
)

GET_ORGANIZATION = Operation(
    name="FetchOrganization",
    kind=Kind.QUERY,
    text="""
query FetchOrganization($org: String!) {
  organization(name: $org) {
    id
    name
    orgEntity { id name entityType }
  }
}
""",
)
