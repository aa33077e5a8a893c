"""Runs: rows keyed by project and name, and the rules of making, changing, reopening and ending one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.jsontext import loads_object
from wandb_ops.local.names import check_name, decode_id, display_name, encode_id, new_run_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

_COLUMNS = (
    "r.id, r.project, p.entity, p.name, r.name, r.display_name, r.description, r.notes, r.group_name,"
    " r.job_type, r.commit_hash, r.config, r.summary, r.tags, r.host, r.program, r.repo, r.sweep, r.state,"
    " r.exitcode, r.stop_requested, r.created_at, r.updated_at, r.heartbeat_at, r.history_lines,"
    " r.events_lines, r.log_lines, r.exported_lines, r.exported_step,"
    " (SELECT username FROM users WHERE users.id = r.user)"
)
SELECT = f"SELECT {_COLUMNS} FROM runs r JOIN projects p ON p.id = r.project"  # noqa: S608 - only constants are put in

STATES = frozenset(
    {"pending", "running", "preempting", "preempted", "finished", "failed", "crashed", "killed"}
)
LIVE_STATES = frozenset({"running", "preempting"})
DEFAULT_PROJECT = "uncategorized"


@dataclass(frozen=True, slots=True)
class Run:
    """One row of ``runs`` with its project's names; times in milliseconds; JSON as it was sent.

    ``username`` made it, if he was not deleted.
    """

    pk: int
    project_pk: int
    entity: str
    project: str
    name: str
    display_name: str
    description: str | None
    notes: str | None
    group_name: str | None
    job_type: str | None
    commit_hash: str | None
    config: str
    summary: str
    tags: str
    host: str | None
    program: str | None
    repo: str | None
    sweep: str | None
    stored_state: str
    exitcode: int | None
    stop_requested: int
    created_at: int
    updated_at: int
    heartbeat_at: int
    history_lines: int
    events_lines: int
    log_lines: int
    exported_lines: int
    exported_step: int
    username: str | None

    @property
    def id(self) -> str:
        """The opaque id of the run."""
        return encode_id("Run", self.name, self.project, self.entity)

    @property
    def tag_list(self) -> list[str]:
        """The tags, in the order in which they were given."""
        tags: list[str] = json.loads(self.tags)
        return tags

    def state(self, now: int, crash_after: float) -> str:
        """The state as of ``now``: a live run without heartbeats for ``crash_after`` seconds crashed.

        One that had said that it is being preempted was.
        """
        if self.stored_state in LIVE_STATES and now - self.heartbeat_at > crash_after * 1000:
            return "preempted" if self.stored_state == "preempting" else "crashed"
        return self.stored_state


def find(connection: sqlite3.Connection, entity: str, project: str, name: str) -> Run | None:
    """The run of that name, or None."""
    row = connection.execute(
        f"{SELECT} WHERE p.entity=? AND p.name=? AND r.name=?", (entity, project, name)
    ).fetchone()
    return Run(*row) if row else None


def get(connection: sqlite3.Connection, entity: str, project: str, name: str) -> Run:
    """The run of that name, or :class:`NotFound`."""
    run = find(connection, entity, project, name)
    if run is None:
        raise NotFound(f"run {entity}/{project}/{name} not found")
    return run


def by_id(connection: sqlite3.Connection, value: str) -> Run:
    """The run with that opaque id, or :class:`NotFound`."""
    parts = decode_id("Run", value)
    if len(parts) != 3:
        raise Refused("invalid Run id")
    return get(connection, parts[2], parts[1], parts[0])


def by_pk(connection: sqlite3.Connection, pk: int) -> Run | None:
    """The run with that row number, or None."""
    row = connection.execute(f"{SELECT} WHERE r.id=?", (pk,)).fetchone()
    return Run(*row) if row else None


# What a mutation's input may set, and the column that holds it.
_TEXT_FIELDS = {
    "displayName": "display_name",
    "description": "description",
    "notes": "notes",
    "groupName": "group_name",
    "jobType": "job_type",
    "commit": "commit_hash",
    "host": "host",
    "jobProgram": "program",
    "jobRepo": "repo",
    "sweep": "sweep",
}


def _changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Columns and values of what the input gives; a field that is absent or null changes nothing."""
    changes: dict[str, Any] = {
        column: given[field] for field, column in _TEXT_FIELDS.items() if given.get(field) is not None
    }
    for field, column in (("config", "config"), ("summaryMetrics", "summary")):
        if given.get(field) is not None:
            loads_object(given[field], field)
            changes[column] = given[field] or "{}"
    if given.get("tags") is not None:
        changes["tags"] = json.dumps(list(dict.fromkeys(given["tags"])), ensure_ascii=False)
    if given.get("state") is not None:
        if given["state"] not in STATES:
            raise Refused(f"unknown run state {given['state']!r}")
        changes["state"] = given["state"]
    return changes


def _update(connection: sqlite3.Connection, pk: int, changes: Mapping[str, Any]) -> None:
    assignments = ", ".join(f"{column}=?" for column in changes)
    connection.execute(
        f"UPDATE runs SET {assignments} WHERE id=?",  # noqa: S608 - only constants are put in
        (*changes.values(), pk),
    )


def upsert(
    connection: sqlite3.Connection,
    now: int,
    entity: str,
    given: Mapping[str, Any],
    *,
    user: int | None = None,
) -> tuple[Run, bool]:
    """Make, reopen or change a run as ``upsertBucket`` does; returns it and whether it was made.

    By ``id`` only what is given changes. By ``name`` a run that exists is reopened: its state is running
    again (or the one given), and its exit code is forgotten. ``user`` is the row of who makes it.
    """
    changes = _changes(given)
    if given.get("id"):
        run = by_id(connection, given["id"])
        if changes:
            _update(connection, run.pk, {**changes, "updated_at": now})
        return by_id(connection, given["id"]), False
    name = check_name("run", given.get("name") or new_run_id())
    project, _ = projects.upsert(
        connection, now, entity, given.get("modelName") or DEFAULT_PROJECT, user=user
    )
    known = find(connection, entity, project.name, name)
    if known is not None:
        # The SDK sends the same when the config of a run under way changes: that does not end a preemption.
        state = "preempting" if known.stored_state == "preempting" else "running"
        reopened = {"state": state, "exitcode": None, "stop_requested": 0, "heartbeat_at": now}
        _update(connection, known.pk, {**reopened, **changes, "updated_at": now})
        return get(connection, entity, project.name, name), False
    number = connection.execute(
        "UPDATE projects SET runs_made=runs_made+1, updated_at=? WHERE id=? RETURNING runs_made",
        (now, project.pk),
    ).fetchone()[0]
    values = {
        "project": project.pk,
        "name": name,
        "display_name": display_name(number, f"{entity}/{project.name}/{name}"),
        "config": "{}",
        "summary": "{}",
        "tags": "[]",
        "state": "running",
        "created_at": now,
        "updated_at": now,
        "heartbeat_at": now,
        "user": user,
        **changes,
    }
    connection.execute(
        f"INSERT INTO runs({', '.join(values)}) VALUES({', '.join('?' * len(values))})",
        tuple(values.values()),
    )
    return get(connection, entity, project.name, name), True


def set_state(connection: sqlite3.Connection, now: int, run: Run, state: str) -> None:
    """Set the state of a run that no process writes: only ``pending`` and ``failed`` may be asked for."""
    if state not in {"pending", "failed"}:
        raise Refused("a run's state can be set to 'pending' or 'failed' only")
    _update(connection, run.pk, {"state": state, "updated_at": now})


def request_stop(connection: sqlite3.Connection, now: int, run: Run) -> None:
    """Ask the process that writes the run to stop; it learns of it with its next heartbeat."""
    if run.stored_state not in {"running", "pending", "preempting"}:
        raise Refused(f"run {run.name} is {run.stored_state}: only a running run can be stopped")
    _update(connection, run.pk, {"stop_requested": 1, "updated_at": now})


def delete(connection: sqlite3.Connection, run: Run) -> None:
    """Remove the run's rows; its blobs on disk are the caller's to remove after the commit."""
    connection.execute("DELETE FROM runs WHERE id=?", (run.pk,))
