"""What `Api` offers on users, teams, organisations and registries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

from wandb_ops.errors import UsageError
from wandb_ops.protocol.documents import users as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.accounts.users import User

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wandb_ops.public.accounts.registries import Registry
    from wandb_ops.public.accounts.registry_list import Registries
    from wandb_ops.public.accounts.teams import Organization, Team
    from wandb_ops.transport.session import Transport


class AccountMethods(ABC):
    """Methods of `Api`; made part of it there."""

    settings: dict[str, Any]

    @property
    @abstractmethod
    def transport(self) -> Transport:
        """How the server is reached."""

    @abstractmethod
    def entity_or_default(self, entity: str | None) -> str:
        """`entity`, or the default one."""

    def create_team(self, team: str, admin_username: str | None = None) -> Team:
        """Create a team.

        Args:
            team: Its name.
            admin_username: Who is to administer it; None is this account.

        Raises:
            GraphQLError: The server refused, because the name is taken, for example.
            AmbiguousOutcome: The answer was lost; the team may have been made.
        """
        from wandb_ops.public.accounts.teams import Team

        return Team.create(self, team, admin_username)

    def team(self, team: str) -> Team:
        """A team with its members, fetched now.

        Args:
            team: Its name.

        Raises:
            NotFoundError: There is no such team, or this account may not see it.
        """
        from wandb_ops.public.accounts.teams import Team

        return Team(self.transport, team)

    def create_user(self, email: str, admin: bool | None = False) -> User:
        """Create an account. Only administrators of a server of one's own may.

        Args:
            email: The address.
            admin: Whether it is to administer the whole server.

        Raises:
            GraphQLError: The server refused.
            AmbiguousOutcome: The answer was lost; the account may have been made.
        """
        return User.create(self, email, admin)

    def user(self, username_or_email: str) -> User | None:
        """The account of exactly that username or address; None when there is none.

        Works for administrators of the server; `viewer` is one's own account.

        Args:
            username_or_email: Username or address, upper or lower case.
        """
        wanted = username_or_email.lower()
        for found in self.users(username_or_email):
            if wanted in {(found.username or "").lower(), (found.email or "").lower()}:
                return found
        return None

    def users(self, username_or_email: str) -> list[User]:
        """The accounts whose username or address begins or ends so.

        Works for administrators of the server; `viewer` is one's own account.

        Args:
            username_or_email: Part of a username or address.
        """
        if not isinstance(username_or_email, str):
            raise UsageError(f"A user is named by text, not {username_or_email!r}")
        variables = {"query": username_or_email}
        data: dict[str, Any] = execute(self.transport, documents.SEARCH_USERS, variables, where="users")
        edges = (data.get("users") or {}).get("edges") or []
        return [User(edge["node"], self.transport) for edge in edges if edge.get("node")]

    def organization(self, name: str | None = None) -> Organization:
        """An organisation, fetched now.

        Args:
            name: Its name; None is the one in the settings, else the one that the default entity belongs to.

        Raises:
            NotFoundError: (a ValueError) There is no such organisation, or the entity belongs to none.
            UsageError: (a ValueError) The entity belongs to several.
        """
        from wandb_ops.public.accounts.teams import fetch_organization

        return fetch_organization(self.transport, name or self.default_organization())

    def default_organization(self) -> str:
        """Name of the organisation in the settings, else of the one that the default entity belongs to.

        Raises:
            NotFoundError: (a ValueError) It belongs to none.
            UsageError: (a ValueError) It belongs to several.
        """
        from wandb_ops.public.accounts.teams import organization_of

        chosen = self.settings.get("organization")
        return str(chosen) if chosen else organization_of(self.transport, self.entity_or_default(None))

    # -- registries ----------------------------------------------------------------------------------------

    def registries(
        self,
        organization: str | None = None,
        filter: Mapping[str, Any] | None = None,
        order: str | None = None,
        per_page: int = 100,
        start: str | None = None,
    ) -> Registries:
        """The registries of an organisation, and by `.collections()` and `.versions()` what is in them.

            api.registries(filter={"name": {"$regex": "model"}})
            api.registries().collections(filter={"name": "mine", "tag": "prod"})
            api.registries().versions(filter={"$or": [{"tag": "prod"}, {"alias": "best"}]})

        Args:
            organization: Its name; None is the one in the settings, else that of the default entity.
            filter: MongoDB's query language, by `name`, `description`, `created_at`, `updated_at`.
            order: + or - and `name`, `created_at` or `updated_at`.
            per_page: Registries per request.
            start: `cursor` of an earlier result, to go on from there.

        Raises:
            UsageError: The filter or the order is not what the server would understand; or the default entity
                belongs to several organisations.
            NotFoundError: On first use: there is no such organisation.
        """
        from wandb_ops.public.accounts.registry_list import Registries

        name = organization or self.default_organization()
        return Registries(self.transport, name, filter, order, per_page, start)

    def registry(self, name: str, organization: str | None = None) -> Registry:
        """A registry, fetched now.

        Args:
            name: Its name, without `wandb-registry-`.
            organization: Its name; None is the one in the settings, else that of the default entity.

        Raises:
            NotFoundError: (a ValueError) There is no such registry or organisation.
        """
        from wandb_ops.public.accounts.registries import Registry

        return Registry.fetch(self, organization or self.default_organization(), name)

    def create_registry(
        self,
        name: str,
        visibility: Literal["organization", "restricted"],
        organization: str | None = None,
        description: str | None = None,
        artifact_types: Sequence[str] | None = None,
    ) -> Registry:
        """Create a registry.

        Args:
            name: Its name, without `wandb-registry-`.
            visibility: "organization": everyone in the organisation sees it; or "restricted": its members.
            organization: Its name; None is the one in the settings, else that of the default entity.
            description: Free text.
            artifact_types: Types of artifacts that it takes, which can be added to later; None takes all.

        Raises:
            UsageError: (a ValueError) There is a registry of that name, or a name or value cannot be one.
            NotFoundError: (a ValueError) There is no such organisation.
            GraphQLError: The server refused.
        """
        from wandb_ops.public.accounts.registries import Registry

        chosen = organization or self.default_organization()
        return Registry.create(self, chosen, name, visibility, description, artifact_types)
