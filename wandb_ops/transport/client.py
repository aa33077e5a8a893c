"""The `requests` session of a process: whose key goes where, which proxy is used, and silence in the logs."""

from __future__ import annotations

import http.cookiejar
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, _basic_auth_str

from wandb_ops.redaction import redact
from wandb_ops.settings import is_loopback
from wandb_ops.transport.urls import origin_of
from wandb_ops.transport.wire import Adapter
from wandb_ops.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What every request calls the program.
USER_AGENT = f"wandb-ops/{__version__}"
POOL_SIZE = 16
# A proxy of the environment is for the world outside; it cannot reach this machine's loopback.
_DIRECT = {"http": "", "https": ""}


class OriginAuth(AuthBase):
    """HTTP Basic with W&B's user `api`, for one origin; everywhere else no credentials at all.

    As the session's own auth it also keeps requests from looking into netrc, whose entry for the host would
    replace the key that was asked for.
    """

    def __init__(self, base_url: str, key: str) -> None:
        self._origin = origin_of(base_url)
        self._header = _basic_auth_str("api", key)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        if origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = self._header
        return request

    def __repr__(self) -> str:
        return f"OriginAuth({self._origin})"


class Session(requests.Session):
    """Follows no redirect, keeps no cookie; proxies and CA bundles of the environment hold.

    Args:
        verify_tls: Whether certificates are checked.
    """

    def __init__(self, *, verify_tls: bool = True) -> None:
        super().__init__()
        self._verify_tls = verify_tls
        self._ways: dict[str, Any] = {}

    def exchange(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None,
        data: Any,
        headers: Mapping[str, str],
        auth: AuthBase | None,
        timeout: tuple[float, float],
    ) -> requests.Response:
        """Send one request; its answer, of which the body is still to be read.

        Does what `Session.request` does for our few settings, at two thirds of its cost.

        Args:
            auth: Instead of the session's own.
            timeout: Seconds to connect, and to wait for bytes.
        """
        request = requests.PreparedRequest()
        request.prepare(
            method=method,
            url=url,
            headers={**self.headers, **headers},
            params=params,
            data=data,
            auth=auth or self.auth,
        )
        return self.send(request, timeout=timeout, allow_redirects=False, **self._way_to(url))

    def _way_to(self, url: str) -> dict[str, Any]:
        """Proxy and certificates, as the environment had them when this origin was first asked.

        To look them up for every request takes as long as to send a small one.
        """
        origin = origin_of(url)
        way = self._ways.get(origin)
        if way is None:
            proxies = dict(_DIRECT) if is_loopback(urlsplit(url).hostname or "") else {}
            verify = None if self._verify_tls else False
            way = self._ways[origin] = dict(self.merge_environment_settings(url, proxies, True, verify, None))
        return way

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nothing: whoever sends the request decides about redirects, after looking at where they lead."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, _response: requests.Response) -> None:
        """Strip credentials, where requests would apply netrc to the new host."""
        prepared_request.headers.pop("Authorization", None)


def new_session(base_url: str, key: str, *, verify_tls: bool = True) -> Session:
    """A session for use by all threads of this process."""
    _silence_urllib3()
    session = Session(verify_tls=verify_tls)
    session.auth = OriginAuth(base_url, key)
    session.headers["User-Agent"] = USER_AGENT
    session.headers["Accept-Encoding"] = "gzip"
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    adapter = Adapter(pool_connections=POOL_SIZE, pool_maxsize=POOL_SIZE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


class _NoQueries(logging.Filter):
    """Takes signed queries and keys out of urllib3's records, whoever made the request."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(redact(arg) if isinstance(arg, str) else arg for arg in record.args)
        record.msg = redact(str(record.msg))
        if record.exc_info:
            # Tracebacks of URL errors quote the URL; the record's own words say what happened.
            record.exc_info = record.exc_text = None
        return True


_filter = _NoQueries()


def _silence_urllib3() -> None:
    for name in ("urllib3.connectionpool", "urllib3.connection", "urllib3.response", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_filter)  # adding the same filter again changes nothing


__all__ = ["USER_AGENT", "OriginAuth", "Session", "new_session"]
