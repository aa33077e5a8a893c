"""Operations on reports, which the protocol calls views."""

from __future__ import annotations

from typing import Final

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

_REPORT_FIELDS = """
fragment ReportFields on View {
  id
  name
  displayName
  description
  user { username photoUrl email }
  spec
  updatedAt
  createdAt
}
"""

PROJECT_VIEWS: Final = Operation(
    name="ProjectViews",
    kind=Kind.QUERY,
    text="""
query ProjectViews(
  $project: String!, $entity: String!, $reportCursor: String, $reportLimit: Int!,
  $viewType: String = "runs", $viewName: String
) {
  project(name: $project, entityName: $entity) {
    allViews(viewType: $viewType, viewName: $viewName, first: $reportLimit, after: $reportCursor) {
      edges { cursor node { ...ReportFields } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""
    + _REPORT_FIELDS,
)

VIEW: Final = Operation(
    name="View",
    kind=Kind.QUERY,
    text="""
query View($id: ID!) {
  view(id: $id) { ...ReportFields }
}
"""
    + _REPORT_FIELDS,
)
