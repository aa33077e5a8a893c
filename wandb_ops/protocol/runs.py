"""Making a run, and asking where its streams end: what every writer does first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DataError, ProtocolError
from wandb_ops.protocol import values
from wandb_ops.protocol.documents.write import RUN_RESUME_STATUS, UPSERT_BUCKET
from wandb_ops.protocol.graphql import execute

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_ops.transport.session import Transport


@dataclass(frozen=True, slots=True)
class UpsertedRun:
    """A run as the server knows it after an upsert.

    Attributes:
        storage_id: The server's own id.
        entity: Its entity, as the server resolved it.
        project: Its project.
        run_id: The client-made id.
        display_name: The name that people see.
        inserted: Whether this upsert made it; False tells that it was there before.
        history_lines: Lines of history the server has.
        config: The config the server has now.
    """

    storage_id: str
    entity: str
    project: str
    run_id: str
    display_name: str
    inserted: bool
    history_lines: int
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResumeStatus:
    """Where a run's streams end.

    Attributes:
        storage_id: The server's own id.
        run_id: The client-made id.
        display_name: The name that people see.
        state: "running", "finished", "failed", ...
        history_lines: Lines of history; the offset of the next one.
        events_lines: Lines of system metrics.
        log_lines: Lines of console output.
        last_history_row: The last row, or None when there is none or it cannot be read.
        summary: The summary.
        config: The whole config, keys of W&B's own (`_wandb`) included, so that it can be sent back.
        tags: The tags.
        notes: The notes, or None.
    """

    storage_id: str
    run_id: str
    display_name: str
    state: str
    history_lines: int
    events_lines: int
    log_lines: int
    last_history_row: dict[str, Any] | None
    summary: dict[str, Any]
    config: dict[str, Any]
    tags: tuple[str, ...]
    notes: str | None

    @property
    def offsets(self) -> dict[str, int]:
        """What `FileStream` takes to go on where the run stands."""
        return {
            "wandb-history.jsonl": self.history_lines,
            "wandb-events.jsonl": self.events_lines,
            "output.log": self.log_lines,
        }


def upsert_run(
    transport: Transport,
    *,
    entity: str,
    project: str,
    run_id: str,
    config: Mapping[str, Any] | None = None,
    display_name: str | None = None,
    group: str | None = None,
    job_type: str | None = None,
    tags: Sequence[str] | None = None,
    notes: str | None = None,
    state: str | None = None,
    summary: Mapping[str, Any] | None = None,
    sweep: str | None = None,
    host: str | None = None,
    program: str | None = None,
    commit: str | None = None,
) -> UpsertedRun:
    """Make the run, or change it when it is there. What is None is left as it is.

    Keyed by `run_id`: sent twice, it leaves one run, so it is retried freely.

    Raises:
        NotFoundError: There is no such entity, or the account may not write to it.
        TypeError: A config or summary value that W&B cannot hold.
        CommError: As `graphql.execute`.
    """
    where = f"{entity}/{project}/{run_id}"
    variables: dict[str, Any] = {
        "name": run_id,
        "project": project,
        "entity": entity,
        "groupName": group,
        "displayName": display_name,
        "notes": notes,
        "commit": commit,
        "config": None if config is None else values.wrap_config(config),
        "host": host,
        "program": program,
        "jobType": job_type,
        "state": state,
        "sweep": sweep,
        "tags": None if tags is None else list(tags),
        "summaryMetrics": None if summary is None else values.dumps(summary),
    }
    given = {name: value for name, value in variables.items() if value is not None}
    payload = execute(transport, UPSERT_BUCKET, given, where=where).get("upsertBucket") or {}
    bucket = payload.get("bucket")
    if not isinstance(bucket, dict) or not bucket.get("id"):
        raise ProtocolError("UpsertBucket: the answer has no run in it", where=where)
    found_project = bucket.get("project") or {}
    return UpsertedRun(
        storage_id=bucket["id"],
        entity=(found_project.get("entity") or {}).get("name") or entity,
        project=found_project.get("name") or project,
        run_id=bucket.get("name") or run_id,
        display_name=bucket.get("displayName") or "",
        inserted=bool(payload.get("inserted")),
        history_lines=bucket.get("historyLineCount") or 0,
        config=values.unwrap_config(bucket.get("config")),
    )


def resume_status(transport: Transport, *, entity: str, project: str, run_id: str) -> ResumeStatus | None:
    """Where the run's streams end; None when there is no such run or project.

    Raises:
        DataError: The server's config or summary is no JSON.
        CommError: As `graphql.execute`.
    """
    where = f"{entity}/{project}/{run_id}"
    variables = {"entity": entity, "project": project, "name": run_id}
    model = execute(transport, RUN_RESUME_STATUS, variables, where=where).get("model")
    bucket = model.get("bucket") if isinstance(model, dict) else None
    if not isinstance(bucket, dict):
        return None
    return ResumeStatus(
        storage_id=bucket["id"],
        run_id=bucket.get("name") or run_id,
        display_name=bucket.get("displayName") or "",
        state=bucket.get("state") or "unknown",
        history_lines=bucket.get("historyLineCount") or 0,
        events_lines=bucket.get("eventsLineCount") or 0,
        log_lines=bucket.get("logLineCount") or 0,
        last_history_row=_last_row(bucket.get("historyTail")),
        summary=values.loads_object(bucket.get("summaryMetrics")),
        config=values.unwrap_config(bucket.get("config"), whole=True),
        tags=tuple(bucket.get("tags") or ()),
        notes=bucket.get("notes"),
    )


def _last_row(tail: str | None) -> dict[str, Any] | None:
    """`tail` is JSON of a list of lines, each of them JSON again."""
    if not tail:
        return None
    try:
        lines = values.loads(tail)
        row = values.loads(lines[-1]) if lines and isinstance(lines[-1], str) else (lines or [None])[-1]
    except (DataError, TypeError, KeyError):
        return None
    return row if isinstance(row, dict) else None


__all__ = ["ResumeStatus", "UpsertedRun", "resume_status", "upsert_run"]
