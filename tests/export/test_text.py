"""CSV and JSON lines: what goes in comes out, by the rules of docs/export.md."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wandb_ops.export.rows.text import json_text, write_csv, write_jsonl

NASTY = [
    0,
    -1,
    True,
    False,
    2**53 + 1,
    -(2**63),
    10**30,
    0.1,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    1e16,
    math.nan,
    math.inf,
    -math.inf,
    "",
    "NaN",
    "3",
    "true",
    "a,b",
    'say "hi"',
    "two\nlines",
    "carriage\rreturn",
    "tab\there",
    "=SUM(A1)",
    "emoji 🙂 עברית",
    "nul\0",
    {"a": {"b": [1, 2.5, None, math.nan]}},
    [1, "x"],
    {},
    None,
]


def csv_text(rows, columns, **options) -> str:
    out = io.BytesIO()
    assert write_csv(rows, columns, out, **options) == len(rows)
    return out.getvalue().decode()


def read_csv(text: str) -> list[list[tuple[str, bool]]]:
    """An own reader that keeps what the standard one drops: whether a cell was quoted."""
    rows, row, i = [], [], 0
    while i < len(text):
        if text[i] == '"':
            value, i = "", i + 1
            while True:
                end = text.index('"', i)
                value += text[i:end]
                if text[end + 1 : end + 2] != '"':
                    i = end + 1
                    break
                value, i = value + '"', end + 2
            row.append((value, True))
        else:
            end = i
            while text[end] not in ",\n":
                end += 1
            row.append((text[i:end], False))
            i = end
        if text[i] == "\n":
            rows.append(row)
            row = []
        elif text[i + 1] == "\n":  # a row that ends with an empty cell
            pass
        i += 1
    return rows


def meaning(cell: tuple[str, bool]):
    """The value of a cell by the rules of docs/export.md."""
    text, quoted = cell
    if quoted:
        return text
    words = {"": None, "true": True, "false": False, "NaN": math.nan, "Infinity": math.inf}
    if text in words:
        return words[text]
    if text == "-Infinity":
        return -math.inf
    return float(text) if any(c in text for c in ".en") else int(text)


@pytest.mark.parametrize("value", [v for v in NASTY if not isinstance(v, (dict, list))], ids=repr)
def test_a_csv_cell_gives_back_its_value_and_its_type(value, same):
    [heading, row] = read_csv(csv_text([{"x": value, "y": 1}], ["x", "y"]))
    assert heading == [("x", False), ("y", False)]
    assert same(meaning(row[0]), value)


def test_missing_is_empty_and_nan_is_not():
    assert csv_text([{"a": math.nan}, {}, {"a": None}, {"a": ""}], ["a"]) == 'a\nNaN\n\n\n""\n'


def test_text_is_quoted_and_nothing_else_is():
    row = {"n": 3, "t": "3", "f": 0.5, "b": True, "w": "true", "j": {"a": [1, math.inf]}}
    expected = 'n,t,f,b,w,j\n3,"3",0.5,true,"true","{""a"":[1,""Infinity""]}"\n'
    assert csv_text([row], list(row)) == expected


def test_the_standard_csv_reader_agrees():
    texts = ['say "hi"', "a,b", "two\nlines", "=1+1", "", "🙂"]
    written = csv_text([{"x": t, 'a "heading",\n': 1} for t in texts], ["x", 'a "heading",\n'])
    heading, *rows = list(csv.reader(io.StringIO(written, newline="")))
    assert heading == ["x", 'a "heading",\n']
    assert [row[0] for row in rows] == texts


def test_excel_safe_disarms_text_and_leaves_numbers():
    row = {
        "=cmd": "=HYPERLINK(1)",
        "b": "+1",
        "c": "-1",
        "d": "@x",
        "e": "\tx",
        "f": "\rx",
        "g": -1.5,
        "h": "ok",
    }
    written = csv_text([row], list(row), excel_safe=True)
    heading, cells = list(csv.reader(io.StringIO(written, newline="")))
    assert heading[0] == "'=cmd"
    assert cells == ["'=HYPERLINK(1)", "'+1", "'-1", "'@x", "'\tx", "'\rx", "-1.5", "ok"]
    plain = list(csv.reader(io.StringIO(csv_text([row], list(row)), newline="")))
    assert plain[1][0] == "=HYPERLINK(1)"


def test_a_lone_surrogate_is_escaped_and_the_file_stays_utf8():
    assert csv_text([{"x": "a\ud800b"}], ["x"]) == 'x\n"a\\ud800b"\n'


def test_rows_of_many_megabytes_are_written_whole():
    rows = [{"i": i, "t": "x" * 200} for i in range(20_000)]
    lines = csv_text(rows, ["i", "t"]).splitlines()
    assert len(lines) == 20_001
    assert lines[-1] == '19999,"' + "x" * 200 + '"'


def jsonl(rows) -> list[str]:
    out = io.BytesIO()
    assert write_jsonl(rows, out) == len(rows)
    text = out.getvalue().decode()
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


def strict(text: str):
    def refuse(token: str):
        raise AssertionError(f"{token} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_lines_keep_every_value_and_leave_absent_keys_absent(same):
    rows = [{"_step": i, "x": value} for i, value in enumerate(NASTY)]
    rows.append({"_step": 99})
    words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    for row, line in zip(rows, jsonl(rows), strict=True):
        expected = dict(row)
        value = expected.get("x")
        if isinstance(value, float) and not math.isfinite(value):
            expected["x"] = words[repr(value)]
        if isinstance(value, dict) and value:
            expected["x"] = {"a": {"b": [1, 2.5, None, "NaN"]}}
        assert same(strict(line), expected)


def test_a_lone_surrogate_survives_in_json():
    assert strict(json_text({"k\udfff": "a\ud800"})) == {"k\udfff": "a\ud800"}


def test_no_rows_are_an_empty_file_with_and_without_heading():
    assert jsonl([]) == []
    assert csv_text([], ["_step", "loss"]) == "_step,loss\n"


_numbers = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), _numbers, st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, database=None)
@given(st.dictionaries(st.text(), _values, max_size=5))
def test_any_json_object_survives_json_lines(row):
    assert strict(json_text(row)) == row
    assert "\n" not in json_text(row)


@settings(max_examples=150, deadline=None, database=None)
@given(st.lists(st.one_of(st.none(), st.booleans(), _numbers, st.text()), min_size=2, max_size=6))
def test_any_scalars_survive_csv(cells):
    columns = [f"c{i}" for i in range(len(cells))]
    rows = read_csv(csv_text([dict(zip(columns, cells, strict=True))], columns))
    if len(rows[1]) < len(cells):
        rows[1].append(("", False))
    found = [meaning(cell) for cell in rows[1]]
    written = [c.encode("utf-8", "backslashreplace").decode() if isinstance(c, str) else c for c in cells]
    assert [(type(f), f) for f in found] == [(type(w), w) for w in written]
