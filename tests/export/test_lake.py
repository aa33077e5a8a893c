"""A lake: rows and watermark commit together, writers do not disturb each other, types widen exactly."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from wandb_ops.errors import IncompleteHistory, NotFoundError, OutputError, UsageError
from wandb_ops.export import (
    export_project,
    export_run,
    optimize_lake,
    plan_export,
    vacuum_lake,
    verify_export,
)
from wandb_ops.export.lake import lake
from wandb_ops.export.lake import sink as lakesink
from wandb_ops.export.lake.lake import LakeTable, lake_uri
from wandb_ops.history.table import rows_of_batch
from wandb_ops.protocol.storage import upload_run_file
from wandb_ops.transport.retry import Kind


def stamped(rows, start=1000.0):
    return [{"_step": i, "_timestamp": start + i, **row} for i, row in enumerate(rows)]


ROWS = {
    "a": stamped([{"loss": 1 / (i + 1), "text": f"t{i}"} for i in range(30)]),
    "b": stamped([{"loss": math.nan, "h": {"_type": "x", "v": [1, None]}}, {"loss": math.inf}]),
    "c": [],
}


@pytest.fixture
def three(project):
    for name, rows in ROWS.items():
        project.log(name, rows, config={"lr": 0.1})
    return project


def export(project, to, **more):
    return export_project(project.watched, project=project.name, to=to, format="delta", **more)


def rows_of(to, run_id=None, table="history"):
    """Rows of a run as they were logged, by what the table's own metadata says of each column."""
    delta = DeltaTable(str(Path(to) / table))
    arrow = delta.to_pyarrow_table()
    schema = pa.schema(delta.schema().to_arrow())
    arrow = arrow.cast(pa.schema([schema.field(name) for name in arrow.column_names]))
    if run_id is not None:
        arrow = arrow.filter(pc.equal(arrow["run_id"], run_id))
    if "_step" in arrow.column_names:
        arrow = arrow.sort_by("_step")
    arrow = arrow.drop_columns(["entity", "project", "run_id"])
    return [row for batch in arrow.to_batches() for row in rows_of_batch(batch)]


def in_order(rows):
    """Rows whose keys stand sorted: their order is not the lake's to keep."""
    return [dict(sorted(row.items())) for row in rows]


def watermark(to, path, table="history"):
    return DeltaTable(str(Path(to) / table)).transaction_version(path)


def test_every_run_is_in_the_tables_with_its_watermark(three, tmp_path, same):
    done = export(three, tmp_path)
    assert done.ok
    assert (done.runs, done.written, done.rows) == (3, 3, 32)
    for name, rows in ROWS.items():
        found = rows_of(tmp_path, name)
        assert same(in_order(found), in_order(rows))
        assert watermark(tmp_path, three.ref(name).path) == len(rows)
    runs = DeltaTable(str(tmp_path / "runs")).to_pyarrow_table().sort_by("run_id").to_pylist()
    assert [(r["run_id"], r["history_lines"], r["config.lr"]) for r in runs] == [
        ("a", 30, 0.1),
        ("b", 2, 0.1),
        ("c", 0, 0.1),
    ]


def test_pandas_polars_and_duckdb_read_the_same_rows(three, tmp_path):
    export(three, tmp_path)
    path = str(tmp_path / "history")
    by_pandas = DeltaTable(path).to_pandas()
    by_polars = pl.read_delta(path)
    by_duckdb = duckdb.connect()
    by_duckdb.register("history", DeltaTable(path).to_pyarrow_dataset())
    counted = by_duckdb.execute(
        "SELECT run_id, count(*), sum(_step) FROM history GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert counted == [("a", 30, sum(range(30))), ("b", 2, 1)]
    expected = [r["loss"] for r in ROWS["a"]]
    assert by_pandas[by_pandas.run_id == "a"].sort_values("_step").loss.tolist() == expected
    assert by_polars.filter(pl.col("run_id") == "a").sort("_step")["loss"].to_list() == expected
    assert pd.isna(by_pandas[by_pandas.run_id == "b"].sort_values("_step").loss.iloc[0])
    assert math.isnan(by_polars.filter(pl.col("run_id") == "b").sort("_step")["loss"][0])


def test_unchanged_runs_cost_nothing_but_the_list_and_no_commit(three, tmp_path):
    export(three, tmp_path, include=("runs", "history", "system"))
    versions = [DeltaTable(str(tmp_path / t)).version() for t in ("runs", "history", "system")]
    three.asked  # noqa: B018 - forgets what was asked so far
    again = export(three, tmp_path, include=("runs", "history", "system"))
    assert three.asked == ["ExportRuns"]
    assert (again.written, again.unchanged) == (0, 6)
    assert [DeltaTable(str(tmp_path / t)).version() for t in ("runs", "history", "system")] == versions


def test_a_run_that_grew_is_extended_from_its_last_step(three, tmp_path, same):
    export(three, tmp_path)
    files = set((tmp_path / "history").glob("*.parquet"))
    more = [{"_step": 30 + i, "_timestamp": 2000.0 + i, "loss": 0.5, "new": True} for i in range(3)]
    three.log("a", more, at_line=30)
    done = export(three, tmp_path)
    assert (done.written, done.rows) == (1, 3)
    assert same(in_order(rows_of(tmp_path, "a")), in_order(ROWS["a"] + more))
    assert watermark(tmp_path, three.ref("a").path) == 33
    assert files < set((tmp_path / "history").glob("*.parquet"))


def test_of_a_run_that_grew_only_the_last_row_group_is_looked_at(project, tmp_path, monkeypatch, same):
    """However long it is: its rows are counted, and statistics tell which row groups are its last."""
    rows = stamped([{"loss": i / 7} for i in range(60)])
    project.log("long", rows)
    project.log("other", stamped([{"loss": 1.0} for _ in range(200)]))
    monkeypatch.setattr(lake, "_GROUP_VALUES", 8 * 6)
    export(project, tmp_path)
    offered, read = [], []
    real = lakesink._row_groups

    class Watched:
        def __init__(self, part):
            self._part = part

        def to_table(self, **more):
            found = self._part.to_table(**more)
            read.append(found.num_rows)
            return found

    def groups(data, mine):
        offered.extend(real(data, mine))
        return [(greatest, Watched(part)) for greatest, part in offered]

    monkeypatch.setattr(lakesink, "_row_groups", groups)
    more = [{"_step": 60 + i, "_timestamp": 9000.0 + i, "loss": 2.0} for i in range(3)]
    project.log("long", more, at_line=60)
    assert export(project, tmp_path).rows == 3
    assert same(in_order(rows_of(tmp_path, "long")), in_order(rows + more))
    assert len(offered) >= 7
    assert len(read) <= 2
    assert sum(read) <= 16


def test_a_rewound_run_is_replaced_in_one_commit_and_the_old_version_can_be_read(three, tmp_path, same):
    export(three, tmp_path)
    version = DeltaTable(str(tmp_path / "history")).version()
    rewound = ROWS["a"][:10] + [{"_step": i, "_timestamp": 5000.0 + i, "loss": -1.0} for i in range(10, 40)]
    three.api.run(f"{three.name}/a").delete()
    three.log("a", rewound)
    done = export(three, tmp_path)
    assert (done.written, done.rows) == (1, 40)
    assert same(in_order(rows_of(tmp_path, "a")), in_order(rewound))
    table = DeltaTable(str(tmp_path / "history"))
    assert table.version() == version + 1
    table.load_as_version(version)
    assert table.to_pyarrow_table().num_rows == 32


def test_a_run_rewound_to_the_same_length_is_noticed(three, tmp_path):
    export(three, tmp_path)
    three.api.run(f"{three.name}/a").delete()
    three.log("a", [{**row, "loss": -1.0} for row in ROWS["a"]])
    assert export(three, tmp_path).written == 1
    assert {row["loss"] for row in rows_of(tmp_path, "a")} == {-1.0}


def test_types_widen_by_the_contract_and_keep_every_value(project, tmp_path, same):
    values = {
        "1 int": [1, 2**53],
        "2 float": [0.5, math.inf],
        "3 none": [None],
        "4 text": ["one", "NaN"],
        "5 bool": [True],
        "6 big": [10**30, 3],
        "7 dict": [{"a": 1}],
    }
    for name, kinds in values.items():
        project.log(name[0], stamped([{"x": v, f"only{name[0]}": v} for v in kinds]))
        assert export(project, tmp_path, include=("history",)).ok
    for name, kinds in values.items():
        found = [row.get("x") for row in rows_of(tmp_path, name[0])]
        # What went through a column of floats is a float: 1 and 1.0 are one number.
        expected = [float(v) if name == "1 int" else v for v in kinds]
        assert same(found, expected), name
        own = [row.get(f"only{name[0]}") for row in rows_of(tmp_path, name[0])]
        assert same(own, kinds), name


def test_integers_that_no_double_holds_become_text_when_floats_come(project, tmp_path, same):
    project.log("a", stamped([{"x": 2**53 + 1}, {"x": 7}]))
    export(project, tmp_path)
    project.log("b", stamped([{"x": 0.5}]))
    export(project, tmp_path)
    assert same([row["x"] for row in rows_of(tmp_path, "a")], [2**53 + 1, 7])
    assert same([row["x"] for row in rows_of(tmp_path, "b")], [0.5])


def test_keys_that_delta_cannot_tell_apart_get_columns_of_their_own(project, tmp_path, same):
    rows = stamped([{"loss": 1.0, "Loss": 2.0, "project": "mine", "run_id": 3, "": 4, "a b,;{}=\n": 5}])
    project.log("a", rows)
    assert export(project, tmp_path).ok
    assert same(in_order(rows_of(tmp_path, "a")), in_order(rows))
    later = stamped([{"Loss": 0.25, "LOSS": 6, "project": "yours"}])
    project.log("b", later)
    assert export(project, tmp_path).ok
    assert same(in_order(rows_of(tmp_path, "b")), in_order([{**row, "LOSS": 6} for row in later]))


def test_many_projects_share_the_tables(three, tmp_path, project):
    export(three, tmp_path)
    with pytest.raises(UsageError):
        export_project(three.watched, project=three.name, to="memory://lake", format="delta")
    other = f"{three.name}-other"
    three.name, mine = other, three.name
    three.log("a", stamped([{"loss": 9.0}]))
    export(three, tmp_path)
    three.name = mine
    table = DeltaTable(str(tmp_path / "history")).to_pandas()
    assert table.groupby("project").size().to_dict() == {mine: 32, other: 1}
    assert export(three, tmp_path).unchanged == 3


def test_deleted_runs_are_kept_and_flagged(three, tmp_path):
    export(three, tmp_path)
    three.api.run(f"{three.name}/a").delete()
    assert export(three, tmp_path).deleted_upstream == ("a",)
    runs = DeltaTable(str(tmp_path / "runs")).to_pyarrow_table().to_pylist()
    assert {r["run_id"]: r["deleted_upstream"] for r in runs} == {"a": True, "b": False, "c": False}
    assert len(rows_of(tmp_path, "a")) == 30


def test_a_failing_run_keeps_nobody_back(three, tmp_path):
    three.spoil_count("a", 5)
    done = export(three, tmp_path)
    assert [(n.run_id, n.error) for n in done.not_taken] == [("a", "IncompleteHistory")]
    assert rows_of(tmp_path, "a") == []
    assert len(rows_of(tmp_path, "b")) == 2
    three.spoil_count("a", -5)
    assert export(three, tmp_path).written == 1
    assert len(rows_of(tmp_path, "a")) == 30


def test_shards_in_any_order_and_twice_come_to_the_same(three, tmp_path, same):
    export(three, tmp_path / "one")
    shards = plan_export(
        three.watched, project=three.name, to=tmp_path / "two", format="delta", shards=3
    ).shards
    for shard in [*reversed(shards), *shards]:
        assert export(three, tmp_path / "two", shard=json.loads(json.dumps(shard))).ok
    for name in ROWS:
        assert same(rows_of(tmp_path / "two", name), rows_of(tmp_path / "one", name))
    one, two = (DeltaTable(str(tmp_path / n / "runs")).to_pyarrow_table() for n in ("one", "two"))
    assert one.sort_by("run_id").equals(two.sort_by("run_id"))


def test_threads_that_export_the_same_runs_leave_each_row_once(three, tmp_path):
    threads = [threading.Thread(target=export, args=(three, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows_of(tmp_path)) == 32
    assert DeltaTable(str(tmp_path / "runs")).to_pyarrow_table().num_rows == 3


WRITER = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from wandb_ops.export import export_project
    from wandb_ops.public.api import Api

    project, to, name = sys.argv[1:]
    Path(to, name).touch()
    while len(list(Path(to).glob("ready*"))) < 2:
        time.sleep(0.005)
    for index in range(3):  # each process takes the runs in an order of its own
        shards = [{"index": 1, "of": 9, "runs": [f"r{i}"]} for i in range(8)]
        for shard in shards if name == "ready1" else reversed(shards):
            done = export_project(Api(), project=project, to=f"{to}/lake", format="delta", shard=shard)
            assert done.ok, done.not_taken
    """
)


def test_two_processes_with_overlapping_runs_leave_no_duplicate_and_lose_nothing(project, tmp_path):
    logged = {f"r{i}": stamped([{f"key{i}": i + 0.5, "x": i if i % 2 else 0.5}] * (i + 1)) for i in range(8)}
    for name, rows in logged.items():
        project.log(name, rows)
    env = {**os.environ, **project.server.env}
    writers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", WRITER, project.name, str(tmp_path), name],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for name in ("ready1", "ready2")
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    for name, rows in logged.items():
        found = rows_of(tmp_path / "lake", name)
        assert [row["_step"] for row in found] == [row["_step"] for row in rows], name
        assert [row["x"] for row in found] == [row["x"] for row in rows]
        assert watermark(tmp_path / "lake", project.ref(name).path) == len(rows)


def test_a_run_that_another_export_took_meanwhile_is_looked_at_again(three, tmp_path, monkeypatch):
    """A newer state was committed between reading and committing: neither duplicated nor put back."""
    real = lakesink.LakeDestination.store
    more = [{"_step": 30, "_timestamp": 9000.0, "loss": 2.0}]

    def late(self, fetched):
        monkeypatch.setattr(lakesink.LakeDestination, "store", real)
        three.log("a", more, at_line=30)
        export(three, tmp_path)
        return real(self, fetched)

    monkeypatch.setattr(lakesink.LakeDestination, "store", late)
    assert export(three, tmp_path).ok
    assert [row["_step"] for row in rows_of(tmp_path, "a")] == list(range(31))
    assert len(rows_of(tmp_path)) == 33


def test_a_race_that_is_lost_for_ever_is_an_error(three, tmp_path):
    from deltalake.exceptions import CommitFailedError

    pauses = []
    table = LakeTable(lake_uri(tmp_path), "history", sleep=pauses.append)

    def always_lost(view):
        raise AssertionError("not reached")

    table.load = lambda: None  # type: ignore[method-assign]
    table._commit = lambda *_: (_ for _ in ()).throw(CommitFailedError("lost"))  # type: ignore[method-assign]
    with pytest.raises(OutputError, match="faster 30 times"):
        table.commit(lambda view: object())  # type: ignore[arg-type,return-value]
    assert len(pauses) == 29
    assert max(pauses) <= 2


def test_optimize_and_vacuum_leave_the_same_rows(three, tmp_path):
    for last in range(30, 34):
        three.log("a", [{"_step": last, "_timestamp": last + 0.5, "loss": 0.0}], at_line=last)
        export(three, tmp_path)
    before = sorted(map(repr, rows_of(tmp_path)))
    done = optimize_lake(tmp_path)
    assert done["history"]["files_removed"] > done["history"]["files_added"] == 1
    assert sorted(map(repr, rows_of(tmp_path))) == before
    named = vacuum_lake(tmp_path, keep_hours=0, dry_run=True)
    assert len(named["history"]) == done["history"]["files_removed"]
    assert vacuum_lake(tmp_path)["history"] == []
    vacuum_lake(tmp_path, keep_hours=0)
    assert len(list((tmp_path / "history").glob("*.parquet"))) == 1
    assert sorted(map(repr, rows_of(tmp_path))) == before
    three.asked  # noqa: B018
    assert export(three, tmp_path).unchanged == 3
    assert three.asked == ["ExportRuns"]


def test_a_lake_is_verified_against_its_transactions_and_the_server(three, tmp_path):
    export(three, tmp_path)
    arguments = {"project": three.name, "to": tmp_path, "format": "delta"}
    found = verify_export(three.watched, **arguments)
    assert (found.ok, found.current, found.rows) == (True, True, 32)
    three.log("b", [{"_step": 2, "_timestamp": 1.0}], at_line=2)
    DeltaTable(str(tmp_path / "history")).delete("run_id = 'a' AND _step > 20")
    found = verify_export(three.watched, **arguments)
    assert found.problems == ("history of a: 21 rows, and its transaction says 30",)
    assert (found.stale, found.missing) == (("b",), ())
    assert export(three, tmp_path, force=True).ok
    found = verify_export(three.watched, **arguments)
    assert (found.ok, found.current, found.rows) == (True, True, 33)


def test_exporting_to_a_lake_sends_nothing_but_queries(three, tmp_path):
    three.transport.sent.clear()
    export(three, tmp_path, include=("runs", "history", "system", "files"))
    assert {kind for _, kind in three.transport.sent} == {Kind.QUERY}


def test_a_lake_is_loaded_only_when_asked_for():
    code = (
        "import sys, wandb_ops.export, wandb_ops.steps, wandb_ops.cli.main;"
        "print([m for m in ('pyarrow', 'deltalake', 'rich.progress') if m in sys.modules])"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.monotonic() - started < 20


def test_one_run_comes_to_the_table_that_its_project_would_have(three, tmp_path, same):
    def alone(run_id, **more):
        reference, to = three.ref(run_id), tmp_path / "a"
        return export_run(three.watched.transport, reference, to=to, format="delta", **more)

    first = alone("a")
    assert (first.action, first.format, first.rows, first.complete) == ("written", "delta", 30, True)
    assert (first.first_step, first.last_step, first.sha256) == (0, 29, "")
    assert first.uri == str(tmp_path / "a" / "history")
    assert ("loss", "double") in first.columns
    three.asked  # noqa: B018
    assert alone("a").action == "unchanged"
    assert three.asked == ["ExportRuns"]
    assert alone("a", force=True).action == "replaced"
    more = [{"_step": 30, "_timestamp": 2000.0, "loss": 0.5}]
    three.log("a", more, at_line=30)
    grown = alone("a")
    assert (grown.action, grown.rows, grown.last_step) == ("appended", 31, 30)
    assert alone("c").rows == 0
    assert same(in_order(rows_of(tmp_path / "a", "a")), in_order(ROWS["a"] + more))
    # An export of the project goes on from there, with the same watermark.
    done = export(three, tmp_path / "a")
    assert (done.written, done.unchanged) == (1, 2)
    assert watermark(tmp_path / "a", three.ref("a").path) == 31
    with pytest.raises(NotFoundError):
        alone("absent")
    with pytest.raises(UsageError, match="whole"):
        alone("a", min_step=3)
    three.spoil_count("b", 4)
    three.log("b", [], at_line=2, finish=1)
    with pytest.raises(IncompleteHistory):
        alone("b")


def test_projects_in_one_lake_do_not_share_the_files_of_their_runs(three, tmp_path):
    where = {"entity": three.server.entity, "run_id": "a"}
    upload_run_file(three.api.transport, **where, project=three.name, name="out.txt", data=b"mine")
    mine, three.name = three.name, f"{three.name}-other"
    three.log("a", [])
    upload_run_file(three.api.transport, **where, project=three.name, name="out.txt", data=b"theirs")
    export(three, tmp_path, include=("files",))
    other, three.name = three.name, mine
    export(three, tmp_path, include=("files",))
    place = tmp_path / "files" / three.server.entity
    assert (place / mine / "a" / "out.txt").read_bytes() == b"mine"
    assert (place / other / "a" / "out.txt").read_bytes() == b"theirs"
