"""The types of a project's artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.errors import NotFoundError
from wandb_ops.protocol.documents import collections as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public.artifacts.collections import ArtifactCollection, ArtifactCollections
from wandb_ops.public.paginator import Paginator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.transport.session import Transport


class ArtifactType:
    """A type of artifacts in a project.

    Raises:
        NotFoundError: There is no such type.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        type_name: str,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        self._transport = transport
        self.entity = entity
        self.project = project
        self.type = type_name
        self._attrs = dict(attrs) if attrs is not None else self.load()

    def load(self) -> dict[str, Any]:
        """The type's node, asked for anew."""
        where = f"{self.entity}/{self.project}"
        variables = {"entity": self.entity, "project": self.project, "type": self.type}
        data = execute(self._transport, documents.PROJECT_TYPE, variables, where=where)
        node = (data.get("project") or {}).get("artifactType")
        if not node:
            raise NotFoundError(f"There is no artifact type {self.type!r}", where=where)
        self._attrs = dict(node)
        return self._attrs

    @property
    def id(self) -> str:
        """The server's identifier."""
        return str(self._attrs["id"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._attrs["name"])

    @property
    def description(self) -> str | None:
        """Free text."""
        return self._attrs.get("description")

    @property
    def created_at(self) -> str:
        """When it was made, ISO 8601."""
        return str(self._attrs["createdAt"])

    def collections(
        self,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> ArtifactCollections:
        """The collections of this type; arguments as for `ArtifactCollections`."""
        return ArtifactCollections(
            self._transport,
            self.entity,
            self.project,
            self.type,
            filters=filters,
            order=order,
            per_page=per_page,
            start=start,
        )

    def collection(self, name: str) -> ArtifactCollection:
        """One collection of this type."""
        return ArtifactCollection(self._transport, self.entity, self.project, name, self.type)

    def __repr__(self) -> str:
        return f"<ArtifactType {self.type}>"


class ArtifactTypes(Paginator[ArtifactType]):
    """The artifact types of a project: iterate, index, slice."""

    def __init__(
        self, transport: Transport, entity: str, project: str, per_page: int = 50, start: str | None = None
    ) -> None:
        self._transport = transport
        self.entity = entity
        self.project = project
        super().__init__(per_page=per_page, start=start, where=f"artifact types of {entity}/{project}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {"entity": self.entity, "project": self.project, "cursor": cursor, "perPage": per_page}
        data = execute(self._transport, documents.PROJECT_TYPES, variables, where=self._where)
        if data.get("project") is None:
            raise NotFoundError("There is no such project", where=f"{self.entity}/{self.project}")
        return connection_page(data["project"]["artifactTypes"], where=self._where)

    def _convert(self, nodes: list[dict[str, Any]]) -> list[ArtifactType]:
        return [
            ArtifactType(self._transport, self.entity, self.project, node["name"], node) for node in nodes
        ]

    def __repr__(self) -> str:
        return f"<ArtifactTypes {self.entity}/{self.project}>"
