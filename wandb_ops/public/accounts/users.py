"""`User`: an account, its teams and its API keys."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

from wandb_ops.errors import GraphQLError, NotFoundError, UsageError
from wandb_ops.protocol.documents import users as documents
from wandb_ops.protocol.graphql import execute
from wandb_ops.public.attrs import Attrs
from wandb_ops.redaction import register_secret

if TYPE_CHECKING:
    from wandb_ops.public.api import Api
    from wandb_ops.public.api_accounts import AccountMethods
    from wandb_ops.transport.session import Transport


class User(Attrs):
    """An account on the W&B server, as far as the server showed it.

    Args:
        attrs: Its node.
        transport: How to reach the server for what the node does not hold.
        own: The `Api` whose key is this account's; None for everyone else.
    """

    def __init__(
        self, attrs: dict[str, Any], transport: Transport | None = None, *, own: Api | None = None
    ) -> None:
        self._attrs = dict(attrs)
        self._transport = transport
        self._own = own
        # Hash of a key made here -> its id: the server lists keys by another name than their text.
        self._made: dict[str, str] = {}

    @classmethod
    def create(cls, api: AccountMethods, email: str, admin: bool | None = False) -> Self:
        """Create an account; see `Api.create_user`."""
        if not isinstance(email, str) or "@" not in email:
            raise UsageError(f"{email!r} is not an email address")
        variables = {"email": email, "admin": bool(admin)}
        data = execute(api.transport, documents.CREATE_USER, variables, where=f"user {email}")
        node = (data.get("createUser") or {}).get("user")
        if not node:
            raise GraphQLError("CreateUserFromAdmin: the server made no user", data=data, where=email)
        return cls(node, api.transport)

    @property
    def id(self) -> str | None:
        """The server's identifier of the account."""
        return self._attrs.get("id")

    @property
    def name(self) -> str | None:
        """The name shown."""
        return self._attrs.get("name")

    @property
    def username(self) -> str | None:
        """The login name, also the name of the account's own entity."""
        return self._attrs.get("username")

    @property
    def email(self) -> str | None:
        """The address; None where the server does not show it."""
        return self._attrs.get("email")

    @property
    def entity(self) -> str | None:
        """The default entity; None where the server did not tell."""
        return self._attrs.get("entity")

    @property
    def admin(self) -> bool:
        """Whether this is an administrator of the whole server."""
        return bool(self._attrs.get("admin"))

    @property
    def teams(self) -> list[str]:
        """Names of the teams; empty where the server did not tell."""
        edges = (self._attrs.get("teams") or {}).get("edges") or []
        return [edge["node"]["name"] for edge in edges]

    @property
    def user_api(self) -> Api | None:
        """An `Api` with this user's own key; None for everyone but the user of the key in use."""
        if self._own is None:
            return None
        settings = self._own.transport.settings
        return type(self._own)(overrides={"base_url": settings.base_url}, api_key=settings.api_key)

    # -- API keys ------------------------------------------------------------------------------------------

    @property
    def api_keys(self) -> list[str]:
        """Names of the account's API keys, not their text, asked for each time.

        Empty where the server does not tell whose keys they are: those of others are an administrator's to
        see.

        Raises:
            CommError: The server shows keys to W&B's own clients only, or did not answer.
        """
        return [str(key["name"]) for key in self._keys()]

    def generate_api_key(self, description: str | None = None) -> str:
        """Make a new API key of this account.

        Args:
            description: What it is for.

        Returns:
            The key itself. The server does not show it again.

        Raises:
            UsageError: This is not the user whose key is in use: everyone makes his own keys.
            GraphQLError: The server refused.
        """
        transport = self._reach()
        if self._own is None:
            data = execute(transport, documents.GET_DEFAULT_ENTITY, {}, where="viewer")
            if (data.get("viewer") or {}).get("id") != self.id:
                raise UsageError(f"A key of {self.username} can only be made with a key of {self.username}")
        data = execute(transport, documents.GENERATE_API_KEY, {"description": description}, where=self._where)
        node = (data.get("generateApiKey") or {}).get("apiKey")
        if not node:
            raise GraphQLError("GenerateApiKey: the server made no key", where=self._where)
        text = str(node["name"])
        register_secret(text)
        self._made[_digest(text)] = str(node["id"])
        return text

    def delete_api_key(self, api_key: str) -> bool:
        """Delete an API key of this account.

        Args:
            api_key: Its name, as in `api_keys`, or what `generate_api_key` of this object returned.

        Returns:
            Whether the server says that it is gone.

        Raises:
            NotFoundError: (a ValueError) There is no such key.
            GraphQLError: The server refused: only the owner and administrators may.
        """
        identifier = self._made.get(_digest(api_key))
        if identifier is None:
            named = [key for key in self._keys() if key["name"] == api_key]
            if len(named) != 1:
                reason = "There is no such API key" if not named else "Several API keys have that name"
                raise NotFoundError(reason, where=self._where)
            identifier = str(named[0]["id"])
        data = execute(self._reach(), documents.DELETE_API_KEY, {"id": identifier}, where=self._where)
        self._made.pop(_digest(api_key), None)
        return bool((data.get("deleteApiKey") or {}).get("success"))

    def _keys(self) -> list[dict[str, Any]]:
        transport = self._reach()
        if self._own is not None:
            data = execute(transport, documents.GET_API_KEYS, {}, where=self._where)
            nodes = [data.get("viewer") or {}]
        else:
            variables = {"query": self.username or self.email}
            data = execute(transport, documents.SEARCH_API_KEYS, variables, where=self._where)
            found = [edge["node"] for edge in (data.get("users") or {}).get("edges") or []]
            nodes = [node for node in found if node["id"] == self.id]
        return [edge["node"] for node in nodes for edge in (node.get("apiKeys") or {}).get("edges") or []]

    def _reach(self) -> Transport:
        if self._transport is None:
            raise UsageError(f"{self!r} has no way to the server; take it from Api.viewer or Api.user()")
        return self._transport

    @property
    def _where(self) -> str:
        return f"user {self.username or self.email or self.id}"

    def __repr__(self) -> str:
        name = self.username or self.name or self.email
        return f"<User {name}>" if name else "<User ???>"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
