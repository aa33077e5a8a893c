"""Who may ask: requests carry the API key, as Basic ``api:KEY`` or as Bearer."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING

from wandb_ops.local.errors import Refused

if TYPE_CHECKING:
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


def authenticate(service: Service, header: str | None) -> None:
    """:class:`Refused` (401) unless the header carries the server's key."""
    key = key_of(header)
    if key is None:
        raise Refused("missing API key: send it as Basic auth with the user 'api', or as Bearer", 401)
    if not hmac.compare_digest(key.encode(), service.api_key.encode()):
        raise Refused("invalid API key", 401)
