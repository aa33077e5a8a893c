"""`Registries`: those of an organisation, and the way to the collections and versions in them.

api.registries(filter={"name": {"$regex": "model"}}).collections(filter={"tag": "prod"}).versions()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_ops.errors import UsageError
from wandb_ops.protocol.documents import registries as documents
from wandb_ops.public.accounts import registry_filters as filters
from wandb_ops.public.accounts.registries import Registry
from wandb_ops.public.accounts.registry_search import (
    NO_START,
    PER_PAGE,
    Chained,
    ChainedCollections,
    OrganizationList,
    RegistryCollections,
    RegistryVersions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wandb_ops.protocol.pagination import Page
    from wandb_ops.public.accounts.registry_search import Filter
    from wandb_ops.public.artifacts.artifacts import Artifact
    from wandb_ops.transport.session import Transport


class Registries(OrganizationList[Registry]):
    """The registries of an organisation: iterate, index, slice, or go on to what is in them.

    Args:
        transport: How to reach the server.
        organization: Its name.
        filter: By `id`, `name`, `description`, `created_at`, `updated_at`; names with or without
            `wandb-registry-`, patterns with it where they name the beginning.
        order: + or - and `name`, `created_at` or `updated_at`.
        per_page: Registries per request.
        start: `cursor` of an earlier list, to go on from there.

    Raises:
        UsageError: The filter or the order is not what the server would understand.
        NotFoundError: On first use: there is no such organisation.
    """

    what = "registries"

    def __init__(
        self,
        transport: Transport,
        organization: str,
        filter: Filter | None = None,
        order: str | None = None,
        per_page: int = PER_PAGE,
        start: str | None = None,
    ) -> None:
        self._sent = filters.to_json(filter, filters.REGISTRIES)
        self.filter = dict(filter or {})
        super().__init__(transport, organization, filters.check_order(order), per_page, start)

    def collections(
        self,
        filter: Filter | None = None,
        order: str | None = None,
        per_page: int = PER_PAGE,
        start: str | None = None,
    ) -> RegistryCollections | ChainedCollections:
        """The collections in these registries.

        Args:
            filter: By `name`, `tag`, `description`, `created_at`, `updated_at`.
            order: + or - and `name`, `created_at` or `updated_at`; within each registry where these are
                ordered.
            per_page: Collections per request.
            start: `cursor` of an earlier list, to go on from there.
        """
        transport, organization = self._transport, self.organization
        if self.order is None:
            return RegistryCollections(transport, organization, self.filter, filter, order, per_page, start)
        if start is not None:
            raise UsageError(NO_START)

        def lists() -> Iterator[RegistryCollections]:
            for each in self:
                found = {"name": each.full_name}
                yield RegistryCollections(transport, organization, found, filter, order, per_page)

        return ChainedCollections(transport, organization, lists)

    def versions(
        self,
        filter: Filter | None = None,
        order: str | None = None,
        per_page: int = PER_PAGE,
        start: str | None = None,
    ) -> RegistryVersions | Chained[Artifact]:
        """The versions in these registries.

        Args:
            filter: By `tag`, `alias`, `version`, `metadata.KEY`, `created_at`, `updated_at`.
            order: + or - and `created_at`, `artifact_size` or `linked_at`; organisations with W&B's advanced
                search only.
            per_page: Versions per request.
            start: `cursor` of an earlier list, to go on from there.

        Raises:
            UnsupportedServer: An order was asked for and the organisation has no advanced search.
        """
        transport, organization = self._transport, self.organization
        if self.order is None:
            return RegistryVersions(
                transport, organization, self.filter, None, filter, order, per_page, start
            )
        if start is not None:
            raise UsageError(NO_START)

        def lists() -> Iterator[RegistryVersions]:
            for each in self:
                found = {"name": each.full_name}
                yield RegistryVersions(transport, organization, found, None, filter, order, per_page)

        return Chained(lists)

    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        return self._ask(documents.GET_REGISTRIES, "projects", cursor, per_page, {"filters": self._sent})

    def _convert(self, nodes: list[dict[str, Any]]) -> list[Registry]:
        # The organisation's entity may own projects that are none.
        found = [node for node in nodes if node["name"].startswith(filters.PREFIX)]
        return [Registry(self._transport, self.organization, node) for node in found]
