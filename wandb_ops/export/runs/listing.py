"""The runs of a project with all that tells whether they changed, a page of them per request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DataError, NotFoundError, UnsupportedServer
from wandb_ops.export.runs.artifactlist import ArtifactBook
from wandb_ops.history.ref import RunCounts, RunRef
from wandb_ops.protocol import values
from wandb_ops.protocol.documents.export import EXPORT_RUNS, EXPORT_RUNS_AND_FILES
from wandb_ops.protocol.documents.runs import LIGHT_RUNS, RUNS
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.idset import IdSet
from wandb_ops.protocol.pagination import Page, Pages, connection_page
from wandb_ops.public.filters import check_filters
from wandb_ops.public.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wandb_ops.protocol.graphql import Operation
    from wandb_ops.transport.session import Transport

PAGE = 200
"""Runs per request: config and summary come with them."""

PAGE_WITH_FILES = 50
_PARTS = 100  # run ids per filter


@dataclass(frozen=True, slots=True)
class Saved:
    """A file of a run, as the list shows it."""

    name: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A run as the project's list shows it.

    Attributes:
        run: With config and summary.
        ref: Its three names.
        counts: What it holds; None when the list does not say.
        saved: Its files; None when the list does not name all of them.
        book: Knows what it logged and used, together with the runs of the same page.
    """

    run: Run
    ref: RunRef
    counts: RunCounts | None
    saved: tuple[Saved, ...] | None = None
    book: ArtifactBook | None = None


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Some runs, and how many there are in all, where the server says so."""

    runs: list[Listed]
    total: int | None


class Listing:
    """The project's runs, oldest first, each once; a page at a time, so that memory does not grow with them.

    Args:
        transport: The connection.
        entity: User or team.
        project: The project.
        filters: Only runs that match.
        files: Whether to name each run's files, too.

    Attributes:
        seen: Ids of the runs so far.

    Raises:
        NotFoundError: There is no such project.
        UsageError: A filter that the server would not understand.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        filters: Mapping[str, Any] | None = None,
        *,
        files: bool = False,
    ) -> None:
        self._transport = transport
        self._entity = entity
        self._project = project
        self._filters = check_filters(dict(filters) if filters else None)
        self._files = files
        self.seen = IdSet()

    def pages(self) -> Iterator[ListedPage]:
        """The pages, none of them empty."""
        operation = EXPORT_RUNS_AND_FILES if self._files else EXPORT_RUNS
        try:
            yield from self._pages(operation, PAGE_WITH_FILES if self._files else PAGE)
        except UnsupportedServer:
            # An older server does not count system metrics in the list: these runs are asked one by one.
            yield from self._pages(RUNS, PAGE)

    def named(self, run_ids: Iterable[str]) -> Iterator[ListedPage]:
        """Those of the named runs that exist."""
        for part in _parts(run_ids):
            self._filters = {"name": {"$in": part}}
            yield from self.pages()

    def _pages(self, operation: Operation, per_page: int) -> Iterator[ListedPage]:
        for page in _node_pages(
            self._transport, operation, self._entity, self._project, self._filters, per_page
        ):
            fresh = {n["name"]: n for n in page.nodes if self.seen.add(n["name"])}
            if fresh:
                book = ArtifactBook(self._transport, self._entity, self._project, list(fresh))
                yield ListedPage([self._listed(node, book) for node in fresh.values()], page.total)

    def _listed(self, node: dict[str, Any], book: ArtifactBook) -> Listed:
        saved = _saved(node.pop("files", None))
        run = Run(self._transport, self._entity, self._project, node["name"], node)
        ref = RunRef(self._entity, self._project, node["name"])
        return Listed(run, ref, _counts(node), saved, book)


def listed_runs(
    transport: Transport,
    entity: str,
    project: str,
    filters: Mapping[str, Any] | None = None,
    *,
    files: bool = False,
) -> Iterator[Listed]:
    """The project's runs one by one; see `Listing`."""
    for page in Listing(transport, entity, project, filters, files=files).pages():
        yield from page.runs


def still_there(transport: Transport, entity: str, project: str, run_ids: Iterable[str]) -> set[str]:
    """Which of the named runs exist upstream; a hundred per request."""
    found: set[str] = set()
    for part in _parts(run_ids):
        wanted = {"name": {"$in": part}}
        for page in _node_pages(transport, LIGHT_RUNS, entity, project, wanted, PAGE):
            found.update(node["name"] for node in page.nodes)
    return found


def _parts(run_ids: Iterable[str]) -> Iterator[list[str]]:
    names = list(dict.fromkeys(run_ids))
    for start in range(0, len(names), _PARTS):
        yield names[start : start + _PARTS]


def _node_pages(
    transport: Transport,
    operation: Operation,
    entity: str,
    project: str,
    filters: Mapping[str, Any],
    per_page: int,
) -> Iterator[Page[dict[str, Any]]]:
    where = f"runs of {entity}/{project}"

    def fetch(cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {
            "entity": entity,
            "project": project,
            "filters": values.dumps(dict(filters)),
            "order": "+created_at",
            "perPage": per_page,
            "cursor": cursor,
        }
        found = execute(transport, operation, variables, where=where).get("project")
        if found is None:
            raise NotFoundError("There is no such project", where=f"{entity}/{project}")
        return connection_page(found.get("runs"), where=where, total=_count(found.get("runCount")))

    pages = Pages(fetch, per_page=per_page, where=where)
    while (page := pages.next_page()) is not None:
        yield page


def _saved(connection: Any) -> tuple[Saved, ...] | None:
    if not isinstance(connection, dict) or (connection.get("pageInfo") or {}).get("hasNextPage"):
        return None
    nodes = [edge["node"] for edge in connection.get("edges") or () if edge and edge.get("node")]
    return tuple(Saved(n["name"], int(n.get("sizeBytes") or 0), n.get("md5") or "") for n in nodes)


def _counts(node: Mapping[str, Any]) -> RunCounts | None:
    known = node.get("historyKeys")
    try:
        known = values.loads_object(known) if isinstance(known, str) else known
    except DataError:
        return None
    last = _count(known.get("lastStep")) if isinstance(known, dict) else None
    lines = _count(node.get("historyLineCount"))
    if lines is None and last is not None:
        return None
    return RunCounts(
        history_lines=lines or 0,
        last_step=-1 if last is None else last,
        state=str(node.get("state") or ""),
        heartbeat_at=node.get("heartbeatAt"),
        events_lines=_count(node.get("eventsLineCount")),
    )


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and value >= 0 else None
