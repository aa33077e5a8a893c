"""Operations on users.

A user's `apiKeys` are not asked for: the servers show them to W&B's own clients only.
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

GET_DEFAULT_ENTITY = Operation(
    name="GetDefaultEntity",
    kind=Kind.QUERY,
    text="""
query GetDefaultEntity {
  viewer { id entity }
}
""",
)
