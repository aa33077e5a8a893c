"""Collections of artifacts: one, and those of a project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import AmbiguousOutcome, NotFoundError, UsageError
from wandb_ops.protocol.documents import collections as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page, paginate
from wandb_ops.public.artifacts.attributes import check_labels
from wandb_ops.public.artifacts.paths import check_name
from wandb_ops.public.artifacts.versions import Artifacts
from wandb_ops.public.paginator import SizedPaginator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.transport.session import Transport

_ALIASES_PER_PAGE = 1000


class ArtifactCollection:
    """A collection of versions. Changes to name, description, tags and type are local until `save()`.

    Raises:
        NotFoundError: There is no such collection of that type.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        name: str,
        type: str,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        self._transport = transport
        self._take(attrs if attrs is not None else self._fetch(entity, project, name, type), entity, project)

    def _fetch(self, entity: str, project: str, name: str, type_name: str) -> Mapping[str, Any]:
        where = f"{entity}/{project}/{name}"
        variables = {"entity": entity, "project": project, "type": type_name, "name": name}
        data = execute(self._transport, documents.PROJECT_COLLECTION, variables, where=where)
        node: Mapping[str, Any] | None = ((data.get("project") or {}).get("artifactType") or {}).get(
            "artifactCollection"
        )
        if not node:
            raise NotFoundError(f"There is no artifact collection of type {type_name!r}", where=where)
        return node

    def _take(self, node: Mapping[str, Any], entity: str, project: str) -> None:
        self._node = node
        owner = node.get("project") or {}
        self.entity: str = (owner.get("entity") or {}).get("name") or entity
        self.project: str = owner.get("name") or project
        self.name: str = node["name"]
        self.description: str | None = node.get("description")
        self.tags: list[str] = [edge["node"]["name"] for edge in (node.get("tags") or {}).get("edges") or ()]
        self.type: str = node["type"]["name"]
        self._saved = self._state()

    def _state(self) -> tuple[str, str | None, list[str], str]:
        return self.name, self.description, list(self.tags), self.type

    def _unsaved(self) -> bool:
        """Whether there are changes that `save()` would send."""
        return self._state() != self._saved

    @property
    def _where(self) -> str:
        return f"{self.entity}/{self.project}/{self._saved[0]}"

    @property
    def id(self) -> str:
        """The server's identifier."""
        return str(self._node["id"])

    @property
    def project_id(self) -> str | None:
        """The server's identifier of the project."""
        return (self._node.get("project") or {}).get("id")

    @property
    def created_at(self) -> str:
        """When it was made, ISO 8601."""
        return str(self._node["createdAt"])

    @property
    def updated_at(self) -> str | None:
        """When it was last changed, ISO 8601."""
        return self._node.get("updatedAt")

    def is_sequence(self) -> bool:
        """Whether its versions were logged to it; else they are links."""
        return bool(self._node["__typename"] == "ArtifactSequence")

    @property
    def aliases(self) -> list[str]:
        """The aliases of all its versions, asked for anew."""

        def fetch(cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
            variables = {"id": self.id, "cursor": cursor, "perPage": per_page}
            data = execute(self._transport, documents.COLLECTION_ALIASES, variables, where=self._where)
            found = data.get("artifactCollection")
            if not found:
                raise NotFoundError("There is no such artifact collection", where=self._where)
            return connection_page(found["aliases"], where=self._where)

        return [node["alias"] for node in paginate(fetch, per_page=_ALIASES_PER_PAGE, where=self._where)]

    def artifacts(self, per_page: int = 50, start: str | None = None) -> Artifacts:
        """Its versions, newest first."""
        return Artifacts(
            self._transport,
            self.entity,
            self.project,
            self._saved[0],
            self._saved[3],
            per_page=per_page,
            start=start,
        )

    def save(self) -> None:
        """Save changes to name, description, tags and type. Only what was changed is sent.

        Raises:
            UsageError: The type of a collection of links was changed, or a name is wrong.
        """
        name, description, tags, kind = self._saved
        sequence = self.is_sequence()
        if self.type != kind and not sequence:
            raise UsageError("Only a sequence can change its type", where=self._where)
        field = "artifactSequenceID" if sequence else "artifactPortfolioID"
        if (self.name, self.description) != (name, description):
            operation = documents.UPDATE_SEQUENCE if sequence else documents.UPDATE_PORTFOLIO
            given = {field: self.id, "name": check_name(self.name), "description": self.description}
            execute(self._transport, operation, {"input": given}, where=self._where)
        if self.type != kind:
            given = {field: self.id, "destinationArtifactTypeName": check_name(self.type)}
            execute(self._transport, documents.MOVE_SEQUENCE, {"input": given}, where=self._where)
        wanted = check_labels("tags", self.tags)
        self._send_tags(documents.ADD_COLLECTION_TAGS, [tag for tag in wanted if tag not in tags])
        self._send_tags(documents.DELETE_COLLECTION_TAGS, [tag for tag in tags if tag not in wanted])
        self._saved = (self.name, self.description, wanted, self.type)

    def change_type(self, new_type: str) -> None:
        """Give the collection another type, at once; deprecated for assigning `type` and `save()`."""
        self.type = new_type
        self.save()

    def _send_tags(self, operation: Any, names: list[str]) -> None:
        if not names:
            return
        given = {
            "entityName": self.entity,
            "projectName": self.project,
            "artifactCollectionName": self.name,
            "tags": [{"tagName": name} for name in names],
        }
        execute(self._transport, operation, {"input": given}, where=self._where)

    def delete(self) -> None:
        """Delete the collection, for good; a sequence with all its versions."""
        operation = documents.DELETE_SEQUENCE if self.is_sequence() else documents.DELETE_PORTFOLIO
        try:
            execute(self._transport, operation, {"id": self.id}, where=self._where)
        except AmbiguousOutcome:
            try:
                self._fetch(self.entity, self.project, self._saved[0], self._saved[3])
            except NotFoundError:
                return
            raise

    def __repr__(self) -> str:
        return f"<ArtifactCollection {self.name} ({self.type})>"


class ArtifactCollections(SizedPaginator[ArtifactCollection]):
    """The collections of a project, of one type or (None) of all: iterate, index, slice, `len()`.

    Args:
        filters: MongoDB's query language over `name`, `createdAt`, `tag`, ...
        order: + or - and a key, such as "-createdAt".
        per_page: Collections per request.
        start: `cursor` of an earlier result, to go on from there.
    """

    def __init__(
        self,
        transport: Transport,
        entity: str,
        project: str,
        type_name: str | None,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> None:
        self._transport = transport
        self.entity = entity
        self.project = project
        self.type_name = type_name
        self.filters = filters
        self.order = order
        super().__init__(per_page=per_page, start=start, where=f"artifact collections of {entity}/{project}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {
            "entity": self.entity,
            "project": self.project,
            "cursor": cursor,
            "perPage": per_page,
            "filters": json.dumps(self.filters) if self.filters else None,
            "order": self.order,
        }
        where = f"{self.entity}/{self.project}"
        if self.type_name is None:
            data = execute(self._transport, documents.PROJECT_COLLECTIONS, variables, where=where)
            owner = data.get("project")
        else:
            variables["type"] = self.type_name
            data = execute(self._transport, documents.TYPE_COLLECTIONS, variables, where=where)
            owner = (data.get("project") or {}).get("artifactType")
        if owner is None:
            raise NotFoundError(
                "There is no such project"
                if data.get("project") is None
                else f"There is no artifact type {self.type_name!r}",
                where=where,
            )
        found = owner["artifactCollections"]
        return connection_page(found, where=where, total=(found or {}).get("totalCount"))

    def _convert(self, nodes: list[dict[str, Any]]) -> list[ArtifactCollection]:
        return [
            ArtifactCollection(
                self._transport, self.entity, self.project, node["name"], node["type"]["name"], node
            )
            for node in nodes
        ]

    def __repr__(self) -> str:
        return f"<ArtifactCollections {self.entity}/{self.project} ({len(self)})>"
