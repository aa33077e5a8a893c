"""Collections that load page by page, and can be used like lists.

W&B's paginators are their own iterators: a nested loop over the same collection, a second thread or a
negative index give wrong results there. Here the loaded objects are shared and every loop has its own place
in them.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from wandb_ops.errors import UsageError
from wandb_ops.protocol.pagination import Page, Pages

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

logger = logging.getLogger("wandb_ops.public")


class Paginator(ABC, Generic[T]):
    """A lazily loaded sequence of the server's objects, safe to share between threads.

    Attributes:
        per_page: Objects asked for per request.
    """

    def __init__(self, *, per_page: int, start: str | None = None, where: str = "") -> None:
        if isinstance(per_page, bool) or not isinstance(per_page, int) or per_page < 1:
            raise UsageError(f"per_page is a whole number from 1, not {per_page!r}")
        self.per_page = per_page
        self._where = where
        self._start = start
        self._objects: list[T] = []
        self._seen: set[str] = set()
        self._total: int | None = None
        self._position = 0
        self._lock = threading.RLock()
        self._pages: Pages[dict[str, Any]] = Pages(self._fetch, per_page=per_page, start=start, where=where)

    @abstractmethod
    def _fetch(self, cursor: str | None, per_page: int) -> Page[dict[str, Any]]:
        """Ask the server for one page."""

    @abstractmethod
    def _convert(self, nodes: list[dict[str, Any]]) -> list[T]:
        """Objects for the nodes of one page, in order."""

    def _key(self, node: dict[str, Any]) -> str:
        """What tells two nodes apart: rows move between pages while others are created and deleted."""
        return str(node["id"])

    @property
    def cursor(self) -> str | None:
        """Where the next page begins: pass it as `start=` to go on from here in another process."""
        return self._pages.cursor

    @property
    def more(self) -> bool:
        """Whether there are pages that were not loaded yet."""
        return not self._pages.exhausted

    def _load_page(self) -> bool:
        """Load one more page; False when there was none."""
        with self._lock:
            page = self._pages.next_page()
            if page is None:
                return False
            if page.total is not None:
                self._total = page.total
            fresh = []
            for node in page.nodes:
                key = self._key(node)
                if key not in self._seen:
                    self._seen.add(key)
                    fresh.append(node)
            self._objects.extend(self._convert(fresh))
            if self._pages.exhausted:
                self._compare_with_total()
            return True

    def _compare_with_total(self) -> None:
        if self._start is None and self._total is not None and self._total != len(self._objects):
            logger.warning(
                "%s: the server counts %d, its pages held %d; it changed while it was read",
                self._where,
                self._total,
                len(self._objects),
            )

    def _load_until(self, count: int | None) -> None:
        """Load until at least `count` objects are there, or all when it is None."""
        while count is None or len(self._objects) < count:
            # Another thread may load the page that this one waits for, so the count is looked at under the
            # lock.
            with self._lock:
                if count is not None and len(self._objects) >= count:
                    return
                if not self._load_page():
                    return

    def __iter__(self) -> Iterator[T]:
        position = 0
        while True:
            self._load_until(position + 1)
            if position >= len(self._objects):
                return
            yield self._objects[position]
            position += 1

    def __next__(self) -> T:
        """The next object in a place that all callers of `next()` on this collection share."""
        with self._lock:
            self._load_until(self._position + 1)
            if self._position >= len(self._objects):
                raise StopIteration
            self._position += 1
            return self._objects[self._position - 1]

    def next(self) -> T:
        """The same as `next(...)` of the collection.

        Raises:
            StopIteration: There is no further one.
        """
        return self.__next__()

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        """An object, or a list of them; only what a negative index or an open end needs is loaded whole."""
        if isinstance(index, slice):
            bounds = (index.start, index.stop)
            backwards = index.step is not None and index.step < 0
            whole = backwards or index.stop is None or any(b is not None and b < 0 for b in bounds)
            self._load_until(None if whole else index.stop)
        else:
            self._load_until(None if index < 0 else index + 1)
        return self._objects[index]

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {key: value for key, value in self.__dict__.items() if key not in {"_lock", "_pages"}} | {
                "_place": (self._pages.cursor, self._pages.exhausted)
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        cursor, exhausted = state.pop("_place")
        self.__dict__.update(state)
        self._lock = threading.RLock()
        self._pages = Pages(self._fetch, per_page=self.per_page, start=cursor, where=self._where)
        self._pages.exhausted = exhausted


class SizedPaginator(Paginator[T], ABC):
    """A collection whose size the server tells."""

    def __len__(self) -> int:
        """The server's count, from the first page; after the last page, what the pages really held."""
        with self._lock:
            if self._total is None and self.more:
                self._load_page()
            if self._start is not None or self._total is None:
                # The count is of the whole, and this collection began in the middle or has none.
                self._load_until(None)
            if not self.more or self._total is None:
                return len(self._objects)
            return self._total
