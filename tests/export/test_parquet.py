"""Parquet files say what they hold, and what they say can be checked."""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wandb_ops.errors import DataError
from wandb_ops.export.rows import parquet as parquet_module
from wandb_ops.export.rows.digest import RowDigest
from wandb_ops.export.rows.metadata import describe_source, fingerprint, origin, seal, unseal
from wandb_ops.export.rows.parquet import ParquetSink, read_footer
from wandb_ops.export.verify import verify_file
from wandb_ops.history.ref import RunCounts, RunRef

TABLE = pa.table(
    {
        "_step": pa.array([0, 1, 2, 3]),
        "loss": pa.array([0.5, math.nan, None, -0.0]),
        "big": pa.array([2**63 - 1, None, -(2**63), 0]),
        "ok": pa.array([True, None, False, True]),
        "text": pa.array(["NaN", "", None, "ä"]),
        "a.b/c": pa.array(["{}", "[1]", None, "3"]),
        "": pa.array([None, None, None, None], pa.float64()),
        "when": pa.array([0, 1, None, 3], pa.timestamp("us", tz="UTC")),
        "tags": pa.array([["a", "b"], [], None, [None]]),
    }
)


def parquet_bytes(*tables: pa.Table, description: dict[str, object] | None = None) -> bytes:
    out = io.BytesIO()
    with ParquetSink(out, tables[0].schema) as sink:
        for table in tables:
            sink.write(table)
        sink.close(description or {"kind": "test"})
    return out.getvalue()


def digest(*tables: pa.Table) -> str:
    rows = RowDigest(tables[0].schema)
    for table in tables:
        rows.update(table)
    return rows.hexdigest()


def test_every_value_and_type_comes_back(same):
    back = pq.read_table(io.BytesIO(parquet_bytes(TABLE)))
    assert [str(kind) for kind in back.schema.types][:-1] == [str(kind) for kind in TABLE.schema.types][:-1]
    assert same(back.to_pylist(), TABLE.to_pylist())


def test_the_footer_says_what_the_file_holds():
    footer = read_footer(io.BytesIO(parquet_bytes(TABLE, description={"kind": "history", "run_id": "r1"})))
    assert footer is not None
    assert footer.ours
    assert footer.rows == footer.description["rows"] == 4
    assert footer.description["run_id"] == "r1"
    assert footer.columns[1:4] == (("loss", "double"), ("big", "int64"), ("ok", "bool"))
    assert footer.description["rows_sha256"] == digest(TABLE)


def test_the_same_rows_give_the_same_bytes_however_they_came_cut():
    whole = parquet_bytes(TABLE)
    cut = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1, 2), TABLE.slice(3)])
    assert cut.column(0).num_chunks == 3
    assert parquet_bytes(cut) == whole


def test_a_file_written_in_parts_is_the_file_written_at_once():
    parts = parquet_bytes(TABLE.slice(0, 3), TABLE.slice(3))
    footer = read_footer(io.BytesIO(parts))
    assert footer is not None
    assert footer.description["rows_sha256"] == digest(TABLE)
    assert parts == parquet_bytes(TABLE)


def test_no_rows_are_a_valid_file_with_a_schema():
    back = pq.read_table(io.BytesIO(parquet_bytes(TABLE.slice(0, 0))))
    assert back.num_rows == 0
    assert back.schema.equals(TABLE.schema)


def test_text_is_dictionary_encoded_and_numbers_are_not():
    group = pq.ParquetFile(io.BytesIO(parquet_bytes(TABLE))).metadata.row_group(0)
    encoded = {group.column(i).path_in_schema: group.column(i).has_dictionary_page for i in range(7)}
    assert encoded["text"]
    assert encoded["a.b/c"]
    assert not encoded["loss"]
    assert not encoded["_step"]
    assert {group.column(i).compression for i in range(7)} == {"ZSTD"}


def groups_of(data):
    file = pq.ParquetFile(io.BytesIO(data))
    return [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]


def test_row_groups_are_bounded_in_rows():
    many = pa.table({"x": np.arange(150_000) / 7})
    cut = [many.slice(0, 10), many.slice(10, 100_000), many.slice(100_010)]
    assert groups_of(parquet_bytes(many)) == [16_384] * 9 + [2_544]
    assert parquet_bytes(*cut) == parquet_bytes(many)


def test_row_groups_are_bounded_in_bytes_wherever_the_rows_came_cut(monkeypatch):
    monkeypatch.setattr(parquet_module, "_GROUP_BYTES", 1000)
    texts = ["a" * 400, "b" * 400, "c" * 400, "d" * 5000, "e", None, "f" * 900, "g" * 100]
    heavy = pa.table({"x": texts})
    assert groups_of(parquet_bytes(heavy)) == [2, 1, 1, 3, 1]
    for cut in range(1, 8):
        assert parquet_bytes(heavy.slice(0, cut), heavy.slice(cut)) == parquet_bytes(heavy)


def test_two_columns_of_one_name_are_refused():
    double = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(DataError, match="same name: 'x'"):
        parquet_bytes(double)


def _changed(name: str, values: pa.Array) -> pa.Table:
    return TABLE.set_column(TABLE.schema.get_field_index(name), name, values)


@pytest.mark.parametrize(
    "other",
    [
        _changed("loss", pa.array([0.5, None, math.nan, -0.0])),
        _changed("loss", pa.array([0.5, math.nan, None, 0.0])),
        _changed("loss", pa.array([0.5, math.nan, 0.0, -0.0])),
        _changed("ok", pa.array([True, False, None, True])),
        _changed("text", pa.array(["NaN", None, "", "ä"])),
        _changed("text", pa.array(["Na", "N", None, "ä"])),
        _changed("when", pa.array([0, 1, None, 4], pa.timestamp("us", tz="UTC"))),
        TABLE.rename_columns(["_step", "lost", *TABLE.column_names[2:]]),
        TABLE.slice(0, 3),
        _changed("_step", pa.array([0, 1, 2, 3], pa.int32())),
    ],
    ids=range(10),
)
def test_any_other_rows_have_another_checksum(other):
    assert digest(other) != digest(TABLE)


def test_the_checksum_ignores_what_lies_under_nulls_and_around_slices():
    under = pa.array(np.array([1.0, 77.0, 3.0]), mask=np.array([False, True, False]))
    clean = pa.array([1.0, None, 3.0])
    assert digest(pa.table({"x": under})) == digest(pa.table({"x": clean}))
    padded = pa.table({"x": ["zz", "a", "bc", None, "zz"]}).slice(1, 3)
    assert digest(padded) == digest(pa.table({"x": ["a", "bc", None]}))


def test_a_seal_is_broken_by_any_change():
    text = seal({"run_id": "r1", "rows": 3})
    values, holds = unseal(text)
    assert holds
    assert values["run_id"] == "r1"
    assert not unseal(text.replace(b'"r1"', b'"r2"'))[1]
    assert unseal(b"not json") == ({}, False)
    assert unseal(b"[1]") == ({}, False)


def test_the_fingerprint_changes_with_the_run_and_with_the_request():
    request = {"keys": None, "keys_mode": "any", "min_step": 0, "max_step": None}

    def of(counts: RunCounts, **changed: object) -> str:
        asked: dict[str, object] = request | changed
        return describe_source("https://h/", RunRef("e", "p", "r"), counts, **asked)["fingerprint"]

    base = RunCounts(history_lines=5, last_step=4, state="finished", heartbeat_at="t1")
    same_again = RunCounts(history_lines=5, last_step=4, state="finished", heartbeat_at="t1")
    prints = {
        of(base),
        of(RunCounts(history_lines=4, last_step=4, state="finished", heartbeat_at="t1")),
        of(RunCounts(history_lines=5, last_step=3, state="finished", heartbeat_at="t1")),
        of(RunCounts(history_lines=5, last_step=4, state="running", heartbeat_at="t1")),
        of(RunCounts(history_lines=5, last_step=4, state="finished", heartbeat_at="t2")),
        of(base, keys=["loss"]),
        of(base, keys=["loss"], keys_mode="all"),
        of(base, min_step=1),
        of(base, max_step=4),
    }
    assert len(prints) == 9
    assert of(base) == of(same_again)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_the_origin_holds_no_secret():
    assert origin("https://User:pw@Api.Example.com:8443/base?x=1") == "https://api.example.com:8443"
    assert origin("http://[::1]:80/x") == "http://[::1]:80"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.parquet"
    path.write_bytes(parquet_bytes(TABLE, TABLE))
    return path


def test_an_untouched_file_is_verified(file):
    verified = verify_file(file)
    assert verified.ok
    assert verified.problems == ()
    assert verified.rows == 8
    assert verified.uri == str(file)
    assert verified.current is None


def test_any_flipped_bit_is_found(file):
    """With the checksum of the export's result no byte can change unseen; without it, no value can."""
    import hashlib

    good = file.read_bytes()
    checksum = hashlib.sha256(good).hexdigest()
    told = pq.read_table(io.BytesIO(good))
    for place in range(0, len(good), 7):
        flipped = bytearray(good)
        flipped[place] ^= 1 << place % 8
        file.write_bytes(flipped)
        assert not verify_file(file, sha256=checksum).ok
        if verify_file(file).ok:
            assert str(pq.read_table(file).to_pylist()) == str(told.to_pylist())


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda data: data[:-20], "not a whole Parquet file"),
        (lambda data: b"", "not a whole Parquet file"),
        (lambda data: data.replace(b'"kind":"test"', b'"kind":"text"'), "altered"),
    ],
    ids=["cut", "empty", "description"],
)
def test_damage_is_named(file, spoil: Callable[[bytes], bytes], problem):
    file.write_bytes(spoil(file.read_bytes()))
    verified = verify_file(file)
    assert not verified.ok
    assert problem in " ".join(verified.problems)


def test_a_foreign_parquet_file_is_said_to_be_foreign(tmp_path):
    pq.write_table(TABLE, tmp_path / "foreign.parquet")
    verified = verify_file(tmp_path / "foreign.parquet")
    assert not verified.ok
    assert "not one of wandb-ops" in verified.problems[0]


def test_rows_that_were_changed_by_another_tool_are_found(file):
    """The footer is copied along with honest seal, and still the rows give it away."""
    metadata = pq.read_metadata(file).metadata
    other = pq.read_table(file).slice(1)
    pq.write_table(other.replace_schema_metadata(metadata), file)
    verified = verify_file(file)
    assert "7 rows, and the footer says 8" in verified.problems
    assert "the rows are not those that were written" in verified.problems
