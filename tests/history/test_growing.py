"""Pages that grow and are fetched ahead: fewer requests, the same rows, whatever the server does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wandb_ops.errors import DataError, PermissionDenied
from wandb_ops.history.read import read_table, scan_rows
from wandb_ops.history.windows import LARGEST_PAGE
from wandb_ops.transport.session import Transport

Answer = tuple[int, dict[str, Any]]


def rows_at(steps: range | list[int]) -> list[dict[str, Any]]:
    return [{"_step": step, "loss": 1 / (n + 1)} for n, step in enumerate(steps)]


def widths(run: Any) -> list[int]:
    return [high - low for low, high in run.pages]


def capped(run: Any, most: int, cut: Callable[[list[str], int], list[str]]) -> None:
    """Let the server hand out `most` rows a page at most, and say nothing of it."""

    def answer(name: str, variables: dict[str, Any]) -> Answer | None:
        if name != "HistoryPage":
            return None
        whole = run.answer(name, {**variables, "pageSize": 10**9})["history"]
        given_out = whole if len(whole) <= most else cut(whole, most)
        return 200, {"data": {"project": {"run": {"history": given_out}}}}

    run.on_request = answer


def first_of(texts: list[str], most: int) -> list[str]:
    return texts[:most]


def spread_over(texts: list[str], most: int) -> list[str]:
    return [texts[index * len(texts) // most] for index in range(most)]


def about_as_many(texts: list[str], most: int) -> list[str]:
    """Every n-th row, as a server does that samples by buckets: it returns fewer than it may."""
    return texts[:: -(-len(texts) // most)]


@pytest.mark.parametrize("stride", [1, 10])
def test_pages_grow_where_rows_are_small_and_steps_are_regular(
    stride: int, run: Any, transport: Transport
) -> None:
    rows = rows_at(range(0, 30_000 * stride, stride))
    run.log(*rows)
    assert list(read_table(transport, run.ref).iter_rows()) == rows
    assert len(run.pages) <= 22  # of 30, or as many as were on their way before the first had come
    assert max(widths(run)) > 3000 * stride
    assert all(v["pageSize"] <= LARGEST_PAGE + 1 for name, v in run.asked if name == "HistoryPage")


def test_large_rows_stay_on_pages_of_the_size_wished_for(run: Any, transport: Transport) -> None:
    rows = [{"_step": n, "text": "x" * 2000} for n in range(4000)]
    run.log(*rows)
    assert list(scan_rows(transport, run.ref)) == rows
    assert widths(run) == [1000] * 4


def test_a_page_size_below_that_of_the_sdk_is_a_wish(run: Any, transport: Transport) -> None:
    rows = rows_at(range(5000))
    run.log(*rows)
    assert list(scan_rows(transport, run.ref, page_size=500)) == rows
    assert max(widths(run)) == 500


@pytest.mark.parametrize("cut", [first_of, spread_over, about_as_many])
@pytest.mark.parametrize("most", [1000, 2500])
@pytest.mark.parametrize("stride", [1, 7])
def test_a_server_that_caps_pages_in_silence_loses_no_row(
    cut: Callable[[list[str], int], list[str]], most: int, stride: int, run: Any, transport: Transport
) -> None:
    rows = rows_at(range(0, 12_000 * stride, stride))
    run.log(*rows)
    capped(run, most, cut)
    assert list(read_table(transport, run.ref).iter_rows()) == rows
    assert len(run.pages) < 40


def test_a_range_from_a_capping_server_is_whole_though_nothing_counts_it(
    run: Any, transport: Transport
) -> None:
    rows = rows_at(range(12_000))
    run.log(*rows)
    capped(run, 2000, spread_over)
    got = list(scan_rows(transport, run.ref, min_step=500, max_step=11_500))
    assert got == rows[500:11_500]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stretches=st.lists(
        st.tuples(st.integers(1, 2500), st.sampled_from([1, 1, 2, 5]), st.integers(0, 3000)),
        min_size=1,
        max_size=3,
    ),
    most=st.sampled_from([1001, 1700, 10**9]),
)
def test_stretches_of_any_stride_come_whole_from_any_server(
    stretches: list[tuple[int, int, int]], most: int, new_run: Callable[[], Any], transport: Transport
) -> None:
    run = new_run()
    steps: list[int] = []
    for count, stride, gap in stretches:
        start = steps[-1] + 1 + gap if steps else gap
        steps += range(start, start + count * stride, stride)
    run.log(*rows_at(steps))
    capped(run, most, spread_over)
    assert [row["_step"] for row in scan_rows(transport, run.ref)] == steps


def test_pages_in_flight_are_bounded_and_come_in_order(run: Any, transport: Transport) -> None:
    rows = rows_at(range(30_000))
    run.log(*rows)
    lock, flying, most = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def count(name: str, variables: dict[str, Any]) -> Answer | None:
        nonlocal flying, most
        if name != "HistoryPage":
            return None
        with lock:
            flying += 1
            most = max(most, flying)
        if variables["minStep"] < 3000:
            together.wait(timeout=20)  # which only pages that are asked for at the same time get past
        answer = run.answer(name, variables)
        with lock:
            flying -= 1
        return 200, {"data": {"project": {"run": answer}}}

    run.on_request = count
    assert list(read_table(transport, run.ref, concurrency=3).iter_rows()) == rows
    assert most == 3


@pytest.mark.parametrize("failing", [0, 9000])
def test_a_page_that_fails_ends_the_reading_names_itself_and_cancels_the_others(
    failing: int, run: Any, transport: Transport
) -> None:
    run.log(*rows_at(range(40_000)))

    def refuse(name: str, variables: dict[str, Any]) -> Answer | None:
        bad = name == "HistoryPage" and variables["minStep"] <= failing < variables["maxStep"]
        return (403, {"error": "no more"}) if bad else None

    run.on_request = refuse
    with pytest.raises(PermissionDenied, match=r"steps \d+ to \d+") as caught:
        read_table(transport, run.ref)
    low, high = map(int, caught.value.where.split("steps ")[1].split(" to "))
    assert low <= failing <= high
    assert len(run.pages) <= 16  # of the 20 or more that there are
    assert sum(thread.name.startswith("wandb-history") for thread in threading.enumerate()) <= 8


def test_a_row_that_cannot_be_read_in_a_page_that_grew_is_named(run: Any, transport: Transport) -> None:
    run.log(*rows_at(range(20_000)))
    run.texts[15_000] = '{"_step": 15000, "loss": oops}'
    with pytest.raises(DataError, match=r"row \d+ of the page") as caught:
        read_table(transport, run.ref)
    place = int(str(caught.value).split("row ")[1].split(" ")[0])
    start = int(caught.value.where.split("steps from ")[1])
    assert start + place == 15_000


def test_rows_of_odd_values_are_the_same_in_pages_that_grew(run: Any, transport: Transport) -> None:
    rows: list[dict[str, Any]] = [{"_step": n, "a": n / 3, "b": n} for n in range(12_000)]
    for n in range(5000, 12_000, 611):
        rows[n] |= {"big": 2**70 + n, "a": n, "note": f"row {n}", "flag": n % 2 == 0}
    run.log(*(json.dumps(row) for row in rows))
    assert list(scan_rows(transport, run.ref)) == rows
    table = read_table(transport, run.ref)
    assert list(table.iter_rows()) == rows
    assert table.kinds["big"] == "bigint"
