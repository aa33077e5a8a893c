"""The collections and versions in registries: lists that narrow step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from wandb_ops.errors import NotFoundError, UnsupportedServer, UsageError
from wandb_ops.protocol.documents import registries as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.protocol.pagination import Page, connection_page
from wandb_ops.public.accounts import registry_filters as filters
from wandb_ops.public.artifacts.artifacts import Artifact
from wandb_ops.public.artifacts.collections import ArtifactCollection
from wandb_ops.public.artifacts.paths import ArtifactPath
from wandb_ops.public.paginator import Paginator, SizedPaginator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from wandb_ops.protocol.graphql import Operation
    from wandb_ops.transport.session import Transport

    Filter = Mapping[str, Any]

T = TypeVar("T")

PER_PAGE = 100
NO_START = "start= does not go with an order of what the list comes from"


class OrganizationList(Paginator[T]):
    """A list of what an organisation's entity owns; `what` says of what, for errors and logs."""

    what: ClassVar[str]

    def __init__(
        self, transport: Transport, organization: str, order: str | None, per_page: int, start: str | None
    ) -> None:
        self._transport = transport
        self.organization = organization
        self.order = order
        super().__init__(per_page=per_page, start=start, where=f"{self.what} of {organization}")

    def _ask(
        self, operation: Operation, field: str, cursor: str | None, per_page: int, given: Mapping[str, Any]
    ) -> Page[dict[str, Any]]:
        """One page of the entity's connection `field`.

        Raises:
            NotFoundError: There is no such organisation, or this account may not see it.
        """
        variables = {
            "organization": self.organization,
            "order": self.order,
            "cursor": cursor,
            "perPage": per_page,
            **given,
        }
        data = execute(self._transport, operation, variables, where=self._where)
        entity = (data.get("organization") or {}).get("orgEntity")
        if not entity:
            raise NotFoundError("There is no such organization", where=self.organization)
        found = entity[field] or {}
        return connection_page(found, where=self._where, total=found.get("totalCount"))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.organization}>"


def advanced_search(transport: Transport, organization: str) -> bool:
    """Whether the organisation's versions are looked for by W&B's newer search."""
    try:
        data = execute(
            transport, documents.ADVANCED_SEARCH, {"organization": organization}, where=organization
        )
    except UnsupportedServer:
        return False
    features = (data.get("organization") or {}).get("advancedRegistryFeatures") or {}
    return bool(features.get("advancedSearch"))


class Chained(Generic[T]):
    """Several lists, one after the other in the order of what they come from."""

    def __init__(self, lists: Callable[[], Iterable[Iterable[T]]]) -> None:
        self._lists = lists

    def __iter__(self) -> Iterator[T]:
        for each in self._lists():
            yield from each


class ChainedCollections(Chained[ArtifactCollection]):
    """The collections of ordered registries."""

    def __init__(
        self,
        transport: Transport,
        organization: str,
        lists: Callable[[], Iterable[Iterable[ArtifactCollection]]],
    ) -> None:
        super().__init__(lists)
        self._transport = transport
        self.organization = organization

    def versions(
        self,
        filter: Filter | None = None,
        order: str | None = None,
        per_page: int = PER_PAGE,
        start: str | None = None,
    ) -> Chained[Artifact]:
        """The versions in these collections; arguments as for `Registries.versions`."""
        if start is not None:
            raise UsageError(NO_START)
        return versions_of(self._transport, self.organization, self, filter, order, per_page)


def versions_of(
    transport: Transport,
    organization: str,
    collections: Iterable[ArtifactCollection],
    filter: Filter | None,
    order: str | None,
    per_page: int,
) -> Chained[Artifact]:
    def lists() -> Iterator[RegistryVersions]:
        for each in collections:
            registry, named = {"name": each.project}, {"name": each.name}
            yield RegistryVersions(transport, organization, registry, named, filter, order, per_page)

    return Chained(lists)


class RegistryCollections(OrganizationList[ArtifactCollection], SizedPaginator[ArtifactCollection]):
    """Collections of registries: iterate, index, slice, or go on to the versions in them.

    Arguments and errors as for `Registries`, with the filter of the registries before the collections'.
    """

    what = "registry collections"

    def __init__(
        self,
        transport: Transport,
        organization: str,
        registry_filter: Filter | None = None,
        collection_filter: Filter | None = None,
        order: str | None = None,
        per_page: int = PER_PAGE,
        start: str | None = None,
    ) -> None:
        self._sent = {
            "registryFilter": filters.to_json(registry_filter, filters.REGISTRIES),
            "collectionFilter": filters.to_json(collection_filter, filters.COLLECTIONS),
        }
        self.registry_filter = dict(registry_filter or {})
        self.collection_filter = dict(collection_filter or {})
        super().__init__(transport, organization, filters.check_order(order), per_page, start)

    def versions(
        self,
        filter: Filter | None = None,
        order: str | None = None,
        per_page: int = PER_PAGE,
        start: str | None = None,
    ) -> RegistryVersions | Chained[Artifact]:
        """The versions in these collections; arguments as for `Registries.versions`."""
        if self.order is None:
            return RegistryVersions(
                self._transport,
                self.organization,
                self.registry_filter,
                self.collection_filter,
                filter,
                order,
                per_page,
                start,
            )
        if start is not None:
            raise UsageError(NO_START)
        return versions_of(self._transport, self.organization, self, filter, order, per_page)

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        return self._ask(documents.GET_COLLECTIONS, "artifactCollections", cursor, per_page, self._sent)

    def _convert(self, nodes: list[dict[str, Any]]) -> list[ArtifactCollection]:
        return [
            ArtifactCollection(
                self._transport,
                node["project"]["entity"]["name"],
                node["project"]["name"],
                node["name"],
                node["type"]["name"],
                node,
            )
            for node in nodes
        ]


class RegistryVersions(OrganizationList[Artifact]):
    """Versions linked into registries: iterate, index, slice.

    Arguments and errors as for `Registries`, with the filters of registries and collections before that of
    the versions.
    """

    what = "registry versions"

    def __init__(
        self,
        transport: Transport,
        organization: str,
        registry_filter: Filter | None = None,
        collection_filter: Filter | None = None,
        artifact_filter: Filter | None = None,
        order: str | None = None,
        per_page: int = PER_PAGE,
        start: str | None = None,
    ) -> None:
        self._filters = (registry_filter, collection_filter, artifact_filter)
        self._variables: dict[str, Any] | None = None
        super().__init__(transport, organization, order, per_page, start)
        # What is wrong in both searches is said at once; which of them it is takes a request.
        try:
            self._sent(advanced=False)
        except UsageError:
            self._sent(advanced=True)
        if order is not None:
            filters.check_version_order(order)

    def _sent(self, *, advanced: bool) -> dict[str, Any]:
        fields = (
            (filters.ADVANCED_REGISTRIES, filters.ADVANCED_COLLECTIONS, filters.ADVANCED_VERSIONS)
            if advanced
            else (filters.REGISTRIES, filters.COLLECTIONS, filters.VERSIONS)
        )
        texts = [filters.to_json(each, known) for each, known in zip(self._filters, fields, strict=True)]
        return dict(zip(("registryFilter", "collectionFilter", "artifactFilter"), texts, strict=True))

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        if self._variables is None:
            advanced = advanced_search(self._transport, self.organization)
            if self.order is not None and not advanced:
                raise UnsupportedServer(
                    "Versions of this organization's registries cannot be ordered",
                    where=self.organization,
                    hint="Leave order= out.",
                )
            order = filters.check_version_order(self.order) if self.order is not None else None
            self._variables = {**self._sent(advanced=advanced), "order": order}
        return self._ask(documents.GET_VERSIONS, "artifactMemberships", cursor, per_page, self._variables)

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Artifact]:
        found = []
        for node in nodes:
            collection, artifact = node.get("artifactCollection"), node.get("artifact")
            if not collection or not artifact or node.get("versionIndex") is None:
                continue  # the version was deleted meanwhile
            project = collection["project"]
            path = ArtifactPath(
                project["entity"]["name"], project["name"], f"{collection['name']}:v{node['versionIndex']}"
            )
            found.append(Artifact._of_node(self._transport, path, artifact, membership=node))
        return found
