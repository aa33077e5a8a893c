"""`Registry`: where an organisation keeps the versions that are to be used, by collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self, cast

from wandb_ops.errors import GraphQLError, NotFoundError, UsageError
from wandb_ops.protocol.documents import registries as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.accounts.registry_filters import PREFIX
from wandb_ops.public.accounts.registry_members import RegistryMembers
from wandb_ops.public.accounts.registry_search import PER_PAGE, RegistryCollections, RegistryVersions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_ops.public.api_accounts import AccountMethods
    from wandb_ops.transport.session import Transport

Visibility = Literal["organization", "restricted"]
_ACCESS: dict[str, str] = {"organization": "PRIVATE", "restricted": "RESTRICTED"}
_LONGEST = 128
_FORBIDDEN = frozenset("/\\#?%:\r\n")


class Registry(RegistryMembers):
    """A registry. Changes to name, description, visibility and types are local until `save()`.

    Args:
        transport: How to reach the server.
        organization: Name of the organisation that it belongs to.
        node: The node of its project.

    Attributes:
        organization: The organisation's name.
        name: Its name, without `wandb-registry-`.
        description: Free text.
        allow_all_artifact_types: Whether versions of every type may be linked; else those of
            `artifact_types`.
        artifact_types: Names of types; types may be added and not taken away.
        visibility: "organization": everyone in the organisation sees it; or "restricted".
    """

    def __init__(self, transport: Transport, organization: str, node: Mapping[str, Any]) -> None:
        self._transport = transport
        self.organization = organization
        self._take(node)

    def _take(self, node: Mapping[str, Any]) -> None:
        self._node = dict(node)
        self.name: str = node["name"].removeprefix(PREFIX)
        self.description: str | None = node.get("description")
        self.visibility: Visibility = "restricted" if node.get("access") == "RESTRICTED" else "organization"
        self.allow_all_artifact_types = bool(node["allowAllArtifactTypes"])
        self._types = [edge["node"]["name"] for edge in node["artifactTypes"]["edges"]]
        self.artifact_types: list[str] = list(self._types)
        self._saved = self._state()

    def _state(self) -> tuple[Any, ...]:
        types = tuple(self.artifact_types)
        return self.name, self.description, self.visibility, self.allow_all_artifact_types, types

    def _unsaved(self) -> bool:
        """Whether there are changes that `save()` would send."""
        return self._state() != self._saved

    @classmethod
    def create(
        cls,
        api: AccountMethods,
        organization: str,
        name: str,
        visibility: Visibility,
        description: str | None = None,
        artifact_types: Sequence[str] | None = None,
    ) -> Self:
        """Create a registry; see `Api.create_registry`."""
        full_name, access = _full_name(name), _access(visibility)
        entity = api.organization(organization).org_entity.name
        where = f"{entity}/{full_name}"
        if _fetch(api.transport, entity, full_name) is not None:
            raise UsageError(f"There is a registry {name!r} in {organization!r} already")
        given = {
            "entityName": entity,
            "name": full_name,
            "description": description,
            "access": access,
            "allowAllArtifactTypesInRegistry": not artifact_types,
            "artifactTypes": [{"name": each} for each in artifact_types or ()] or None,
        }
        return cls(api.transport, organization, _upsert(api.transport, given, where))

    @classmethod
    def fetch(cls, api: AccountMethods, organization: str, name: str) -> Self:
        """A registry by name; see `Api.registry`."""
        full_name = _full_name(name)
        entity = api.organization(organization).org_entity.name
        node = _fetch(api.transport, entity, full_name)
        if node is None:
            raise NotFoundError("There is no such registry", where=f"{entity}/{full_name}")
        return cls(api.transport, organization, node)

    @property
    def id(self) -> str:
        """The server's identifier."""
        return str(self._node["id"])

    @property
    def internal_id(self) -> str | None:
        """The server's identifier that survives a rename."""
        return self._node.get("internalId")

    @property
    def entity(self) -> str:
        """The organisation's entity, which owns the registry's project."""
        return str(self._node["entity"]["name"])

    @property
    def full_name(self) -> str:
        """Name of the registry's project: `wandb-registry-` and the registry's name."""
        return f"{PREFIX}{self.name}"

    @property
    def created_at(self) -> str:
        """When it was made, ISO 8601."""
        return str(self._node["createdAt"])

    @property
    def updated_at(self) -> str | None:
        """When it was last changed, ISO 8601."""
        return self._node.get("updatedAt")

    @property
    def path(self) -> list[str]:
        """Entity and full name."""
        return [self.entity, self.full_name]

    def collections(
        self,
        filter: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = PER_PAGE,
        start: str | None = None,
    ) -> RegistryCollections:
        """The collections in it; arguments as for `Registries.collections`."""
        found = {"name": self._saved_name}
        return RegistryCollections(self._transport, self.organization, found, filter, order, per_page, start)

    def versions(
        self,
        filter: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = PER_PAGE,
        start: str | None = None,
    ) -> RegistryVersions:
        """The versions in it; arguments as for `Registries.versions`."""
        found = {"name": self._saved_name}
        return RegistryVersions(
            self._transport, self.organization, found, None, filter, order, per_page, start
        )

    def load(self) -> None:
        """Fetch it again; changes that were not saved are lost.

        Raises:
            NotFoundError: It is gone, or this account may not see it any more.
        """
        node = _fetch(self._transport, self.entity, self._saved_name)
        if node is None:
            raise NotFoundError("There is no such registry", where=self._where)
        self._take(node)

    def save(self) -> None:
        """Send the changes.

        Raises:
            UsageError: A type was taken away or added where all are allowed, or a name cannot be one.
            GraphQLError: The server refused.
        """
        new_name, access = _full_name(self.name), _access(self.visibility)
        added = [each for each in self.artifact_types if each not in self._types]
        if set(self._types) - set(self.artifact_types):
            raise UsageError("Artifact types of a registry cannot be taken away", where=self._where)
        if added and self.allow_all_artifact_types:
            raise UsageError(
                "The registry takes artifacts of every type",
                hint="Set allow_all_artifact_types to False first.",
            )
        given = {
            "entityName": self.entity,
            "name": self._saved_name,
            "description": self.description,
            "access": access,
            "allowAllArtifactTypesInRegistry": self.allow_all_artifact_types,
            "artifactTypes": [{"name": each} for each in dict.fromkeys(added)] or None,
        }
        node = _upsert(self._transport, given, self._where)
        if new_name != node["name"]:
            renaming = {
                "entityName": self.entity,
                "oldProjectName": node["name"],
                "newProjectName": new_name,
            }
            data = execute(self._transport, documents.RENAME_REGISTRY, {"input": renaming}, where=self._where)
            renamed = (data.get("renameProject") or {}).get("project")
            if not renamed:
                raise GraphQLError("RenameRegistry: the server renamed nothing", where=self._where)
            node = renamed
        self._take(node)

    def delete(self) -> None:
        """Delete it with its collections. This cannot be undone; the versions stay where they were logged.

        Raises:
            GraphQLError: The server refused.
        """
        data = execute(self._transport, documents.DELETE_REGISTRY, {"id": self.id}, where=self._where)
        if not (data.get("deleteModel") or {}).get("success"):
            raise GraphQLError("DeleteRegistry: the server did not delete it", where=self._where)

    @property
    def _saved_name(self) -> str:
        return str(self._node["name"])

    @property
    def _where(self) -> str:
        return f"{self.entity}/{self._saved_name}"

    def __repr__(self) -> str:
        return f"<Registry {self.organization}/{self.name}>"


def _full_name(name: str) -> str:
    if not isinstance(name, str) or not name.removeprefix(PREFIX).strip():
        raise UsageError(f"A registry is named by text, not {name!r}")
    full_name = PREFIX + name.removeprefix(PREFIX)
    if len(full_name) > _LONGEST or _FORBIDDEN & set(full_name):
        raise UsageError(
            f"{name!r} is no name for a registry",
            hint=f"At most {_LONGEST - len(PREFIX)} characters, without / \\ # ? % : and line ends.",
        )
    return full_name


def _access(visibility: str) -> str:
    if visibility not in _ACCESS:
        raise UsageError(f"A registry's visibility is {' or '.join(map(repr, _ACCESS))}, not {visibility!r}")
    return _ACCESS[visibility]


def _fetch(transport: Transport, entity: str, full_name: str) -> dict[str, Any] | None:
    variables = {"name": full_name, "entity": entity}
    data = execute(transport, documents.GET_REGISTRY, variables, where=f"{entity}/{full_name}")
    return cast("dict[str, Any] | None", (data.get("entity") or {}).get("project"))


def _upsert(transport: Transport, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    data = execute(transport, documents.UPSERT_REGISTRY, {"input": dict(given)}, where=where)
    node = (data.get("upsertModel") or {}).get("project")
    if not node:
        raise GraphQLError("UpsertRegistry: the server made no registry", where=where)
    return cast("dict[str, Any]", node)
