"""Numbers packed at once: the array holds what the list held, or the list is not taken."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_ops.history.packed import pack

numbers = st.one_of(st.floats(), st.integers(-(2**34), 2**34), st.booleans())
others = st.one_of(
    numbers, st.none(), st.text(max_size=3), st.integers(), st.lists(st.integers(), max_size=2)
)


@settings(max_examples=200)
@given(st.lists(st.floats(), min_size=1))
def test_floats_keep_every_bit(values: list[float]) -> None:
    packed = pack(values)
    assert packed is not None
    assert packed.dtype == np.float64
    assert packed.tobytes() == struct.pack(f"<{len(values)}d", *values)


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1))
def test_integers_of_32_bits_are_the_same_in_64(values: list[int]) -> None:
    packed = pack(values)
    assert packed is not None
    assert packed.dtype == np.int64
    assert packed.tolist() == values


@settings(max_examples=300)
@given(st.lists(others, min_size=1))
def test_a_list_of_anything_else_is_not_taken(values: list[Any]) -> None:
    alike = set(map(type, values))
    small = alike == {int} and all(-(2**31) <= value < 2**31 for value in values)
    assert (pack(values) is not None) == (alike == {float} or small)


@pytest.mark.parametrize(
    "values",
    [
        # As long as records of floats, or of integers, would be.
        [0.5, 1, "abcdefghi"[:4]],
        [0.5] * 5 + [1] * 9 + ["0123456789012345678901234567890"],
        [1, True, True, True, True, 2**40],
        [1, None, "x" * 4],
        [0.5, True, 2**31, 7],
    ],
)
def test_a_mixture_of_the_right_length_is_not_taken(values: list[Any]) -> None:
    assert pack(values) is None


def test_a_list_that_is_nested_deeper_than_can_be_written_is_not_taken() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert pack([1, deep]) is None
