"""The sensor that waits for the run that comes of a job on a launch queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_provider.links.run import QUEUE_URL, WandbQueueLink, WandbRunLink, remember_url
from airflow_provider.operators.base import remember_run
from airflow_provider.sensors.base import WandbSensor
from airflow_provider.sensors.run import BAD_ENDS, judged
from airflow_provider.triggers.queue import WandbQueuedRunTrigger

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api


class WandbQueuedRunSensor(WandbSensor):
    """Wait until a run came of a job on a launch queue, and until that run ended.

    Returns the run as `wandb_ops.steps.RunStatus`. A job that failed, or was taken off the queue, before a
    run came of it fails the task for good.

    .. code-block:: python

        queued = WandbEnqueueJobOperator(task_id="train", run_queue="gpu", docker_image="train:1")
        ended = WandbQueuedRunSensor(
            task_id="wait",
            run_queue="gpu",
            item_id=queued.output["item_id"],
            run_id=queued.output["run_id"],
            deferrable=True,
        )

    :param run_queue: (templated) the launch queue.
    :param item_id: (templated) the job on it, as `WandbEnqueueJobOperator` gives it; empty when it queued
        nothing, as the run was there.
    :param project: (templated) project that the run is logged to; None for the connection's.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param run_id: (templated) the run; needed when there may be no item.
    :param until: ``"finished"``, or ``"running"`` to wait only until there is a run.
    :param fail_on: states that fail the task, without a retry.
    :param max_poll_failures: so many looks in a row may fail with something that may pass.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param poke_interval: seconds between looks.
    :param timeout: seconds until the task fails with `AirflowSensorTimeout`.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("run_queue", "item_id", "project", "entity", "run_id", "wandb_conn_id")
    operator_extra_links = (WandbRunLink(), WandbQueueLink())

    def __init__(
        self,
        *,
        run_queue: str,
        item_id: str,
        project: str | None = None,
        entity: str | None = None,
        run_id: str = "",
        until: Literal["running", "finished"] = "finished",
        fail_on: Collection[str] = BAD_ENDS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_queue = run_queue
        self.item_id = item_id
        self.project = project
        self.entity = entity
        self.run_id = run_id
        self.until = until
        self.fail_on = fail_on

    def look(self, api: Api, context: Context) -> dict[str, Any] | None:
        """The job, once its run has ended, or begun."""
        from wandb_ops import steps

        self.project = self.project or api.settings.get("project") or ""
        status = steps.queued_run_status(
            api,
            queue=self.run_queue,
            item_id=self.item_id,
            project=self.project,
            entity=self.entity,
            run_id=self.run_id,
        )
        self.log.info("The job is %s: %s", status.state, status.url)
        if status.run is None:
            remember_url(self, context, key=QUEUE_URL, url=status.url)
            return None
        remember_run(self, context, path=status.run.path, url=status.run.url)
        return status.to_json() if self.until == "running" or status.run.terminal else None

    def make_trigger(self, **waiting: Any) -> WandbQueuedRunTrigger:
        """The trigger that looks at the job."""
        return WandbQueuedRunTrigger(
            run_queue=self.run_queue,
            item_id=self.item_id,
            project=self.project or "",
            entity=self.entity,
            run_id=self.run_id,
            until=self.until,
            **waiting,
        )

    def found(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        """The run's status, unless it ended badly."""
        return judged(self, context, result.get("run") or {}, self.fail_on)
