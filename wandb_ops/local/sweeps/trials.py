"""Trials: the sets of parameters of a sweep, each under a run id.

A trial is written down before an agent hears of it, so an answer that is lost, or an agent that dies before
its run begins, costs no trial: the same run id with the same parameters is handed out again, a few times at
most. A run that was preempted is handed out to the next agent.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused
from wandb_ops.local.jsontext import loads
from wandb_ops.local.names import new_run_id
from wandb_ops.local.runs import runs
from wandb_ops.local.sweeps import sweeps
from wandb_ops.local.sweeps.suggest import suggest

if TYPE_CHECKING:
    import sqlite3

    from wandb_ops.local.sweeps.bayes import Trial
    from wandb_ops.local.sweeps.sweeps import Sweep

_OVER = frozenset({"FINISHED", "CANCELED"})
_TO_END = frozenset({"pending", "running", "preempting", "preempted"})
#: How often a trial whose run never begins is handed out.
MAX_GIVEN = 3
#: A trial has begun when its run exists and does not only wait for an agent.
_TRIALS = (
    "FROM sweep_trials t JOIN sweeps s ON s.id = t.sweep"
    " LEFT JOIN runs r ON r.project = s.project AND r.name = t.run"
    " LEFT JOIN sweep_agents a ON a.id = t.agent WHERE t.sweep = ?"
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


def preempted(db: sqlite3.Connection, sweep: Sweep, silent_since: int) -> tuple[str, str] | None:
    """A trial whose run said that it was being preempted, and then ended in failure or fell silent."""
    row: tuple[str, str] | None = db.execute(
        f"SELECT t.run, t.config {_TRIALS} AND (r.state='preempted'"
        " OR (r.state='preempting' AND r.heartbeat_at<?)) ORDER BY t.id LIMIT 1",
        (sweep.pk, silent_since),
    ).fetchone()
    return row


def waiting(db: sqlite3.Connection, sweep: Sweep, agent: int, silent_since: int) -> tuple[str, str] | None:
    """A trial that was enqueued, or given away in vain to this agent, or to one that fell silent."""
    row: tuple[str, str] | None = db.execute(
        f"SELECT t.run, t.config {_TRIALS} AND t.given<? AND (r.id IS NULL OR r.state='pending')"
        " AND (t.agent IS NULL OR t.agent=? OR a.heartbeat_at<?) ORDER BY t.id LIMIT 1",
        (sweep.pk, MAX_GIVEN, agent, silent_since),
    ).fetchone()
    return row


def suggested(db: sqlite3.Connection, sweep: Sweep) -> tuple[str, str] | None:
    """The next trial by the sweep's method; None when there are no more."""
    trials = _tried(db, sweep) if sweep.values.get("method") == "bayes" else ()
    config = suggest(sweep.values, sweep.name, sweep.suggested, trials)
    if config is None:
        return None
    run = new_run_id()
    _add_trial(db, sweep, run, config)
    sweeps.set_columns(db, sweep, {"suggested": sweep.suggested + 1})
    return run, json.dumps(config)


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
        value = None if state in _TO_END else sweeps.number_at(loads(summary), metric["name"])
        if value is not None or state in _TO_END:
            found.append(Trial(values, None if value is None else sign * value))
    waiting = db.execute(f"SELECT t.config {_TRIALS} AND r.id IS NULL ORDER BY t.id", (sweep.pk,))
    return [*found, *(Trial(json.loads(text), None) for (text,) in waiting)]


def give(db: sqlite3.Connection, sweep: Sweep, agent: int, run: str, *, again: bool) -> None:
    """Note that an agent gets a trial; `again` when its run was preempted."""
    if again:  # pending until an agent has begun it again, so that it is handed out once
        query = "UPDATE runs SET state='pending', exitcode=NULL, stop_requested=0 WHERE project=? AND name=?"
        db.execute(query, (sweep.project_pk, run))
        db.execute("UPDATE sweep_trials SET given=0 WHERE sweep=? AND run=?", (sweep.pk, run))
    db.execute(
        "UPDATE sweep_trials SET agent=?, given=given+1 WHERE sweep=? AND run=?", (agent, sweep.pk, run)
    )


def going(db: sqlite3.Connection, sweep: Sweep, silent_since: int) -> bool:
    """Whether one of the trials is still to come to its end."""
    query = (
        f"SELECT count(*) {_TRIALS} AND ("
        "(r.state='running' AND r.heartbeat_at>=?) OR r.state IN ('preempting','preempted')"
        " OR (t.given<? AND (r.id IS NULL OR r.state='pending')))"
    )
    return bool(db.execute(query, (sweep.pk, silent_since, MAX_GIVEN)).fetchone()[0])


def begun(db: sqlite3.Connection, sweep: int, agent: int) -> list[str]:
    """Names of the runs that began on an agent, in the order in which they were given to it."""
    query = f"SELECT t.run {_TRIALS} AND t.agent=? AND r.id IS NOT NULL AND r.state<>'pending' ORDER BY t.id"
    return [name for (name,) in db.execute(query, (sweep, agent))]
