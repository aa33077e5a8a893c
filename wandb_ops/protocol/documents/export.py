"""The operation that lists runs for an export: all that tells whether a run changed, and its values."""

from __future__ import annotations

from typing import Final

from wandb_ops.protocol.documents.runs import _FULL_FIELDS
from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

#: The list of runs with the number of system metrics rows besides: no run needs a request of its own.
EXPORT_RUNS: Final = Operation(
    name="ExportRuns",
    kind=Kind.QUERY,
    text="""
query ExportRuns(
  $project: String!, $entity: String!, $cursor: String, $perPage: Int = 50,
  $order: String, $filters: JSONString
) {
  project(name: $project, entityName: $entity) {
    runs(filters: $filters, after: $cursor, first: $perPage, order: $order) {
      edges { cursor node { ...FullRunFields eventsLineCount } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""
    + _FULL_FIELDS,
)
