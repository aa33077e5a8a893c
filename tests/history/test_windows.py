"""Step windows: every row exactly once, whatever the steps; few requests where steps are sparse."""

from __future__ import annotations

import bisect
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_ops.history.windows import END_OF_STEPS, WindowPlan, strided


def read_all(
    steps: list[int], *, page_size: int, most_rows: int | None, low: int = 0, high: int | None = None
) -> tuple[list[int], list[int]]:
    """(rows, rows per request) of a server that thins out pages with more rows than asked for."""
    high = steps[-1] + 1 if high is None else high
    plan = WindowPlan(low, high, page_size=page_size, most_rows=most_rows)
    rows: list[int] = []
    sizes: list[int] = []
    while (window := plan.next()) is not None:
        assert low <= window.low < window.high <= high
        inside = steps[bisect.bisect_left(steps, window.low) : bisect.bisect_left(steps, window.high)]
        inside = inside[: window.samples]
        sizes.append(len(inside))
        assert len(sizes) < 10_000
        if plan.is_full(window, len(inside)):
            assert plan.overflow(window)
            continue
        plan.accept(window, len(inside))
        rows += inside
    return rows, sizes


gaps = st.lists(
    st.one_of(
        st.just(1), st.just(0), st.integers(0, 3), st.integers(0, 50_000), st.sampled_from([10**6, 10**12])
    ),
    min_size=1,
    max_size=300,
)


@settings(max_examples=150, deadline=None)
@given(gaps, st.integers(1, 60), st.sampled_from(["none", "exact", "too small", "too large"]))
def test_every_row_comes_once_and_in_order_whatever_the_steps(
    gaps: list[int], page_size: int, known: str
) -> None:
    steps = list(accumulate(gaps))
    count = {"none": None, "exact": len(steps), "too small": len(steps) // 2, "too large": len(steps) * 3}[
        known
    ]
    rows, _ = read_all(steps, page_size=page_size, most_rows=count)
    assert rows == steps


@settings(max_examples=60, deadline=None)
@given(gaps, st.integers(1, 60), st.integers(0, 1000), st.integers(1, 100_000))
def test_a_range_of_steps_gives_its_rows(gaps: list[int], page_size: int, low: int, width: int) -> None:
    steps = list(accumulate(gaps))
    rows, _ = read_all(steps, page_size=page_size, most_rows=len(steps), low=low, high=low + width)
    assert rows == [step for step in steps if low <= step < low + width]


@pytest.mark.parametrize(
    ("steps", "most_requests"),
    [
        ([0, 100_000, 200_000], 1),  # all of it is sure to fit a page
        (list(range(10_000)), 10),  # dense: as many requests as pages
        (list(range(61_010, 62_010)), 1),
        (list(range(0, 30_000, 10)), 7),
        ([step for step in range(2000) for _ in range(10)], 33),  # ten rows a step
        ([10**6 * n for n in range(5000)], 20),
        ([*range(1000), *range(10**9, 10**9 + 1000)], 20),
    ],
)
def test_requests_are_few(steps: list[int], most_requests: int) -> None:
    rows, sizes = read_all(steps, page_size=1000, most_rows=len(steps))
    assert rows == steps
    assert len(sizes) <= most_requests


def test_without_a_count_empty_stretches_are_crossed_in_few_requests() -> None:
    _, sizes = read_all([0, 100_000, 200_000], page_size=1000, most_rows=None)
    assert len(sizes) <= 6
    _, sizes = read_all([5], page_size=1000, most_rows=None, high=END_OF_STEPS)
    assert len(sizes) <= 32


def test_many_rows_of_one_step_are_asked_for_together() -> None:
    rows, _ = read_all([7] * 900, page_size=10, most_rows=900)
    assert rows == [7] * 900


def test_smaller_pages_start_where_the_failed_window_started() -> None:
    plan = WindowPlan(0, 10_000, page_size=1000, most_rows=10_000)
    first = plan.next()
    assert first is not None
    assert plan.shrink(first, floor=50)
    second = plan.next()
    assert second is not None
    assert (second.low, second.width, second.samples) == (0, 500, 501)
    for _ in range(4):
        assert plan.shrink(second, floor=50) or second.width == 50
        second = plan.next() or second
    assert not plan.shrink(second, floor=50)


@given(st.lists(st.integers(0, 3), max_size=8), st.integers(-5, 5))
def test_steps_at_one_stride_are_a_range_and_others_stay_as_they_are(strides: list[int], first: int) -> None:
    steps = list(accumulate(strides, initial=first))
    made = strided(steps)
    assert list(made) == steps
    assert isinstance(made, range) == (len(set(strides)) <= 1 and 0 not in strides)
    assert strided([]) == range(0)
