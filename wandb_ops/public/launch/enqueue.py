"""Putting a job on a launch queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.errors import CommError, NotFoundError, UsageError
from wandb_ops.protocol import values
from wandb_ops.protocol.documents.launch import PUSH_TO_RUN_QUEUE_BY_NAME
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.encode import to_stored
from wandb_ops.public.launch.queues import QUEUE_PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_ops.transport.session import Transport

_PRIORITIES = range(4)


def launch_spec(
    *,
    entity: str,
    project: str,
    resource: str,
    job: str | None = None,
    docker_image: str | None = None,
    name: str | None = None,
    run_id: str | None = None,
    resource_args: Mapping[str, Any] | None = None,
    run_config: Mapping[str, Any] | None = None,
    entry_point: Sequence[str] | None = None,
    arguments: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What an agent is to run, as W&B Launch writes it.

    Args:
        entity: User or team that is to own the run.
        project: Project that the run is logged to.
        resource: Kind of resource, as the queue's.
        job: `entity/project/job-name:alias`; or
        docker_image: an image.
        name: Name shown of the run.
        run_id: Identifier of the run; the agent makes one up without it.
        resource_args: `{resource: {...}}`, over the queue's own config.
        run_config: Hyperparameters.
        entry_point: The command, in place of the job's.
        arguments: Arguments of the command.

    Raises:
        UsageError: Not exactly one of `job` and `docker_image`, or a value that is no JSON.
    """
    if bool(job) == bool(docker_image):
        raise UsageError("A job for a queue is one of job= and docker_image=")
    if job and (job.count("/") != 2 or ":" not in job):
        raise UsageError(f"{job!r} is no job", hint="Write a job as entity/project/job-name:alias.")
    for words, what in ((entry_point, "entry_point"), (arguments, "arguments")):
        if words is not None and (isinstance(words, str) or not all(isinstance(word, str) for word in words)):
            raise UsageError(f"{what} is a list of texts")
    overrides: dict[str, Any] = {}
    if run_config is not None:
        overrides["run_config"] = to_stored(run_config, where="run_config")
    if entry_point is not None:
        overrides["entry_point"] = list(entry_point)
    if arguments is not None:
        overrides["args"] = list(arguments)
    spec: dict[str, Any] = {
        "entity": entity,
        "project": project,
        "resource": resource,
        "docker": {"docker_image": docker_image} if docker_image else {},
        "git": {},
        "overrides": overrides,
    }
    optional = {"job": job, "name": name, "run_id": run_id}
    spec |= {key: value for key, value in optional.items() if value}
    if resource_args is not None:
        spec["resource_args"] = to_stored(resource_args, where="resource_args")
    return spec


def push_item(
    transport: Transport,
    *,
    entity: str,
    queue: str,
    spec: Mapping[str, Any],
    priority: int | None = None,
    template_variables: Mapping[str, Any] | None = None,
    project_queue: str | None = None,
) -> str:
    """Add an item to a queue; returns its identifier.

    Raises:
        UsageError: The priority is none.
        NotFoundError: There is no such queue.
        AmbiguousOutcome: The answer was lost: the item may be in the queue.
        CommError: The server did not take it.
    """
    if priority is not None and (isinstance(priority, bool) or priority not in _PRIORITIES):
        raise UsageError(f"A priority is 0 (critical), 1, 2 or 3 (low), not {priority!r}")
    owner = project_queue or QUEUE_PROJECT
    variables: dict[str, Any] = {
        "entityName": entity,
        "projectName": owner,
        "queueName": queue,
        "runSpec": values.dumps(spec),
    }
    if priority is not None:
        variables["priority"] = priority
    if template_variables:
        variables["templateVariableValues"] = values.dumps(to_stored(template_variables, where="values"))
    where = f"{entity}/{owner}/{queue}"
    data = execute(transport, PUSH_TO_RUN_QUEUE_BY_NAME, variables, where=where)
    answer = data.get("pushToRunQueueByName")
    if answer is None:
        raise NotFoundError("There is no such queue", where=where)
    if not answer.get("runQueueItemId"):
        raise CommError("The server did not take the job", where=where)
    return str(answer["runQueueItemId"])
