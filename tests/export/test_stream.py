"""A history in bounded memory: whatever the cut, types and rows are those of the whole."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from wandb_ops.export.rows import stream as stream_module
from wandb_ops.export.rows.stream import HistoryStream, stream_events, stream_history
from wandb_ops.history.columns import ColumnBuilder
from wandb_ops.history.read import read_table
from wandb_ops.history.ref import RunCounts

NASTY = [
    {"_step": 0, "x": 1, "n": 2**53 + 1, "t": "NaN", "only": None},
    {"_step": 1, "x": 0.5, "n": 3, "t": "text", "flag": True},
    {"_step": 2, "x": "NaN", "n": 10**30, "h": {"_type": "histogram", "v": [1, math.nan]}},
    {"_step": 3, "x": math.inf, "t": "", "odd\ud800": 1, "lone": "a\ud800"},
    {"_step": 4, "x": 7, "late": [1, "two", None], "flag": 3},
    {"_step": 5},
]


def chunked(rows, size):
    stream = HistoryStream(RunCounts(len(rows), 5, "finished", None))
    for start in range(0, len(rows), size):
        builder = ColumnBuilder()
        builder.add(rows[start : start + size])
        for chunk in builder.finish():
            stream.add(chunk)
    return stream


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_how_the_rows_were_cut_does_not_show(size, same):
    with chunked(NASTY, 6) as whole, chunked(NASTY, size) as cut:
        assert cut.schema.equals(whole.schema, check_metadata=True)
        assert [t.schema.equals(whole.schema) for t in cut.tables()] == [True] * math.ceil(6 / size)
        assert same(list(cut.iter_rows()), list(whole.iter_rows()))
        expected = [dict(row) for row in NASTY]
        expected[2]["x"] = math.nan  # "NaN" among numbers is the number
        expected[0]["x"], expected[4]["x"] = 1.0, 7.0
        assert same(
            [dict(sorted(row.items())) for row in cut.iter_rows()],
            [dict(sorted(row.items())) for row in expected],
        )
        assert (cut.rows, cut.first_step, cut.last_step) == (6, 0, 5)
        assert cut.kinds() == whole.kinds()


def test_rows_can_be_asked_for_again_and_are_gone_when_closed():
    stream = chunked(NASTY, 2)
    assert list(map(repr, stream.iter_rows())) == list(map(repr, stream.iter_rows()))
    stream.close()
    assert list(stream.tables()) == []


def test_no_rows_have_a_step_column_and_nothing_else():
    with HistoryStream(RunCounts(0, -1, "finished", None)) as stream:
        assert stream.schema.names == ["_step"]
        assert list(stream.tables()) == []
        assert (stream.first_step, stream.last_step) == (-1, -1)


def test_a_stream_is_the_table_that_history_reads(project, monkeypatch, same):
    monkeypatch.setattr(stream_module, "_CHUNK_ROWS", 700)
    rows = [{"_step": i, "loss": i / 7, **({"t": f"t{i}"} if i % 3 else {})} for i in range(2500)]
    ref = project.log("r", rows, events=[{"_timestamp": 1.5, "system.cpu": 2}, {"_timestamp": 2.5}])
    table = read_table(project.transport, ref)
    with stream_history(project.transport, ref) as stream:
        assert len(list(stream.tables())) > 2
        assert same(list(stream.iter_rows()), list(table.iter_rows()))
        assert stream.schema.equals(table.to_arrow().schema, check_metadata=True)
    with stream_events(project.transport, ref) as events:
        assert list(events.iter_rows()) == [{"_timestamp": 1.5, "system.cpu": 2}, {"_timestamp": 2.5}]


def test_numbers_are_exported_without_loading_pandas(project, tmp_path):
    """It would cost a second and 45 MB."""
    project.log(
        "r", [{"_step": i, "loss": i / 7, "ok": i % 2 == 0, **({"n": i} if i % 3 else {})} for i in range(50)]
    )
    code = (
        "import sys; from wandb_ops.export import export_run; from wandb_ops.history.ref import RunRef;"
        "from wandb_ops.public.api import Api;"
        "done = export_run(Api().transport, RunRef(*sys.argv[1:4]), to=sys.argv[4]);"
        "print(done.rows, 'pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "local", project.name, "r", str(tmp_path / "r.parquet")],
        capture_output=True,
        text=True,
        check=True,
        env=project.server.env,
    )
    assert done.stdout.split() == ["50", "False"]
