"""`Sweep` and `Sweeps`.

W&B's list of sweeps asks once more for every sweep in it; here the page is all that is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wandb_ops.errors import CommError, NotFoundError, ProtocolError, UnsupportedServer
from wandb_ops.protocol import values
from wandb_ops.protocol.documents import sweeps as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public import late
from wandb_ops.public.attrs import Attrs, iframe
from wandb_ops.public.encode import to_stored
from wandb_ops.public.filters import check_filters, metric_order
from wandb_ops.public.paginator import SizedPaginator
from wandb_ops.public.runs.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.public.api import Api
    from wandb_ops.public.runs.run import Run
    from wandb_ops.public.sweeps.agents import Agent
    from wandb_ops.transport.session import Transport


class Sweep(Attrs):
    """A sweep, as it was when it was loaded.

    Args:
        transport: How to reach the server.
        entity: User or team that owns the project.
        project: Name of the project.
        sweep_id: The sweep's identifier, the last part of its path.
        attrs: Its node, where it is known; else it is fetched.

    Raises:
        NotFoundError: (a ValueError) There is no such sweep, or this account may not see it.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        sweep_id: str,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        self._transport = transport
        self._entity = entity
        self.project = project
        self.id = sweep_id
        self._attrs = dict(attrs or {})
        self._config: dict[str, Any] | None = None
        self._runs: Runs | None = None
        self.load()

    @property
    def entity(self) -> str:
        """User or team that owns the project."""
        return self._entity

    @property
    def username(self) -> str:
        """W&B's old name for `entity`."""
        return self._entity

    @property
    def name(self) -> str:
        """The name given in the app, else the one in the config, else the identifier."""
        return str(self._attrs.get("displayName") or self.config.get("name") or self.id)

    @property
    def state(self) -> str:
        """PENDING, RUNNING, PAUSED, FINISHED or CANCELED, when it was loaded."""
        return str(self._attrs.get("state") or "")

    @property
    def config(self) -> dict[str, Any]:
        """The configuration: method, metric, parameters, ..."""
        if self._config is None:
            self._config = _parsed(self._attrs.get("config"), self._where)
        return self._config

    @property
    def expected_run_count(self) -> int | None:
        """How many runs it comes to; None when only somebody's word ends it."""
        count: int | None = self._attrs.get("runCountExpected")
        return count

    @property
    def order(self) -> str | None:
        """The order that puts the best run first, from the metric of the config; None when it has none."""
        metric = self.config.get("metric")
        if not isinstance(metric, dict) or not metric.get("name"):
            return None
        sign = "-" if metric.get("goal") == "maximize" else "+"
        return metric_order(f"{sign}{metric['name']}")

    @property
    def runs(self) -> Runs:
        """Its runs, oldest first, loaded page by page; they know this sweep without asking."""
        if self._runs is None:
            self._runs = self._select(order="+created_at")
        return self._runs

    @property
    def path(self) -> list[str]:
        """Entity, project and identifier."""
        return [self._entity, self.project, self.id]

    @property
    def url(self) -> str:
        """The sweep's page in the W&B app."""
        entity, project, sweep = (quote(part, safe="") for part in self.path)
        return f"{self._transport.settings.app_url}/{entity}/{project}/sweeps/{sweep}"

    def best_run(self, order: str | None = None) -> Run | None:
        """The best run by the config's metric, or the first by `order`; None when there is none.

        Runs that did not log the metric are left out.

        Args:
            order: + (ascending) or - and a metric, `config.KEY.value`, or a field such as `createdAt`.
                Without it, and without a metric in the config, the latest run is taken.
        """
        wanted = metric_order(order) if order else self.order
        condition: dict[str, Any] = {}
        if wanted is not None and wanted[1:].startswith("summary_metrics."):
            condition = {wanted[1:]: {"$ne": None}}
        return next(iter(self._select(order=wanted or "-created_at", per_page=1, **condition)), None)

    def load(self, force: bool = False) -> dict[str, Any]:
        """The sweep's node.

        Args:
            force: Ask the server again.

        Raises:
            NotFoundError: (a ValueError) There is no such sweep.
        """
        if force or not self._attrs:
            node = fetch_sweep(self._transport, self._entity, self.project, self.id)
            if node is None:
                raise NotFoundError("There is no such sweep", where=self._where)
            self._attrs = node
            self._config = self._runs = None
        return self._attrs

    @classmethod
    def get(
        cls,
        api: Api,
        entity: str | None = None,
        project: str | None = None,
        sid: str | None = None,
        order: str | None = None,
    ) -> Sweep | None:
        """The sweep, or None when there is none.

        Args:
            api: The client.
            entity: User or team; None is the default one.
            project: Name of the project; None is the default one.
            sid: The sweep's identifier.
            order: Order of its `runs`.
        """
        owner = api.entity_or_default(entity)
        name = project or api.settings.get("project") or ""
        node = fetch_sweep(api.transport, owner, name, sid or "")
        if node is None:
            return None
        sweep = cls(api.transport, owner, name, sid or "", node)
        if order:
            sweep._runs = sweep._select(order=order)
        return sweep

    def agents(self) -> list[Agent]:
        """The agents that registered with the sweep, oldest first."""
        sweep = self._ask(documents.GET_SWEEP_AGENTS, {})
        edges = (sweep.get("agents") or {}).get("edges") or []
        return [late.agent_class(self, edge["node"]) for edge in edges if edge.get("node")]

    def agent(self, agent_id: str) -> Agent:
        """One agent.

        Args:
            agent_id: Its name or identifier.

        Raises:
            NotFoundError: The sweep has no such agent.
        """
        node = self._ask(documents.GET_SWEEP_AGENT, {"agentID": agent_id}).get("agent")
        if node is None:
            raise NotFoundError(f"The sweep has no agent {agent_id!r}", where=self._where)
        return late.agent_class(self, node)

    def enqueue_run(self, config: Mapping[str, Any], display_name: str | None = None) -> str:
        """Have the next agent that is free run these parameters; returns the identifier of the run.

        Args:
            config: Parameters, as plain values.
            display_name: Name of the run.

        Raises:
            UnsupportedServer: The server is older than that.
            AmbiguousOutcome: The answer was lost: the run may be queued.
        """
        stored = to_stored(config, where="config")
        variables = {"id": self._attrs["id"], "config": values.dumps(stored), "displayName": display_name}
        data = execute(self._transport, documents.ENQUEUE_SWEEP_RUN, variables, where=self._where)
        made = (data.get("enqueueSweepRun") or {}).get("id")
        if not made:
            raise CommError("The server did not queue the run", where=self._where)
        return str(made)

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """HTML that shows the sweep's page in a notebook."""
        return iframe(self.url, height=height, hidden=hidden, what="sweep")

    def _select(self, *, order: str, per_page: int = 50, **condition: Any) -> Runs:
        filters = {"$and": [{"sweep": self.id}, *([condition] if condition else [])]}
        runs = Runs(self._transport, self._entity, self.project, filters, order, per_page)
        runs.sweep_book.add(self)
        return runs

    def _ask(self, operation: Any, variables: dict[str, Any]) -> dict[str, Any]:
        place = {"sweep": self.id, "entity": self._entity, "project": self.project}
        data = execute(self._transport, operation, variables | place, where=self._where)
        sweep: dict[str, Any] | None = (data.get("project") or {}).get("sweep")
        if sweep is None:
            raise NotFoundError("There is no such sweep", where=self._where)
        return sweep

    @property
    def _where(self) -> str:
        return f"{self._entity}/{self.project}/{self.id}"

    def __repr__(self) -> str:
        return f"<Sweep {'/'.join(self.path)} ({self._attrs.get('state', 'Unknown State')})>"


class Sweeps(SizedPaginator[Sweep]):
    """The sweeps of a project, the newest first: iterate, index, slice, `len()`.

    Args:
        transport: How to reach the server.
        entity: User or team that owns the project.
        project: Name of the project.
        per_page: Sweeps per request.
        filters: As for `Api.runs`, on fields of a sweep.

    Raises:
        UsageError: Filters that the server would not understand.
        UnsupportedServer: On the first page: the server cannot filter sweeps.
        NotFoundError: On the first page: there is no such project.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        per_page: int = 50,
        filters: Mapping[str, Any] | None = None,
    ) -> None:
        self._transport = transport
        self.entity = entity
        self.project = project
        self.filters = check_filters(filters)
        super().__init__(per_page=per_page, where=f"sweeps of {entity}/{project}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {"entity": self.entity, "project": self.project, "cursor": cursor, "perPage": per_page}
        operation = documents.GET_SWEEPS
        if self.filters:
            operation = documents.GET_FILTERED_SWEEPS
            variables["filters"] = values.dumps(self.filters)
        data = execute(self._transport, operation, variables, where=self._where)
        project = data.get("project")
        if project is None:
            raise NotFoundError("There is no such project", where=f"{self.entity}/{self.project}")
        return connection_page(project.get("sweeps"), where=self._where, total=project.get("totalSweeps"))

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Sweep]:
        return [Sweep(self._transport, self.entity, self.project, node["name"], node) for node in nodes]

    def __repr__(self) -> str:
        return f"<Sweeps {self.entity}/{self.project}>"


def fetch_sweep(transport: Transport, entity: str, project: str, name: str) -> dict[str, Any] | None:
    """A sweep's node; None when there is no such sweep or project."""
    variables = {"name": name, "project": project, "entity": entity}
    where = f"{entity}/{project}/{name}"
    try:
        data = execute(transport, documents.GET_SWEEP, variables, where=where)
    except UnsupportedServer:
        data = execute(transport, documents.GET_SWEEP_LEGACY, variables, where=where)
    node: dict[str, Any] | None = (data.get("project") or {}).get("sweep")
    return node


def _parsed(text: Any, where: str) -> dict[str, Any]:
    """A sweep's config, which the server gives as YAML."""
    import yaml

    try:
        config = yaml.safe_load(text) if text else {}
    except yaml.YAMLError as error:
        raise ProtocolError("The sweep's config is not valid YAML", where=where) from error
    if not isinstance(config, dict):
        raise ProtocolError("The sweep's config is not a mapping", where=where)
    return config
