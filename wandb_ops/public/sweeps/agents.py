"""The agents that work on a sweep, and the runs that each did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.errors import NotFoundError
from wandb_ops.protocol.documents import sweeps as documents
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public.attrs import Attrs
from wandb_ops.public.paginator import SizedPaginator
from wandb_ops.public.runs.run import Run
from wandb_ops.public.runs.runs import LightPage
from wandb_ops.public.sweeps.book import SweepBook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.public.sweeps.sweeps import Sweep


class Agent(Attrs):
    """An agent of a sweep, as it was when it was loaded."""

    def __init__(self, sweep: Sweep, attrs: Mapping[str, Any]) -> None:
        self._sweep = sweep
        self._attrs = dict(attrs)

    @property
    def id(self) -> str:
        """The server's identifier of the agent."""
        return str(self._attrs["id"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._attrs.get("name") or self.id)

    @property
    def host(self) -> str:
        """The machine that it said it runs on."""
        return str(self._attrs.get("host") or "")

    @property
    def state(self) -> str | None:
        """What the server knows of it."""
        return self._attrs.get("state")

    def runs(self, per_page: int = 50) -> AgentRuns:
        """The runs that it did, oldest first, without config and summary until these are asked for.

        Args:
            per_page: Runs per request.
        """
        return AgentRuns(self._sweep, self.name, total=self._attrs.get("totalRuns"), per_page=per_page)

    def __repr__(self) -> str:
        return f"<Agent {self.id} ({self._attrs.get('state', 'Unknown State')})>"


class AgentRuns(SizedPaginator[Run]):
    """The runs of one agent: iterate, index, slice, `len()`."""

    def __init__(self, sweep: Sweep, agent: str, *, total: int | None, per_page: int) -> None:
        self._sweep = sweep
        self._agent = agent
        self._told = total
        super().__init__(per_page=per_page, where=f"runs of agent {agent}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {
            "agentID": self._agent,
            "after": cursor,
            "first": per_page,
            "order": "+created_at",
        }
        agent = self._sweep._ask(documents.GET_AGENT_RUNS, variables).get("agent")
        if agent is None:
            raise NotFoundError(f"The sweep has no agent {self._agent!r}", where=self._where)
        return connection_page(agent.get("runs"), where=self._where, total=self._told)

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Run]:
        sweep = self._sweep
        page = LightPage(sweep._transport, sweep.entity, sweep.project)
        book = SweepBook(sweep._transport, sweep.entity, sweep.project)
        book.add(sweep)
        page.runs = [
            Run(
                sweep._transport,
                sweep.entity,
                sweep.project,
                node["name"],
                node,
                loader=page,
                sweep_book=book,
            )
            for node in nodes
        ]
        return page.runs

    def __repr__(self) -> str:
        return f"<AgentRuns {'/'.join(self._sweep.path)}/{self._agent}>"
