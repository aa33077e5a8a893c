"""The operations that read a run's history."""

from __future__ import annotations

from typing import Final

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

RUN_COUNTS: Final = Operation(
    name="RunHistoryCounts",
    kind=Kind.QUERY,
    text="""
query RunHistoryCounts($entity: String!, $project: String!, $run: String!) {
  project(name: $project, entityName: $entity) {
    run(name: $run) {
      id
      state
      heartbeatAt
      historyLineCount
      historyKeys
    }
  }
}
""",
)

COUNTS_AND_EXPORTS: Final = Operation(
    name="RunHistorySources",
    kind=Kind.QUERY,
    text="""
query RunHistorySources($entity: String!, $project: String!, $run: String!, $liveKeys: [String!]!) {
  project(name: $project, entityName: $entity) {
    run(name: $run) {
      id
      state
      heartbeatAt
      historyLineCount
      historyKeys
      parquetHistory(liveKeys: $liveKeys) {
        parquetUrls
        liveData
      }
    }
  }
}
""",
)

EVENTS_COUNT: Final = Operation(
    name="RunEventsCount",
    kind=Kind.QUERY,
    text="""
query RunEventsCount($entity: String!, $project: String!, $run: String!) {
  project(name: $project, entityName: $entity) {
    run(name: $run) {
      id
      eventsLineCount
    }
  }
}
""",
)

HISTORY_PAGE: Final = Operation(
    name="HistoryPage",
    kind=Kind.QUERY,
    long_integers=False,  # rows are texts
    text="""
query HistoryPage(
  $entity: String!, $project: String!, $run: String!,
  $minStep: Int64!, $maxStep: Int64!, $pageSize: Int!
) {
  project(name: $project, entityName: $entity) {
    run(name: $run) {
      history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize)
    }
  }
}
""",
)

FULL_HISTORY: Final = Operation(
    name="RunFullHistory",
    kind=Kind.QUERY,
    long_integers=False,  # rows are texts
    text="""
query RunFullHistory($entity: String!, $project: String!, $run: String!, $samples: Int) {
  project(name: $project, entityName: $entity) {
    run(name: $run) {
      history(samples: $samples)
    }
  }
}
""",
)

FULL_EVENTS: Final = Operation(
    name="RunFullHistory",
    kind=Kind.QUERY,
    long_integers=False,  # rows are texts
    max_bytes=512 << 20,  # W&B has no way to ask for a part of them
    text="""
query RunFullHistory($entity: String!, $project: String!, $run: String!, $samples: Int) {
  project(name: $project, entityName: $entity) {
    run(name: $run) {
      events(samples: $samples)
    }
  }
}
""",
)

SAMPLED_HISTORY: Final = Operation(
    name="RunSampledHistory",
    kind=Kind.QUERY,
    text="""
query RunSampledHistory($entity: String!, $project: String!, $run: String!, $specs: [JSONString!]!) {
  project(name: $project, entityName: $entity) {
    run(name: $run) {
      sampledHistory(specs: $specs)
    }
  }
}
""",
)

PARQUET_HISTORY: Final = Operation(
    name="RunParquetHistory",
    kind=Kind.QUERY,
    text="""
query RunParquetHistory($entity: String!, $project: String!, $run: String!, $liveKeys: [String!]!) {
  project(name: $project, entityName: $entity) {
    run(name: $run) {
      parquetHistory(liveKeys: $liveKeys) {
        parquetUrls
        liveData
      }
    }
  }
}
""",
)

MANY_HISTORIES: Final = Operation(
    name="RunsHistories",
    kind=Kind.QUERY,
    text="""
query RunsHistories(
  $entity: String!, $project: String!, $filters: JSONString, $first: Int, $samples: Int
) {
  project(name: $project, entityName: $entity) {
    runs(filters: $filters, first: $first) {
      edges { node { name history(samples: $samples) } }
    }
  }
}
""",
)

MANY_EVENTS: Final = Operation(
    name="RunsHistories",
    kind=Kind.QUERY,
    text="""
query RunsHistories(
  $entity: String!, $project: String!, $filters: JSONString, $first: Int, $samples: Int
) {
  project(name: $project, entityName: $entity) {
    runs(filters: $filters, first: $first) {
      edges { node { name events(samples: $samples) } }
    }
  }
}
""",
)

MANY_SAMPLED_HISTORIES: Final = Operation(
    name="RunsHistories",
    kind=Kind.QUERY,
    text="""
query RunsHistories(
  $entity: String!, $project: String!, $filters: JSONString, $first: Int, $specs: [JSONString!]!
) {
  project(name: $project, entityName: $entity) {
    runs(filters: $filters, first: $first) {
      edges { node { name sampledHistory(specs: $specs) } }
    }
  }
}
""",
)
