"""Lists of versions: those of a collection, and those that a run logged or used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import NotFoundError, UsageError
from wandb_ops.protocol.documents import artifacts as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public.artifacts.artifacts import Artifact, source_path
from wandb_ops.public.artifacts.attributes import check_labels
from wandb_ops.public.artifacts.paths import ArtifactPath
from wandb_ops.public.paginator import SizedPaginator

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wandb_ops.public.runs.run import Run
    from wandb_ops.transport.session import Transport


class Artifacts(SizedPaginator[Artifact]):
    """The versions of a collection, newest first: iterate, index, slice, `len()`.

    Args:
        filters: MongoDB's query language; None is the committed documents.
        order: + or - and a key, such as "+createdAt".
        per_page: Versions per request.
        tags: Only versions that have all of these.
        start: `cursor` of an earlier result, to go on from there.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        collection_name: str,
        type: str,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        tags: Iterable[str] | str | None = None,
        start: str | None = None,
    ) -> None:
        self._transport = transport
        self.entity = entity
        self.project = project
        self.collection_name = collection_name
        self.type = type
        self.filters = {"state": "COMMITTED"} if filters is None else dict(filters)
        self.order = order
        self.tags = check_labels("tags", tags or [])
        where = f"versions of {entity}/{project}/{collection_name}"
        super().__init__(per_page=per_page, start=start, where=where)

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {
            "entity": self.entity,
            "project": self.project,
            "type": self.type,
            "collection": self.collection_name,
            "cursor": cursor,
            "perPage": per_page,
            "order": self.order,
            "filters": json.dumps(self.filters),
        }
        data = execute(self._transport, documents.PROJECT_ARTIFACTS, variables, where=self._where)
        collection = ((data.get("project") or {}).get("artifactType") or {}).get("artifactCollection")
        if not collection:
            raise NotFoundError(
                f"There is no artifact collection of type {self.type!r}",
                where=f"{self.entity}/{self.project}/{self.collection_name}",
            )
        found = collection["artifacts"] or {}
        for edge in found.get("edges") or ():
            if edge and edge.get("node"):
                edge["node"] = {**edge["node"], "version": edge["version"]}
        # The server counts all versions; it is not asked for tags.
        return connection_page(found, where=self._where, total=None if self.tags else found.get("totalCount"))

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Artifact]:
        wanted = set(self.tags)
        return [
            Artifact._of_node(
                self._transport,
                ArtifactPath(self.entity, self.project, f"{self.collection_name}:{node['version']}"),
                node,
            )
            for node in nodes
            if wanted <= {tag["name"] for tag in node.get("tags") or ()}
        ]

    def __repr__(self) -> str:
        return f"<Artifacts {self.entity}/{self.project}/{self.collection_name} ({len(self)})>"


class RunArtifacts(SizedPaginator[Artifact]):
    """The versions that a run logged or used: iterate, index, slice, `len()`."""

    def __init__(
        self,
        run: Run,
        mode: Literal["logged", "used"] = "logged",
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        if mode not in {"logged", "used"}:
            raise UsageError(f"mode is 'logged' or 'used', not {mode!r}")
        self.run = run
        self.mode = mode
        super().__init__(per_page=per_page, start=start, where=f"{mode} artifacts of {'/'.join(run.path)}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        operation = documents.RUN_OUTPUT_ARTIFACTS if self.mode == "logged" else documents.RUN_INPUT_ARTIFACTS
        variables = {
            "entity": self.run.entity,
            "project": self.run.project,
            "run": self.run.id,
            "cursor": cursor,
            "perPage": per_page,
        }
        data = execute(self.run._transport, operation, variables, where=self._where)
        node = (data.get("project") or {}).get("run")
        if node is None:
            raise NotFoundError("There is no such run", where="/".join(self.run.path))
        found = node["artifacts"] or {}
        return connection_page(found, where=self._where, total=found.get("totalCount"))

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Artifact]:
        return [Artifact._of_node(self.run._transport, source_path(node), node) for node in nodes]

    def __repr__(self) -> str:
        return f"<RunArtifacts {'/'.join(self.run.path)} {self.mode} ({len(self)})>"
