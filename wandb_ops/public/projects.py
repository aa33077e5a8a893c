"""`Project` and `Projects`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wandb_ops.errors import NotFoundError
from wandb_ops.protocol.documents import projects as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public.accounts.users import User
from wandb_ops.public.attrs import Attrs, iframe
from wandb_ops.public.paginator import Paginator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.public.artifacts.collections import ArtifactCollections
    from wandb_ops.public.artifacts.types import ArtifactTypes
    from wandb_ops.public.sweeps import Sweeps
    from wandb_ops.transport.session import Transport


class Project(Attrs):
    """A project; what is not known of it is fetched when it is first asked for.

    Args:
        transport: How to reach the server.
        entity: User or team that owns it.
        project: Its name.
        attrs: Its node, where it is known.

    Raises:
        NotFoundError: On the first attribute that needs the server: there is no such project.
    """

    def __init__(
        self, transport: Transport, entity: str, project: str, attrs: Mapping[str, Any] | None = None
    ) -> None:
        self._transport = transport
        self._entity = entity
        self._name = project
        self._attrs = dict(attrs or {})

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def entity(self) -> str:
        """User or team that owns it."""
        return self._entity

    @property
    def id(self) -> str:
        """The server's identifier of the project."""
        return str(self._attr("id"))

    @property
    def created_at(self) -> str:
        """When it was created, ISO 8601."""
        return str(self._attr("createdAt"))

    @property
    def is_benchmark(self) -> bool:
        """Whether it is one of W&B's public benchmarks."""
        return bool(self._attr("isBenchmark"))

    @property
    def owner(self) -> User:
        """Who created it.

        Raises:
            NotFoundError: The server does not tell.
        """
        node = self._attr("user")
        if not node:
            raise NotFoundError("The server does not tell who owns the project", where=self._where)
        return User(node, self._transport)

    @property
    def path(self) -> list[str]:
        """Entity and name."""
        return [self._entity, self._name]

    @property
    def url(self) -> str:
        """The project's page in the W&B app."""
        entity, name = (quote(part, safe="") for part in self.path)
        return f"{self._transport.settings.app_url}/{entity}/{name}/workspace"

    def sweeps(
        self,
        per_page: int = 50,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,  # noqa: ARG002 - W&B's argument, which it ignores, too
    ) -> Sweeps:
        """Its sweeps, the newest first, loaded page by page.

        Args:
            per_page: Sweeps per request.
            filters: As for `Api.runs`, on fields of a sweep such as `state`, `displayName`, `createdAt`.
            order: Accepted as W&B does; the server has one order only.
        """
        from wandb_ops.public.sweeps import Sweeps

        return Sweeps(self._transport, self._entity, self._name, per_page, filters)

    def artifacts_types(self, per_page: int = 50) -> ArtifactTypes:
        """The types of its artifacts, loaded page by page."""
        from wandb_ops.public.artifacts.types import ArtifactTypes

        return ArtifactTypes(self._transport, self._entity, self._name, per_page=per_page)

    def collections(
        self,
        filters: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 50,
        start: str | None = None,
    ) -> ArtifactCollections:
        """Its artifact collections, of all types, loaded page by page.

        Args:
            filters: MongoDB's query language over `name`, `createdAt`, `tag`, ...
            order: + or - and a key, such as "-createdAt".
            per_page: Collections per request.
            start: `cursor` of an earlier result, to go on from there.
        """
        from wandb_ops.public.artifacts.collections import ArtifactCollections

        return ArtifactCollections(
            self._transport,
            self._entity,
            self._name,
            None,
            filters=filters,
            order=order,
            per_page=per_page,
            start=start,
        )

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """HTML that shows the project's page in a notebook."""
        return iframe(self.url, height=height, hidden=hidden, what="project")

    def load(self) -> dict[str, Any]:
        """The project's node, fetched if it is not known yet.

        Raises:
            NotFoundError: There is no such project, or this account may not see it.
        """
        if not self._attrs:
            variables = {"name": self._name, "entity": self._entity}
            data = execute(self._transport, documents.GET_PROJECT, variables, where=self._where)
            if not data.get("project"):
                raise NotFoundError("There is no such project", where=self._where)
            self._attrs = dict(data["project"])
        return self._attrs

    @property
    def _where(self) -> str:
        return f"{self._entity}/{self._name}"

    def _attr(self, field: str) -> Any:
        return self.load()[field]

    def __repr__(self) -> str:
        return f"<Project {self._where}>"


class Projects(Paginator[Project]):
    """The projects of an entity: iterate, index, slice.

    Args:
        transport: How to reach the server.
        entity: User or team.
        per_page: Projects per request.
    """

    def __init__(self, transport: Transport, entity: str, per_page: int = 200) -> None:
        self._transport = transport
        self.entity = entity
        super().__init__(per_page=per_page, where=f"projects of {entity}")

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        variables = {"entity": self.entity, "cursor": cursor, "perPage": per_page}
        data = execute(self._transport, documents.GET_PROJECTS, variables, where=self._where)
        if data.get("models") is None:
            raise NotFoundError("There is no such user or team", where=self.entity)
        return connection_page(data["models"], where=self._where)

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Project]:
        return [
            Project(self._transport, node.get("entityName") or self.entity, node["name"], node)
            for node in nodes
        ]

    def __repr__(self) -> str:
        return f"<Projects {self.entity}>"
