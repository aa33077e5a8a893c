"""The operator that has a job run by W&B Launch: puts it on a queue, and waits for its run if asked to."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowException, AirflowSensorTimeout, conf

from airflow_provider.links.run import QUEUE_URL, WandbQueueLink, WandbRunLink, remember_url
from airflow_provider.operators.base import WandbOperator, own_run_id, tell_assets
from airflow_provider.sensors.base import event_result
from airflow_provider.sensors.run import BAD_ENDS, judged
from airflow_provider.triggers.queue import WandbQueuedRunTrigger
from wandb_ops.errors import Error, NotFoundError, QueueItemFailed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api
    from wandb_ops.steps import QueuedRunStatus

STORED_JOB = "wandb_queued_job"
"""Where the job is kept for the next try, in Airflow's task state (3.3 and newer)."""


CANCEL_SECONDS = 25.0
"""A killed task may take so long to take its job back; the supervisor ends it soon after."""


class WandbEnqueueJobOperator(WandbOperator):
    """Put a job on a launch queue and, if asked to, wait until the run that comes of it has ended.

    The run's id comes from DAG, DAG run, task and map index, so that a retried or cleared task finds the run
    of the try before it and queues nothing. While no agent has begun that run, the job itself is found again
    only where Airflow keeps a task's state over tries (3.3 and newer); before, such a try queues a second
    item. Both lead to the one run.

    Returns `wandb_ops.steps.QueuedJobResult` (``item_id``, ``run_id``, ``path``, ``enqueued``), and when it
    waits, the run as `wandb_ops.steps.RunStatus`. XCom keys ``run_id`` (before the first request),
    ``item_id``, ``run_path`` when there is a run, ``wandb_queue_url``, ``wandb_run_url``.

    A task that is killed while it waits takes its job off the queue, or has its run stop; a deferred one does
    so from Airflow 3.3 on.

    :param run_queue: (templated) the launch queue. (``queue`` is Airflow's own word for its workers'.)
    :param project: (templated) project that the run is logged to; None for the connection's.
    :param job: (templated) ``entity/project/job-name:alias``; or
    :param docker_image: (templated) an image.
    :param entity: (templated) user or team; None for the connection's, else the account's default.
    :param run_id: (templated) id of the run; None derives it.
    :param name: (templated) name shown of the run.
    :param run_config: (templated) hyperparameters.
    :param entry_point: (templated) the command, in place of the job's.
    :param arguments: (templated) arguments of the command.
    :param resource_args: ``{resource: {...}}``, over the queue's own config. No Airflow template: its
        ``{{name}}`` are W&B's own.
    :param template_variables: (templated) values of the queue's template variables.
    :param priority: (templated) 0 (critical) to 3 (low), where the queue has priorities.
    :param relaunch: when a run of an earlier try ended badly, launch another one (``…-2``, ``…-3``); then a
        bad end costs a retry instead of failing the task at once.
    :param wait_for_completion: wait until the run has ended.
    :param fail_on: with `wait_for_completion`: states that fail the task.
    :param poll_interval: seconds between looks.
    :param wait_timeout: seconds to wait at most; then this try fails, and the next one waits on.
    :param cancel_on_kill: take back the job when the waiting task is killed.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = (
        "run_queue",
        "project",
        "job",
        "docker_image",
        "entity",
        "run_id",
        "name",
        "run_config",
        "entry_point",
        "arguments",
        "template_variables",
        "priority",
        "wandb_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "run_config": "json",
        "template_variables": "json",
        "entry_point": "json",
        "arguments": "json",
    }
    operator_extra_links = (WandbRunLink(), WandbQueueLink())

    def __init__(
        self,
        *,
        run_queue: str,
        project: str | None = None,
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
        priority: int | str | None = None,
        relaunch: bool = False,
        wait_for_completion: bool = False,
        fail_on: Collection[str] = BAD_ENDS,
        poll_interval: float = 30.0,
        wait_timeout: float = 7 * 24 * 3600.0,
        cancel_on_kill: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_queue = run_queue
        self.project = project
        self.job = job
        self.docker_image = docker_image
        self.entity = entity
        self.run_id = run_id
        self.name = name
        self.run_config = run_config
        self.entry_point = entry_point
        self.arguments = arguments
        self.resource_args = resource_args
        self.template_variables = template_variables
        self.priority = priority
        self.relaunch = relaunch
        self.wait_for_completion = wait_for_completion
        self.fail_on = fail_on
        self.poll_interval = poll_interval
        self.wait_timeout = wait_timeout
        self.cancel_on_kill = cancel_on_kill
        self.deferrable = deferrable
        self._waits_for: dict[str, Any] | None = None

    @property
    def retried(self) -> tuple[type[Error], ...]:
        """A job that failed before a run came of it costs a retry where that launches again."""
        return (QueueItemFailed,) if self.relaunch else ()

    def run_step(self, api: Api, context: Context) -> dict[str, Any]:
        """Queue the job, or find that it is queued; then wait, if asked to."""
        queued = self._kept(api, context) or self._enqueue(api, context)
        ti = context["ti"]
        ti.xcom_push(key="run_id", value=queued["run_id"])
        ti.xcom_push(key="item_id", value=queued["item_id"])
        if queued["path"]:
            ti.xcom_push(key="run_path", value=queued["path"])
        remember_url(self, context, key=QUEUE_URL, url=queued["url"])
        return self._wait(api, context, queued) if self.wait_for_completion else queued

    def execute_complete(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        queued: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Take the trigger's event; the run's status, or the task's failure."""
        if queued:  # links are the worker's own, and this is another one
            remember_url(self, context, key=QUEUE_URL, url=str(queued["url"]))
        if event and event.get("error") in {error.__name__ for error in self.retried}:
            raise AirflowException(str(event.get("message")))
        try:
            result = event_result(event)
        except AirflowSensorTimeout as error:  # after which Airflow retries no task
            raise AirflowException(str(error)) from error
        status = judged(self, context, result.get("run") or {}, self.fail_on, again=self.relaunch)
        tell_assets(self, context, status)
        return status

    def on_kill(self) -> None:
        """Take back the job that is waited for; Airflow calls this when the task is killed."""
        if self._waits_for is None or not self.cancel_on_kill:
            return
        # In a thread: this is a signal handler, and the code that it interrupted may hold the client's locks.
        thread = threading.Thread(target=self._take_back, args=(dict(self._waits_for),), daemon=True)
        thread.start()
        thread.join(CANCEL_SECONDS)
        if thread.is_alive():
            self.log.warning("The task was killed, but its job goes on: W&B did not answer in time")

    def _take_back(self, job: dict[str, Any]) -> None:
        from wandb_ops import steps

        try:
            done = steps.cancel_queued_job(self.hook.get_conn(), **job)
            self.log.info("The task was killed; its job is %s", done.action)
        except Error as error:
            self.log.warning("The task was killed, but its job goes on: %s", error)

    def _enqueue(self, api: Api, context: Context) -> dict[str, Any]:
        from wandb_ops import steps

        run_id = self.run_id or own_run_id(context)
        context["ti"].xcom_push(key="run_id", value=run_id)
        queued = steps.enqueue_job(
            api,
            queue=self.run_queue,
            project=self.project_of(api),
            job=self.job,
            docker_image=self.docker_image,
            entity=self.entity,
            run_id=run_id,
            name=self.name,
            run_config=self.run_config,
            entry_point=self.entry_point,
            arguments=self.arguments,
            resource_args=self.resource_args,
            template_variables=self.template_variables,
            priority=None if self.priority is None else int(self.priority),
            relaunch=self.relaunch,
        ).to_json()
        store = context.get("task_state_store")
        if store is not None and queued["item_id"]:
            store.set(STORED_JOB, queued)
        self.log.info("%s: %s", queued["path"], "queued" if queued["enqueued"] else "there already")
        return queued

    def _kept(self, api: Api, context: Context) -> dict[str, Any] | None:
        """The job that an earlier try queued and that still waits for an agent."""
        store = context.get("task_state_store")
        kept = store.get(STORED_JOB) if store is not None else None
        if not isinstance(kept, dict) or kept.get("queue") != self.run_queue:
            return None
        try:
            status = self._status(api, _job(kept))
        except (QueueItemFailed, NotFoundError):
            return None
        if status.run is not None:
            return None  # found again by its id
        self.log.info("An earlier try queued the job: %s", kept["item_id"])
        return {**kept, "enqueued": False}

    def _wait(self, api: Api, context: Context, queued: dict[str, Any]) -> dict[str, Any]:
        from wandb_ops import steps

        job = _job(queued)
        end_time = time.time() + self.wait_timeout
        if self.deferrable:
            status = self._status(api, job)
            if status.run is None or not status.run.terminal:
                job["run_queue"] = job.pop("queue")
                trigger = WandbQueuedRunTrigger(
                    **job,
                    cancel_on_kill=self.cancel_on_kill,
                    end_time=end_time,
                    poll_interval=self.poll_interval,
                    wandb_conn_id=self.wandb_conn_id,
                )
                grace = timedelta(seconds=self.wait_timeout + self.poll_interval + 300)
                self.defer(
                    trigger=trigger, method_name="execute_complete", timeout=grace, kwargs={"queued": queued}
                )
            ended = status.run
        else:
            self._waits_for = job
            ended = steps.wait_for_queued_run(
                api,
                **job,
                timeout=self.wait_timeout,
                poll_interval=self.poll_interval,
                fail_on_bad_end=False,
            )
            self._waits_for = None
        return judged(self, context, ended.to_json(), self.fail_on, again=self.relaunch)

    def _status(self, api: Api, job: Mapping[str, Any]) -> QueuedRunStatus:
        from wandb_ops import steps

        return steps.queued_run_status(api, **job)


def _job(queued: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by which the steps know a job."""
    return {name: queued[name] for name in ("queue", "item_id", "project", "entity", "run_id")}
