"""One limit for everything that an export asks: so many requests at once, whoever makes them."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wandb_ops.errors import CommError
from wandb_ops.transport.session import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONCURRENCY = 8


class LimitedTransport(Transport):
    """Passes on what may be asked, at most `at_once` calls at a time, and refuses everything that writes.

    Runs are read in parallel, and the pages of each run again: without a common limit the two would multiply.
    """

    def __init__(self, inner: Transport, at_once: int = CONCURRENCY) -> None:
        # No call to the base: connections, budget and settings are those of `inner`.
        self._inner = inner
        self._at_once = threading.BoundedSemaphore(at_once)
        self._stopped = threading.Event()
        self.settings = inner.settings

    def stop(self) -> None:
        """Refuse every call from now on: nobody wants what the workers still ask for."""
        self._stopped.set()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._at_once:
            if self._stopped.is_set():
                raise CommError("The export was interrupted", hint="The same call goes on from here.")
            yield

    def post(self, path: str, body: bytes, **rest: Any) -> Any:
        """As `Transport.post`, when it is our turn."""
        with self._turn():
            return self._inner.post(path, body, **rest)

    def download(self, url: str, sink: Any, **rest: Any) -> int:
        """As `Transport.download`, when it is our turn."""
        with self._turn():
            return self._inner.download(url, sink, **rest)

    def get_json(
        self, path: str, *, operation: str, where: str, params: Mapping[str, str] | None = None
    ) -> bytes:
        """As `Transport.get_json`, when it is our turn."""
        with self._turn():
            return self._inner.get_json(path, operation=operation, where=where, params=params)

    def upload(self, *_: Any, **__: Any) -> None:
        """An export changes nothing on the server."""
        raise AssertionError("an export uploads nothing")

    def close(self) -> None:
        """Nothing of its own to close."""

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a limit belongs to one process")

    def __repr__(self) -> str:
        return f"LimitedTransport({self._inner!r})"
