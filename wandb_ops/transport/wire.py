"""The connections below `requests`: deadlines that hold, and tracing of what was sent.

Three things the libraries leave open, closed at the one place where all bytes pass:

- Their read timeout bounds each wait for bytes, so a server that drips one byte per second is never timed
  out. Here every wait is bounded by what is left of the call's deadline.
- Whether a request was sent at all decides whether a mutation may be repeated; here it is recorded.
- `http.client`'s debug mode prints headers. It is kept off our connections; the process's other users of the
  library notice nothing. (`client` does the same for urllib3's log, which prints signed queries.)
"""

from __future__ import annotations

import http.client
import io
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import requests.adapters
import urllib3.connection
import urllib3.connectionpool

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

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


class Adapter(requests.adapters.HTTPAdapter):
    """What has `requests` use these connections."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


__all__ = ["Adapter", "Deadline", "Trace", "traced"]
