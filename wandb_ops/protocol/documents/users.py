"""Operations on users.

A user's `apiKeys` are asked for on their own: W&B's servers show them to its own clients only, and what else
an account has to tell is not to fail with them.
"""

from __future__ import annotations

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

GET_VIEWER = Operation(
    name="GetViewer",
    kind=Kind.QUERY,
    text="""
query GetViewer {
  viewer {
    id
    name
    username
    email
    admin
    flags
    entity
    deletedAt
    teams { edges { node { name } } }
  }
}
""",
)

GET_API_KEYS = Operation(
    name="GetApiKeys",
    kind=Kind.QUERY,
    text="""
query GetApiKeys {
  viewer {
    id
    apiKeys { edges { node { id name description } } }
  }
}
""",
)

SEARCH_API_KEYS = Operation(
    name="SearchApiKeys",
    kind=Kind.QUERY,
    text="""
query SearchApiKeys($query: String) {
  users(query: $query) {
    edges { node { id apiKeys { edges { node { id name description } } } } }
  }
}
""",
)

SEARCH_USERS = Operation(
    name="SearchUsers",
    kind=Kind.QUERY,
    text="""
query SearchUsers($query: String) {
  users(query: $query) {
    edges {
      node {
        id
        name
        username
        email
        admin
        flags
        entity
        deletedAt
        teams { edges { node { name } } }
      }
    }
  }
}
""",
)

CREATE_USER = Operation(
    name="CreateUserFromAdmin",
    kind=Kind.MUTATION,
    text="""
mutation CreateUserFromAdmin($email: String!, $admin: Boolean) {
  createUser(input: {email: $email, admin: $admin}) {
    user { id name username email admin }
  }
}
""",
)

GENERATE_API_KEY = Operation(
    name="GenerateApiKey",
    kind=Kind.MUTATION,
    text="""
mutation GenerateApiKey($description: String) {
  generateApiKey(input: {description: $description}) {
    apiKey { id name description }
  }
}
""",
)

DELETE_API_KEY = Operation(
    name="DeleteApiKey",
    kind=Kind.MUTATION,
    text="""
mutation DeleteApiKey($id: String!) {
  deleteApiKey(input: {id: $id}) { success }
}
""",
)

GET_DEFAULT_ENTITY = Operation(
    name="GetDefaultEntity",
    kind=Kind.QUERY,
    text="""
query GetDefaultEntity {
  viewer { id entity }
}
""",
)
