"""The trigger that waits for a run without holding a worker."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider.failures import retry_may_help
from airflow_provider.hooks.wandb import WandbHook
from wandb_ops.errors import Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wandb_ops import Api

log = logging.getLogger("wandb_ops.airflow")


class WandbRunTrigger(BaseTrigger):
    """Look at a run until it has ended, then send one event.

    It only reads, so a triggerer that restarts may run it again. The deadline is a time of day, not a
    duration, so a restart does not make the wait longer. The event is one of

    * ``{"status": "ended", "run": {...}}`` with `wandb_ops.steps.RunStatus` as plain JSON;
    * ``{"status": "timeout", "message": ...}``;
    * ``{"status": "error", "message": ..., "retryable": bool}``.

    :param run: entity/project/run_id.
    :param end_time: when to give up, in seconds since the epoch.
    :param poll_interval: seconds between looks.
    :param max_poll_failures: so many looks in a row may fail with something that may pass.
    :param wandb_conn_id: the connection; its key is fetched by the triggerer and is no argument here.
    """

    def __init__(
        self,
        *,
        run: str,
        end_time: float,
        poll_interval: float = 30.0,
        max_poll_failures: int = 5,
        wandb_conn_id: str | None = WandbHook.default_conn_name,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own gap
        self.run_path = run
        self.end_time = end_time
        self.poll_interval = poll_interval
        self.max_poll_failures = max_poll_failures
        self.wandb_conn_id = wandb_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and the arguments to make it again elsewhere."""
        return (
            "airflow_provider.triggers.run.WandbRunTrigger",
            {
                "run": self.run_path,
                "end_time": self.end_time,
                "poll_interval": self.poll_interval,
                "max_poll_failures": self.max_poll_failures,
                "wandb_conn_id": self.wandb_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield exactly one event."""
        yield TriggerEvent(await self._wait())  # type: ignore[no-untyped-call]  # Airflow's own gap

    async def _wait(self) -> dict[str, Any]:
        failures = 0
        api: Api | None = None
        while True:
            try:
                # asgiref's thread, since fetching the connection calls back into the triggerer's event loop.
                api = api or await sync_to_async(WandbHook(self.wandb_conn_id).get_conn)()
                status = await asyncio.to_thread(_look, api, self.run_path)
            except Error as error:
                failures += 1
                retryable = retry_may_help(error)
                if not retryable or failures > self.max_poll_failures:
                    message = f"{type(error).__name__}: {error}"
                    return {"status": "error", "message": message, "retryable": retryable}
                log.warning("Look %d of %d failed: %s", failures, self.max_poll_failures, error)
            else:
                failures = 0
                if status["terminal"]:
                    return {"status": "ended", "run": status}
            left = self.end_time - time.time()
            if left <= 0:
                return {"status": "timeout", "message": f"{self.run_path} has not ended in time"}
            await asyncio.sleep(min(self.poll_interval, left))


def _look(api: Api, run: str) -> dict[str, Any]:
    from wandb_ops import steps

    return steps.run_status(api, run=run).to_json()
