"""Sweeps: rows, their states, their agents, and the trials that agents are given.

A trial is a set of parameters under a run id. It is written down before an agent hears of it, so an answer
that is lost, or an agent that dies before its run begins, costs no trial: the same run id with the same
parameters is handed out again, a few times at most. A run that was preempted is handed out to the next agent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.errors import NotFound, Refused
from wandb_ops.local.jsontext import finite, loads
from wandb_ops.local.names import decode_id, decode_number, encode_id, new_run_id
from wandb_ops.local.runs import runs
from wandb_ops.local.sweeps import hyperband, sweepconfig
from wandb_ops.local.sweeps.suggest import suggest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from wandb_ops.local.sweeps.bayes import Trial

STATES = frozenset({"PENDING", "RUNNING", "PAUSED", "FINISHED", "CANCELED"})
_OVER = frozenset({"FINISHED", "CANCELED"})
_TO_END = frozenset({"pending", "running", "preempting", "preempted"})
#: How often a trial whose run never begins is handed out.
MAX_GIVEN = 3

_COLUMNS = (
    "s.id, s.project, p.entity, p.name, s.name, s.display_name, s.description, s.config, s.parsed,"
    " s.controller, s.scheduler, s.state, s.suggested, s.created_at, s.updated_at, s.heartbeat_at"
)
_SELECT = f"SELECT {_COLUMNS} FROM sweeps s JOIN projects p ON p.id = s.project"  # noqa: S608 - only constants are put in
_AGENT = "a.id, a.sweep, a.name, a.host, a.state, a.created_at, a.heartbeat_at"
#: A trial has begun when its run exists and does not only wait for an agent.
_TRIALS = (
    "FROM sweep_trials t JOIN sweeps s ON s.id = t.sweep"
    " LEFT JOIN runs r ON r.project = s.project AND r.name = t.run"
    " LEFT JOIN sweep_agents a ON a.id = t.agent WHERE t.sweep = ?"
)


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


@dataclass(frozen=True, slots=True)
class Agent:
    """One row of ``sweep_agents``."""

    pk: int
    sweep: int
    name: str
    host: str
    state: str
    created_at: int
    heartbeat_at: int

    @property
    def id(self) -> str:
        """The opaque id of the agent."""
        return encode_id("Agent", self.pk)


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
    _set(db, sweep, {**changes, "updated_at": now})
    return by_pk(db, sweep.pk), warnings


def _checked(state: str | None) -> str | None:
    if state is not None and state.upper() not in STATES:
        raise Refused(f"unknown sweep state {state!r}")
    return state.upper() if state is not None else None


def _set(db: sqlite3.Connection, sweep: Sweep, changes: Mapping[str, Any]) -> None:
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
    found = [value for (text,) in summaries if (value := _number_at(loads(text), metric["name"])) is not None]
    if not found:
        return None
    return max(found) if metric.get("goal") == "maximize" else min(found)


def _number_at(summary: dict[str, Any], name: str) -> float | None:
    return finite(value_at(summary, name))


def _tried(db: sqlite3.Connection, sweep: Sweep) -> list[Trial]:
    """What the sweep has tried, oldest first; a trial that is still to end has no loss."""
    from wandb_ops.local.sweeps.bayes import Trial

    metric = sweep.values["metric"]
    sign = -1.0 if metric.get("goal") == "maximize" else 1.0
    found = []
    query = "SELECT config, summary, state FROM runs WHERE project=? AND sweep=? ORDER BY id"
    for config, summary, state in db.execute(query, (sweep.project_pk, sweep.name)):
        values = {
            key: item["value"]
            for key, item in loads(config).items()
            if isinstance(item, dict) and "value" in item
        }
        value = None if state in _TO_END else _number_at(loads(summary), metric["name"])
        if value is not None or state in _TO_END:
            found.append(Trial(values, None if value is None else sign * value))
    waiting = db.execute(f"SELECT t.config {_TRIALS} AND r.id IS NULL ORDER BY t.id", (sweep.pk,))
    return [*found, *(Trial(json.loads(text), None) for (text,) in waiting)]


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


def enqueue(
    db: sqlite3.Connection,
    now: int,
    sweep: Sweep,
    config: dict[str, Any],
    display_name: str | None,
    *,
    user: int | None = None,
) -> str:
    """Put a trial with these parameters before all others; returns the id of its run, which is pending."""
    if sweep.state in _OVER:
        raise Refused(f"sweep {sweep.name} is {sweep.state.lower()}")
    run, _ = runs.upsert(
        db,
        now,
        sweep.entity,
        {
            "name": new_run_id(),
            "modelName": sweep.project,
            "displayName": display_name,
            "config": json.dumps({key: {"value": value} for key, value in config.items()}),
            "sweep": sweep.name,
            "state": "pending",
        },
        user=user,
    )
    _add_trial(db, sweep, run.name, config)
    return run.name


def _add_trial(db: sqlite3.Connection, sweep: Sweep, run: str, config: dict[str, Any]) -> None:
    db.execute(
        "INSERT INTO sweep_trials(sweep, run, config) VALUES(?,?,?)", (sweep.pk, run, json.dumps(config))
    )


# -- agents ------------------------------------------------------------------------------------------------


def create_agent(db: sqlite3.Connection, now: int, sweep: Sweep, host: str) -> Agent:
    """Register an agent; its sweep, pending until then, runs."""
    cursor = db.execute(
        "INSERT INTO sweep_agents(sweep, name, host, state, created_at, heartbeat_at)"
        " VALUES(?,?,?,'RUNNING',?,?)",
        (sweep.pk, new_run_id(), host, now, now),
    )
    if sweep.state == "PENDING":
        _set(db, sweep, {"state": "RUNNING", "updated_at": now})
    row = db.execute(f"SELECT {_AGENT} FROM sweep_agents a WHERE a.id=?", (cursor.lastrowid,)).fetchone()  # noqa: S608 - only constants are put in
    return Agent(*row)


def agent_by_id(db: sqlite3.Connection, value: str) -> Agent:
    """The agent with that opaque id, or :class:`NotFound`."""
    pk = decode_number("Agent", value)
    row = db.execute(f"SELECT {_AGENT} FROM sweep_agents a WHERE a.id=?", (pk,)).fetchone()  # noqa: S608 - only constants are put in
    if row is None:
        raise NotFound("sweep agent not found")
    return Agent(*row)


def agents(db: sqlite3.Connection, sweep: Sweep) -> list[Agent]:
    """A sweep's agents, oldest first."""
    query = f"SELECT {_AGENT} FROM sweep_agents a WHERE a.sweep=? ORDER BY a.id"  # noqa: S608 - only constants are put in
    return [Agent(*row) for row in db.execute(query, (sweep.pk,))]


def agent_runs(db: sqlite3.Connection, agent: Agent) -> list[str]:
    """Names of the runs that began on an agent, in the order in which they were given to it."""
    query = f"SELECT t.run {_TRIALS} AND t.agent=? AND r.id IS NOT NULL AND r.state<>'pending' ORDER BY t.id"
    return [name for (name,) in db.execute(query, (agent.sweep, agent.pk))]


def heartbeat(
    db: sqlite3.Connection, now: int, agent: Agent, working: set[str], crash_after: float
) -> list[dict[str, Any]]:
    """Commands for an agent that says which runs it has: at most one, as the SDK takes one at a time.

    Args:
        working: Ids of the runs that the agent has begun, or is about to.
        crash_after: Seconds without a heartbeat after which another agent may take over a trial.
    """
    sweep = by_pk(db, agent.sweep)
    command = _command(db, now, sweep, agent, working, int(now - crash_after * 1000))
    state = "FINISHED" if command and command["type"] == "exit" else "RUNNING"
    db.execute("UPDATE sweep_agents SET state=?, heartbeat_at=? WHERE id=?", (state, now, agent.pk))
    _set(db, sweep, {"heartbeat_at": now})
    return [command] if command else []


def _command(
    db: sqlite3.Connection, now: int, sweep: Sweep, agent: Agent, working: set[str], silent_since: int
) -> dict[str, Any] | None:
    if sweep.state == "CANCELED":
        return {"type": "exit"}
    if working:
        for name in working & hyperband.behind(db, sweep.project_pk, sweep.name, sweep.values, value_at):
            query = "UPDATE runs SET stop_requested=1 WHERE project=? AND name=?"
            db.execute(query, (sweep.project_pk, name))
        stop = next(iter(sorted(working & _to_stop(db, sweep))), None)
        return {"type": "stop", "run_id": stop} if stop else None
    if sweep.state == "PAUSED":
        return None
    if sweep.state == "FINISHED":
        return {"type": "exit"}
    preempted = _preempted_trial(db, sweep, silent_since)
    trial = preempted or _waiting_trial(db, sweep, agent, silent_since) or _next_trial(db, sweep)
    if trial is None:
        if sweep.values.get("method") == "custom":
            return None  # somebody may enqueue more
        _finish_when_done(db, now, sweep, silent_since)
        return {"type": "exit"}
    run, config = trial
    if preempted:  # pending until an agent has begun it again, so that it is handed out once
        query = "UPDATE runs SET state='pending', exitcode=NULL, stop_requested=0 WHERE project=? AND name=?"
        db.execute(query, (sweep.project_pk, run))
        db.execute("UPDATE sweep_trials SET given=0 WHERE sweep=? AND run=?", (sweep.pk, run))
    db.execute(
        "UPDATE sweep_trials SET agent=?, given=given+1 WHERE sweep=? AND run=?", (agent.pk, sweep.pk, run)
    )
    return {
        "type": "resume" if preempted else "run",
        "run_id": run,
        "args": {key: {"value": value} for key, value in json.loads(config).items()},
        "logs": [],
        "program": sweep.values.get("program"),
    }


def _preempted_trial(db: sqlite3.Connection, sweep: Sweep, silent_since: int) -> tuple[str, str] | None:
    """A trial whose run said that it was being preempted, and then ended in failure or fell silent."""
    row: tuple[str, str] | None = db.execute(
        f"SELECT t.run, t.config {_TRIALS} AND (r.state='preempted'"
        " OR (r.state='preempting' AND r.heartbeat_at<?)) ORDER BY t.id LIMIT 1",
        (sweep.pk, silent_since),
    ).fetchone()
    return row


def _to_stop(db: sqlite3.Connection, sweep: Sweep) -> set[str]:
    query = "SELECT name FROM runs WHERE project=? AND sweep=? AND stop_requested=1 AND state='running'"
    return {name for (name,) in db.execute(query, (sweep.project_pk, sweep.name))}


def _waiting_trial(
    db: sqlite3.Connection, sweep: Sweep, agent: Agent, silent_since: int
) -> tuple[str, str] | None:
    """A trial that was enqueued, or given away in vain."""
    row: tuple[str, str] | None = db.execute(
        f"SELECT t.run, t.config {_TRIALS} AND t.given<? AND (r.id IS NULL OR r.state='pending')"
        " AND (t.agent IS NULL OR t.agent=? OR a.heartbeat_at<?) ORDER BY t.id LIMIT 1",
        (sweep.pk, MAX_GIVEN, agent.pk, silent_since),
    ).fetchone()
    return row


def _next_trial(db: sqlite3.Connection, sweep: Sweep) -> tuple[str, str] | None:
    trials = _tried(db, sweep) if sweep.values.get("method") == "bayes" else ()
    config = suggest(sweep.values, sweep.name, sweep.suggested, trials)
    if config is None:
        return None
    run = new_run_id()
    _add_trial(db, sweep, run, config)
    _set(db, sweep, {"suggested": sweep.suggested + 1})
    return run, json.dumps(config)


def _finish_when_done(db: sqlite3.Connection, now: int, sweep: Sweep, silent_since: int) -> None:
    """End a sweep that has no trial left, unless one of its trials is still to come to its end."""
    going = db.execute(
        f"SELECT count(*) {_TRIALS} AND ("
        "(r.state='running' AND r.heartbeat_at>=?) OR r.state IN ('preempting','preempted')"
        " OR (t.given<? AND (r.id IS NULL OR r.state='pending')))",
        (sweep.pk, silent_since, MAX_GIVEN),
    ).fetchone()[0]
    if not going:
        _set(db, sweep, {"state": "FINISHED", "updated_at": now})
