"""The sensor that waits for a run to end."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    conf,
)
from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider.failures import airflow_failures
from airflow_provider.hooks.wandb import WandbHook
from airflow_provider.links.run import WandbRunLink
from airflow_provider.operators.base import remember_run
from airflow_provider.triggers.run import WandbRunTrigger

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow.sdk import Context

BAD_ENDS = ("failed", "crashed", "killed", "preempted")


class WandbRunSensor(BaseSensorOperator):
    """Wait until a run has ended; fail when it ended badly.

    Returns the run as `wandb_ops.steps.RunStatus`: ``state``, ``succeeded``, ``history_lines``, ``url`` and
    so on. With ``deferrable=True`` the wait is the triggerer's and holds no worker.

    :param run: (templated) entity/project/run_id, or a part of it that the connection completes.
    :param fail_on: states that fail the task, without a retry, since the run will not end again. Other ends
        are a success; pass ``()`` to only wait, and decide downstream by the returned ``state``.
    :param max_poll_failures: when deferred, so many looks in a row may fail with something that may pass.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param poke_interval: seconds between looks.
    :param timeout: seconds until the task fails with `AirflowSensorTimeout`.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("run", "wandb_conn_id")
    operator_extra_links = (WandbRunLink(),)
    ui_color = "#fff7db"

    def __init__(
        self,
        *,
        run: str,
        fail_on: Collection[str] = BAD_ENDS,
        max_poll_failures: int = 5,
        poke_interval: timedelta | float = 30.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        wandb_conn_id: str | None = WandbHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.run = run
        self.fail_on = fail_on
        self.max_poll_failures = max_poll_failures
        self.deferrable = deferrable
        self.wandb_conn_id = wandb_conn_id

    @cached_property
    def hook(self) -> WandbHook:
        """The hook, made after templates were rendered."""
        return WandbHook(self.wandb_conn_id)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the run once."""
        from wandb_ops import steps

        with airflow_failures(context):
            status = steps.run_status(self.hook.get_conn(), run=self.run)
        remember_run(self, context, path=status.path, url=status.url)
        self.log.info("Run is %s, %d history lines: %s", status.state, status.history_lines, status.url)
        if not status.terminal:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._judge(status.to_json()))

    def execute(self, context: Context) -> Any:
        """Wait here, or look once and leave the rest to the triggerer."""
        if not self.deferrable:
            return super().execute(context)
        try:
            first = self.poke(context)
        except AirflowFailException as error:
            # Airflow applies these two when waiting here and when resuming, but not before a deferral.
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping: {error}") from error
            raise
        if first.is_done:
            return first.xcom_value
        trigger = WandbRunTrigger(
            run=self.run,
            end_time=time.time() + self.timeout,
            poll_interval=self.poke_interval,
            max_poll_failures=self.max_poll_failures,
            wandb_conn_id=self.wandb_conn_id,
        )
        # The trigger reports its timeout in words; Airflow's comes later, and only when no triggerer runs.
        grace = timedelta(seconds=self.timeout + self.poke_interval + 300)
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=grace)

    def execute_complete(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Take the trigger's event; the task's result, or its failure."""
        match event:
            case {"status": "ended", "run": {"path": str(path), "url": str(url), "state": str()} as status}:
                remember_run(self, context, path=path, url=url)
                return self._judge(dict(status))
            case {"status": "timeout", "message": str(message)}:
                raise AirflowSensorTimeout(message)
            case {"status": "error", "message": str(message), "retryable": True}:
                raise AirflowException(message)
            case {"status": "error", "message": str(message)}:
                raise AirflowFailException(message)
            case _:
                raise AirflowException(f"the trigger sent an event that is none of its own: {event!r}")

    def _judge(self, status: dict[str, Any]) -> dict[str, Any]:
        if status["state"] in self.fail_on:
            raise AirflowFailException(f"RunFailed: the run ended as {status['state']}: {status['url']}")
        return status
