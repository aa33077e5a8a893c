"""Operations that read a run's console log."""

from __future__ import annotations

from typing import Final

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

CONSOLE_LOG_PAGE: Final = Operation(
    name="RunConsoleLogPage",
    kind=Kind.QUERY,
    text="""
query RunConsoleLogPage(
  $entity: String!, $project: String!, $runName: String!, $first: Int, $after: String
) {
  project(name: $project, entityName: $entity) {
    run(name: $runName) {
      logLineCount
      logLines(first: $first, after: $after, useImprovedPagination: true) {
        edges { node { number timestamp level label line } }
        pageInfo { endCursor hasNextPage }
      }
    }
  }
}
""",
)

CONSOLE_LOG_TAIL: Final = Operation(
    name="RunConsoleLogTail",
    kind=Kind.QUERY,
    text="""
query RunConsoleLogTail($entity: String!, $project: String!, $runName: String!, $last: Int!) {
  project(name: $project, entityName: $entity) {
    run(name: $runName) {
      logLineCount
      logLines(last: $last) { edges { node { number timestamp level label line } } }
    }
  }
}
""",
)
