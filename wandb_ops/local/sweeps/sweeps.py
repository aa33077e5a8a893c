"""Sweeps: rows, their states, and how well their runs did.

What is tried is in `trials`, who tries it in `agents`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.jsontext import finite, loads
from wandb_ops.local.names import decode_id, encode_id, new_run_id
from wandb_ops.local.sweeps import sweepconfig

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

STATES = frozenset({"PENDING", "RUNNING", "PAUSED", "FINISHED", "CANCELED"})
_COLUMNS = (
    "s.id, s.project, p.entity, p.name, s.name, s.display_name, s.description, s.config, s.parsed,"
    " s.controller, s.scheduler, s.state, s.suggested, s.created_at, s.updated_at, s.heartbeat_at"
)
_SELECT = f"SELECT {_COLUMNS} FROM sweeps s JOIN projects p ON p.id = s.project"  # noqa: S608 - only constants are put in


@dataclass(frozen=True, slots=True)
class Sweep:
    """One row of ``sweeps`` with its project's names; times in milliseconds; texts as they were sent."""

    pk: int
    project_pk: int
    entity: str
    project: str
    name: str
    display_name: str | None
    description: str | None
    config: str
    parsed: str
    controller: str | None
    scheduler: str | None
    state: str
    suggested: int
    created_at: int
    updated_at: int
    heartbeat_at: int | None

    @property
    def id(self) -> str:
        """The opaque id of the sweep."""
        return encode_id("Sweep", self.name, self.project, self.entity)

    @property
    def values(self) -> dict[str, Any]:
        """The config."""
        found: dict[str, Any] = json.loads(self.parsed)
        return found


def find(db: sqlite3.Connection, project: int, name: str) -> Sweep | None:
    """The sweep of that name in a project, or None."""
    row = db.execute(f"{_SELECT} WHERE s.project=? AND s.name=?", (project, name)).fetchone()
    return Sweep(*row) if row else None


def by_pk(db: sqlite3.Connection, pk: int) -> Sweep:
    """The sweep with that row number."""
    return Sweep(*db.execute(f"{_SELECT} WHERE s.id=?", (pk,)).fetchone())


def by_id(db: sqlite3.Connection, value: str) -> Sweep:
    """The sweep with that opaque id, or :class:`NotFound`."""
    parts = decode_id("Sweep", value)
    if len(parts) != 3:
        raise Refused("invalid Sweep id")
    row = db.execute(
        f"{_SELECT} WHERE s.name=? AND p.name=? AND p.entity=?", (parts[0], parts[1], parts[2])
    ).fetchone()
    if row is None:
        raise NotFound(f"sweep {parts[2]}/{parts[1]}/{parts[0]} not found")
    return Sweep(*row)


def of_project(db: sqlite3.Connection, project: int) -> list[Sweep]:
    """A project's sweeps, the newest first, as W&B lists them."""
    return [Sweep(*row) for row in db.execute(f"{_SELECT} WHERE s.project=? ORDER BY s.id DESC", (project,))]


def create(
    db: sqlite3.Connection,
    now: int,
    entity: str,
    project: str,
    given: Mapping[str, Any],
    *,
    user: int | None = None,
) -> tuple[Sweep, list[str]]:
    """Make a sweep, and its project where it is missing; returns it and warnings about its config.

    Args:
        user: Row number of who does that.
    """
    config = sweepconfig.parse(given.get("config"))
    warnings = sweepconfig.check(config)
    owner, _ = projects.upsert(db, now, entity, project, user=user)
    cursor = db.execute(
        "INSERT INTO sweeps(project, name, display_name, description, config, parsed, controller, scheduler,"
        " state, created_at, updated_at) VALUES(?,?,?,?,?,?,?,?,?,?,?)",
        (
            owner.pk,
            new_run_id(),
            given.get("displayName"),
            given.get("description") or config.get("description"),
            given["config"],
            json.dumps(config),
            given.get("controller"),
            given.get("scheduler"),
            _checked(given.get("state")) or "PENDING",
            now,
            now,
        ),
    )
    return by_pk(db, int(cursor.lastrowid or 0)), warnings


def change(
    db: sqlite3.Connection, now: int, sweep: Sweep, given: Mapping[str, Any]
) -> tuple[Sweep, list[str]]:
    """Change what is given. Canceling asks the sweep's live runs to stop."""
    changes: dict[str, Any] = {
        column: given[field]
        for field, column in (
            ("displayName", "display_name"),
            ("description", "description"),
            ("controller", "controller"),
            ("scheduler", "scheduler"),
        )
        if given.get(field) is not None
    }
    warnings: list[str] = []
    if given.get("config") is not None:
        config = sweepconfig.parse(given["config"])
        warnings = sweepconfig.check(config)
        changes |= {"config": given["config"], "parsed": json.dumps(config)}
    state = _checked(given.get("state"))
    if state is not None:
        changes["state"] = state
    if state == "CANCELED":
        db.execute(
            "UPDATE runs SET stop_requested=1"
            " WHERE project=? AND sweep=? AND state IN ('running','preempting')",
            (sweep.project_pk, sweep.name),
        )
    set_columns(db, sweep, {**changes, "updated_at": now})
    return by_pk(db, sweep.pk), warnings


def _checked(state: str | None) -> str | None:
    if state is not None and state.upper() not in STATES:
        raise Refused(f"unknown sweep state {state!r}")
    return state.upper() if state is not None else None


def set_columns(db: sqlite3.Connection, sweep: Sweep, changes: Mapping[str, Any]) -> None:
    """Write these columns of a sweep's row."""
    assignments = ", ".join(f"{column}=?" for column in changes)
    db.execute(
        f"UPDATE sweeps SET {assignments} WHERE id=?",  # noqa: S608 - only constants are put in
        (*changes.values(), sweep.pk),
    )


def run_count(db: sqlite3.Connection, sweep: Sweep) -> int:
    """How many runs the sweep has."""
    query = "SELECT count(*) FROM runs WHERE project=? AND sweep=?"
    return int(db.execute(query, (sweep.project_pk, sweep.name)).fetchone()[0])


def best_loss(db: sqlite3.Connection, sweep: Sweep) -> float | None:
    """The best value of the sweep's metric in its runs' summaries: the lowest, or highest, by its goal."""
    metric = sweep.values.get("metric") or {}
    if not metric.get("name"):
        return None
    query = "SELECT summary FROM runs WHERE project=? AND sweep=?"
    summaries = db.execute(query, (sweep.project_pk, sweep.name))
    found = [value for (text,) in summaries if (value := number_at(loads(text), metric["name"])) is not None]
    if not found:
        return None
    return max(found) if metric.get("goal") == "maximize" else min(found)


def number_at(summary: dict[str, Any], name: str) -> float | None:
    """As `value_at`, where it is a finite number."""
    return finite(value_at(summary, name))


def value_at(summary: dict[str, Any], name: str) -> Any:
    """A metric by its name, or, dotted, by its place in nested objects."""
    if name in summary:
        return summary[name]
    value: Any = summary
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def adopt(db: sqlite3.Connection, sweep: Sweep, names: list[str]) -> None:
    """Make runs that exist the sweep's own."""
    db.executemany(
        "UPDATE runs SET sweep=? WHERE project=? AND name=?",
        [(sweep.name, sweep.project_pk, name) for name in names],
    )
