"""The connections below `requests`: deadlines that hold, tracing of what was sent, and silence.

Three things the libraries leave open, closed at the one place where all bytes pass:

- Their read timeout bounds each wait for bytes, so a server that drips one byte per second is never timed
  out. Here every wait is bounded by what is left of the call's deadline.
- Whether a request was sent at all decides whether a mutation may be repeated; here it is recorded.
- `http.client`'s debug mode prints headers, and urllib3's DEBUG log prints signed queries. Both are kept off
  our connections; the process's other users of these libraries notice nothing.
"""

from __future__ import annotations

import http.client
import http.cookiejar
import io
import logging
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
import urllib3.connection
import urllib3.connectionpool
from requests.auth import AuthBase, _basic_auth_str

from wandb_ops.redaction import redact
from wandb_ops.transport.urls import origin_of
from wandb_ops.version import __version__

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

#: What every request calls the program.
USER_AGENT = f"wandb-ops/{__version__}"
POOL_SIZE = 16
_INTERIM_ANSWERS = 10


class Deadline:
    """The time until which one call must be done.

    Args:
        seconds: How long from now.
        clock: A monotonic clock: wall-clock jumps and suspends change nothing.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Seconds left; 0 when it is over."""
        return max(0.0, self._end - self._clock())

    def extend(self, seconds: float) -> None:
        """Allow more time, for bytes that did arrive."""
        self._end += seconds


class Trace:
    """What happened to one attempt on the wire."""

    __slots__ = ("deadline", "read_timeout", "sent")

    def __init__(self, deadline: Deadline, read_timeout: float) -> None:
        self.deadline = deadline
        self.read_timeout = read_timeout
        self.sent = False

    def wait(self) -> float:
        """Seconds the next wait for bytes may take."""
        remaining = self.deadline.remaining()
        if remaining <= 0:
            raise TimeoutError("the total deadline of the call is over")
        return min(self.read_timeout, remaining)


_trace: ContextVar[Trace | None] = ContextVar("wandb_ops_trace", default=None)


@contextmanager
def traced(trace: Trace) -> Iterator[None]:
    """Connections used by this thread inside the block obey and fill `trace`."""
    token = _trace.set(trace)
    try:
        yield
    finally:
        _trace.reset(token)


class _BoundedReader(io.RawIOBase):
    """A socket's reading side whose every wait ends with the deadline."""

    def __init__(self, sock: socket.socket, trace: Trace) -> None:
        # An unbuffered makefile is a raw reader; typeshed cannot tell from `buffering=0`.
        self._raw: Any = sock.makefile("rb", buffering=0)
        self._sock = sock
        self._trace = trace

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._trace.wait())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Readable:
    """Stands in for the socket that `http.client.HTTPResponse` asks for a file."""

    def __init__(self, sock: socket.socket, trace: Trace) -> None:
        self._sock = sock
        self._trace = trace

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._sock, self._trace), 1 << 16)


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        trace = _trace.get()
        # All that the base class does with a socket is to ask it for a file.
        source: Any = sock if trace is None else _Readable(sock, trace)
        super().__init__(source, *args, **kwargs)

    def begin(self) -> None:
        super().begin()
        for _ in range(_INTERIM_ANSWERS):
            if not (100 <= self.status < 200 and self.status != 101):
                return
            # An interim answer (102, 103): the real one follows on the same connection.
            self.headers = self.msg = None  # type: ignore[assignment] # begin() starts over when they are None
            self.will_close = False
            super().begin()


class _Plain(urllib3.connection.HTTPConnection):
    debuglevel = 0
    response_class = _Response

    def request(self, *args: Any, **kwargs: Any) -> None:
        _connect_then_mark_sent(self)
        super().request(*args, **kwargs)


class _Secure(urllib3.connection.HTTPSConnection):
    debuglevel = 0
    response_class = _Response

    def request(self, *args: Any, **kwargs: Any) -> None:
        _connect_then_mark_sent(self)
        super().request(*args, **kwargs)


def _connect_then_mark_sent(connection: urllib3.connection.HTTPConnection) -> None:
    if connection.sock is None:
        connection.connect()
    trace = _trace.get()
    if trace is not None:
        trace.sent = True


class _PlainPool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _Secure


_POOLS = {"http": _PlainPool, "https": _SecurePool}


class _Adapter(requests.adapters.HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


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
    """Follows no redirect, keeps no cookie; proxies and CA bundles of the environment hold."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nothing: whoever sends the request decides about redirects, after looking at where they lead."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, _response: requests.Response) -> None:
        """Strip credentials, where requests would apply netrc to the new host."""
        prepared_request.headers.pop("Authorization", None)


def new_session(base_url: str, key: str) -> Session:
    """A session for use by all threads of this process."""
    _silence_urllib3()
    session = Session()
    session.auth = OriginAuth(base_url, key)
    session.headers["User-Agent"] = USER_AGENT
    session.headers["Accept-Encoding"] = "gzip"
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(pool_connections=POOL_SIZE, pool_maxsize=POOL_SIZE)
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


__all__ = ["Deadline", "OriginAuth", "Session", "Trace", "new_session", "traced"]
