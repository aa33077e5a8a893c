"""Launch: queues upserted without losing what was not named; jobs put on them, and waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.steps.results import QueuedJobResult, QueueResult, RunStatus
from wandb_ops.steps.runs import check_end, status_of

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
) -> QueuedJobResult:
    """Put a job on a launch queue.

    Give a `run_id` (see `stable_run_id`) to make a repeated call harmless: when the run is there already,
    nothing is queued. A repetition before an agent began the run adds a second item for the same run, since
    the protocol shows no item's run before; both lead to that one run.

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

    Raises:
        UsageError: Not exactly one of `job` and `docker_image`, or an argument that W&B does not take.
        NotFoundError: There is no such queue.
        AmbiguousOutcome: The answer was lost: the job may be queued.
    """
    from wandb_ops.public.launch.enqueue import launch_spec, push_item
    from wandb_ops.public.launch.queues import read_queue

    owner = api.entity_or_default(entity)
    path = f"{owner}/{project}/{run_id}" if run_id else ""
    known = read_queue(api.transport, owner, queue)
    if known is None:
        raise NotFoundError(f"there is no queue {queue!r}", where=owner)
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
    if not path or not _is_there(api, path):
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
        path=path,
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
        item_id: The item, as `enqueue_job` gave it.
        project: Project that the run is logged to.
        timeout: Seconds until `WaitTimeout`.
        entity: User or team that owns queue and run; None for the client's default.
        until: "running" returns as soon as there is a run.
        poll_interval: Seconds between looks.
        fail_on_bad_end: Raise `RunFailed` when the run ended other than `finished`; else return its status.
        sleep: Waits so many seconds.
        clock: A monotonic clock in seconds.

    Raises:
        QueueItemFailed: The item failed, or was removed, before a run came of it.
        RunFailed: The run ended badly.
        WaitTimeout: It took longer than `timeout`.
        NotFoundError: There is no such queue.
    """
    if poll_interval <= 0 or timeout < 0:
        raise UsageError("poll_interval must be positive and timeout not negative", where=queue)
    if until not in {"running", "finished"}:
        raise UsageError(f"until is 'running' or 'finished', not {until!r}", where=queue)
    item = api.queued_run(api.entity_or_default(entity), project, queue, item_id)
    if until == "running":
        return status_of(
            item.wait_until_running(timeout=timeout, poll_interval=poll_interval, sleep=sleep, clock=clock)
        )
    run = item.wait_until_finished(timeout=timeout, poll_interval=poll_interval, sleep=sleep, clock=clock)
    status = status_of(run)
    return check_end(status) if fail_on_bad_end else status


def _is_there(api: Api, path: str) -> bool:
    try:
        api.run(path)
    except NotFoundError:
        return False
    return True


def _page(api: Api, entity: str) -> str:
    return f"{api.transport.settings.app_url}/{quote(entity, safe='')}/launch"
