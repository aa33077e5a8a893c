"""Relay pages, followed safely.

A connection is read page by page with the cursor that the server gave. What W&B's servers have been seen to
do is taken into account: an empty page in the middle is no end, a cursor handed out twice is an endless loop
and therefore an error, and a gateway that gives up on a large page is asked again for a smaller one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wandb_ops.errors import CursorStuck, DeadlineExceeded, ProtocolError, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")

logger = logging.getLogger("wandb_ops.protocol")

#: Answers of a gateway that waited in vain for the page.
_TOO_SLOW = frozenset({502, 504})
_SMALLEST_PAGE = 1


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a connection.

    Attributes:
        nodes: What the page holds; may be empty although more follow.
        end_cursor: Where the next page begins.
        has_next: Whether the server says that more follow.
        total: The server's count of the whole connection, where it gives one.
    """

    nodes: tuple[T, ...]
    end_cursor: str | None
    has_next: bool
    total: int | None = None


def connection_page(
    connection: Mapping[str, Any] | None, *, where: str, total: int | None = None
) -> Page[dict[str, Any]]:
    """The page in `connection`, which is `{edges: [{node, cursor}], pageInfo: {...}}`.

    Edges without a node (the thing was deleted meanwhile) are left out.

    Raises:
        ProtocolError: `connection` has not that form.
    """
    try:
        edges = [edge for edge in (connection or {})["edges"] or () if edge]
        nodes = tuple(edge["node"] for edge in edges if edge.get("node") is not None)
        info: Mapping[str, Any] = (connection or {}).get("pageInfo") or {}
        cursor = info.get("endCursor") or (edges[-1].get("cursor") if edges else None)
    except (KeyError, TypeError, AttributeError) as error:
        raise ProtocolError("The page has no edges where they belong", where=where) from error
    return Page(nodes=nodes, end_cursor=cursor, has_next=bool(info.get("hasNextPage")), total=total)


class Pages(Generic[T]):
    """One way through a connection; its state survives a failed page, so the caller may just ask again.

    Args:
        fetch: Gets the page after a cursor (None is the first) with at most so many nodes.
        per_page: Nodes per page; halved when a gateway fails on the page's size.
        start: Cursor to go on from.
        where: What is being read, for messages.
    """

    def __init__(
        self,
        fetch: Callable[[str | None, int], Page[T]],
        *,
        per_page: int,
        start: str | None = None,
        where: str = "",
    ) -> None:
        self._fetch = fetch
        self.per_page = per_page
        self.cursor = start
        self.exhausted = False
        self._where = where
        self._given: set[str] = {start} if start is not None else set()

    def next_page(self) -> Page[T] | None:
        """The next page, or None after the last.

        Raises:
            CursorStuck: The server hands out a cursor that it gave before, or none although more follow.
        """
        if self.exhausted:
            return None
        page = self._fetch_smaller_if_needed()
        if not page.has_next:
            self.exhausted = True
            return page
        if page.end_cursor is None or page.end_cursor in self._given:
            raise CursorStuck(
                f"After {len(self._given) + 1} pages the server gave the same place to go on from again",
                where=self._where,
            )
        self._given.add(page.end_cursor)
        self.cursor = page.end_cursor
        return page

    def _fetch_smaller_if_needed(self) -> Page[T]:
        while True:
            try:
                return self._fetch(self.cursor, self.per_page)
            except (ServerError, DeadlineExceeded) as error:
                slow = isinstance(error, DeadlineExceeded) or error.status in _TOO_SLOW
                if not slow or self.per_page <= _SMALLEST_PAGE:
                    raise
                self.per_page = max(_SMALLEST_PAGE, self.per_page // 2)
                logger.warning(
                    "The server was too slow for a page of %s; trying %d per page", self._where, self.per_page
                )


def paginate(
    fetch: Callable[[str | None, int], Page[T]],
    *,
    per_page: int,
    start: str | None = None,
    where: str = "",
) -> Iterator[T]:
    """Every node of a connection, page by page. Arguments and errors as for `Pages`."""
    pages = Pages(fetch, per_page=per_page, start=start, where=where)
    while (page := pages.next_page()) is not None:
        yield from page.nodes
