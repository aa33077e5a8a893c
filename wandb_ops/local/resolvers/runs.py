"""A run's own fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wandb_ops.local import projects
from wandb_ops.local.history import lines
from wandb_ops.local.jsontext import dumps, loads
from wandb_ops.local.resolvers.entities import user
from wandb_ops.local.runs.runs import LIVE_STATES, Run
from wandb_ops.local.times import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_ops.local.resolvers.context import Args, Context, Resolver


def _part(text: str, keys: list[str] | None) -> str:
    """A stored JSON object as it came, or only some of its keys."""
    if keys is None:
        return text
    value = loads(text)
    return dumps({key: value[key] for key in keys if key in value})


def _wandb_config(run: Run, _context: Context, args: Args) -> str:
    own = loads(run.config).get("_wandb")
    value = own.get("value", own) if isinstance(own, dict) else {}
    keys = args.get("keys")
    return dumps({key: value[key] for key in value if keys is None or key in keys})


def _state(run: Run, context: Context) -> str:
    return run.state(context.now(), context.service.settings.crash_after)


def _system_metrics(run: Run, context: Context, _args: Args) -> str | None:
    if not run.events_lines:
        return None
    with context.service.store.reading() as db:
        last = lines.tail(db, run.pk, lines.EVENTS)
    return last[0] if last else None


def _tail(file: int) -> Resolver:
    def resolve(run: Run, context: Context, _args: Args) -> str:
        with context.service.store.reading() as db:
            return json.dumps(lines.tail(db, run.pk, file), ensure_ascii=False)

    return resolve


def _project(run: Run, context: Context, _args: Args) -> projects.Project:
    with context.service.store.reading() as db:
        return projects.by_pk(db, run.project_pk)


def _of(value: Callable[[Run], Any]) -> Resolver:
    """A field that is read off the row."""
    return lambda run, _context, _args: value(run)


RESOLVERS: dict[str, Resolver] = {
    "Run.id": _of(lambda run: run.id),
    "Run.name": _of(lambda run: run.name),
    "Run.projectId": _of(lambda run: run.project_pk),
    "Run.project": _project,
    "Run.displayName": _of(lambda run: run.display_name),
    "Run.description": _of(lambda run: run.description),
    "Run.notes": _of(lambda run: run.notes),
    "Run.group": _of(lambda run: run.group_name),
    "Run.jobType": _of(lambda run: run.job_type),
    "Run.commit": _of(lambda run: run.commit_hash),
    "Run.config": lambda run, _context, args: _part(run.config, args.get("keys")),
    "Run.wandbConfig": _wandb_config,
    "Run.summaryMetrics": lambda run, _context, args: _part(run.summary, args.get("keys")),
    "Run.systemMetrics": _system_metrics,
    "Run.tags": _of(lambda run: run.tag_list),
    "Run.state": lambda run, context, _args: _state(run, context),
    "Run.exitcode": _of(lambda run: run.exitcode),
    "Run.failed": lambda run, context, _args: _state(run, context) == "failed",
    "Run.running": lambda run, context, _args: _state(run, context) in LIVE_STATES,
    "Run.shouldStop": _of(lambda run: bool(run.stop_requested)),
    "Run.stopped": _of(lambda run: bool(run.stop_requested)),
    "Run.readOnly": _of(lambda _run: False),
    "Run.sweepName": _of(lambda run: run.sweep),
    "Run.user": lambda run, context, _args: user(context, run.username),
    "Run.createdAt": _of(lambda run: iso(run.created_at)),
    "Run.heartbeatAt": _of(lambda run: iso(run.heartbeat_at)),
    "Run.computeSeconds": _of(lambda run: (run.heartbeat_at - run.created_at) // 1000),
    "Run.historyLineCount": _of(lambda run: run.history_lines),
    "Run.eventsLineCount": _of(lambda run: run.events_lines),
    "Run.logLineCount": _of(lambda run: run.log_lines),
    "Run.historyTail": _tail(lines.HISTORY),
    "Run.eventsTail": _tail(lines.EVENTS),
}
