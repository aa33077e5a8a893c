"""`Team`, `Member` and `Organization`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from wandb_ops.errors import GraphQLError, NotFoundError, UsageError
from wandb_ops.protocol.documents import teams as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.attrs import Attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wandb_ops.public.api_accounts import AccountMethods
    from wandb_ops.transport.session import Transport

# What servers say when the one invited is there already, or unknown: the documented False. Anything else they
# refuse is an error.
_NOT_INVITED = re.compile(
    r"\balready\b.*\b(?:member|invited|in the team|on the team)\b|\buser\b.*\b(?:not found|does not exist)\b"
    r"|\b(?:no such|unknown|could not find) user\b",
    re.IGNORECASE,
)


class Member(Attrs):
    """A member of a team: a person, a service account, or an invite that waits.

    Args:
        transport: How to reach the server.
        team: The team's name.
        attrs: The member's node.
    """

    def __init__(self, transport: Transport, team: str, attrs: Mapping[str, Any]) -> None:
        self._transport = transport
        self._attrs = dict(attrs)
        self.team = team

    @property
    def id(self) -> str | None:
        """The server's identifier of the membership."""
        return self._attrs.get("id")

    @property
    def name(self) -> str:
        """The name shown; a service account's description."""
        return str(self._attrs["name"])

    @property
    def username(self) -> str | None:
        """The login name; None while an invite waits."""
        return self._attrs.get("username")

    @property
    def email(self) -> str | None:
        """The address; None where the server does not show it."""
        return self._attrs.get("email")

    @property
    def admin(self) -> bool:
        """Whether the member administers the team."""
        return bool(self._attrs.get("admin"))

    @property
    def pending(self) -> bool:
        """Whether this is an invite that waits for its account."""
        return bool(self._attrs.get("pending"))

    @property
    def account_type(self) -> str | None:
        """ "MEMBER", or "SERVICE" for a service account."""
        return self._attrs.get("accountType")

    @property
    def api_key(self) -> str | None:
        """The key of a service account, where the server shows it to who asks. Mind where it goes."""
        return self._attrs.get("apiKey")

    def delete(self) -> bool:
        """Remove the member from the team, or take the invite back.

        Returns:
            Whether the server says that it is done.

        Raises:
            GraphQLError: The server refused.
        """
        variables = {"id": self.id, "entity": self.team}
        data = execute(
            self._transport, documents.DELETE_INVITE, variables, where=f"{self.team}, member {self.name}"
        )
        return bool((data.get("deleteInvite") or {}).get("success"))

    def __repr__(self) -> str:
        return f"<Member {self.name} ({self.account_type})>"


class Team(Attrs):
    """A team and its members, fetched now.

    Args:
        transport: How to reach the server.
        name: The team's name.
        attrs: Its node, where it is known.

    Raises:
        NotFoundError: There is no such team, or this account may not see it.

    Attributes:
        name: Its name, also that of its entity.
    """

    def __init__(self, transport: Transport, name: str, attrs: Mapping[str, Any] | None = None) -> None:
        self._transport = transport
        self._attrs = {}
        self.name = name
        if attrs:
            self._take(attrs)
        else:
            self.load()

    @classmethod
    def create(cls, api: AccountMethods, team: str, admin_username: str | None = None) -> Self:
        """Create a team; see `Api.create_team`."""
        if not isinstance(team, str) or not team:
            raise UsageError(f"A team is named by text, not {team!r}")
        variables = {"teamName": team, "teamAdminUserName": admin_username}
        execute(api.transport, documents.CREATE_TEAM, variables, where=f"team {team}")
        return cls(api.transport, team)

    @property
    def id(self) -> str:
        """The server's identifier of the team's entity."""
        return str(self._attrs["id"])

    @property
    def members(self) -> list[Member]:
        """Members, service accounts and waiting invites, as of the last `load`."""
        members: list[Member] = self._attrs["members"]
        return members

    def invite(self, username_or_email: str, admin: bool = False) -> bool:
        """Invite somebody.

        Args:
            username_or_email: Username or address; text with an `@` is taken for an address.
            admin: Whether to make him an administrator of the team.

        Returns:
            False where he is a member or invited already, or where there is no such user.

        Raises:
            GraphQLError: The server refused for another reason.
        """
        field = "email" if "@" in username_or_email else "username"
        variables = {"entity": self.name, "admin": admin, field: username_or_email}
        try:
            execute(self._transport, documents.CREATE_INVITE, variables, where=self._where)
        except GraphQLError as error:
            if error.messages and all(_NOT_INVITED.search(text) for text in error.messages):
                return False
            raise
        return True

    def create_service_account(self, description: str) -> Member:
        """Make an account that acts for the team alone.

        Args:
            description: What it is for.

        Returns:
            The account as a member; `api_key` of it holds its key, where the server shows it.

        Raises:
            GraphQLError: The server refused.
        """
        variables = {"entity": self.name, "description": description}
        data = execute(self._transport, documents.CREATE_SERVICE_ACCOUNT, variables, where=self._where)
        made = (data.get("createServiceAccount") or {}).get("user") or {}
        self.load(force=True)
        # By name and not by place: somebody else may have joined meanwhile.
        for member in self.members:
            if made.get("username") and member.username == made["username"]:
                return member
        raise GraphQLError(
            "CreateServiceAccount: the server made no member of the service account", where=self._where
        )

    def load(self, force: bool = False) -> dict[str, Any]:
        """The team's node with its members, fetched if it is not known yet.

        Args:
            force: Fetch it again.

        Raises:
            NotFoundError: There is no such team, or this account may not see it.
        """
        if force or not self._attrs:
            data = execute(self._transport, documents.GET_TEAM, {"name": self.name}, where=self._where)
            if not data.get("entity"):
                raise NotFoundError("There is no such team", where=self.name)
            self._take(data["entity"])
        return self._attrs

    def _take(self, node: Mapping[str, Any]) -> None:
        members = [Member(self._transport, self.name, each) for each in node["members"]]
        self._attrs = {**node, "members": members}

    @property
    def _where(self) -> str:
        return f"team {self.name}"

    def __repr__(self) -> str:
        return f"<Team {self.name}>"


@dataclass(frozen=True, slots=True)
class OrganizationEntity:
    """The entity that owns an organisation's registries."""

    id: str
    name: str
    entity_type: str


@dataclass(frozen=True, slots=True)
class Organization:
    """An organisation, as it was when it was fetched."""

    id: str
    name: str
    org_entity: OrganizationEntity


def fetch_organization(transport: Transport, name: str) -> Organization:
    """The organisation of that name.

    Raises:
        NotFoundError: There is no such organisation, or this account may not see it.
    """
    data = execute(transport, documents.GET_ORGANIZATION, {"org": name}, where=f"organization {name}")
    node = data.get("organization")
    if not node or not node.get("orgEntity"):
        raise NotFoundError("There is no such organization", where=name)
    entity = node["orgEntity"]
    return Organization(
        node["id"], node["name"], OrganizationEntity(entity["id"], entity["name"], entity["entityType"])
    )


def organization_of(transport: Transport, entity: str) -> str:
    """Name of the organisation that a team or user belongs to.

    Raises:
        NotFoundError: It belongs to none.
        UsageError: The user belongs to several.
    """
    data = execute(transport, documents.ORGANIZATIONS_OF_ENTITY, {"entity": entity}, where=entity)
    node = data.get("entity") or {}
    if node.get("organization"):
        return str(node["organization"]["name"])
    names = [each["name"] for each in (node.get("user") or {}).get("organizations") or []]
    if not names:
        raise NotFoundError("The entity belongs to no organization", where=entity)
    if len(names) > 1:
        raise UsageError(
            f"{entity} belongs to several organizations ({', '.join(names)})", hint="Pass organization=."
        )
    return str(names[0])
