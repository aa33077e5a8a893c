"""The sensor that waits for a sweep to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider.links.run import SWEEP_URL, WandbSweepLink, remember_url
from airflow_provider.sensors.base import WandbSensor
from airflow_provider.triggers.sweep import WandbSweepTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from wandb_ops import Api


class WandbSweepSensor(WandbSensor):
    """Wait until a sweep has ended; fail for good when it ended otherwise than ``FINISHED``.

    Returns `wandb_ops.steps.SweepResult`: ``state``, ``runs``, ``best_run`` (entity/project/run_id) and so
    on.

    :param sweep: (templated) entity/project/sweep_id, or a part of it that the connection completes.
    :param max_poll_failures: so many looks in a row may fail with something that may pass.
    :param deferrable: wait in the triggerer; default from ``[operators] default_deferrable``.
    :param poke_interval: seconds between looks.
    :param timeout: seconds until the task fails with `AirflowSensorTimeout`.
    :param wandb_conn_id: (templated) the connection.
    """

    template_fields: Sequence[str] = ("sweep", "wandb_conn_id")
    operator_extra_links = (WandbSweepLink(),)

    def __init__(self, *, sweep: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sweep = sweep

    def look(self, api: Api, context: Context) -> dict[str, Any] | None:
        """The sweep, once it has ended."""
        from wandb_ops import steps

        status = steps.sweep_status(api, sweep=self.sweep)
        remember_url(self, context, key=SWEEP_URL, url=status.url)
        self.log.info("The sweep is %s, %d runs: %s", status.state, status.runs, status.url)
        return status.to_json() if status.ended else None

    def make_trigger(self, **waiting: Any) -> WandbSweepTrigger:
        """The trigger that looks at the sweep."""
        return WandbSweepTrigger(sweep=self.sweep, **waiting)

    def found(self, context: Context, result: dict[str, Any]) -> dict[str, Any]:
        """The sweep, unless it ended badly."""
        remember_url(self, context, key=SWEEP_URL, url=str(result["url"]))
        if not result["succeeded"]:
            raise AirflowFailException(f"RunFailed: the sweep ended as {result['state']}: {result['url']}")
        return result
