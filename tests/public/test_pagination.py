"""Pages are followed to the end, and no further."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wandb_ops import CursorStuck, DeadlineExceeded, ProtocolError, ServerError
from wandb_ops.protocol.pagination import Page, Pages, connection_page, paginate

Fetch = Callable[[str | None, int], Page[int]]


def counting(total: int) -> tuple[Fetch, list[tuple[str | None, int]]]:
    """Pages of the numbers below `total`, with the next number as the cursor; and what was asked."""
    asked: list[tuple[str | None, int]] = []

    def fetch(cursor: str | None, per_page: int) -> Page[int]:
        asked.append((cursor, per_page))
        begin = int(cursor or 0)
        end = min(total, begin + per_page)
        return Page(tuple(range(begin, end)), str(end), end < total, total)

    return fetch, asked


@pytest.mark.parametrize("total", [0, 1, 9, 10, 11, 35])
def test_every_node_comes_once_and_in_order(total: int) -> None:
    fetch, asked = counting(total)
    assert list(paginate(fetch, per_page=10)) == list(range(total))
    assert len(asked) == max(1, -(-total // 10))


def test_reading_goes_on_from_a_cursor() -> None:
    fetch, _ = counting(25)
    first = Pages(fetch, per_page=10)
    assert first.next_page() is not None
    assert list(paginate(fetch, per_page=10, start=first.cursor)) == list(range(10, 25))


def test_an_empty_page_in_the_middle_is_no_end() -> None:
    """G33."""
    pages = {
        None: Page((1, 2), "a", True),
        "a": Page((), "b", True),
        "b": Page((), "c", True),
        "c": Page((3,), None, False),
    }
    assert list(paginate(lambda cursor, _: pages[cursor], per_page=2)) == [1, 2, 3]


@pytest.mark.parametrize(
    "pages",
    [
        {None: Page((1,), "a", True), "a": Page((2,), "a", True)},
        {None: Page((1,), "a", True), "a": Page((2,), "b", True), "b": Page((3,), "a", True)},
        {None: Page((1,), None, True)},
    ],
    ids=["the same", "a circle", "none at all"],
)
def test_a_cursor_that_leads_nowhere_is_an_error(pages: dict[str | None, Page[int]]) -> None:
    """G33."""
    with pytest.raises(CursorStuck, match="runs of e/p"):
        list(paginate(lambda cursor, _: pages[cursor], per_page=1, where="runs of e/p"))


@pytest.mark.parametrize(
    "error",
    [ServerError("gateway", status=504), ServerError("bad gateway", status=502), DeadlineExceeded("slow")],
)
def test_a_page_that_is_too_large_for_a_gateway_is_asked_for_smaller(error: Exception) -> None:
    fetch, asked = counting(40)

    def slow(cursor: str | None, per_page: int) -> Page[int]:
        if per_page > 6:
            asked.append((cursor, per_page))
            raise error
        return fetch(cursor, per_page)

    assert list(paginate(slow, per_page=25)) == list(range(40))
    assert [per_page for _, per_page in asked[:4]] == [25, 12, 6, 6]


def test_other_failures_are_not_about_the_page_and_leave_the_place() -> None:
    fetch, _ = counting(20)
    failing = [True]

    def once(cursor: str | None, per_page: int) -> Page[int]:
        if cursor == "10" and failing:
            failing.pop()
            raise ServerError("broken", status=500)
        return fetch(cursor, per_page)

    pages = Pages(once, per_page=10)
    assert pages.next_page() is not None
    with pytest.raises(ServerError):
        pages.next_page()
    second = pages.next_page()
    assert second is not None
    assert second.nodes == tuple(range(10, 20))
    assert pages.next_page() is None


def test_a_gateway_that_fails_for_one_node_too_is_not_asked_for_ever() -> None:
    asked = []

    def never(_cursor: str | None, per_page: int) -> Page[int]:
        asked.append(per_page)
        raise ServerError("gateway", status=504)

    with pytest.raises(ServerError):
        list(paginate(never, per_page=8))
    assert asked == [8, 4, 2, 1]


def test_nodes_that_are_gone_are_left_out() -> None:
    """G38."""
    connection: dict[str, Any] = {
        "edges": [{"node": {"id": 1}, "cursor": "a"}, {"node": None, "cursor": "b"}, None],
        "pageInfo": {"hasNextPage": True},
    }
    page = connection_page(connection, where="here", total=7)
    assert page == Page(({"id": 1},), "b", True, 7)


@pytest.mark.parametrize("connection", [None, {}, {"edges": [{"cursor": "a"}]}, {"edges": "x"}, []])
def test_what_is_no_page_is_an_error(connection: Any) -> None:
    if connection == {"edges": [{"cursor": "a"}]}:
        # An edge without a node is one whose node is gone.
        assert connection_page(connection, where="here").nodes == ()
        return
    with pytest.raises(ProtocolError, match="here"):
        connection_page(connection, where="here")
