"""Looking at files of other web servers, which are none of W&B's business: no key goes there.

A user names such an address as a reference. Nothing of W&B's is sent along, nor what netrc has for the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.utils import get_environ_proxies

from wandb_ops.errors import CommError, NotFoundError, StatusError, TransportError
from wandb_ops.redaction import safe_url
from wandb_ops.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRIES = 3
_MAX_REDIRECTS = 5
_TIMEOUT = (10.0, 60.0)


def look_at(url: str, *, where: str) -> Mapping[str, str]:
    """The headers with which a web server answers for `url`; the content is not read.

    Args:
        url: http:// or https://.
        where: For errors.

    Raises:
        NotFoundError: There is nothing (404, 410).
        StatusError: It said no.
        CommError: It did not answer, or redirects from https to http, or for ever.
    """
    here = url
    for _hop in range(_MAX_REDIRECTS + 1):
        status, headers = _answer(here, where)
        if status not in {301, 302, 303, 307, 308} or "Location" not in headers:
            break
        there = urljoin(here, headers["Location"])
        if urlsplit(there).scheme != "https" and not here.startswith("http:"):
            raise CommError(f"{safe_url(here)} redirects away from https", where=where)
        here = there
    else:
        raise CommError(f"{safe_url(url)} redirects more than {_MAX_REDIRECTS} times", where=where)
    if status in {404, 410}:
        raise NotFoundError(f"There is nothing at {safe_url(url)}", where=where)
    if not 200 <= status < 300:
        raise StatusError(
            f"{safe_url(url)} answered with status {status}",
            status=status,
            where=where,
            hint="checksum=False adds the address without asking for it.",
        )
    return headers


def _answer(url: str, where: str) -> tuple[int, Mapping[str, str]]:
    """Status and headers; a server that is out of breath is asked again."""
    direct: dict[str, Any] = {"http": "", "https": ""}
    for number in range(1, _TRIES + 1):
        with requests.Session() as session:
            session.trust_env = False  # netrc may hold a key for this host
            proxies = direct if is_loopback(urlsplit(url).hostname or "") else get_environ_proxies(url)
            try:
                # A GET, as signed addresses are often good for nothing else; its body is not read.
                with session.get(
                    url,
                    headers={"Accept-Encoding": "identity"},
                    timeout=_TIMEOUT,
                    stream=True,
                    allow_redirects=False,
                    proxies=proxies,
                ) as answer:
                    if answer.status_code < 500 or number == _TRIES:
                        return answer.status_code, answer.headers  # whose names have no case
            except requests.RequestException as error:
                if number == _TRIES:
                    kind = type(error).__name__  # the rest quotes the URL with its query
                    raise TransportError(f"{safe_url(url)} did not answer: {kind}", where=where) from None
    raise AssertionError("the last try returns or raises")


__all__ = ["look_at"]
