"""The runs of a project with all that tells whether they changed, a page of them per request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DataError, NotFoundError, UnsupportedServer
from wandb_ops.history.ref import RunCounts, RunRef
from wandb_ops.protocol import values
from wandb_ops.protocol.documents.export import EXPORT_RUNS
from wandb_ops.protocol.documents.runs import LIGHT_RUNS, RUNS
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page, paginate
from wandb_ops.public.filters import check_filters
from wandb_ops.public.runs.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wandb_ops.protocol.graphql import Operation
    from wandb_ops.transport.session import Transport

_PAGE = 200  # runs per request: config and summary come with them
_PARTS = 100  # run ids per filter


@dataclass(frozen=True, slots=True)
class Listed:
    """A run as the project's list shows it.

    Attributes:
        run: With config and summary.
        ref: Its three names.
        counts: What it holds; None when the list does not say.
    """

    run: Run
    ref: RunRef
    counts: RunCounts | None


def listed_runs(
    transport: Transport, entity: str, project: str, filters: Mapping[str, Any] | None = None
) -> Iterator[Listed]:
    """The project's runs, oldest first, each once.

    Raises:
        NotFoundError: There is no such project.
        UsageError: A filter that the server would not understand.
    """
    checked = check_filters(dict(filters) if filters else None)
    seen: set[str] = set()
    try:
        for node in _nodes(transport, EXPORT_RUNS, entity, project, checked):
            if node["name"] not in seen:
                seen.add(node["name"])
                yield _listed(transport, entity, project, node)
    except UnsupportedServer:
        # An older server does not count system metrics in the list: these runs are asked one by one.
        for node in _nodes(transport, RUNS, entity, project, checked):
            if node["name"] not in seen:
                seen.add(node["name"])
                yield _listed(transport, entity, project, node)


def runs_named(transport: Transport, entity: str, project: str, run_ids: Iterable[str]) -> Iterator[Listed]:
    """Those of the named runs that exist."""
    for part in _parts(run_ids):
        yield from listed_runs(transport, entity, project, {"name": {"$in": part}})


def still_there(transport: Transport, entity: str, project: str, run_ids: Iterable[str]) -> set[str]:
    """Which of the named runs exist upstream; a hundred per request."""
    found: set[str] = set()
    for part in _parts(run_ids):
        nodes = _nodes(transport, LIGHT_RUNS, entity, project, {"name": {"$in": part}})
        found.update(node["name"] for node in nodes)
    return found


def _parts(run_ids: Iterable[str]) -> Iterator[list[str]]:
    names = list(dict.fromkeys(run_ids))
    for start in range(0, len(names), _PARTS):
        yield names[start : start + _PARTS]


def _nodes(
    transport: Transport, operation: Operation, entity: str, project: str, filters: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
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
        return connection_page(found.get("runs"), where=where)

    return paginate(fetch, per_page=_PAGE, where=where)


def _listed(transport: Transport, entity: str, project: str, node: dict[str, Any]) -> Listed:
    run = Run(transport, entity, project, node["name"], node)
    return Listed(run, RunRef(entity, project, node["name"]), _counts(node))


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
