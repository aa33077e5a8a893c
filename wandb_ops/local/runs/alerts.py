"""Alerts that a run sent (``run.alert``): kept as data; nobody is mailed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.local.errors import Refused

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from wandb_ops.local.runs.runs import Run

_MAX_TITLE, _MAX_TEXT = 1024, 64 << 10


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        severity: ``INFO``, ``WARN`` or ``ERROR``.
        wait_seconds: For so long after it, alerts of the same title are dropped.
        created_at: Milliseconds since the epoch.
    """

    title: str
    text: str
    severity: str
    wait_seconds: float
    created_at: int


def add(db: sqlite3.Connection, now: int, run: Run, given: Mapping[str, Any]) -> bool:
    """Keep an alert; False when one of the same title asked for quiet and that time is not over."""
    title, text = given.get("title"), given.get("text") or ""
    if not title or len(title) > _MAX_TITLE or len(text) > _MAX_TEXT:
        raise Refused(
            f"an alert needs a title of at most {_MAX_TITLE} characters and a text of at most 64 KiB"
        )
    wait = given.get("waitDuration") or 0
    if isinstance(wait, bool) or not isinstance(wait, int | float) or wait < 0:
        raise Refused("waitDuration must be a number of milliseconds from 0")
    last = db.execute(
        "SELECT created_at, wait FROM run_alerts WHERE run=? AND title=? ORDER BY id DESC LIMIT 1",
        (run.pk, title),
    ).fetchone()
    if last is not None and now < last[0] + last[1]:
        return False
    db.execute(
        "INSERT INTO run_alerts(run, title, text, severity, wait, created_at) VALUES(?,?,?,?,?,?)",
        (run.pk, title, text, given.get("severity") or "INFO", int(wait), now),
    )
    return True


def of_run(db: sqlite3.Connection, run: int) -> list[Alert]:
    """A run's alerts, oldest first."""
    rows = db.execute(
        "SELECT title, text, severity, wait / 1000.0, created_at FROM run_alerts WHERE run=? ORDER BY id",
        (run,),
    )
    return [Alert(*row) for row in rows]
