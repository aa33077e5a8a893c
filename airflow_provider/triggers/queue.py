"""The trigger that waits for the run that comes of a job on a launch queue."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider.triggers.base import WandbTrigger, Watch, log
from wandb_ops.errors import Error

if TYPE_CHECKING:
    from wandb_ops import Api


class WandbQueuedRunTrigger(WandbTrigger):
    """Look at a job until its run has ended; the event's result is `wandb_ops.steps.QueuedRunStatus`.

    A person who marks or clears the waiting task takes the job off its queue, or has its run stop, where that
    was asked for (Airflow 3.3 and newer tell the trigger).

    :param run_queue: the launch queue.
    :param item_id: the job on it; empty when the run was there already.
    :param project: project that the run is logged to.
    :param entity: user or team; None for the connection's.
    :param run_id: the run; needed without an item only.
    :param until: ``"finished"``, or ``"running"`` to wait only until there is a run.
    :param cancel_on_kill: take back the job when somebody ends the waiting task.
    :param waiting: as for `WandbTrigger`.
    """

    def __init__(
        self,
        *,
        run_queue: str,
        item_id: str,
        project: str,
        entity: str | None = None,
        run_id: str = "",
        until: Literal["running", "finished"] = "finished",
        cancel_on_kill: bool = False,
        **waiting: Any,
    ) -> None:
        super().__init__(**waiting)
        self.run_queue = run_queue
        self.item_id = item_id
        self.project = project
        self.entity = entity
        self.run_id = run_id
        self.until = until
        self.cancel_on_kill = cancel_on_kill

    def arguments(self) -> dict[str, Any]:
        """The job, and until when to wait."""
        names = ("run_queue", "item_id", "project", "entity", "run_id", "until", "cancel_on_kill")
        return {name: getattr(self, name) for name in names}

    @property
    def subject(self) -> str:
        """The run of the job."""
        return f"the run of job {self.item_id or self.run_id} on queue {self.run_queue}"

    def look(self, api: Api) -> dict[str, Any] | None:
        """The job, once its run has ended, or begun."""
        from wandb_ops import steps

        status = steps.queued_run_status(api, **self._job())
        come = status.run is not None and (self.until == "running" or status.run.terminal)
        return status.to_json() if come else None

    async def on_kill(self) -> None:
        """Take back the job; Airflow calls this when a person ends the waiting task, not on restarts."""
        if not self.cancel_on_kill:
            return

        def cancel(api: Api) -> str:
            from wandb_ops import steps

            return steps.cancel_queued_job(api, **self._job()).action

        try:
            action = await asyncio.wait_for(Watch(self.wandb_conn_id).look(cancel), 25)
            log.info("The task was ended by hand; job %s is %s", self.item_id, action)
        except (Error, TimeoutError) as error:
            log.warning("The task was ended by hand, but job %s goes on: %s", self.item_id, error)

    def _job(self) -> dict[str, Any]:
        return {
            "queue": self.run_queue,
            "item_id": self.item_id,
            "project": self.project,
            "entity": self.entity,
            "run_id": self.run_id,
        }
