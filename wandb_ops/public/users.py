"""`User`: an account."""

from __future__ import annotations

from typing import Any

from wandb_ops.public.attrs import Attrs


class User(Attrs):
    """An account on the W&B server, as far as the server showed it."""

    def __init__(self, attrs: dict[str, Any]) -> None:
        self._attrs = dict(attrs)

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

    def __repr__(self) -> str:
        name = self.username or self.name or self.email
        return f"<User {name}>" if name else "<User ???>"
