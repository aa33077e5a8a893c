"""How runs are: one look, a list of them, a wait for the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import RunFailed
from wandb_ops.polling import NotYet, wait_for
from wandb_ops.protocol.states import SUCCESS_STATES, TERMINAL_STATES
from wandb_ops.steps.results import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wandb_ops.public.api import Api
    from wandb_ops.public.runs.run import Run


def run_status(api: Api, *, run: str) -> RunStatus:
    """One look at a run: one request."""
    return status_of(api.run(run))


def list_runs(
    api: Api,
    *,
    project: str,
    entity: str | None = None,
    states: Sequence[str] | None = None,
    filters: Mapping[str, Any] | None = None,
    updated_after: str | None = None,
    limit: int | None = None,
    newest_first: bool = False,
) -> list[RunStatus]:
    """The project's runs, those that changed longest ago first.

    Args:
        api: The client.
        project: Project name.
        entity: User or team; None for the client's default.
        states: Keep only these states.
        filters: Further conditions in W&B's filter language.
        updated_after: ISO 8601 time; keep runs whose heartbeat is at that time or later (at the same
            instant too: a caller that pages by time must drop the ids it has seen).
        limit: At most so many runs.
        newest_first: Those that changed last come first.
    """
    conditions: list[dict[str, Any]] = []
    if states:
        conditions.append({"state": {"$in": list(states)}})
    if updated_after:
        conditions.append({"heartbeatAt": {"$gte": updated_after}})
    if filters:
        conditions.append(dict(filters))
    found = api.runs(
        f"{api.entity_or_default(entity)}/{project}",
        filters={"$and": conditions} if conditions else None,
        order="-heartbeat_at" if newest_first else "+heartbeat_at",
        per_page=min(limit, 500) if limit else 500,
        lazy=True,  # a status needs no config and no summary
    )
    statuses: list[RunStatus] = []
    for run in found:
        if limit is not None and len(statuses) >= limit:
            break
        statuses.append(status_of(run))
    return statuses


def wait_for_run(
    api: Api,
    *,
    run: str,
    timeout: float,
    poll_interval: float = 30.0,
    fail_on_bad_end: bool = True,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> RunStatus:
    """Wait until the run has ended; every terminal state ends the wait.

    Args:
        api: The client.
        run: `entity/project/run_id`.
        timeout: Seconds until `WaitTimeout`.
        poll_interval: Seconds between looks.
        fail_on_bad_end: Raise `RunFailed` for an end other than `finished`; else return its status.
        sleep: Waits so many seconds.
        clock: A monotonic clock in seconds.

    Raises:
        RunFailed: The run ended badly.
        WaitTimeout: It took longer than `timeout`.
        CommError: W&B was away for several looks in a row; fewer than that do not end the wait.
    """

    def look() -> RunStatus | NotYet:
        status = run_status(api, run=run)
        return status if status.terminal else NotYet(status.state)

    status = wait_for(
        look,
        what="the run",
        where=run,
        timeout=timeout,
        poll_interval=poll_interval,
        sleep=sleep,
        clock=clock,
    )
    return check_end(status) if fail_on_bad_end else status


def check_end(status: RunStatus) -> RunStatus:
    """`status` itself when the run ended well; `RunFailed` when it ended otherwise."""
    if status.terminal and not status.succeeded:
        raise RunFailed(f"the run ended as {status.state}", where=status.path, hint=f"See {status.url}")
    return status


def status_of(run: Run) -> RunStatus:
    """The status of a run already loaded; no request."""
    return RunStatus(
        path="/".join(run.path),
        run_id=run.id,
        url=run.url,
        display_name=run.name or run.id,
        state=run.state,
        terminal=run.state in TERMINAL_STATES,
        succeeded=run.state in SUCCESS_STATES,
        history_lines=run.history_line_count,
        created_at=run.created_at or "",
        heartbeat_at=run.heartbeat_at or "",
    )
