"""`RunQueue` and `QueuedRun`: W&B Launch."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import (
    AmbiguousOutcome,
    CommError,
    NotFoundError,
    QueueItemFailed,
    UnsupportedServer,
)
from wandb_ops.polling import NotYet, wait_for
from wandb_ops.protocol.documents import launch as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.launch.queues import QUEUE_PROJECT, QueueState, read_queue
from wandb_ops.public.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from wandb_ops.transport.session import Transport

RunQueueResourceType = Literal["local-container", "local-process", "kubernetes", "sagemaker", "gcp-vertex"]
RunQueuePrioritizationMode = Literal["DISABLED", "V0"]

#: States of an item that lead to no run. Others, known or not, go on.
FAILED_ITEM_STATES = frozenset({"failed", "cancelled", "canceled", "stopped", "killed"})


class RunQueue:
    """A launch queue; what is not known of it is fetched when it is first asked for.

    Args:
        transport: How to reach the server.
        name: The queue's name.
        entity: User or team that owns it.
        state: The queue, where it is known.

    Raises:
        NotFoundError: On the first attribute that needs the server: there is no such queue.
    """

    def __init__(self, transport: Transport, name: str, entity: str, state: QueueState | None = None) -> None:
        self._transport = transport
        self._name = name
        self._entity = entity
        self._state = state
        self._items: list[QueuedRun] | None = None

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._name

    @property
    def entity(self) -> str:
        """User or team that owns it."""
        return self._entity

    @property
    def id(self) -> str:
        """The server's identifier of the queue."""
        return self._loaded().id

    @property
    def access(self) -> str:
        """Who may use it: "PROJECT" or "USER"."""
        return self._loaded().access

    @property
    def type(self) -> str:
        """The kind of resource its jobs run on."""
        return self._loaded().resource_type

    @property
    def prioritization_mode(self) -> str:
        """ "DISABLED" or "V0"."""
        return self._loaded().prioritization_mode

    @property
    def default_resource_config(self) -> dict[str, Any]:
        """The resource config in W&B's form: `{"resource_args": {type: {...}}}`."""
        return self._loaded().stored_config

    @property
    def template_variables(self) -> dict[str, Any]:
        """`{name: {"schema": {...}}}`, as `Api.upsert_run_queue` takes it."""
        return self._loaded().template_variables

    @property
    def external_links(self) -> dict[str, str]:
        """`{label: url}`, as `Api.upsert_run_queue` takes it."""
        return self._loaded().external_links

    @property
    def items(self) -> list[QueuedRun]:
        """What is queued, as it was when first asked for; changing the list changes nothing on the server."""
        if self._items is None:
            self._items = [
                QueuedRun(self._transport, self._entity, QUEUE_PROJECT, self._name, item_id)
                for item_id in self._item_ids()
            ]
        return self._items

    def delete(self) -> None:
        """Delete the queue with what is in it.

        Raises:
            NotFoundError: There is no such queue.
        """
        queue_id = self.id
        try:
            data = execute(self._transport, documents.DELETE_RUN_QUEUE, {"id": queue_id}, where=self._where)
        except AmbiguousOutcome:
            if read_queue(self._transport, self._entity, self._name) is not None:
                raise
        else:
            if not (data.get("deleteRunQueues") or {}).get("success"):
                raise CommError("The server did not delete the queue", where=self._where)
        self._state = None
        self._items = None

    def _item_ids(self) -> list[str]:
        """Ids of all items. The server has no cursor for them, so more are asked for until fewer come."""
        first = 100
        while True:
            variables = {
                "projectName": QUEUE_PROJECT,
                "entityName": self._entity,
                "runQueue": self._name,
                "first": first,
            }
            data = execute(self._transport, documents.GET_RUN_QUEUE_ITEMS, variables, where=self._where)
            queue = (data.get("project") or {}).get("runQueue")
            if queue is None:
                raise NotFoundError("There is no such queue", where=self._where)
            edges = (queue.get("runQueueItems") or {}).get("edges") or []
            if len(edges) < first:
                return [str(edge["node"]["id"]) for edge in edges if edge.get("node")]
            first *= 10

    def _loaded(self) -> QueueState:
        if self._state is None:
            self._state = read_queue(self._transport, self._entity, self._name)
        if self._state is None:
            raise NotFoundError("There is no such queue", where=self._where)
        return self._state

    @property
    def _where(self) -> str:
        return f"{self._entity}/{QUEUE_PROJECT}/{self._name}"

    def __repr__(self) -> str:
        return f"<RunQueue {self._entity}/{self._name}>"


class QueuedRun:
    """A job in a queue, and the run that comes of it.

    Args:
        transport: How to reach the server.
        entity: User or team that owns queue and run.
        project: Project that the run is logged to.
        queue_name: The queue.
        run_queue_item_id: The item in it.
        project_queue: Project that holds the queue.
        priority: As it was queued with.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        queue_name: str,
        run_queue_item_id: str,
        project_queue: str | None = None,
        priority: int | None = None,
    ) -> None:
        self._transport = transport
        self._entity = entity
        self._project = project
        self._queue_name = queue_name
        self._item_id = run_queue_item_id
        self.project_queue = project_queue or QUEUE_PROJECT
        self.priority = priority
        self._run: Run | None = None

    @property
    def id(self) -> str:
        """The item's identifier."""
        return self._item_id

    @property
    def entity(self) -> str:
        """User or team that owns queue and run."""
        return self._entity

    @property
    def project(self) -> str:
        """Project that the run is logged to."""
        return self._project

    @property
    def queue_name(self) -> str:
        """The queue's name."""
        return self._queue_name

    @property
    def state(self) -> str:
        """The item's state in small letters, asked for anew: pending, leased, claimed, failed, ...

        Raises:
            NotFoundError: The queue or the item is gone.
        """
        item = self._item()
        if item is None:
            raise NotFoundError("The queue has no such item", where=self._where)
        return str(item["state"]).lower()

    def wait_until_running(
        self,
        *,
        timeout: float | None = None,
        poll_interval: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> Run:
        """Wait until a run came of the item, and return it.

        Args:
            timeout: Seconds to wait at most; None is for ever.
            poll_interval: Seconds between two looks.
            sleep: For tests.
            clock: For tests.

        Raises:
            QueueItemFailed: The item failed, or was removed, before a run came of it.
            WaitTimeout: It did not happen in time.
            CommError: W&B was away for several looks in a row; fewer than that do not end the wait.
            UsageError: `poll_interval` is not positive, or `timeout` negative.
        """
        if self._run is None:
            self._run = wait_for(
                self._look_for_run,
                what="The item",
                where=self._where,
                timeout=timeout,
                poll_interval=poll_interval,
                sleep=sleep,
                clock=clock,
            )
        return self._run

    def wait_until_finished(
        self,
        *,
        timeout: float | None = None,
        poll_interval: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> Run:
        """Wait until the run that comes of the item ended, and return it as it is then.

        Arguments and errors as for `wait_until_running`; `Run.state` says how it ended.
        """
        started = clock()
        run = self.wait_until_running(timeout=timeout, poll_interval=poll_interval, sleep=sleep, clock=clock)
        left = None if timeout is None else max(0.0, timeout - (clock() - started))
        run.wait_until_finished(timeout=left, poll_interval=poll_interval, sleep=sleep, clock=clock)
        run.load(force=True)
        return run

    def delete(self, delete_artifacts: bool = False) -> None:  # noqa: ARG002 - W&B's own
        """Take the item out of the queue.

        Raises:
            NotFoundError: There is no such queue.
        """
        queue = read_queue(self._transport, self._entity, self._queue_name)
        if queue is None:
            raise NotFoundError("There is no such queue", where=self._where)
        variables = {"queueID": queue.id, "runQueueItemId": self._item_id}
        try:
            data = execute(self._transport, documents.DELETE_FROM_RUN_QUEUE, variables, where=self._where)
        except AmbiguousOutcome:
            if self._item() is not None:
                raise
        else:
            if not (data.get("deleteFromRunQueue") or {}).get("success"):
                raise CommError("The server did not take the item out of the queue", where=self._where)

    def _look_for_run(self) -> Run | NotYet:
        item = self._item()
        state = str(item["state"]).lower() if item else "removed"
        run = self._associated_run(item)
        if run is None and (item is None or state in FAILED_ITEM_STATES):
            raise QueueItemFailed(f"The item is {state}, and no run came of it", where=self._where)
        return NotYet(state) if run is None else run

    def _associated_run(self, item: dict[str, Any] | None) -> Run | None:
        run_id = (item or {}).get("associatedRunId")
        if not run_id:
            return None
        try:
            return Run(self._transport, self._entity, self._project, str(run_id))
        except NotFoundError:
            return None  # named before it is there

    def _item(self) -> dict[str, Any] | None:
        variables = {
            "projectName": self.project_queue,
            "entityName": self._entity,
            "runQueue": self._queue_name,
        }
        try:
            data = execute(
                self._transport,
                documents.GET_RUN_QUEUE_ITEM,
                variables | {"itemId": self._item_id},
                where=self._where,
            )
        except UnsupportedServer:
            data = execute(self._transport, documents.GET_RUN_QUEUE_ITEM_STATES, variables, where=self._where)
            edges = (self._queue(data).get("runQueueItems") or {}).get("edges") or []
            nodes = [edge["node"] for edge in edges if edge.get("node")]
            return next((node for node in nodes if str(node["id"]) == self._item_id), None)
        item: dict[str, Any] | None = self._queue(data).get("runQueueItem")
        return item

    def _queue(self, data: dict[str, Any]) -> dict[str, Any]:
        queue: dict[str, Any] | None = (data.get("project") or {}).get("runQueue")
        if queue is None:
            raise NotFoundError("There is no such queue", where=self._where)
        return queue

    @property
    def _where(self) -> str:
        return f"{self._entity}/{self.project_queue}/{self._queue_name}/{self._item_id}"

    def __repr__(self) -> str:
        return f"<QueuedRun {self._queue_name} ({self._item_id})>"
