"""Triggers that wait for versions of artifacts: one for a task, one that starts DAGs."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider.hooks.wandb import WandbHook
from airflow_provider.triggers.base import WandbTrigger, Watch, log
from wandb_ops.errors import Error, RateLimited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from wandb_ops import Api

_LONGEST_PAUSE = 600.0


class WandbArtifactTrigger(WandbTrigger):
    """Look until a name means a version (another one than before); finds `wandb_ops.steps.ArtifactResult`.

    :param artifact: ``entity/project/name:alias``.
    :param artifact_type: its type, or None.
    :param other_than: version (``v3``) that does not count, or None.
    :param waiting: as for `WandbTrigger`.
    """

    def __init__(
        self,
        *,
        artifact: str,
        artifact_type: str | None = None,
        other_than: str | None = None,
        **waiting: Any,
    ) -> None:
        super().__init__(**waiting)
        self.artifact = artifact
        self.artifact_type = artifact_type
        self.other_than = other_than

    def arguments(self) -> dict[str, Any]:
        """What is waited for."""
        return {name: getattr(self, name) for name in ("artifact", "artifact_type", "other_than")}

    @property
    def subject(self) -> str:
        """The version."""
        return f"a version of {self.artifact}"

    def look(self, api: Api) -> dict[str, Any] | None:
        """The version, once it is there."""
        from wandb_ops import steps

        found = steps.artifact_status(api, artifact=self.artifact, type=self.artifact_type)
        return None if found is None or found.version == self.other_than else found.to_json()


class WandbArtifactEventTrigger(BaseEventTrigger):
    """Send an event for each new version of a collection, for ever: for an `AssetWatcher`, which starts DAGs.

    .. code-block:: python

        watcher = AssetWatcher(
            name="new-models",
            trigger=WandbArtifactEventTrigger(collection="team/churn/model", artifact_type="model"),
        )
        models = Asset(name="models", uri="wandb://team/churn/model", watchers=[watcher])

    Each event is `wandb_ops.steps.ArtifactResult`, oldest first. The first start tells only of what comes
    after it. From Airflow 3.3 on, what was told is kept with the asset, so that versions which come while no
    triggerer runs are told afterwards, and one that was told in the moment of a crash is told again; before,
    a triggerer that restarts does not know of them. Whatever fails is logged, and looked at again later.

    :param collection: ``entity/project/name``.
    :param artifact_type: its type; None asks for it at each look, with one more request.
    :param poll_interval: seconds between looks.
    :param wandb_conn_id: the connection.
    """

    def __init__(
        self,
        *,
        collection: str,
        artifact_type: str | None = None,
        poll_interval: float = 60.0,
        wandb_conn_id: str | None = WandbHook.default_conn_name,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own gap
        self.collection = collection
        self.artifact_type = artifact_type
        self.poll_interval = poll_interval
        self.wandb_conn_id = wandb_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and the arguments to make it again elsewhere."""
        names = ("collection", "artifact_type", "poll_interval", "wandb_conn_id")
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {name: getattr(self, name) for name in names},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield an event for each version that comes."""
        watch = Watch(self.wandb_conn_id)
        told = await self._told()
        failures = 0
        while True:
            pause = self.poll_interval
            try:
                found = await watch.look(partial(self._look, after=told))
            except Error as error:
                failures += 1
                pause = pause_after(self.poll_interval, failures)
                if isinstance(error, RateLimited) and error.retry_after is not None:
                    pause = max(pause, error.retry_after)
                log.warning("Cannot look at %s; again in %.0f s: %s", self.collection, pause, error)
            else:
                failures = 0
                if told is None:  # the first look of all: what is there is not new
                    told = max((one["index"] for one in found), default=-1)
                    found = []
                    await self._tell(told)
                for one in found:
                    yield TriggerEvent(one)  # type: ignore[no-untyped-call]  # Airflow's own gap
                    told = one["index"]
                    await self._tell(told)
            await asyncio.sleep(pause)

    def _look(self, api: Api, *, after: int | None) -> list[dict[str, Any]]:
        from wandb_ops import steps

        found = steps.list_artifact_versions(
            api, collection=self.collection, type=self.artifact_type, after=-1 if after is None else after
        )
        return [one.to_json() for one in found]

    @property
    def _key(self) -> str:
        return f"wandb_told:{self.collection}"

    async def _told(self) -> int | None:
        store = getattr(self, "asset_state_store", None)
        known: Any = None
        if store is not None:
            with _state_may_fail(self.collection):
                known = await store.aget(self._key)
        return known if isinstance(known, int) else None

    async def _tell(self, index: int) -> None:
        store = getattr(self, "asset_state_store", None)
        if store is not None:
            with _state_may_fail(self.collection):
                await store.aset(self._key, index)


def pause_after(poll_interval: float, failures: int) -> float:
    """Seconds until the next look after so many failures in a row."""
    longer = poll_interval * 2.0 ** min(failures, 20)
    return max(poll_interval, min(_LONGEST_PAUSE, longer))


@contextmanager
def _state_may_fail(collection: str) -> Iterator[None]:
    """Without the asset's state a restart forgets what was told; that is no reason to tell nothing any more.

    It cannot be read while Airflow's server is away, nor when two assets share one trigger.
    """
    try:
        yield
    except (AirflowException, AirflowRuntimeError, ValueError, OSError) as error:
        log.warning("What was told of %s is not kept with the asset: %s", collection, error)
