"""Servers that hold pages to a limit of exactly the page size, while several rows share a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wandb_ops.errors import IncompleteHistory
from wandb_ops.export.rows.stream import stream_history
from wandb_ops.history.read import read_table, scan_rows
from wandb_ops.transport.session import Transport

MOST = 1000


def first_of(texts: list[str]) -> list[str]:
    return texts[:MOST]


def spread_over(texts: list[str]) -> list[str]:
    return [texts[index * len(texts) // MOST] for index in range(MOST)]


def capped(run: Any, cut: Callable[[list[str]], list[str]]) -> None:
    """Let the server hand out 1,000 rows a page at most, whatever is asked for, and say nothing of it."""

    def answer(name: str, variables: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        if name != "HistoryPage":
            return None
        whole = run.answer(name, {**variables, "pageSize": 10**9})["history"]
        return 200, {"data": {"project": {"run": {"history": whole if len(whole) <= MOST else cut(whole)}}}}

    run.on_request = answer


def rows_of(*stretches: tuple[int, int]) -> list[dict[str, Any]]:
    """Rows of stretches of (steps, rows per step)."""
    steps: list[int] = []
    for count, each in stretches:
        first = steps[-1] + 1 if steps else 0
        steps += [step for step in range(first, first + count) for _ in range(each)]
    return [{"_step": step, "n": n} for n, step in enumerate(steps)]


CUTS = pytest.mark.parametrize("cut", [first_of, spread_over])
STRETCHES = pytest.mark.parametrize("stretches", [[(4000, 2)], [(5000, 1), (2500, 2)], [(900, 5), (3000, 1)]])


@CUTS
@STRETCHES
def test_a_table_is_whole_though_full_pages_look_complete(
    cut: Callable[[list[str]], list[str]],
    stretches: list[tuple[int, int]],
    run: Any,
    transport: Transport,
) -> None:
    rows = rows_of(*stretches)
    run.log(*rows)
    capped(run, cut)
    assert list(read_table(transport, run.ref).iter_rows()) == rows


@CUTS
@STRETCHES
def test_an_exported_history_is_whole_though_full_pages_look_complete(
    cut: Callable[[list[str]], list[str]],
    stretches: list[tuple[int, int]],
    run: Any,
    transport: Transport,
) -> None:
    rows = rows_of(*stretches)
    run.log(*rows)
    capped(run, cut)
    with stream_history(transport, run.ref) as stream:
        assert list(stream.iter_rows()) == rows


@CUTS
def test_a_scan_of_rows_that_all_share_steps_is_whole(
    cut: Callable[[list[str]], list[str]], run: Any, transport: Transport
) -> None:
    rows = rows_of((4000, 2))
    run.log(*rows)
    capped(run, cut)
    assert list(scan_rows(transport, run.ref)) == rows


def test_a_scan_that_lacks_rows_says_which_page_size_may_help(run: Any, transport: Transport) -> None:
    run.log(*rows_of((2000, 1)))
    run.line_count = 2001
    with pytest.raises(IncompleteHistory, match="page_size=500"):
        list(scan_rows(transport, run.ref))
    with pytest.raises(IncompleteHistory) as caught:
        list(scan_rows(transport, run.ref, page_size=500))
    assert "page_size" not in str(caught.value)


def test_a_range_from_a_server_that_cuts_pages_is_whole_though_nothing_counts_it(
    run: Any, transport: Transport
) -> None:
    rows = rows_of((900, 5), (3000, 1))
    run.log(*rows)
    capped(run, first_of)
    got = list(scan_rows(transport, run.ref, min_step=100, max_step=3000))
    assert got == [row for row in rows if 100 <= row["_step"] < 3000]


def test_rows_that_are_nowhere_are_looked_for_in_smaller_pages_once(run: Any, transport: Transport) -> None:
    run.log(*rows_of((2000, 1)))
    run.line_count = 2001
    with pytest.raises(IncompleteHistory, match="2000 rows came of 2001"):
        read_table(transport, run.ref)
    assert len(run.pages) < 40


def test_a_history_that_shrank_is_not_looked_for_again(run: Any, transport: Transport) -> None:
    run.log(*rows_of((3000, 1)))

    def rewind(name: str, variables: dict[str, Any]) -> None:
        if name == "HistoryPage" and variables["minStep"] >= 1000:
            del run.texts[500:], run.steps[500:]

    run.on_request = rewind
    with pytest.raises(IncompleteHistory, match="shrank") as caught:
        read_table(transport, run.ref)
    assert "page_size" not in str(caught.value)
    assert [low for low, _ in run.pages].count(0) == 1
