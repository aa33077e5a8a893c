"""What the server stored of a run, read past every client: the judge in tests of pipelines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.history import lines
from wandb_ops.local.jsontext import loads
from wandb_ops.local.runs import alerts, runs
from wandb_ops.local.service import FILES

if TYPE_CHECKING:
    from wandb_ops.local.runs.alerts import Alert
    from wandb_ops.local.service import Service


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it lies in the database at one moment.

    Attributes:
        config: Values by key, without W&B's ``{"value": …}`` wrapping and without ``_wandb``.
        raw_config: The config as it was sent.
        history_lines: The lines of ``wandb-history.jsonl``, byte for byte.
        events_lines: The lines of ``wandb-events.jsonl`` (system metrics).
        log_lines: The console log.
        files: Contents by file name.
        alerts: What ``run.alert`` sent, oldest first.
    """

    entity: str
    project: str
    name: str
    display_name: str
    state: str
    exitcode: int | None
    group: str | None
    job_type: str | None
    notes: str | None
    tags: list[str]
    config: dict[str, Any]
    raw_config: dict[str, Any]
    summary: dict[str, Any]
    history_lines: list[str]
    events_lines: list[str]
    log_lines: list[str]
    files: dict[str, bytes]
    alerts: list[Alert]

    def history_rows(self) -> list[dict[str, Any]]:
        """The history, parsed; NaN and infinities as floats."""
        return [loads(line) for line in self.history_lines]

    @property
    def history(self) -> list[dict[str, Any]]:
        """The same as :meth:`history_rows`."""
        return self.history_rows()

    @property
    def path(self) -> str:
        """``entity/project/run``."""
        return f"{self.entity}/{self.project}/{self.name}"


def list_runs(service: Service, project: str, entity: str) -> list[str]:
    """Names of a project's runs, oldest first."""
    query = (
        "SELECT r.name FROM runs r JOIN projects p ON p.id=r.project"
        " WHERE p.entity=? AND p.name=? ORDER BY r.id"
    )
    with service.store.reading() as connection:
        return [name for (name,) in connection.execute(query, (entity, project))]


def read_run(service: Service, project: str, name: str, entity: str | None = None) -> StoredRun:
    """Everything stored of a run, by default of the server's own user; ``LookupError`` when there is none."""
    with service.store.reading() as connection:
        run = runs.find(connection, entity or service.entity, project, name)
        if run is None:
            raise LookupError(f"no run {entity or service.entity}/{project}/{name}")
        texts = {
            file: lines.between(connection, run.pk, file, 0, getattr(run, counter))
            for file, counter in lines.COUNTERS.items()
        }
        blobs = connection.execute(
            "SELECT name, blob FROM files WHERE run=? AND blob IS NOT NULL", (run.pk,)
        ).fetchall()
        sent = alerts.of_run(connection, run.pk)
    folder = service.folder(FILES, run.pk)
    raw = loads(run.config)
    return StoredRun(
        entity=run.entity,
        project=run.project,
        name=run.name,
        display_name=run.display_name,
        state=run.state(service.store.now(), service.settings.crash_after),
        exitcode=run.exitcode,
        group=run.group_name,
        job_type=run.job_type,
        notes=run.notes,
        tags=run.tag_list,
        config={
            key: value["value"] if isinstance(value, dict) and "value" in value else value
            for key, value in raw.items()
            if key != "_wandb"
        },
        raw_config=raw,
        summary=loads(run.summary),
        history_lines=texts[lines.HISTORY],
        events_lines=texts[lines.EVENTS],
        log_lines=texts[lines.LOG],
        files={file: (folder / blob).read_bytes() for file, blob in blobs},
        alerts=sent,
    )
