"""Rows to columns and back: the values that were logged, however they were cut into pages."""

from __future__ import annotations

import math
import struct
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_ops.history.columns import ColumnBuilder
from wandb_ops.history.read import table_of
from wandb_ops.history.ref import RunCounts
from wandb_ops.history.table import HistoryTable

COUNTS = RunCounts(history_lines=0, last_step=-1, state="finished", heartbeat_at=None)
NAN = float("nan")


def table(
    rows: list[dict[str, Any]], *, cuts: tuple[int, ...] = (), chunk_rows: int = 50_000, expected: int = 0
) -> HistoryTable:
    builder = ColumnBuilder(chunk_rows, expected=expected)
    bounds = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for start, stop in pairwise(bounds):
        builder.add(rows[start:stop])
    return table_of(builder, COUNTS, expected=None)


def same(a: Any, b: Any) -> bool:
    """Equal values; a bool is no number, NaN is itself, -0.0 is not 0.0; 1 and 1.0 are one number."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        if isinstance(a, int) and isinstance(b, int):
            return a == b
        x, y = float(a), float(b)
        return (a == b and struct.pack("d", x) == struct.pack("d", y)) or (math.isnan(x) and math.isnan(y))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def deep_same(a: Any, b: Any) -> bool:
    return len(a) == len(b) and all(map(same, a, b))


special = st.sampled_from(
    [NAN, math.inf, -math.inf, -0.0, 5e-324, 2**53, 2**53 + 1, 2**62 + 1, -(2**63), 2**63, 10**30, 10**400]
)
texts = st.one_of(
    st.text(st.characters(codec=None), max_size=6), st.sampled_from(["3", "", "\ud800x", "\x00", "=1+1"])
)
nested = st.one_of(
    st.lists(st.one_of(st.integers(), st.floats(), st.none()), max_size=3),
    st.dictionaries(texts, st.one_of(st.integers(), st.none(), st.booleans(), texts), max_size=3),
    st.just({"_type": "histogram", "bins": [0.0, 0.5], "values": [3]}),
)
keys = st.sampled_from(
    ["_step", "loss", "a.b", "A", "a", "", ".", "train/acc", "ключ", "\ud800", "\\ud800", "k" * 300]
)
# "NaN" as text among numbers is what docs/values.md reads as a number: it has a test of its own.
cells = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), special, texts, nested)
homogeneous = st.one_of(
    st.lists(st.floats(), min_size=1),
    st.lists(st.integers(), min_size=1),
    st.lists(st.booleans(), min_size=1),
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.dictionaries(keys, cells, max_size=6), max_size=12),
    st.lists(st.integers(0, 12), max_size=3).map(tuple),
    st.integers(1, 8),
    st.integers(0, 14),
)
def test_rows_come_back_from_columns_whatever_is_in_them(
    rows: list[dict[str, Any]], cuts: tuple[int, ...], chunk_rows: int, expected: int
) -> None:
    cut = table(rows, cuts=cuts, chunk_rows=chunk_rows, expected=expected)
    assert deep_same(list(cut.iter_rows()), rows)
    # How rows were cut into pages and chunks leaves no trace: type, value and spelling are the same.
    whole = table(rows)
    assert cut.to_arrow().schema.equals(whole.to_arrow().schema, check_metadata=True)
    assert [repr(row) for row in cut.iter_rows()] == [repr(row) for row in whole.iter_rows()]
    for name in cut.columns:
        assert repr(cut.to_arrow()[name].to_pylist()) == repr(whole.to_arrow()[name].to_pylist())


@pytest.mark.parametrize(
    ("column", "kind", "type_"),
    [
        ([1, 2, None, 2**53 + 1], "int", pa.int64()),
        ([1, -(2**63), 2**63 - 1], "int", pa.int64()),
        ([1, 2**63], "bigint", pa.string()),
        ([1.5, NAN, math.inf], "float", pa.float64()),
        ([1, 2.5, NAN], "float", pa.float64()),
        ([2**60, 2.5], "float", pa.float64()),  # a power of two: a double holds it
        ([2**53 + 1, 2.5], "json", pa.string()),
        ([10**30, 1.5], "json", pa.string()),
        ([True, False], "bool", pa.bool_()),
        ([True, 1], "json", pa.string()),
        (["a", "3"], "str", pa.string()),
        (["NaN", "Infinity"], "str", pa.string()),
        ([1.5, "NaN", "-Infinity"], "float", pa.float64()),
        ([1.5, "oops"], "json", pa.string()),
        ([3, "3"], "json", pa.string()),
        (["\ud800"], "json", pa.string()),
        ([{"a": 1}, [1, 2]], "json", pa.string()),
        ([1.5, {"a": 1}], "json", pa.string()),
        ([None, None], "null", pa.float64()),
    ],
)
@pytest.mark.parametrize("chunk_rows", [1, 50_000])
def test_a_column_gets_the_type_that_keeps_all_its_values(
    column: list[Any], kind: str, type_: pa.DataType, chunk_rows: int
) -> None:
    made = table([{"x": value} for value in column], chunk_rows=chunk_rows)
    assert made.kinds["x"] == kind
    assert made.to_arrow().schema.field("x").type == type_


def test_nonfinite_numbers_as_text_are_numbers_among_numbers_and_text_elsewhere() -> None:
    rows = [
        {"loss": 1, "note": "NaN"},
        {"loss": "NaN", "note": "x"},
        {"loss": "-Infinity"},
        {"loss": "Infinity"},
    ]
    made = table(rows)
    first, second, third, fourth = made.to_arrow()["loss"].to_pylist()
    assert (first, third, fourth) == (1.0, -math.inf, math.inf)
    assert math.isnan(second)
    assert made.to_arrow()["note"].to_pylist() == ["NaN", "x", None, None]
    # Beside real text they stay what they were, bare and quoted apart.
    mixed = table([{"x": "NaN"}, {"x": NAN}, {"x": "oops"}], chunk_rows=2)
    assert mixed.to_arrow()["x"].to_pylist() == ['"NaN"', "NaN", '"oops"']


def test_null_in_arrow_is_an_absent_key_and_nan_is_nan() -> None:
    made = table([{"a": 1.0}, {"b": 2.0}, {"a": NAN}, {"a": None}])
    a = made.to_arrow()["a"]
    assert a.is_null().to_pylist() == [False, True, False, True]
    assert a.null_count == 2
    assert list(made.iter_rows())[1] == {"b": 2.0}
    assert list(made.iter_rows())[3] == {"a": None}


def test_columns_stand_in_a_fixed_order() -> None:
    made = table([{"z": 1, "_runtime": 1, "a": 1, "_timestamp": 1, "_step": 1, "_wandb": {}}])
    assert made.columns == ("_step", "_timestamp", "_runtime", "_wandb", "a", "z")


def test_pandas_keeps_integers_booleans_and_nested_values() -> None:
    rows = [
        {"_step": 0, "n": 2**53 + 1, "ok": True, "loss": 0.5, "big": 10**30, "hist": {"bins": [1]}, "s": "x"},
        {"_step": 1},
    ]
    frame = table(rows).to_pandas()
    assert frame["n"].dtype == pd.Int64Dtype()
    assert int(frame["n"][0]) == 2**53 + 1
    assert frame["ok"].dtype == pd.BooleanDtype()
    assert frame["_step"].dtype == np.int64
    assert frame["loss"].dtype == np.float64
    assert frame["big"][0] == 10**30
    assert frame["hist"][0] == {"bins": [1]}
    assert frame["s"][0] == "x"
    assert frame.isna().iloc[1].drop("_step").all()
    frame.loc[0, "loss"] = 9.0  # a frame of one's own, not a view of read-only memory
    assert frame["loss"][0] == 9.0


def test_no_rows_make_a_table_with_a_step_column() -> None:
    made = table([])
    assert (made.rows, made.columns, made.first_step, made.last_step) == (0, ("_step",), -1, -1)
    assert made.to_pandas().shape == (0, 1)
    assert list(made.iter_rows()) == []


def test_twenty_thousand_keys_that_appear_once_each_are_kept() -> None:
    rows = [{f"k{n}": n} for n in range(2000)]
    made = table(rows, cuts=(500, 1000), chunk_rows=700)
    assert len(made.columns) == 2001
    assert list(made.iter_rows()) == rows


def test_a_key_that_is_not_utf8_gets_a_name_that_is_and_keeps_its_own() -> None:
    made = table([{"\ud800": 1, "\\ud800": 2}])
    assert len(set(made.columns)) == 3
    assert all(name.encode() for name in made.columns)
    assert list(made.iter_rows()) == [{"\ud800": 1, "\\ud800": 2}]


def test_a_table_may_give_its_columns_up_while_a_frame_is_made() -> None:
    rows = [{"_step": n, "loss": n / 2, "name": f"r{n}", "even": n % 2 == 0} for n in range(100)]
    whole = table(rows, cuts=(30,), chunk_rows=20)
    kept, given = whole.to_pandas(), table(rows, cuts=(30,), chunk_rows=20)
    frame = given.to_pandas(keep=False)
    pd.testing.assert_frame_equal(frame, kept)
    assert frame.to_dict("records") == rows
    assert (list(given.iter_rows()), given.to_arrow().num_columns) == ([], 0)
    assert len(list(whole.iter_rows())) == 100


def test_a_frame_may_be_written_to_and_the_table_stays_as_it_was() -> None:
    made = table([{"_step": n, "loss": n / 2} for n in range(5)])
    frame = made.to_pandas()
    frame.loc[0, "loss"] = 99.0
    frame["_step"] += 1
    assert [row["loss"] for row in made.iter_rows()] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert made.to_pandas()["_step"].tolist() == [0, 1, 2, 3, 4]


def test_a_frame_has_the_numbers_of_a_table_of_known_length_without_a_copy() -> None:
    rows = [{"_step": n, "loss": n / 2, "even": n % 2 == 0} for n in range(100)]
    given = table(rows, cuts=(30,), chunk_rows=20, expected=100)
    lost = {key: given._table[key].chunk(0).buffers()[1].address for key in ("_step", "loss")}
    assert given._table["loss"].num_chunks == 1
    frame = given.to_pandas(keep=False)
    assert {key: frame[key].to_numpy().__array_interface__["data"][0] for key in lost} == lost
    assert frame.to_dict("records") == rows
    frame.loc[0, "loss"] = 99.0
    frame["_step"] += 1
    assert (frame["loss"][0], frame["_step"][99]) == (99.0, 100)


def test_a_frame_does_not_get_the_memory_of_a_table_that_somebody_saw() -> None:
    made = table([{"_step": n, "loss": n / 2} for n in range(5)], expected=5)
    seen = made.to_arrow()
    frame = made.to_pandas(keep=False)
    frame.loc[0, "loss"] = 99.0
    assert seen["loss"].to_pylist() == [0.0, 0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        ([{"a": n} for n in range(30)], 20),  # more rows than the server said
        ([{"a": n} for n in range(20)], 50),  # fewer
        ([{"a": n + 0.5 * (n > 10)} for n in range(20)], 20),  # whole numbers become doubles
        ([{"a": n} if n < 12 else {"b": n} for n in range(20)], 20),  # a key that ends, and one that begins
        ([{"a": n if n < 12 else "x"} for n in range(20)], 20),
        ([{"a": n if n < 12 else 10**30} for n in range(20)], 20),
        ([{"a": 1}] * 20, 10**15),  # what no memory holds
    ],
    ids=["more", "fewer", "doubles", "keys", "texts", "large", "absurd"],
)
def test_a_column_that_turns_out_otherwise_than_it_began_keeps_its_values(
    late: list[dict[str, Any]], expected: int
) -> None:
    made = table(late, cuts=(7,), chunk_rows=5, expected=expected)
    assert deep_same(list(made.iter_rows()), late)
    pd.testing.assert_frame_equal(made.to_pandas(keep=False), table(late).to_pandas())
