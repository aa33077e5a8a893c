"""Operations that write runs and their files."""

from __future__ import annotations

from wandb_ops.protocol.graphql import Operation
from wandb_ops.transport.retry import Kind

# By the run's client-made name (or its storage id): sent twice, it leaves the same run.
UPSERT_BUCKET = Operation(
    name="UpsertBucket",
    kind=Kind.UPSERT,
    text="""
mutation UpsertBucket(
  $id: String, $name: String, $project: String, $entity: String, $groupName: String, $description: String,
  $displayName: String, $notes: String, $commit: String, $config: JSONString, $host: String, $debug: Boolean,
  $program: String, $repo: String, $jobType: String, $state: String, $sweep: String, $tags: [String!],
  $summaryMetrics: JSONString
) {
  upsertBucket(input: {
    id: $id, name: $name, modelName: $project, entityName: $entity, groupName: $groupName,
    description: $description, displayName: $displayName, notes: $notes, commit: $commit, config: $config,
    host: $host, debug: $debug, jobProgram: $program, jobRepo: $repo, jobType: $jobType, state: $state,
    sweep: $sweep, tags: $tags, summaryMetrics: $summaryMetrics
  }) {
    bucket {
      id
      name
      displayName
      description
      config
      sweepName
      project { id name entity { id name } }
      historyLineCount
    }
    inserted
  }
}
""",
)

RUN_RESUME_STATUS = Operation(
    name="RunResumeStatus",
    kind=Kind.QUERY,
    text="""
query RunResumeStatus($project: String, $entity: String, $name: String!) {
  model(name: $project, entityName: $entity) {
    id
    name
    entity { id name }
    bucket(name: $name, missingOk: true) {
      id
      name
      state
      displayName
      summaryMetrics
      logLineCount
      historyLineCount
      eventsLineCount
      historyTail
      eventsTail
      config
      tags
      notes
    }
  }
}
""",
)

# Asking twice for the same names gives two sets of upload URLs for the same files.
CREATE_RUN_FILES = Operation(
    name="CreateRunFiles",
    kind=Kind.UPSERT,
    text="""
mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
  createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) {
    runID
    uploadHeaders
    files { name uploadUrl }
  }
}
""",
)

MARK_RUN_FILES_UPLOADED = Operation(
    name="MarkRunFilesUploaded",
    kind=Kind.UPSERT,
    text="""
mutation MarkRunFilesUploaded($entity: String!, $project: String!, $run: String!, $files: [String!]!) {
  markRunFilesUploaded(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) {
    success
  }
}
""",
)

STOP_RUN = Operation(
    name="StopRun",
    kind=Kind.UPSERT,
    text="""
mutation StopRun($id: ID!) {
  stopRun(input: {id: $id}) { success }
}
""",
)

SERVER_FEATURES = Operation(
    name="ServerFeaturesQuery",
    kind=Kind.QUERY,
    text="""
query ServerFeaturesQuery {
  serverInfo { features { name isEnabled } }
}
""",
)

__all__ = [
    "CREATE_RUN_FILES",
    "MARK_RUN_FILES_UPLOADED",
    "RUN_RESUME_STATUS",
    "SERVER_FEATURES",
    "STOP_RUN",
    "UPSERT_BUCKET",
]
