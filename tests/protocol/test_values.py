"""JSON text of W&B and Python values: nothing changes on the way."""

from __future__ import annotations

import enum
import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_ops.errors import DataError
from wandb_ops.protocol import values
from wandb_ops.transport.integers import _BLOCK, _has_long_integer, has_long_integer

numbers = st.one_of(
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.sampled_from(
        [0, -1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30, -(10**19)]
    ),
    st.floats(),
    st.sampled_from([-0.0, 5e-324, 1.7976931348623157e308, 0.00012345678901234567, 1e22]),
)
# Code points of all kinds, lone surrogates among them.
texts = st.one_of(
    st.text(st.characters(codec=None)), st.sampled_from(["NaN", "null", "\x00", "\ud800", "a\u202eb", "😀"])
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)
rows = st.dictionaries(texts, json_values, max_size=5)


def identical(a: object, b: object) -> bool:
    """Equal in type and value; NaN is itself, 0.0 is not -0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(identical, a, b))
    return a == b


@settings(max_examples=150, deadline=None)
@given(json_values)
def test_what_is_dumped_is_loaded_back_in_type_and_value(value: object) -> None:
    text = values.dumps(value)
    assert identical(values.loads(text), value)
    assert identical(values.loads(text.encode()), value)  # it can be sent: every surrogate is escaped


@settings(max_examples=80, deadline=None)
@given(st.lists(rows, max_size=5))
def test_a_page_of_rows_is_loaded_as_each_row_would_be(page: list[dict[str, object]]) -> None:
    # The texts come from the standard library: its dumps keeps every integer and the NaN tokens.
    for ascii_only in (True, False):
        texts = [json.dumps(row, ensure_ascii=ascii_only) for row in page]
        assert identical(values.loads_rows(texts), page)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(-(10**25), 10**25),
    st.integers(0, 9),
    st.sampled_from(["", " ", "\t", "\n"]),
    st.sampled_from(
        ['{"%s": %s%d}', '{"%s":[1,%s%d]}', "[0,%s%s%d]", '{"a":0.00012345678901234567,"%s":%s%d}']
    ),
)
def test_an_integer_beyond_64_bits_is_noticed_wherever_it_stands(
    value: int, padding: int, space: str, shape: str
) -> None:
    page = ("[" + shape % (("k" * padding) if shape[0] == "{" else "", space, value) + "]").encode()
    for look in (has_long_integer, lambda text: _has_long_integer(text + b" " * 64)):  # small and large texts
        if not -(2**63) <= value < 2**64:
            assert look(page)
        if -(10**18) < value < 10**19:
            assert not look(page)


@pytest.mark.parametrize("integer", [b"-9223372036854775809", b"18446744073709551616", b"1" * 40])
def test_a_long_integer_is_noticed_wherever_blocks_of_a_large_text_end(integer: bytes) -> None:
    for at in (0, *range(_BLOCK - 80, _BLOCK + 20), _BLOCK + 40_000):
        text = b"[" + b" " * at + integer + b"," + b"0.12345678901234567," * 20 + b"1]"
        assert has_long_integer(text + b" " * 20_000)
        assert not has_long_integer(text.replace(integer, b"0." + b"1" * 40) + b" " * 20_000)
        assert not has_long_integer(text.replace(integer, b'"' + b"1" * 40 + b'"') + b" " * 20_000)


@pytest.mark.parametrize("end", [b"", b"]", b"}]", b" " * 31])
@pytest.mark.parametrize("integer", [b"-9223372036854775809", b"18446744073709551616", b"1" * 40])
def test_a_long_integer_is_noticed_at_the_end_of_a_large_text(integer: bytes, end: bytes) -> None:
    for size in range(20_000, 20_080):
        text = b"[0.1234567890123456789" + b" " * size
        assert has_long_integer(text + b"," + integer + end)
        assert not has_long_integer(text + b"," + integer[:18] + end)
        assert not has_long_integer(text + b'"' + integer.lstrip(b"-") + end)


def test_digits_of_fractions_are_not_taken_for_long_integers() -> None:
    page = json.dumps(
        [{"lr": 0.00012345678901234567, "loss": 0.1234567890123456, "ns": 1700000000123456789}] * 50
    )
    for look in (has_long_integer, _has_long_integer):
        assert not look(page.encode())
        assert not look(b"[]")
        assert not look(b"")


def test_bare_nan_in_one_row_leaves_the_others_alone() -> None:
    page = ['{"a":1}', '{"a":NaN,"b":-Infinity,"c":Infinity}', '{"a":12345678901234567890123}']
    first, second, third = values.loads_rows(page)
    assert first == {"a": 1}
    assert math.isnan(second["a"])
    assert (second["b"], second["c"]) == (-math.inf, math.inf)
    assert third == {"a": 12345678901234567890123}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (['{"a":1}', "oops"], "row 1"),
        (['{"a":1},{"a":2}', '{"a":3}'], "row 0"),
        (['{"a":1}', "[1]"], "row 1 of the page is not a JSON object but list"),
        (['{"a":' + "9" * 5000 + "}"], "row 0"),
        (['{"a":' + "[" * 100_000 + "]" * 100_000 + "}"], "nested too deep"),
        (['{"a":1', "2}"], "row 0"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_by_its_place(texts: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        values.loads_rows(texts)


@pytest.mark.parametrize("text", ["", "{", "nul", b"\xff", "1e", "[" * 100_000])
def test_text_that_is_not_json_is_a_data_error(text: str | bytes) -> None:
    with pytest.raises(DataError):
        values.loads(text)


def test_numpy_scalars_and_arrays_are_written_as_the_values_they_hold() -> None:
    row = {
        "f32": np.float32(0.1),
        "f64": np.float64("nan"),
        "f16": np.float16(0.5),
        "i": np.int64(2**53 + 1),
        "u": np.uint64(2**64 - 1),
        "b": np.bool_(True),
        "s": np.str_("x"),
        "array": np.array([[1.0, np.inf], [0.25, 2.0]]),
        "scalar array": np.array(7),
        "empty": np.array([]),
    }
    back = values.loads(values.dumps(row))
    assert back.pop("f64") != back.get("f64")
    assert identical(
        back,
        {
            "f32": 0.10000000149011612,
            "f16": 0.5,
            "i": 2**53 + 1,
            "u": 2**64 - 1,
            "b": True,
            "s": "x",
            "array": [[1.0, math.inf], [0.25, 2.0]],
            "scalar array": 7,
            "empty": [],
        },
    )


def test_tuples_enums_of_int_and_integer_keys_are_written_as_json_has_them() -> None:
    class Colour(enum.IntEnum):
        RED = 1

    assert (
        values.dumps({"t": (1, (2, 3)), "e": Colour.RED, "m": {0: "zero"}})
        == '{"t":[1,[2,3]],"e":1,"m":{"0":"zero"}}'
    )


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": b"bytes"}, "a: builtins.bytes"),
        ({"a": {"b": [1, {"c": object()}]}}, r"a\.b\[1\]\.c: builtins.object"),
        ({"a": {1, 2}}, "a: builtins.set"),
        ({"a": 1j}, "a: builtins.complex"),
        ({"a": np.longdouble(1)}, "a: numpy.longdouble"),
        ({"a": np.array([object()])}, r"a\[0\]: builtins.object"),
        ({"a": {None: 1}}, "a: key None is NoneType"),
        ({"a": {True: 1}}, "a: key True is bool"),
        ({"a": {1: 1, "1": 2}}, "a: two keys are written '1'"),
        (object(), "value: builtins.object"),
    ],
)
def test_a_value_w_and_b_cannot_hold_is_refused_with_the_path_to_it(value: object, path: str) -> None:
    with pytest.raises(TypeError, match=path):
        values.dumps(value)


def test_nesting_is_bounded_and_a_value_inside_itself_is_refused() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    itself: dict[str, object] = {}
    itself["again"] = itself
    for value in (deep, itself):
        with pytest.raises(DataError, match="nested"):
            values.dumps(value)


def test_a_lone_surrogate_is_written_as_its_escape_only() -> None:
    assert values.dumps({"k": "\ud800"}) == '{"k":"\\ud800"}'
    assert values.dumps({"k": "日本"}) == '{"k":"日本"}'


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(texts.filter(lambda key: not key.startswith("_")), json_values, max_size=5))
def test_a_config_comes_back_as_it_was_wrapped(config: dict[str, object]) -> None:
    assert identical(values.unwrap_config(values.wrap_config(config)), config)


def test_the_wire_form_of_config_is_w_and_bs() -> None:
    assert values.wrap_config({"lr": 0.1, "nested": {"a": (1, 2)}}) == (
        '{"lr":{"value":0.1},"nested":{"value":{"a":[1,2]}}}'
    )
    text = '{"lr":{"value":0.1,"desc":null},"_wandb":{"value":{"t":{}}},"bare":3,"odd":{"desc":"d"}}'
    assert values.unwrap_config(text) == {"lr": 0.1, "bare": 3, "odd": {"desc": "d"}}
    assert values.unwrap_config(None) == {}
    assert values.unwrap_config("null") == {}
    with pytest.raises(DataError, match="JSON object"):
        values.unwrap_config("[1]")
