"""The operation on presets of custom charts."""

from __future__ import annotations

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

CREATE_CUSTOM_CHART = Operation(
    name="CreateCustomChart",
    kind=Kind.MUTATION,
    text="""
mutation CreateCustomChart(
  $entity: String!, $chartName: String!, $displayName: String!, $chartType: String!, $access: String!,
  $spec: JSONString!
) {
  createCustomChart(
    input: {
      entity: $entity, name: $chartName, displayName: $displayName, type: $chartType, access: $access,
      spec: $spec
    }
  ) {
    chart { id }
  }
}
""",
)
