"""Where requests may go, and where the key may go: two different questions.

The key goes to one origin only, that of `base_url`. Files lie behind signed URLs of other hosts, which the
server names; those are followed over https without the key, and never into the private network, where a
hostile server could point us.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urljoin, urlsplit

from wandb_ops.errors import ProtocolError
from wandb_ops.redaction import safe_url
from wandb_ops.settings import is_loopback

_PORTS = {"http": 80, "https": 443}
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def origin_of(url: str) -> str:
    """`scheme://host:port` of `url`, in one spelling; empty for what is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "").rstrip(".")
    if not host or not parts.scheme:
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{port or _PORTS.get(parts.scheme, 0)}"


def shown_origin(url: str) -> str:
    """`scheme://host[:port]` for a message."""
    shown = origin_of(url)
    for scheme, port in _PORTS.items():
        if shown.startswith(f"{scheme}://"):
            shown = shown.removesuffix(f":{port}")
    return shown or "(no URL)"


def absolute(base_url: str, url: str) -> str:
    """`url`, which may be relative to the API's address, as an absolute URL."""
    if urlsplit(url).scheme:
        return url
    return f"{base_url}/{url.lstrip('/')}" if not url.startswith("//") else urljoin(base_url, url)


def check_file_url(url: str, *, base_url: str, previous: str | None = None, where: str = "") -> str:
    """`url`, if a file may be fetched from or sent to it.

    Args:
        url: An absolute URL that the server named.
        base_url: The API's address; what it is (plain http, this machine, a private network) is allowed.
        previous: The URL that redirected here, if one did.
        where: For the error.

    Raises:
        ProtocolError: Another scheme than https, a downgrade, user names, or a private address.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ProtocolError("The server named a malformed URL", where=where) from None
    problem = ""
    base = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not host:
        problem = "is not http(s)"
    elif parts.username is not None or parts.password is not None:
        problem = "carries a user name"
    elif parts.scheme == "http" and (previous or base_url).startswith("https:"):
        problem = "would leave https"
    elif parts.scheme == "http" and is_loopback(base.hostname or "") and _private_kind(host) is None:
        problem = "is not encrypted"
    elif not _reachable(host, base.hostname or ""):
        problem = "is an address of a private network"
    if problem:
        raise ProtocolError(
            f"The server pointed to {shown_origin(url) if host else safe_url(url)}, which {problem}; refused",
            where=where,
        )
    return url


def _reachable(host: str, base_host: str) -> bool:
    kind = _private_kind(host)
    if kind is None:
        return True
    base_kind = _private_kind(base_host)
    if kind == "link-local":
        return base_kind == "link-local"
    return base_kind is not None


def _private_kind(host: str) -> str | None:
    """What kind of non-public address `host` is written as; None for names and public addresses."""
    if is_loopback(host):
        return "loopback"
    address = _literal(host)
    if address is None:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_link_local:
        return "link-local"
    return None if address.is_global else "private"


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    if not host.rstrip(".").replace(".", "").replace("x", "").isalnum() or not host[0].isdigit():
        return None
    try:
        # 127.1, 2130706433 and 0x7f.1 are addresses too: the resolver reads them so.
        return ipaddress.IPv4Address(socket.inet_aton(host.rstrip(".")))
    except (OSError, UnicodeEncodeError):
        return None


__all__ = ["absolute", "check_file_url", "origin_of", "shown_origin"]
