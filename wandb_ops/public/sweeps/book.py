"""How a run finds its sweep: the sweeps of a page of runs are asked for together."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import GraphQLError
from wandb_ops.protocol import values
from wandb_ops.protocol.documents import sweeps as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import connection_page
from wandb_ops.public.sweeps.sweeps import Sweep, fetch_sweep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_ops.transport.session import Transport

logger = logging.getLogger("wandb_ops.public")

#: Sweeps asked for in one request by name.
_TOGETHER = 50


class SweepBook:
    """The sweeps that some runs of a project belong to: asked for together when the first one is needed.

    Args:
        transport: How to reach the server.
        entity: User or team that owns the project.
        project: Name of the project.
    """

    def __init__(self, transport: Transport, entity: str, project: str) -> None:
        self._transport = transport
        self._entity = entity
        self._project = project
        self._found: dict[str, Sweep | None] = {}
        self._wanted: dict[str, None] = {}
        self._lock = threading.Lock()

    def want(self, names: Iterable[str | None]) -> None:
        """Names that somebody may ask for."""
        with self._lock:
            self._wanted |= {name: None for name in names if name}

    def add(self, sweep: Sweep) -> None:
        """A sweep that is known already."""
        with self._lock:
            self._found[sweep.id] = sweep

    def get(self, name: str) -> Sweep | None:
        """The sweep of that name, or None when it is gone."""
        with self._lock:
            if name not in self._found:
                self._load_together(name)
            if name not in self._found:
                self._keep(name, fetch_sweep(self._transport, self._entity, self._project, name))
            return self._found[name]

    def _load_together(self, name: str) -> None:
        """Ask for the sweep with others that may be wanted; what does not come is asked for by itself."""
        names = [each for each in (name, *self._wanted) if each not in self._found]
        names = list(dict.fromkeys(names))[:_TOGETHER]
        if len(names) < 2:
            return
        for each in names:
            self._wanted.pop(each, None)
        variables = {
            "entity": self._entity,
            "project": self._project,
            "filters": values.dumps({"name": {"$in": names}}),
            "perPage": len(names),
        }
        where = f"sweeps of {self._entity}/{self._project}"
        try:
            data = execute(self._transport, documents.GET_FILTERED_SWEEPS, variables, where=where)
        except GraphQLError as error:
            logger.debug("%s: the server cannot look for several at once: %s", where, error)
            return
        for node in connection_page((data.get("project") or {}).get("sweeps"), where=where).nodes:
            self._keep(node["name"], node)

    def _keep(self, name: str, node: dict[str, Any] | None) -> None:
        self._found[name] = Sweep(self._transport, self._entity, self._project, name, node) if node else None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
