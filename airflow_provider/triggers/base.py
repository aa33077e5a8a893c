"""What all triggers share: looks from threads of their own, patience with failures, one event."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider.failures import retry_may_help
from airflow_provider.hooks.wandb import WandbHook
from wandb_ops.errors import Error, RateLimited, TransportError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from wandb_ops import Api

log = logging.getLogger("wandb_ops.airflow")

Found = TypeVar("Found")

_THREADS = 8
_LAST_LOOK = 30.0  # seconds that a look may take though the time is up: a triggerer may have been down


class WandbTrigger(BaseTrigger):
    """Look at W&B until there is something to tell, then send one event.

    It only reads, so a triggerer that restarts may run it again. The deadline is a time of day, not a
    duration, so a restart does not make the wait longer. The event is one of

    * ``{"status": "done", "result": {...}}``, what `look` found, as plain JSON;
    * ``{"status": "timeout", "message": ...}``;
    * ``{"status": "error", "error": class, "message": ..., "retryable": bool}``.

    A rate limit is waited out and is no failure. The key is fetched by the triggerer; it is no argument here.

    :param end_time: when to give up, in seconds since the epoch.
    :param poll_interval: seconds between looks.
    :param max_poll_failures: so many looks in a row may fail with something that may pass.
    :param wandb_conn_id: the connection.
    """

    def __init__(
        self,
        *,
        end_time: float,
        poll_interval: float = 30.0,
        max_poll_failures: int = 5,
        wandb_conn_id: str | None = WandbHook.default_conn_name,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own gap
        self.end_time = end_time
        self.poll_interval = poll_interval
        self.max_poll_failures = max_poll_failures
        self.wandb_conn_id = wandb_conn_id

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The arguments that are the subclass's own, as plain JSON."""

    @abstractmethod
    def look(self, api: Api) -> dict[str, Any] | None:
        """What was waited for, or None while it has not come; called in a thread."""

    @property
    @abstractmethod
    def subject(self) -> str:
        """What is waited for, in words."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and the arguments to make it again elsewhere."""
        waiting = ("end_time", "poll_interval", "max_poll_failures", "wandb_conn_id")
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {**self.arguments(), **{name: getattr(self, name) for name in waiting}},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield exactly one event."""
        yield TriggerEvent(await self._wait())  # type: ignore[no-untyped-call]  # Airflow's own gap

    async def _wait(self) -> dict[str, Any]:
        failures = 0
        watch = Watch(self.wandb_conn_id)
        while True:
            pause = self.poll_interval
            try:
                time_left = max(self.end_time - time.time(), _LAST_LOOK)
                found = await asyncio.wait_for(watch.look(self.look), time_left)
            except Error as error:
                if isinstance(error, RateLimited) and error.retry_after is not None:
                    pause = max(pause, error.retry_after)
                    log.warning("W&B asks to wait %.0f s before the next look", error.retry_after)
                else:
                    failures += 1
                    if not retry_may_help(error) or failures > self.max_poll_failures:
                        return error_event(error)
                    log.warning("Look %d of %d failed: %s", failures, self.max_poll_failures, error)
            except TimeoutError:
                log.warning("A look at %s had no answer until the time was up", self.subject)
            else:
                failures = 0
                if found is not None:
                    return {"status": "done", "result": found}
            left = self.end_time - time.time()
            if left <= 0:
                return {"status": "timeout", "message": f"{self.subject}: it did not come in time"}
            await asyncio.sleep(min(pause, left))


class Watch:
    """A client for looks from an event loop: made at the first look, and made anew after a failed one.

    So a key that was changed while a trigger waits is taken up. The looks have threads of their own: a W&B
    that hangs holds up no other trigger of the same triggerer.

    :param wandb_conn_id: the connection.
    """

    def __init__(self, wandb_conn_id: str | None) -> None:
        self._conn_id = wandb_conn_id
        self._api: Api | None = None

    async def look(self, what: Callable[[Api], Found]) -> Found:
        """What `what` finds, called in a thread.

        :raises wandb_ops.Error: it failed, or there is no such connection.
        """
        fresh = self._api is None
        try:
            return await self._once(what)
        except Error as error:
            self._api = None
            if fresh or retry_may_help(error):
                raise
        return await self._once(what)

    async def _once(self, what: Callable[[Api], Found]) -> Found:
        if self._api is None:
            self._api = await self._connect()
        call = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(_threads(), call, what, self._api)

    async def _connect(self) -> Api:
        try:
            # asgiref's thread, since fetching the connection calls back into the triggerer's event loop.
            return await sync_to_async(WandbHook(self._conn_id).get_conn)()
        except AirflowNotFoundException as error:
            raise UsageError(str(error), where=f"connection {self._conn_id}") from error
        except (AirflowException, AirflowRuntimeError) as error:
            raise TransportError(
                "Airflow did not give the connection", where=f"connection {self._conn_id}"
            ) from error


def error_event(error: Error) -> dict[str, Any]:
    """The event that tells of an error."""
    return {
        "status": "error",
        "error": type(error).__name__,
        "message": f"{type(error).__name__}: {error}",
        "retryable": retry_may_help(error),
    }


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="wandb-look")
