"""The agents of a sweep, and what each is told to do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import NotFound
from wandb_ops.local.names import decode_number, encode_id, new_run_id
from wandb_ops.local.sweeps import hyperband, sweeps, trials

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.sweeps.sweeps import Sweep

_AGENT = "a.id, a.sweep, a.name, a.host, a.state, a.created_at, a.heartbeat_at"


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


def create(db: sqlite3.Connection, now: int, sweep: Sweep, host: str) -> Agent:
    """Register an agent; its sweep, pending until then, runs."""
    cursor = db.execute(
        "INSERT INTO sweep_agents(sweep, name, host, state, created_at, heartbeat_at)"
        " VALUES(?,?,?,'RUNNING',?,?)",
        (sweep.pk, new_run_id(), host, now, now),
    )
    if sweep.state == "PENDING":
        sweeps.set_columns(db, sweep, {"state": "RUNNING", "updated_at": now})
    row = db.execute(f"SELECT {_AGENT} FROM sweep_agents a WHERE a.id=?", (cursor.lastrowid,)).fetchone()  # noqa: S608 - only constants are put in
    return Agent(*row)


def by_id(db: sqlite3.Connection, value: str) -> Agent:
    """The agent with that opaque id, or :class:`NotFound`."""
    pk = decode_number("Agent", value)
    row = db.execute(f"SELECT {_AGENT} FROM sweep_agents a WHERE a.id=?", (pk,)).fetchone()  # noqa: S608 - only constants are put in
    if row is None:
        raise NotFound("sweep agent not found")
    return Agent(*row)


def of_sweep(db: sqlite3.Connection, sweep: Sweep) -> list[Agent]:
    """A sweep's agents, oldest first."""
    query = f"SELECT {_AGENT} FROM sweep_agents a WHERE a.sweep=? ORDER BY a.id"  # noqa: S608 - only constants are put in
    return [Agent(*row) for row in db.execute(query, (sweep.pk,))]


def heartbeat(
    db: sqlite3.Connection, now: int, agent: Agent, working: set[str], crash_after: float
) -> list[dict[str, Any]]:
    """Commands for an agent that says which runs it has: at most one, as the SDK takes one at a time.

    Args:
        working: Ids of the runs that the agent has begun, or is about to.
        crash_after: Seconds without a heartbeat after which another agent may take over a trial.
    """
    sweep = sweeps.by_pk(db, agent.sweep)
    command = _command(db, now, sweep, agent, working, int(now - crash_after * 1000))
    state = "FINISHED" if command and command["type"] == "exit" else "RUNNING"
    db.execute("UPDATE sweep_agents SET state=?, heartbeat_at=? WHERE id=?", (state, now, agent.pk))
    sweeps.set_columns(db, sweep, {"heartbeat_at": now})
    return [command] if command else []


def _command(
    db: sqlite3.Connection, now: int, sweep: Sweep, agent: Agent, working: set[str], silent_since: int
) -> dict[str, Any] | None:
    if sweep.state == "CANCELED":
        return {"type": "exit"}
    if working:
        for name in working & hyperband.behind(
            db, sweep.project_pk, sweep.name, sweep.values, sweeps.value_at
        ):
            query = "UPDATE runs SET stop_requested=1 WHERE project=? AND name=?"
            db.execute(query, (sweep.project_pk, name))
        stop = next(iter(sorted(working & _to_stop(db, sweep))), None)
        return {"type": "stop", "run_id": stop} if stop else None
    if sweep.state == "PAUSED":
        return None
    if sweep.state == "FINISHED":
        return {"type": "exit"}
    preempted = trials.preempted(db, sweep, silent_since)
    trial = preempted or trials.waiting(db, sweep, agent.pk, silent_since) or trials.suggested(db, sweep)
    if trial is None:
        if sweep.values.get("method") == "custom":
            return None  # somebody may enqueue more
        if not trials.going(db, sweep, silent_since):
            sweeps.set_columns(db, sweep, {"state": "FINISHED", "updated_at": now})
        return {"type": "exit"}
    run, config = trial
    trials.give(db, sweep, agent.pk, run, again=preempted is not None)
    return {
        "type": "resume" if preempted else "run",
        "run_id": run,
        "args": {key: {"value": value} for key, value in json.loads(config).items()},
        "logs": [],
        "program": sweep.values.get("program"),
    }


def _to_stop(db: sqlite3.Connection, sweep: Sweep) -> set[str]:
    query = "SELECT name FROM runs WHERE project=? AND sweep=? AND stop_requested=1 AND state='running'"
    return {name for (name,) in db.execute(query, (sweep.project_pk, sweep.name))}
