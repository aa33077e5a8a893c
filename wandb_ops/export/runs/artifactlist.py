"""What runs logged and used: asked for many runs at once, kept as two tables.

`artifacts` has one row per version that a run logged or used; `lineage` one row per run and version, which
says whether the run made it or read it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import DeadlineExceeded, GraphQLError, NotFoundError, ResponseTooLarge, ServerError
from wandb_ops.protocol import values
from wandb_ops.protocol.documents.artifacts import RUN_INPUT_ARTIFACTS, RUN_OUTPUT_ARTIFACTS
from wandb_ops.protocol.documents.export import EXPORT_ARTIFACTS
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page, paginate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wandb_ops.protocol.graphql import Operation
    from wandb_ops.transport.session import Transport

_TOGETHER = 50  # runs per request
_EACH = 20  # versions of each run and direction that come along; more are paged
Node = dict[str, Any]


@dataclass(slots=True)
class RunArtifacts:
    """The versions of one run, as the server's nodes."""

    logged: list[Node] = field(default_factory=list)
    used: list[Node] = field(default_factory=list)


class ArtifactBook:
    """What the runs of one page logged and used; asked for when one of them is asked about, fifty at once.

    Args:
        transport: The connection.
        entity: User or team.
        project: The project.
        run_ids: The runs.
    """

    def __init__(self, transport: Transport, entity: str, project: str, run_ids: Sequence[str]) -> None:
        self._transport = transport
        self._entity = entity
        self._project = project
        self._batches = [list(run_ids[i : i + _TOGETHER]) for i in range(0, len(run_ids), _TOGETHER)]
        self._known: dict[str, RunArtifacts] = {}
        self._lock = threading.Lock()

    def of(self, run_id: str) -> RunArtifacts:
        """What a run of the page logged and used.

        Raises:
            NotFoundError: The run is gone.
            Error: As `graphql.execute`.
        """
        with self._lock:
            if run_id not in self._known:
                batch = next((names for names in self._batches if run_id in names), [run_id])
                self._ask([name for name in batch if name not in self._known])
            if run_id not in self._known:
                raise NotFoundError("There is no such run", where=f"{self._where}/{run_id}")
            return self._known[run_id]

    @property
    def _where(self) -> str:
        return f"{self._entity}/{self._project}"

    def _ask(self, names: list[str]) -> None:
        variables = {
            "entity": self._entity,
            "project": self._project,
            "filters": values.dumps({"name": {"$in": names}}),
            "first": len(names),
            "each": _EACH,
        }
        try:
            data = execute(
                self._transport, EXPORT_ARTIFACTS, variables, where=f"artifacts of runs of {self._where}"
            )
        except (ResponseTooLarge, ServerError, DeadlineExceeded, GraphQLError):
            if len(names) == 1:
                raise
            half = len(names) // 2  # too much for one answer, here or at the server
            self._ask(names[:half])
            self._ask(names[half:])
            return
        for edge in ((data.get("project") or {}).get("runs") or {}).get("edges") or ():
            if edge and (node := edge.get("node")):
                self._known[node["name"]] = RunArtifacts(
                    self._all(node["name"], RUN_OUTPUT_ARTIFACTS, node.get("outputArtifacts")),
                    self._all(node["name"], RUN_INPUT_ARTIFACTS, node.get("inputArtifacts")),
                )

    def _all(self, run_id: str, operation: Operation, connection: Any) -> list[Node]:
        where = f"artifacts of {self._where}/{run_id}"
        if not connection:
            return []
        first = connection_page(connection, where=where)
        if not first.has_next:
            return list(first.nodes)

        def fetch(cursor: str | None, per_page: int) -> Page[Node]:
            variables = {
                "entity": self._entity,
                "project": self._project,
                "run": run_id,
                "cursor": cursor,
                "perPage": per_page,
            }
            run = (execute(self._transport, operation, variables, where=where).get("project") or {}).get(
                "run"
            )
            return connection_page((run or {}).get("artifacts"), where=where)

        return [*first.nodes, *paginate(fetch, per_page=100, start=first.end_cursor, where=where)]


def is_whole(node: Node) -> bool:
    """Whether a version was committed: one that is pending or deleted has no files to take."""
    return node.get("state") == "COMMITTED"


def source_of_node(node: Node) -> tuple[str, str, str, str]:
    """(entity, project, collection, version) where a version was logged; "" for what may not be seen."""
    source = node.get("artifactSequence") or {}
    project = source.get("project") or {}
    return (
        str((project.get("entity") or {}).get("name") or ""),
        str(project.get("name") or ""),
        str(source.get("name") or ""),
        f"v{node.get('versionIndex')}",
    )


def version_row(node: Node, run_id: str | None, folder: str | None) -> dict[str, Any]:
    """A version's row of the table of artifacts."""
    entity, project, collection, version = source_of_node(node)
    aliases = [
        alias["alias"]
        for alias in node.get("aliases") or ()
        if ((alias.get("artifactCollection") or {}).get("name") or collection) == collection
    ]
    memberships = ((node.get("artifactMemberships") or {}).get("edges")) or ()
    places = [edge["node"] for edge in memberships if edge and edge.get("node")]
    links = sorted(filter(None, (_link(place, (entity, project, collection)) for place in places)))
    metadata = node.get("metadata")
    return {
        "artifact_id": str(node["id"]),
        "name": _text(f"{entity}/{project}/{collection}:{version}"),
        "type": _text((node.get("artifactType") or {}).get("name")),
        "collection": _text(collection),
        "version": version,
        "aliases": [_text(alias) for alias in aliases],
        "tags": [_text(tag["name"]) for tag in node.get("tags") or ()],
        "state": _text(node.get("state")),
        "digest": _text(node.get("digest")),
        "size": _number(node.get("size")),
        "file_count": _number(node.get("fileCount")),
        "description": _text(node.get("description")),
        "metadata": _text(
            metadata if isinstance(metadata, str) or metadata is None else values.dumps(metadata)
        ),
        "created_at": _text(node.get("createdAt")),
        "updated_at": _text(node.get("updatedAt")),
        "run_id": _text(run_id),
        "linked_to": [_text(link) for link in links],
        "folder": folder,
        "deleted_upstream": False,
    }


def version_schema() -> Any:
    """Columns of the table of artifacts."""
    import pyarrow as pa

    texts, lists = pa.string(), pa.list_(pa.string())
    kinds: dict[str, Any] = {"aliases": lists, "tags": lists, "linked_to": lists}
    kinds |= {"size": pa.int64(), "file_count": pa.int64(), "deleted_upstream": pa.bool_()}
    names = (
        "artifact_id", "name", "type", "collection", "version", "aliases", "tags", "state", "digest", "size",
        "file_count", "description", "metadata", "created_at", "updated_at", "run_id", "linked_to", "folder",
        "deleted_upstream",
    )  # fmt: skip
    return pa.schema([pa.field(name, kinds.get(name, texts)) for name in names])


def lineage_schema() -> Any:
    """Columns of the table of who made and who read what."""
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.string()) for name in ("run_id", "direction", "artifact_id", "name")])


def lineage_row(node: Node, run_id: str, direction: str) -> dict[str, Any]:
    """A row that says that a run logged ("output") or used ("input") a version."""
    entity, project, collection, version = source_of_node(node)
    name = _text(f"{entity}/{project}/{collection}:{version}")
    return {"run_id": _text(run_id), "direction": direction, "artifact_id": str(node["id"]), "name": name}


def _link(place: Node, source: tuple[str, str, str]) -> str | None:
    collection = place.get("artifactCollection") or {}
    project = collection.get("project") or {}
    here = (
        str((project.get("entity") or {}).get("name") or ""),
        str(project.get("name") or ""),
        str(collection.get("name") or ""),
    )
    return None if here == source else f"{'/'.join(here)}:v{place.get('versionIndex')}"


def _text(value: Any) -> str | None:
    return None if value is None else str(value).encode("utf-8", "backslashreplace").decode()


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float, str)) and str(value).lstrip("-").isdigit() else None
