"""The sensor that waits for a run to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider.links.run import WandbRunLink
from airflow_provider.operators.base import remember_run
from airflow_provider.sensors.base import WandbSensor
from airflow_provider.triggers.run import WandbRunTrigger

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow.sdk import Context

    from wandb_ops import Api

BAD_ENDS = ("failed", "crashed", "killed", "preempted")


class WandbRunSensor(WandbSensor):
    """Wait until a run has ended; fail when it ended badly.

    Returns the run as `wandb_ops.steps.RunStatus`: ``state``, ``succeeded``, ``history_lines``, ``url`` and
    so on. With ``deferrable=True`` the wait is the triggerer's and holds no worker.

    :param run: (templated) entity/project/run_id, or a part of it that the connection completes.
    :param fail_on: states that fail the task, without a retry, since the run will not end again. Other ends
        are a success; pass ``()`` to only wait, and decide downstream by the returned ``state``.
    :param max_poll_failures: so many looks in a row may fail with something that may pass.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param poke_interval: seconds between looks.
    :param timeout: seconds until the task fails with `AirflowSensorTimeout`.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("run", "wandb_conn_id")
    operator_extra_links = (WandbRunLink(),)

    def __init__(self, *, run: str, fail_on: Collection[str] = BAD_ENDS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run = run
        self.fail_on = fail_on

    def look(self, api: Api, context: Context) -> dict[str, Any] | None:
        """The run, once it has ended."""
        from wandb_ops import steps

        status = steps.run_status(api, run=self.run)
        remember_run(self, context, path=status.path, url=status.url)
        self.log.info("Run is %s, %d history lines: %s", status.state, status.history_lines, status.url)
        return status.to_json() if status.terminal else None

    def make_trigger(self, **waiting: Any) -> WandbRunTrigger:
        """The trigger that looks at the run."""
        return WandbRunTrigger(run=self.run, **waiting)

    def found(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        """The run's status, unless it ended badly."""
        return judged(self, context, result, self.fail_on)


def judged(
    task: Any, context: Context, status: dict[str, Any], fail_on: Collection[str], *, again: bool = False
) -> dict[str, Any]:
    """The status of a run that has ended, remembered for links and later tasks.

    :param task: the operator that waited.
    :param context: its context.
    :param status: `wandb_ops.steps.RunStatus` as JSON.
    :param fail_on: states that fail the task.
    :param again: whether another try starts another run, so that retries apply.
    :raises AirflowFailException: it ended in one of those, and will not end again.
    :raises AirflowException: it ended in one of those, and another try may do better.
    """
    try:
        path, url, state = (str(status[key]) for key in ("path", "url", "state"))
    except KeyError as error:
        raise AirflowException(f"the event is none of its own: it has no {error}") from error
    remember_run(task, context, path=path, url=url)
    if state in fail_on:
        message = f"RunFailed: the run ended as {state}: {url}"
        raise AirflowException(message) if again else AirflowFailException(message)
    return status
