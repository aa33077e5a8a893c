"""What all sensors share: a look, the same patience on a worker as in the triggerer, the trigger's event."""

from __future__ import annotations

import time
from abc import abstractmethod
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

from airflow_provider.failures import airflow_failures, retry_may_help
from airflow_provider.hooks.wandb import WandbHook
from airflow_provider.operators.base import tell_assets
from wandb_ops.errors import Error, RateLimited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider.triggers.base import WandbTrigger
    from wandb_ops import Api


class WandbSensor(BaseSensorOperator):
    """Look until something has come.

    Subclasses look once in `look`, name the trigger that looks the same way, and say in `found` what comes of
    it.

    :param max_poll_failures: so many looks in a row may fail with something that may pass. In the mode
        ``"reschedule"`` each look counts alone, and `timeout` is what ends them.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param poke_interval: seconds between looks.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("wandb_conn_id",)
    ui_color = "#fff7db"

    def __init__(
        self,
        *,
        max_poll_failures: int = 5,
        poke_interval: timedelta | float = 30.0,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        wandb_conn_id: str | None = WandbHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.max_poll_failures = max_poll_failures
        self.deferrable = deferrable
        self.wandb_conn_id = wandb_conn_id
        self._failures = 0

    @cached_property
    def hook(self) -> WandbHook:
        """The hook, made after templates were rendered."""
        return WandbHook(self.wandb_conn_id)

    @abstractmethod
    def look(self, api: Api, context: Context) -> dict[str, Any] | None:
        """What has come, as plain JSON, or None while it has not."""

    @abstractmethod
    def make_trigger(self, **waiting: Any) -> WandbTrigger:
        """The trigger that looks the same way."""

    def found(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """The task's result, or its failure."""
        return result

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        with airflow_failures(context):
            try:
                result = self.look(self.hook.get_conn(), context)
            except RateLimited as error:
                if not self.reschedule:
                    raise
                # The next look comes anyway, and `timeout` ends these, not LONGEST_RATE_LIMIT.
                self.log.warning("W&B asks to slow down: %s", error)
                return PokeReturnValue(is_done=False)
            except Error as error:
                self._failures += 1
                if not retry_may_help(error) or self._failures > self.max_poll_failures:
                    raise
                self.log.warning("Look %d of %d failed: %s", self._failures, self.max_poll_failures, error)
                return PokeReturnValue(is_done=False)
        self._failures = 0
        if result is None:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self.found(context, result))

    def execute(self, context: Context) -> Any:
        """Wait here, or look once and leave the rest to the triggerer."""
        if not self.deferrable:
            return self._told(context, super().execute(context))
        try:
            first = self.poke(context)
        except AirflowFailException as error:
            # Airflow applies these two when waiting here and when resuming, but not before a deferral.
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(f"Skipping: {error}") from error
            raise
        if first.is_done:
            return self._told(context, first.xcom_value)
        trigger = self.make_trigger(
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
        result = self.found(context, event_result(event))
        tell_assets(self, context, result)
        return result

    def _told(self, context: Context, result: Any) -> Any:
        """The result, once the assets among the outlets know of it."""
        if isinstance(result, dict):
            tell_assets(self, context, result)
        return result


def event_result(event: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the event of a `WandbTrigger` tells.

    :raises AirflowSensorTimeout: it did not come in time.
    :raises AirflowFailException: the trigger failed, and a retry cannot help.
    :raises AirflowException: it failed otherwise, or the event is none of its own.
    """
    match event:
        case {"status": "done", "result": dict() as result}:
            return dict(result)
        case {"status": "timeout", "message": str(message)}:
            raise AirflowSensorTimeout(message)
        case {"status": "error", "message": str(message), "retryable": True}:
            raise AirflowException(message)
        case {"status": "error", "message": str(message)}:
            raise AirflowFailException(message)
        case _:
            raise AirflowException(f"the trigger sent an event that is none of its own: {event!r}")
