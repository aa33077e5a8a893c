"""`Runs`: the runs of a project, page by page, each with its config and summary."""

from __future__ import annotations

import threading
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, overload

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.protocol import values
from wandb_ops.protocol.documents import runs as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public import late
from wandb_ops.public.filters import check_order, check_run_filters
from wandb_ops.public.paginator import Place, SizedPaginator
from wandb_ops.public.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import polars as pl

    from wandb_ops.public.sweeps import SweepBook
    from wandb_ops.transport.session import Transport


class LightPage:
    """Runs that came without config and summary; completed together, in one request, when one of them
    asks."""

    def __init__(self, transport: Transport, entity: str, project: str) -> None:
        self._transport = transport
        self._entity = entity
        self._project = project
        self.runs: list[Run] = []
        self._done = False
        self._lock = threading.Lock()

    def load_heavy(self) -> None:
        """Fetch the heavy fields of the page's runs; one that is gone stays as it is."""
        with self._lock:
            if not self._done:
                self._load()
                self._done = True

    def _load(self) -> None:
        variables = {
            "entity": self._entity,
            "project": self._project,
            "perPage": len(self.runs),
            "cursor": None,
            "order": "+created_at",
            "filters": values.dumps({"name": {"$in": [run.id for run in self.runs]}}),
        }
        where = f"{self._entity}/{self._project}"
        data = execute(self._transport, documents.RUNS, variables, where=where)
        page = connection_page((data.get("project") or {}).get("runs"), where=where)
        heavy = {node["name"]: node for node in page.nodes}
        for run in self.runs:
            if run.id in heavy and "config" not in run._attrs:
                run._take_heavy(heavy[run.id])

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


class Runs(SizedPaginator[Run]):
    """Runs of a project that match a filter: iterate, index, slice, `len()`.

    Loops are independent of each other and share what was loaded. A run that moved between two pages while
    they were read comes once.

    About a thousand runs are kept, those used last, however many there are. Who goes back to others, with a
    second loop or an index, gets them from the server again, wherever they stand by then: as they are now and
    without those that were deleted. Runs with changes that were not saved are always kept.

    Args:
        transport: How to reach the server.
        entity: User or team that owns the project.
        project: Name of the project.
        filters: As for `Api.runs`.
        order: As for `Api.runs`.
        per_page: Runs per request.
        lazy: Leave config, summary and system metrics out of the pages.
        start: `cursor` of an earlier `Runs` to go on from.

    Raises:
        UsageError: Filters or order that the server would not understand.
        NotFoundError: On the first page: there is no such project.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        filters: Mapping[str, Any] | None = None,
        order: str | None = "+created_at",
        per_page: int = 50,
        *,
        lazy: bool = False,
        start: str | None = None,
    ) -> None:
        if start is not None and not isinstance(start, str):
            raise UsageError(f"start is the cursor of a Runs, not {start!r}")
        self._transport = transport
        self.entity = entity
        self.project = project
        self.filters = check_run_filters(filters)
        self.order = check_order(order)
        self._lazy = lazy
        self._sweep_book: SweepBook | None = None
        super().__init__(per_page=per_page, start=start, where=f"runs of {entity}/{project}")

    def _key(self, node: dict[str, Any]) -> str:
        return str(node["name"])

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        return self._ask(self.filters, cursor, per_page)

    def _fetch_again(self, place: Place) -> Sequence[dict[str, Any]]:
        nodes = super()._fetch_again(place)
        # What got another place by now, or does not match the filters any more, is asked for by name.
        moved = sorted(set(place.keys.split("\0")) - {self._key(node) for node in nodes})
        if not place.keys or not moved:
            return nodes
        return [*nodes, *self._ask({"name": {"$in": moved}}, None, len(moved)).nodes]

    def _ask(self, filters: Mapping[str, Any], cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {
            "entity": self.entity,
            "project": self.project,
            "filters": values.dumps(filters),
            "order": self.order,
            "perPage": per_page,
            "cursor": cursor,
        }
        operation = documents.LIGHT_RUNS if self._lazy else documents.RUNS
        data = execute(self._transport, operation, variables, where=self._where)
        project = data.get("project")
        if project is None:
            raise NotFoundError("There is no such project", where=f"{self.entity}/{self.project}")
        return connection_page(project.get("runs"), where=self._where, total=project.get("runCount"))

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Run]:
        page = LightPage(self._transport, self.entity, self.project) if self._lazy else None
        book = self.sweep_book
        book.want(node.get("sweepName") for node in nodes)
        runs = [
            Run(self._transport, self.entity, self.project, node["name"], node, loader=page, sweep_book=book)
            for node in nodes
        ]
        if page is not None:
            page.runs = runs
        return runs

    def upgrade_to_full(self) -> None:
        """Complete the runs of a lazy list: config, summary and system metrics, one request per page.

        Pages that come later are complete, too.
        """
        self._lazy = False
        with self._lock:
            there = [*self._kept.values(), *self._changed.values()]
        for run in chain.from_iterable(there):
            run.load_full_data()

    @property
    def sweep_book(self) -> SweepBook:
        """The sweeps of these runs, asked for together when the first is needed."""
        if self._sweep_book is None:
            self._sweep_book = late.sweep_book_class(self._transport, self.entity, self.project)
        return self._sweep_book

    @overload
    def histories(
        self,
        samples: int = 500,
        keys: list[str] | None = None,
        x_axis: str = "_step",
        format: Literal["default"] = "default",
        stream: Literal["default", "system"] = "default",
    ) -> list[dict[str, Any]]: ...
    @overload
    def histories(
        self,
        samples: int = 500,
        keys: list[str] | None = None,
        x_axis: str = "_step",
        *,
        format: Literal["pandas"],
        stream: Literal["default", "system"] = "default",
    ) -> pd.DataFrame: ...
    @overload
    def histories(
        self,
        samples: int = 500,
        keys: list[str] | None = None,
        x_axis: str = "_step",
        *,
        format: Literal["polars"],
        stream: Literal["default", "system"] = "default",
    ) -> pl.DataFrame: ...

    def histories(
        self,
        samples: int = 500,
        keys: list[str] | None = None,
        x_axis: str = "_step",
        format: Literal["default", "pandas", "polars"] = "default",
        stream: Literal["default", "system"] = "default",
    ) -> list[dict[str, Any]] | pd.DataFrame | pl.DataFrame:
        """A sample of the history of every run, several runs per request.

        Args:
            samples: Rows of each run, at most.
            keys: Metrics to take; only rows that have all of them come.
            x_axis: Metric that orders the rows, when `keys` are given.
            format: "default" for a list of dicts, "pandas", or "polars" where that is installed.
            stream: "default" for metrics, "system" for measurements of the machine.

        Returns:
            The rows in the order of the runs, each with its `run_id`. Frames have their columns sorted by
            name; cells that a row does not have are null.

        Raises:
            UsageError: An argument is of the wrong kind.
        """
        from wandb_ops.history.many import sampled_many

        if format not in {"default", "pandas", "polars"}:
            raise UsageError(f"format is 'default', 'pandas' or 'polars', not {format!r}", where=self._where)
        found = sampled_many(
            self._transport,
            self.entity,
            self.project,
            (run.id for run in self),
            samples=samples,
            keys=keys,
            x_axis=x_axis,
            stream=stream,
        )
        rows = [row | {"run_id": run_id} for run_id, each in found for row in each]
        if format == "default":
            return rows
        names = sorted({name for row in rows for name in row})
        if format == "pandas":
            import pandas as pd

            return pd.DataFrame.from_records(rows, columns=names)
        import polars as pl

        return pl.from_dicts(rows, infer_schema_length=None).select(names) if rows else pl.DataFrame()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.entity}/{self.project}>"
