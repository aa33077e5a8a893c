"""Members of a registry: the users and teams that were given a role in it."""

from __future__ import annotations

import base64
import binascii
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from wandb_ops.errors import GraphQLError, NotFoundError, UsageError, UsageTypeError
from wandb_ops.protocol.documents import registries as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.accounts.teams import Team
from wandb_ops.public.accounts.users import User

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wandb_ops.protocol.graphql import Operation
    from wandb_ops.transport.session import Transport

_USER, _TEAM = "User", "Entity"


@dataclass(frozen=True, slots=True)
class UserMember:
    """A user in a registry.

    Attributes:
        user: Who it is.
        role: "admin", "member", "viewer", "restricted_viewer", or a role of the server's own.
    """

    kind: ClassVar[str] = _USER
    user: User
    role: str


@dataclass(frozen=True, slots=True)
class TeamMember:
    """A team in a registry; attributes as `UserMember` has them."""

    kind: ClassVar[str] = _TEAM
    team: Team
    role: str


AnyMember = User | UserMember | Team | TeamMember | str


class RegistryMembers(ABC):
    """What `Registry` offers on its members; made part of it there."""

    _transport: Transport

    @property
    @abstractmethod
    def id(self) -> str:
        """The server's identifier."""

    @property
    @abstractmethod
    def entity(self) -> str:
        """The organisation's entity."""

    @property
    @abstractmethod
    def _saved_name(self) -> str: ...

    @property
    @abstractmethod
    def _where(self) -> str: ...

    def members(self) -> list[UserMember | TeamMember]:
        """Its members: first the users, then the teams.

        Raises:
            NotFoundError: (a ValueError) The registry is gone, or this account may not see it any more.
        """
        return [*self.user_members(), *self.team_members()]

    def user_members(self) -> list[UserMember]:
        """The users who are members by themselves. Errors as `members`."""
        nodes = self._project(documents.GET_USER_MEMBERS)["members"]
        return [UserMember(User(_person(node), self._transport), _role(node)) for node in nodes]

    def team_members(self) -> list[TeamMember]:
        """The teams that are members. Errors as `members`."""
        nodes = self._project(documents.GET_TEAM_MEMBERS)["teamMembers"]
        return [
            TeamMember(Team(self._transport, node["team"]["name"], node["team"]), _role(node))
            for node in nodes
        ]

    def add_members(self, *members: AnyMember) -> Self:
        """Add users or teams; which role they begin with is the server's choice.

        Args:
            members: Users, teams, members of other registries, or the `id` of a user or team.

        Raises:
            UsageTypeError: (a TypeError) None was given, or something else than these.
            UsageError: (a ValueError) A text is the `id` of neither a user nor a team.
            GraphQLError: The server refused.
            AmbiguousOutcome: The answer was lost; they may have been added.
        """
        self._send(documents.CREATE_MEMBERS, self._several("add_members", members))
        return self

    def remove_members(self, *members: AnyMember) -> Self:
        """Take users or teams out. Arguments and errors as `add_members`."""
        self._send(documents.DELETE_MEMBERS, self._several("remove_members", members))
        return self

    def update_member(self, member: AnyMember, role: str) -> Self:
        """Give a member another role.

        Args:
            member: As for `add_members`.
            role: "admin", "member", "viewer", "restricted_viewer", or a role of the server's own.

        Raises:
            UsageTypeError: (a TypeError) That is no member.
            UsageError: (a ValueError) A text is the `id` of neither a user nor a team, or the role is none.
            GraphQLError: The server refused: there is no such role, or he is no member.
        """
        if not isinstance(role, str) or not role:
            raise UsageError(f"A role is named by text, not {role!r}", where=self._where)
        kind, identifier = _identify(member)
        if kind == _USER:
            given = {"userId": identifier, "userProjectRole": str(role)}
            self._send(documents.UPDATE_USER_MEMBER, given)
        else:
            given = {"teamId": identifier, "teamProjectRole": str(role)}
            self._send(documents.UPDATE_TEAM_MEMBER, given)
        return self

    def _several(self, method: str, members: Iterable[AnyMember]) -> dict[str, Any]:
        known = {_identify(each) for each in members}
        if not known:
            raise UsageTypeError(f"{method}() needs at least one member", where=self._where)
        return {
            "userIds": sorted(identifier for kind, identifier in known if kind == _USER),
            "teamIds": sorted(identifier for kind, identifier in known if kind == _TEAM),
        }

    def _project(self, operation: Operation) -> dict[str, Any]:
        variables = {"project": self._saved_name, "entity": self.entity}
        node = execute(self._transport, operation, variables, where=self._where).get("project")
        if node is None:
            raise NotFoundError("There is no such registry", where=self._where)
        found: dict[str, Any] = node
        return found

    def _send(self, operation: Operation, given: dict[str, Any]) -> None:
        variables = {"input": {"projectId": self.id, **given}}
        data = execute(self._transport, operation, variables, where=self._where)
        if not (data.get("result") or {}).get("success"):
            raise GraphQLError(f"{operation.name}: the server changed nothing", where=self._where)


def _person(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key != "role"}


def _role(node: dict[str, Any]) -> str:
    return str((node.get("role") or {}).get("name") or "")


def _identify(member: AnyMember) -> tuple[str, str]:
    """Kind and identifier of a member."""
    if isinstance(member, UserMember):
        member = member.user
    elif isinstance(member, TeamMember):
        member = member.team
    if isinstance(member, User | Team):
        kind = _USER if isinstance(member, User) else _TEAM
        if not member.id:
            raise UsageError(f"{member!r} has no identifier; take it from the Api")
        return kind, member.id
    if not isinstance(member, str):
        raise UsageTypeError(f"A member is a user, a team, or the id of one, not a {type(member).__name__}")
    try:
        kind, _, number = base64.b64decode(member, validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        kind = number = ""
    if kind not in {_USER, _TEAM} or not number:
        raise UsageError(
            f"{member!r} is the id of neither a user nor a team",
            hint="Pass what Api.user() or Api.team() gives, or its `id`.",
        )
    return kind, member
