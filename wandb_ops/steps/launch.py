"""Launch: queues upserted without losing what was not named; jobs put on them, and waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from wandb_ops.errors import NotFoundError, QueueItemFailed, UsageError, WaitTimeout
from wandb_ops.polling import NotYet, wait_for
from wandb_ops.steps.identity import bare_project
from wandb_ops.steps.results import (
    CancelledJobResult,
    QueuedJobResult,
    QueuedRunStatus,
    QueueResult,
    RunStatus,
)
from wandb_ops.steps.status import check_end, run_status, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wandb_ops.public.api import Api


def upsert_run_queue(
    api: Api,
    *,
    name: str,
    resource_type: str,
    resource_config: Mapping[str, Any],
    entity: str | None = None,
    template_variables: Mapping[str, Any] | None = None,
    external_links: Mapping[str, str] | None = None,
    prioritization_mode: str | None = None,
) -> QueueResult:
    """Make the queue, or change what differs; an argument left out keeps what is there.

    Sends nothing when nothing differs. Arguments as in `Api.upsert_run_queue`.

    Raises:
        UsageError: An argument is not one that W&B takes.
    """
    from wandb_ops.public.launch.queues import upsert_queue

    change = upsert_queue(
        api.transport,
        entity=api.entity_or_default(entity),
        name=name,
        resource_type=resource_type,
        resource_config=resource_config,
        template_variables=template_variables,
        external_links=external_links,
        prioritization_mode=prioritization_mode,
    )
    action: Literal["created", "unchanged", "changed"] = "changed" if change.changes else "unchanged"
    return QueueResult(
        entity=change.after.entity,
        name=change.after.name,
        queue_id=change.after.id,
        url=_page(api, change.after.entity),
        action="created" if change.before is None else action,
        changes=change.changes,
    )


def enqueue_job(
    api: Api,
    *,
    queue: str,
    project: str,
    job: str | None = None,
    docker_image: str | None = None,
    entity: str | None = None,
    run_id: str | None = None,
    name: str | None = None,
    run_config: Mapping[str, Any] | None = None,
    entry_point: Sequence[str] | None = None,
    arguments: Sequence[str] | None = None,
    resource_args: Mapping[str, Any] | None = None,
    template_variables: Mapping[str, Any] | None = None,
    priority: int | None = None,
    relaunch: bool = False,
) -> QueuedJobResult:
    """Put a job on a launch queue.

    Give a `run_id` (see `stable_run_id`) to make a repeated call harmless: when the run is there already,
    nothing is queued. A repetition before an agent began the run adds a second item for the same run, since
    the protocol shows no item's run before; both lead to that one run. Who can keep the `item_id` of the
    first call, and looks at it with `queued_run_status`, needs no second one.

    Args:
        api: The client.
        queue: Name of the queue.
        project: Project that the run is logged to.
        job: `entity/project/job-name:alias`; or
        docker_image: an image.
        entity: User or team that owns queue and run; None for the client's default.
        run_id: Identifier of the run; None lets the agent make one up.
        name: Name shown of the run.
        run_config: Hyperparameters.
        entry_point: The command, in place of the job's.
        arguments: Arguments of the command.
        resource_args: `{resource: {...}}`, over the queue's own config.
        template_variables: Values of the queue's template variables.
        priority: 0 (critical) to 3 (low), where the queue has priorities.
        relaunch: When the run is there and ended badly, launch again, as `run_id-2`, `run_id-3`, ...: the
            first that is not there, or has not ended badly. Else such a run counts like any other.

    Raises:
        UsageError: Not exactly one of `job` and `docker_image`, or an argument that W&B does not take.
        NotFoundError: There is no such queue.
        AmbiguousOutcome: The answer was lost: the job may be queued.
    """
    from wandb_ops.public.launch.enqueue import launch_spec, push_item
    from wandb_ops.public.launch.queues import read_queue

    owner = api.entity_or_default(entity)
    bare_project(project)
    known = read_queue(api.transport, owner, queue)
    if known is None:
        raise NotFoundError(f"there is no queue {queue!r}", where=owner)
    there = False
    if run_id:
        run_id, there = _attempt(api, f"{owner}/{project}", run_id, relaunch=relaunch)
    spec = launch_spec(
        entity=owner,
        project=project,
        resource=known.resource_type,
        job=job,
        docker_image=docker_image,
        name=name,
        run_id=run_id,
        resource_args=resource_args,
        run_config=run_config,
        entry_point=entry_point,
        arguments=arguments,
    )
    item_id = ""
    if not there:
        item_id = push_item(
            api.transport,
            entity=owner,
            queue=queue,
            spec=spec,
            priority=priority,
            template_variables=template_variables,
        )
    return QueuedJobResult(
        entity=owner,
        project=project,
        queue=queue,
        item_id=item_id,
        run_id=run_id or "",
        path=f"{owner}/{project}/{run_id}" if run_id else "",
        url=_page(api, owner),
        enqueued=bool(item_id),
    )


def wait_for_queued_run(
    api: Api,
    *,
    queue: str,
    item_id: str,
    project: str,
    timeout: float,
    entity: str | None = None,
    run_id: str = "",
    until: Literal["running", "finished"] = "finished",
    poll_interval: float = 30.0,
    fail_on_bad_end: bool = True,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> RunStatus:
    """Wait until a run came of a queue's item, and, unless told otherwise, until that run ended.

    Every terminal state of item and run ends the wait.

    Args:
        api: The client.
        queue: Name of the queue.
        item_id: The item, as `enqueue_job` gave it; "" when it queued nothing, as the run was there.
        project: Project that the run is logged to.
        timeout: Seconds until `WaitTimeout`.
        entity: User or team that owns queue and run; None for the client's default.
        run_id: The run, as `enqueue_job` gave it; needed without an item only.
        until: "running" returns as soon as there is a run.
        poll_interval: Seconds between looks.
        fail_on_bad_end: Raise `RunFailed` when the run ended other than `finished`; else return its status.
        sleep: Waits so many seconds.
        clock: A monotonic clock in seconds.

    Raises:
        QueueItemFailed: The item failed, or was removed, before a run came of it.
        RunFailed: The run ended badly.
        WaitTimeout: It took longer than `timeout`.
        CommError: W&B was away for several looks in a row; fewer than that do not end the wait.
        NotFoundError: There is no such queue.
    """
    if until not in {"running", "finished"}:
        raise UsageError(f"until is 'running' or 'finished', not {until!r}", where=queue)

    def look() -> RunStatus | NotYet:
        status = queued_run_status(
            api, queue=queue, item_id=item_id, project=project, entity=entity, run_id=run_id
        )
        if status.run is not None and (until == "running" or status.run.terminal):
            return status.run
        return NotYet(status.state)

    run = wait_for(
        look,
        what="the job",
        where=queue,
        timeout=timeout,
        poll_interval=poll_interval,
        sleep=sleep,
        clock=clock,
    )
    return check_end(run) if fail_on_bad_end and until == "finished" else run


def queued_run_status(
    api: Api,
    *,
    queue: str,
    item_id: str,
    project: str,
    entity: str | None = None,
    run_id: str = "",
) -> QueuedRunStatus:
    """One look at a job on a queue, and at the run that came of it. Arguments as for `wait_for_queued_run`.

    Raises:
        QueueItemFailed: The item failed, or was removed, before a run came of it.
        NotFoundError: There is no such queue.
        UsageError: Neither item nor run is named.
    """
    owner = api.entity_or_default(entity)
    run: RunStatus | None = None
    if item_id:
        try:
            came = api.queued_run(owner, project, queue, item_id).wait_until_running(timeout=0.0)
            run = status_of(came)
        except WaitTimeout:
            run = None
    elif run_id:
        run = run_status(api, run=f"{owner}/{project}/{run_id}")
    else:
        raise UsageError("neither an item nor a run is named", where=queue)
    return QueuedRunStatus(
        entity=owner,
        project=project,
        queue=queue,
        item_id=item_id,
        state=run.state if run else "queued",
        url=run.url if run else _page(api, owner),
        run=run,
    )


def cancel_queued_job(
    api: Api,
    *,
    queue: str,
    item_id: str,
    project: str,
    entity: str | None = None,
    run_id: str = "",
) -> CancelledJobResult:
    """Take a job off its queue; when a run came of it already, ask that run to stop.

    A run that stops ends by itself, later. Repeating it is harmless. An agent that took the item in this very
    moment goes on with it: what it starts can be stopped by a second call. Arguments as for
    `wait_for_queued_run`.
    """
    owner = api.entity_or_default(entity)
    action: Literal["removed", "stopping", "ended"]
    try:
        status = queued_run_status(
            api, queue=queue, item_id=item_id, project=project, entity=owner, run_id=run_id
        )
    except (NotFoundError, QueueItemFailed):
        status, action = None, "ended"
    if status is not None:
        if status.run is None:
            api.queued_run(owner, project, queue, item_id).delete()
            action = "removed"
        elif status.run.terminal:
            action = "ended"
        else:
            api.run(status.run.path).stop()
            action = "stopping"
    path = status.run.path if status is not None and status.run is not None else ""
    return CancelledJobResult(queue=queue, item_id=item_id, path=path, action=action)


def _attempt(api: Api, project: str, run_id: str, *, relaunch: bool) -> tuple[str, bool]:
    """Which run a job is to become, and whether that run is there already."""
    number, name = 1, run_id
    while True:
        try:
            status = run_status(api, run=f"{project}/{name}")
        except NotFoundError:
            return name, False
        if not relaunch or not status.terminal or status.succeeded:
            return name, True
        number += 1
        name = f"{run_id}-{number}"


def _page(api: Api, entity: str) -> str:
    return f"{api.transport.settings.app_url}/{quote(entity, safe='')}/launch"
