"""Parquet exports joined with live rows: any order of parts, expired URLs, overlaps and gaps."""

from __future__ import annotations

import io
import math
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wandb_ops.errors import IncompleteHistory, PermissionDenied
from wandb_ops.history.parquet import fetch_export, read_part
from wandb_ops.history.read import read_table, scan_rows
from wandb_ops.history.select import Selection
from wandb_ops.transport.session import Transport

PAGE = 100  # rows a page, so that runs of a few hundred rows are worth their export


def logged(run: Any, rows: int) -> list[dict[str, Any]]:
    made = [{"_step": n, "loss": n / 4, "name": f"row {n}"} for n in range(rows)]
    run.log(*made)
    return made


def part(run: Any, name: str, rows: list[dict[str, Any]]) -> None:
    keys = dict.fromkeys(key for row in rows for key in row)
    run.export(name, {key: [row.get(key) for row in rows] for key in keys})


def both(transport: Transport, run: Any, **arguments: Any) -> list[dict[str, Any]]:
    """The rows, the same whether scanned or as a table."""
    rows = list(scan_rows(transport, run.ref, page_size=PAGE, **arguments))
    table = read_table(transport, run.ref, page_size=PAGE, **arguments)
    if not arguments.get("keys"):
        assert list(table.iter_rows()) == rows
    return rows


def test_exported_parts_in_the_wrong_order_come_out_in_order_and_no_page_is_asked_for(
    run: Any, transport: Transport
) -> None:
    rows = logged(run, 900)
    part(run, "b", rows[600:])
    part(run, "c", rows[:300])
    part(run, "a", rows[300:600])
    assert both(transport, run) == rows
    assert run.pages == []


def test_live_rows_follow_the_exported_ones(run: Any, transport: Transport) -> None:
    rows = logged(run, 700)
    part(run, "a", rows[:500])
    run.live = [{"_step": 500}]
    assert both(transport, run) == rows
    assert all(low >= 500 for low, _ in run.pages)


@pytest.mark.parametrize(
    "live", [[], [{"_step": 550}], ['{"_step": 500}', '{"_step": 501}'], [{"_step": 650.0}]]
)
def test_whatever_the_server_says_of_the_boundary_no_row_is_lost_or_doubled(
    live: list[Any], run: Any, transport: Transport
) -> None:
    rows = logged(run, 700)
    part(run, "a", rows[:600])
    run.live = live
    assert both(transport, run) == rows


def test_steps_that_go_back_after_the_export_are_read_live(run: Any, transport: Transport) -> None:
    rows = logged(run, 400)
    part(run, "a", rows)
    late = [{"_step": 350 + n, "loss": -1.0, "name": "again"} for n in range(100)]
    run.log(*late)
    run.live = [{"_step": 350}]
    got = both(transport, run)
    assert len(got) == 500
    assert [row["_step"] for row in got] == sorted(row["_step"] for row in [*rows, *late])
    assert [row for row in got if row["name"] == "again"] == late


@pytest.mark.parametrize("case", ["one part twice", "overlapping parts", "a part is missing"])
def test_parts_that_do_not_add_up_are_replaced_by_pages(case: str, run: Any, transport: Transport) -> None:
    rows = logged(run, 600)
    part(run, "a", rows[:300])
    if case == "one part twice":
        part(run, "b", rows[:300])
        part(run, "c", rows[300:])
    elif case == "overlapping parts":
        part(run, "b", rows[200:])
    assert both(transport, run) == rows
    if case != "a part is missing":
        assert run.pages[0][0] == 0


def test_a_gap_that_pages_do_not_fill_is_an_error(run: Any, transport: Transport) -> None:
    rows = logged(run, 600)
    part(run, "a", rows[:200])
    part(run, "b", rows[300:])
    del run.texts[200:300], run.steps[200:300]
    run.line_count = 600
    for read in (read_table, lambda *args, **kw: list(scan_rows(*args, **kw))):
        with pytest.raises(IncompleteHistory):
            read(transport, run.ref, page_size=PAGE)


def test_a_table_falls_back_to_pages_when_exports_and_live_rows_leave_a_gap(
    run: Any, transport: Transport
) -> None:
    rows = logged(run, 600)
    part(run, "a", rows[:200])
    part(run, "b", rows[300:500])
    run.live = [{"_step": 500}]
    assert list(read_table(transport, run.ref, page_size=PAGE).iter_rows()) == rows
    with pytest.raises(IncompleteHistory):
        list(scan_rows(transport, run.ref, page_size=PAGE))  # rows were handed out before it was known


def test_an_expired_url_is_asked_for_again_and_parts_at_hand_are_kept(run: Any, transport: Transport) -> None:
    rows = logged(run, 600)
    part(run, "a", rows[:300])
    part(run, "b", rows[300:])

    def expire(name: str, variables: dict[str, Any]) -> None:
        if name == "RunHistorySources" and run.signature == 0:
            run.expired = 1

    run.on_request = expire
    assert list(read_table(transport, run.ref, page_size=PAGE).iter_rows()) == rows
    assert [name for name, _ in run.asked].count("RunParquetHistory") == 1
    fetched = [v["name"] for name, v in run.asked if name == "GET"]
    # The first refusal ends the round; the other part may not have been asked for by then.
    assert sorted(fetched) in (["a", "a", "b", "b"], ["a", "a", "b"], ["a", "b", "b"])
    assert run.pages == []


def test_urls_that_stay_refused_are_an_error(run: Any, transport: Transport) -> None:
    rows = logged(run, 300)
    part(run, "a", rows)
    run.expired = 10**9
    with pytest.raises(PermissionDenied):
        read_table(transport, run.ref, page_size=PAGE)


@pytest.mark.parametrize("damage", ["not parquet", "truncated", "no _step", "timestamps", "text _step"])
def test_an_export_that_cannot_be_read_is_replaced_by_pages(
    damage: str, run: Any, transport: Transport
) -> None:
    rows = logged(run, 300)
    part(run, "a", rows)
    if damage == "not parquet":
        run.parts["a"] = b"<html>sign in</html>"
    elif damage == "truncated":
        run.parts["a"] = run.parts["a"][:-100]
    elif damage == "no _step":
        run.export("a", {"loss": [row["loss"] for row in rows]})
    elif damage == "timestamps":
        run.export("a", {"_step": list(range(300)), "at": pa.array(range(300), pa.timestamp("s"))})
    else:
        run.export("a", {"_step": [str(n) for n in range(300)]})
    assert list(read_table(transport, run.ref, page_size=PAGE).iter_rows()) == rows


def test_a_server_without_exports_is_read_by_pages(run: Any, transport: Transport) -> None:
    rows = logged(run, 300)
    run.on_request = lambda name, variables: (
        (200, {"errors": [{"message": 'Cannot query field "parquetHistory" on type "Run".'}]})
        if name in ("RunHistorySources", "RunParquetHistory")
        else None
    )
    assert both(transport, run) == rows


def test_keys_and_ranges_are_cut_out_of_exports(run: Any, transport: Transport) -> None:
    rows = [
        {"_step": n, **({"a": n} if n % 2 else {}), **({"b": n / 2} if n % 3 else {})} for n in range(400)
    ]
    run.log(*rows)
    part(run, "p", rows[:200])
    part(run, "q", rows[200:])
    all_of = both(transport, run, keys=["a", "b"])
    assert all_of == [{"a": row["a"], "b": row["b"]} for row in rows if "a" in row and "b" in row]
    any_of = both(transport, run, keys=["a", "b"], keys_mode="any")
    assert any_of == [{k: row[k] for k in ("a", "b") if k in row} for row in rows if "a" in row or "b" in row]
    assert both(transport, run, keys=["a", "nope"]) == []
    assert both(transport, run, min_step=150, max_step=250) == rows[150:250]
    table = read_table(transport, run.ref, keys=["a"], page_size=PAGE)
    assert list(table.iter_rows()) == [{"_step": n, "a": n} for n in range(400) if n % 2]
    assert run.pages == []


def test_types_of_exported_columns_become_the_values_that_were_logged(run: Any, transport: Transport) -> None:
    rows: list[dict[str, Any]] = [{"_step": n} for n in range(300)]
    run.log(*rows)
    blank = [None] * 298
    run.export(
        "a",
        {
            "_step": list(range(300)),
            "f32": pa.array([0.1, math.inf, *blank], pa.float32()),
            "i": pa.array([2**53 + 1, -(2**63), *blank], pa.int64()),
            "u": pa.array([2**64 - 1, 0, *blank], pa.uint64()),
            "s": pa.array(["x", "NaN", *blank]).dictionary_encode(),
            "b": pa.array([True, False, *blank]),
            "hist": pa.array(
                [{"_type": "histogram", "bins": [0.0, 1.0]}, {"_type": "t", "bins": None}, *blank]
            ),
            "list": pa.array([[1, 2], [], *blank]),
            "none": pa.nulls(300),
        },
    )
    table = read_table(transport, run.ref, page_size=PAGE)
    first, second = list(table.iter_rows())[:2]
    assert first == {
        "_step": 0,
        "f32": 0.10000000149011612,
        "i": 2**53 + 1,
        "u": 2**64 - 1,
        "s": "x",
        "b": True,
        "hist": {"_type": "histogram", "bins": [0.0, 1.0]},
        "list": [1, 2],
    }
    assert second == {
        "_step": 1,
        "f32": math.inf,
        "i": -(2**63),
        "u": 0,
        "s": "NaN",
        "b": False,
        "hist": {"_type": "t"},
        "list": [],
    }
    assert table.kinds == {
        "_step": "int",
        "f32": "float",
        "i": "int",
        "u": "bigint",
        "s": "str",
        "b": "bool",
        "hist": "json",
        "list": "json",
    }
    assert list(scan_rows(transport, run.ref, page_size=PAGE))[:2] == [first, second]


def test_a_column_that_is_typed_in_the_export_and_mixed_in_the_live_rows_keeps_all_values(
    run: Any, transport: Transport
) -> None:
    rows: list[dict[str, Any]] = [{"_step": n, "x": n} for n in range(200)]
    live: list[dict[str, Any]] = [{"_step": 200, "x": "done"}, {"_step": 201, "x": 1.5}]
    run.log(*rows, *live)
    part(run, "a", rows)
    run.live = [{"_step": 200}]
    table = read_table(transport, run.ref, page_size=PAGE)
    assert table.kinds["x"] == "json"
    assert list(table.iter_rows()) == rows + live


@pytest.mark.parametrize("memory", [0, 1, 10_000, 1 << 30])
def test_parts_are_kept_in_memory_or_on_disk_and_say_the_same(
    memory: int, run: Any, transport: Transport
) -> None:
    rows = logged(run, 900)
    for name, start in (("b", 600), ("a", 0), ("c", 300)):
        part(run, name, rows[start : start + 300])
    export = fetch_export(transport, run.ref, memory=memory)
    assert export is not None
    assert [(part.rows, part.first, part.last) for part in export.parts] == [
        (300, 0, 299), (300, 300, 599), (300, 600, 899)
    ]  # fmt: skip
    kept = [isinstance(part.file, io.BytesIO) for part in export.parts]
    assert all(kept) if memory == 1 << 30 else not any(kept)
    for at_once in (False, True):
        steps: list[int] = []
        for piece in export.parts:
            for _, chunk in read_part(piece, Selection(None), 250, 650, at_once=at_once):
                steps += chunk.columns["_step"].array.to_pylist()
        assert steps == list(range(250, 650))
    export.close()


def test_one_request_tells_counts_and_exports_and_one_more_fetches_a_part(
    run: Any, transport: Transport
) -> None:
    rows = logged(run, 900)
    part(run, "a", rows)
    assert read_table(transport, run.ref, page_size=PAGE).rows == 900
    assert [name for name, _ in run.asked] == ["RunHistorySources", "GET"]


def test_a_part_that_fails_among_many_ends_the_reading_and_leaves_no_file(
    run: Any, transport: Transport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = logged(run, 900)
    for n in range(9):
        part(run, f"p{n}", rows[n * 100 : n * 100 + 100])
    run.expired = 10**9
    before = len(list(Path("/dev/fd").iterdir())) if Path("/dev/fd").exists() else 0
    with pytest.raises(PermissionDenied, match="exported part"):
        fetch_export(transport, run.ref)
    after = len(list(Path("/dev/fd").iterdir())) if Path("/dev/fd").exists() else 0
    assert after <= before + 4  # connections that are kept open, and no files of nine parts
    assert list(tmp_path.iterdir()) == []


def test_steps_without_statistics_in_the_footer_are_read(run: Any, transport: Transport) -> None:
    rows = logged(run, 400)
    for name, start in (("b", 200), ("a", 0)):
        out = io.BytesIO()
        columns = {key: [row[key] for row in rows[start : start + 200]] for key in rows[0]}
        pq.write_table(pa.table(columns), out, write_statistics=False, row_group_size=70)
        run.parts[name] = out.getvalue()
    assert both(transport, run) == rows
    assert run.pages == []


def test_a_part_with_a_row_without_step_is_replaced_by_pages(run: Any, transport: Transport) -> None:
    rows = logged(run, 300)
    run.export("a", {"_step": [*range(299), None], "loss": [row["loss"] for row in rows]})
    assert both(transport, run) == rows
    assert run.pages != []
