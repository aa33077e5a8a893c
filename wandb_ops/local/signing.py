"""Signed URLs: whoever holds one may read or write that one thing until it expires, without a key."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from wandb_ops.local.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable


class Signer:
    """Makes and checks URLs of stored things.

    Args:
        secret: The key of the signature; kept with the data, so that URLs survive a restart.
        lifetime: Seconds for which a URL is good.
    """

    def __init__(self, secret: bytes, lifetime: float, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._lifetime = lifetime
        self._clock = clock

    def _signature(self, method: str, area: str, run: int, name: str, expires: int) -> str:
        text = "\n".join((method, area, str(run), str(expires), name))
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    def path(self, method: str, area: str, run: int, name: str) -> str:
        """The path and query for ``GET`` or ``PUT`` of a run's file in ``area``."""
        expires = int(self._clock() + self._lifetime)
        signature = self._signature(method, area, run, name, expires)
        return f"/{area}/{run}/{quote(name)}?expires={expires}&signature={signature}"

    def check(self, method: str, area: str, run: int, name: str, expires: str, signature: str) -> None:
        """:class:`Refused` (403) unless the URL is ours, for this method, and still good."""
        if not (expires.isascii() and expires.isdigit() and len(expires) < 16):
            raise Refused("the URL is not signed", 403)
        wanted = self._signature("GET" if method == "HEAD" else method, area, run, name, int(expires))
        if not hmac.compare_digest(wanted.encode(), signature.encode()):
            raise Refused("the URL's signature does not fit", 403)
        if int(expires) < self._clock():
            raise Refused("the URL has expired", 403)
