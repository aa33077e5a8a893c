"""Collections that load page by page, and can be used like lists.

W&B's paginators are their own iterators: a nested loop over the same collection, a second thread or a
negative index give wrong results there. Here the loaded objects are shared and every loop has its own place
in them.

Only the pages used last are kept, about a thousand objects, so that a loop over a hundred thousand runs takes
no more memory than one over a thousand. A page that was let go is asked for again when somebody goes back to
it; one with an object that was changed and not saved is never let go.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from wandb_ops.errors import UsageError
from wandb_ops.protocol.idset import IdSet
from wandb_ops.protocol.pagination import Page, Pages

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

logger = logging.getLogger("wandb_ops.public")

KEPT = 1000
"""Objects that a collection keeps; a single page may hold more."""


@dataclass(frozen=True, slots=True)
class Place:
    """A page that was loaded, and how to get it again.

    Attributes:
        cursor: Where it begins.
        per_page: How many were asked for.
        keys: Those of its nodes, in order, with a zero character in between: a list of texts would take
            eight times as much.
    """

    cursor: str | None
    per_page: int
    keys: str


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
        self._places: list[Place] = []
        self._ends: list[int] = []  # of each page: how many objects came up to its end
        self._kept: OrderedDict[int, list[T]] = OrderedDict()  # pages by number, the one used last at the end
        self._kept_objects = 0
        self._changed: dict[int, list[T]] = {}  # pages that hold something that was not saved
        self._seen = IdSet()
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

    def _fetch_again(self, place: Place) -> Sequence[dict[str, Any]]:
        """Nodes among which are those of a page that was loaded before, as far as they still exist."""
        return self._fetch(place.cursor, place.per_page).nodes

    @property
    def cursor(self) -> str | None:
        """Where the next page begins: pass it as `start=` to go on from here in another process."""
        return self._pages.cursor

    @property
    def more(self) -> bool:
        """Whether there are pages that were not loaded yet."""
        return not self._pages.exhausted

    @property
    def _count(self) -> int:
        """Objects on the pages that were loaded."""
        return self._ends[-1] if self._ends else 0

    def _load_page(self) -> bool:
        """Load one more page; False when there was none."""
        with self._lock:
            cursor = self._pages.cursor
            page = self._pages.next_page()
            if page is None:
                return False
            if page.total is not None:
                self._total = page.total
            fresh = [(key, node) for node in page.nodes if self._seen.add(key := self._key(node))]
            objects = self._convert([node for _, node in fresh])
            self._places.append(Place(cursor, self._pages.per_page, "\0".join(key for key, _ in fresh)))
            self._ends.append(self._count + len(objects))
            self._keep(len(self._places) - 1, objects)
            if self._pages.exhausted:
                self._compare_with_total()
            return True

    def _keep(self, number: int, objects: list[T]) -> None:
        """Hold a page that is used now, and let go of those that were not used for longest."""
        if number not in self._kept:
            self._kept_objects += len(objects)
        self._kept[number] = objects
        self._kept.move_to_end(number)
        while self._kept_objects > KEPT and len(self._kept) > 1:
            old, left = self._kept.popitem(last=False)
            self._kept_objects -= len(left)
            if any(map(_unsaved, left)):
                self._changed[old] = left

    def _page(self, number: int) -> list[T] | None:
        """The objects of a page; None after the last one."""
        # Another thread may load the page that this one waits for: all of this is done under the lock.
        with self._lock:
            while number >= len(self._places):
                if not self._load_page():
                    return None
            if number in self._changed:
                return self._changed[number]
            objects = self._kept[number] if number in self._kept else self._again(number)
            self._keep(number, objects)
            return objects

    def _again(self, number: int) -> list[T]:
        """A page that was let go. What was deleted meanwhile is no longer in the list."""
        place = self._places[number]
        nodes = {self._key(node): node for node in self._fetch_again(place)}
        keys = place.keys.split("\0") if place.keys else []
        objects = self._convert([nodes[key] for key in keys if key in nodes])
        begin = self._ends[number - 1] if number else 0
        lost = self._ends[number] - begin - len(objects)
        if lost:
            logger.warning("%s: %d that were listed before are not there any more", self._where, lost)
            self._ends[number:] = [end - lost for end in self._ends[number:]]
        return objects

    def _compare_with_total(self) -> None:
        if self._start is None and self._total is not None and self._total != self._count:
            logger.warning(
                "%s: the server counts %d, its pages held %d; it changed while it was read",
                self._where,
                self._total,
                self._count,
            )

    def _load_until(self, count: int | None) -> None:
        """Load until at least `count` objects are known, or all when it is None."""
        with self._lock:
            while (count is None or self._count < count) and self._load_page():
                pass

    def _from(self, position: int) -> Iterator[T]:
        """The objects from a position on."""
        self._load_until(position + 1)
        number = bisect_right(self._ends, position)
        skipped = position - (self._ends[number - 1] if number else 0)
        while (objects := self._page(number)) is not None:
            yield from islice(objects, skipped, None)
            number, skipped = number + 1, 0

    def __iter__(self) -> Iterator[T]:
        return self._from(0)

    def __next__(self) -> T:
        """The next object in a place that all callers of `next()` on this collection share."""
        with self._lock:
            found = next(self._from(self._position))
            self._position += 1
            return found

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
            return self._slice(index)
        if index < 0:
            self._load_until(None)
            index += self._count
        if index >= 0:
            for found in self._from(index):
                return found
        raise IndexError("there are not so many")

    def _slice(self, wanted: slice) -> list[T]:
        if wanted.step is not None and wanted.step < 0:
            return list(self)[wanted]
        if any(bound is not None and bound < 0 for bound in (wanted.start, wanted.stop)):
            self._load_until(None)
            wanted = slice(*wanted.indices(self._count))
        begin = wanted.start or 0
        length = None if wanted.stop is None else max(0, wanted.stop - begin)
        return list(islice(self._from(begin), 0, length, wanted.step)) if length != 0 else []

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
                return self._count
            return self._total


def _unsaved(one: Any) -> bool:
    """Whether an object has changes that only this process knows of; most cannot be changed."""
    tells = getattr(one, "_unsaved", None)
    return bool(tells and tells())
