"""Who asks: requests carry an API key, as Basic ``api:KEY`` or as Bearer."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from wandb_ops.local.errors import Refused

if TYPE_CHECKING:
    from wandb_ops.local.accounts.accounts import Account
    from wandb_ops.local.service import Service


def key_of(header: str | None) -> str | None:
    """The key in an ``Authorization`` header, or None when there is none in it."""
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    user, _, password = text.partition(":")
    return password if user == "api" and password else None


def known(service: Service, header: str | None) -> Account | None:
    """The account, when its key was looked up before: that takes no look at the database."""
    key = key_of(header)
    return service.accounts.known(key) if key else None


def authenticate(service: Service, header: str | None) -> Account:
    """The account whose key the header carries, or :class:`Refused` (401)."""
    key = key_of(header)
    if key is None:
        raise Refused("missing API key: send it as Basic auth with the user 'api', or as Bearer", 401)
    account = service.accounts.by_key(key)
    if account is None:
        raise Refused("invalid API key", 401)
    return account
