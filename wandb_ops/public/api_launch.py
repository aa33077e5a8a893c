"""What `Api` offers on launch queues and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from wandb_ops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.public.api import Api
    from wandb_ops.public.launch.jobs import Job
    from wandb_ops.public.launch.launch import (
        QueuedRun,
        RunQueue,
        RunQueuePrioritizationMode,
        RunQueueResourceType,
    )
    from wandb_ops.transport.session import Transport


class LaunchMethods:
    """Methods of `Api`; made part of it there."""

    _transport: Transport

    if TYPE_CHECKING:

        def entity_or_default(self, entity: str | None) -> str: ...

    def create_run_queue(
        self,
        name: str,
        type: RunQueueResourceType,
        entity: str | None = None,
        prioritization_mode: RunQueuePrioritizationMode | None = None,
        config: Mapping[str, Any] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> RunQueue:
        """Create a launch queue.

        Args:
            name: Its name, 1 to 64 characters.
            type: "local-container", "local-process", "kubernetes", "sagemaker" or "gcp-vertex".
            entity: User or team; None is the default one.
            prioritization_mode: "V0" or None.
            config: Default resource config; `{{variable}}` stands for a template variable.
            template_variables: `{name: {"schema": {"type": "string", "number" or "integer", "default": ...,
                "minimum": ..., "maximum": ..., "enum": [...]}}}`.

        Raises:
            UsageError: (a ValueError) An argument is wrong, or there is a queue of that name.
        """
        from wandb_ops.public.launch.launch import RunQueue
        from wandb_ops.public.launch.queues import create_queue

        state = create_queue(
            self._transport,
            entity=self.entity_or_default(entity),
            name=name,
            resource_type=type,
            config=config,
            template_variables=template_variables,
            prioritization_mode=prioritization_mode,
        )
        return RunQueue(self._transport, state.name, state.entity, state)

    def upsert_run_queue(
        self,
        name: str,
        resource_config: Mapping[str, Any],
        resource_type: RunQueueResourceType,
        entity: str | None = None,
        template_variables: Mapping[str, Any] | None = None,
        external_links: Mapping[str, str] | None = None,
        prioritization_mode: RunQueuePrioritizationMode | None = None,
    ) -> RunQueue:
        """Create a launch queue, or make the one that is there what the arguments say.

        An argument left out keeps what is there (W&B's own call sets it back to nothing); pass `{}` or
        "DISABLED" to empty it. When the queue is like that already, nothing is sent.

        Args:
            name: Its name, 1 to 64 characters.
            resource_config: Default resource config; `{{variable}}` stands for a template variable.
            resource_type: "local-container", "local-process", "kubernetes", "sagemaker" or "gcp-vertex".
            entity: User or team; None is the default one.
            template_variables: As for `create_run_queue`.
            external_links: `{label: url}`.
            prioritization_mode: "V0" or "DISABLED".

        Raises:
            UsageError: (a ValueError) An argument is wrong.
        """
        from wandb_ops.public.launch.launch import RunQueue
        from wandb_ops.public.launch.queues import upsert_queue

        change = upsert_queue(
            self._transport,
            entity=self.entity_or_default(entity),
            name=name,
            resource_type=resource_type,
            resource_config=resource_config,
            template_variables=template_variables,
            external_links=external_links,
            prioritization_mode=prioritization_mode,
        )
        return RunQueue(self._transport, change.after.name, change.after.entity, change.after)

    def run_queue(self, entity: str, name: str) -> RunQueue:
        """A launch queue, fetched when something is asked of it.

        Args:
            entity: User or team.
            name: Its name.
        """
        from wandb_ops.public.launch.launch import RunQueue

        return RunQueue(self._transport, name, entity)

    def queued_run(
        self,
        entity: str,
        project: str,
        queue_name: str,
        run_queue_item_id: str,
        project_queue: str | None = None,
        priority: int | None = None,
    ) -> QueuedRun:
        """An item of a launch queue, to wait for.

        Args:
            entity: User or team.
            project: Project that the run is logged to.
            queue_name: The queue.
            run_queue_item_id: The item.
            project_queue: Project that holds the queue; None is W&B's usual one.
            priority: As it was queued with.
        """
        from wandb_ops.public.launch.launch import QueuedRun

        return QueuedRun(
            self._transport, entity, project, queue_name, run_queue_item_id, project_queue, priority
        )

    def job(self, name: str | None, path: str | None = None) -> Job:
        """A job, downloaded.

        Args:
            name: `entity/project/job-name:alias`.
            path: Folder for its files; None is the artifact's usual one.

        Raises:
            UsageError: (a ValueError) That is no name of a job.
            NotFoundError: (a ValueError) There is no such job.
        """
        if not isinstance(name, str) or name.count("/") != 2 or ":" not in name:
            raise UsageError(f"{name!r} is no job", hint="Write a job as entity/project/job-name:alias.")
        from wandb_ops.public.launch.jobs import Job

        return Job(cast("Api", self), name, path)

    def list_jobs(self, entity: str, project: str) -> list[dict[str, Any]]:
        """The versions of each job of a project.

        Args:
            entity: User or team.
            project: Name of the project.

        Returns:
            One `{"edges": [{"node": {"id", "state", "aliases", "artifactSequence"}}]}` for each job.

        Raises:
            UsageError: (a ValueError) The entity or the project is missing.
            NotFoundError: There is no such project.
        """
        if not entity or not project:
            raise UsageError("Jobs are listed of an entity and a project")
        from wandb_ops.public.launch.jobs import list_jobs

        return list_jobs(self._transport, entity, project)
