"""Rewinding a run: its history is cut behind a step, and it goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused
from wandb_ops.local.history import lines
from wandb_ops.local.jsontext import dumps, loads
from wandb_ops.local.runs import runs

if TYPE_CHECKING:
    import sqlite3

_BATCH = 20_000


def rewind(db: sqlite3.Connection, now: int, run: runs.Run, metric: str, value: float) -> runs.Run:
    """Drop the history behind a step, and make the summary what the rows that stay say.

    Args:
        metric: ``_step``; no other metric is understood, here as at W&B.
        value: The last step that stays.
    """
    if metric != "_step":
        raise Refused("a run can be rewound by the metric '_step' only")
    if value < 0 or value != int(value):
        raise Refused("a run is rewound to a whole step from 0")
    if value > lines.last_step(db, run.pk):
        raise Refused(f"run {run.name} has no step {int(value)}: its history ends before")
    first = db.execute(
        "SELECT min(line) FROM lines WHERE run=? AND file=0 AND step>?", (run.pk, int(value))
    ).fetchone()[0]
    if first is not None:
        db.execute("DELETE FROM lines WHERE run=? AND file=0 AND line>=?", (run.pk, first))
        db.execute("DELETE FROM history_keys WHERE run=?", (run.pk,))
        if run.exported_lines > first:
            db.execute("UPDATE runs SET exported_lines=0, exported_step=-1 WHERE id=?", (run.pk,))
        db.execute(
            "UPDATE runs SET history_lines=?, summary=? WHERE id=?",
            (first, dumps(_last_values(db, run.pk, first)), run.pk),
        )
    db.execute(
        "UPDATE runs SET state='running', exitcode=NULL, stop_requested=0, updated_at=?, heartbeat_at=?"
        " WHERE id=?",
        (now, now, run.pk),
    )
    return runs.get(db, run.entity, run.project, run.name)


def _last_values(db: sqlite3.Connection, run: int, stop: int) -> dict[str, Any]:
    """The last value of every key."""
    values: dict[str, Any] = {}
    for start in range(0, stop, _BATCH):
        for text in lines.between(db, run, lines.HISTORY, start, min(start + _BATCH, stop)):
            values.update(loads(text))
    return values
