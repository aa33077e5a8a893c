"""Very many runs: a page of them in memory, small histories together, unchanged files for nothing."""

from __future__ import annotations

import gc
import os
import random
import weakref

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from faults_plugin import Answer

from wandb_ops.export import export_project, planning
from wandb_ops.export.crew import Item
from wandb_ops.export.request.project import ProjectRequest
from wandb_ops.export.rows.runindex import RunIndex
from wandb_ops.export.rows.spool import TableSpool
from wandb_ops.export.runs import listing
from wandb_ops.history.ref import RunCounts, RunRef
from wandb_ops.history.table import rows_of_batch
from wandb_ops.history.unify import KIND
from wandb_ops.protocol.storage import upload_run_file
from wandb_ops.public.api import Api


def export(project, to, **more):
    return export_project(project.watched, project=project.name, to=to, **more)


def rows_in(path):
    return [row for batch in pq.read_table(path).to_batches() for row in rows_of_batch(batch)]


def small(number):
    return [{"_step": i * (number + 1), "loss": number + i / 7} for i in range(number % 5 + 1)]


@pytest.fixture
def many(project):
    """45 runs of a few rows each."""
    for number in range(45):
        project.log(
            f"r{number:02}", small(number), config={"n": number}, events=[{"_timestamp": 1.0, "cpu": number}]
        )
    project.asked  # noqa: B018 - forgets what was asked so far
    return project


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_small_histories_come_together_and_are_exact(many, tmp_path, kind):
    done = export(many, tmp_path, format=kind, include=("runs", "history", "system"))
    assert done.ok, done.not_taken
    asked = many.asked
    assert sorted(set(asked)) == ["ExportHistories", "ExportRuns", "RunsHistories"]
    assert asked.count("ExportHistories") == asked.count("RunsHistories") == 3
    if kind == "delta":
        rows = DeltaTable(str(tmp_path / "history")).to_pandas().sort_values(["run_id", "_step"])
        found = {name: list(zip(g["_step"], g["loss"], strict=True)) for name, g in rows.groupby("run_id")}
    else:
        files = {
            f"r{number:02}": rows_in(tmp_path / "history" / f"r{number:02}.parquet") for number in range(45)
        }
        found = {name: [(row["_step"], row["loss"]) for row in rows] for name, rows in files.items()}
    assert found == {f"r{n:02}": [(row["_step"], row["loss"]) for row in small(n)] for n in range(45)}
    assert done.system_rows == 45


def test_a_history_read_together_is_the_same_file_as_one_read_alone(many, tmp_path):
    export(many, tmp_path / "together")
    export(many, tmp_path / "alone", filters={"name": "r07"})
    one, other = (tmp_path / n / "history" / "r07.parquet" for n in ("together", "alone"))
    assert one.read_bytes() == other.read_bytes()


def test_what_is_not_certain_is_read_alone(many, tmp_path):
    """A row without a step is in no window, and a run that grew is longer than the list said."""
    many.log("no step", [{"x": 1}, {"_step": 0, "x": 2}])
    many.log("negative", [{"_step": -1, "x": 1}])
    many.spoil_count("r03", 1)
    done = export(many, tmp_path)
    assert [(one.run_id, one.error) for one in done.not_taken] == [("r03", "IncompleteHistory")]
    steps = [row.get("_step") for row in rows_in(tmp_path / "history" / "negative.parquet")]
    assert steps == [-1]
    many.spoil_count("r03", -1)
    assert export(many, tmp_path).written == 1


def test_a_server_that_refuses_many_at_once_is_asked_for_fewer(many, tmp_path, fault_server, make_transport):
    import requests

    def forward(request):
        url, auth = many.server.url + request.target, ("api", many.server.api_key)
        headers = {"Content-Type": "application/json"}
        answer = requests.post(url, data=request.body, auth=auth, timeout=30, headers=headers)
        return Answer(answer.status_code, answer.content, (("Content-Type", "application/json"),))

    fault_server.handler = forward
    too_complex = Answer(body=b'{"errors": [{"message": "query is too complex"}], "data": null}')
    fault_server.on("ExportHistories", too_complex, None)
    api = Api({"base_url": fault_server.url, "entity": many.server.entity}, api_key="k" * 40)
    api._transport = make_transport(fault_server)
    done = export_project(api, project=many.name, to=tmp_path)
    assert (done.ok, done.rows) == (True, sum(len(small(n)) for n in range(45)))
    asked = [request.operation for request in fault_server.requests]
    assert asked.count("ExportHistories") <= 6
    assert asked.count("HistoryPage") == 45


def test_files_that_did_not_change_cost_the_list_and_nothing_else(many, tmp_path):
    where = {"entity": many.server.entity, "project": many.name}
    for number in range(45):
        upload_run_file(
            many.api.transport, **where, run_id=f"r{number:02}", name="out.txt", data=b"%d" % number
        )
    include = ("files", "system")
    assert export(many, tmp_path, include=include).ok
    assert (tmp_path / "files" / "r09" / "out.txt").read_bytes() == b"9"
    many.asked  # noqa: B018
    again = export(many, tmp_path, include=include)
    assert many.asked == ["ExportRuns"]
    assert (again.files, again.unchanged) == (0, 90)
    upload_run_file(many.api.transport, **where, run_id="r09", name="out.txt", data=b"X")
    (tmp_path / "files" / "r10" / "out.txt").write_bytes(b"X")
    os.unlink(tmp_path / "files" / "r11" / "out.txt")
    many.asked  # noqa: B018
    assert export(many, tmp_path, include=include).files == 3
    assert many.asked == ["ExportRuns", "RunFiles", "RunFiles", "RunFiles"]
    found = [(tmp_path / "files" / name / "out.txt").read_bytes() for name in ("r09", "r10", "r11")]
    assert found == [b"X", b"10", b"11"]


def test_more_files_than_the_list_shows_are_all_brought(project, tmp_path):
    project.log("a", [])
    where = {"entity": project.server.entity, "project": project.name, "run_id": "a"}
    for number in range(103):
        upload_run_file(project.api.transport, **where, name=f"f{number}.txt", data=b"%d" % number)
    assert export(project, tmp_path, include=("files",)).files >= 103
    assert (tmp_path / "files" / "a" / "f102.txt").read_bytes() == b"102"
    assert export(project, tmp_path, include=("files",)).files == 0


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_no_more_than_a_few_pages_of_runs_are_in_memory(many, tmp_path, monkeypatch, kind):
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    most = []
    real = listing.Run

    def made(*args, **kwargs):
        if not most or len(alive) % 4 == 0:
            gc.collect()
        run = real(*args, **kwargs)
        alive.add(run)
        most.append(len(alive))
        return run

    monkeypatch.setattr(listing, "PAGE", 4)
    monkeypatch.setattr(listing, "Run", made)
    done = export(many, tmp_path, include=("runs",), format=kind)
    assert (done.ok, done.runs, len(most)) == (True, 45, 45)
    assert max(most) <= 12
    assert many.asked.count("ExportRuns") == 12
    table = (
        DeltaTable(str(tmp_path / "runs")).to_pyarrow_table()
        if kind == "delta"
        else pq.read_table(tmp_path / "runs.parquet")
    )
    assert sorted(table.column("config.n").to_pylist()) == list(range(45))


def typed(values, kind, arrow, **more):
    """A table of one column as a history has it, and a place to sort by."""
    columns = {"x": pa.array(values, arrow), "at": pa.array(more["at"], pa.int64())}
    fields = [pa.field("x", arrow, metadata={KIND: kind}), pa.field("at", pa.int64())]
    return pa.table(columns, schema=pa.schema(fields))


def test_tables_typed_apart_come_back_sorted_in_one_type():
    spool = TableSpool(("at",))
    spool.add(typed([1, None], b"int", pa.int64(), at=[7, 2]))
    spool.add(typed([0.5], b"float", pa.float64(), at=[1]))
    mark = spool.mark
    spool.add(typed(["one"], b"str", pa.string(), at=[3]))
    assert spool.table().to_pydict() == {"x": ["0.5", None, '"one"', "1"], "at": [1, 2, 3, 7]}
    spool.cut(mark)
    assert (spool.rows, spool.table().to_pydict()) == (3, {"x": [0.5, None, 1.0], "at": [1, 2, 7]})
    assert spool.table().schema.field("x").type == pa.float64()
    spool.close()


def paged(pages):
    """A spool of pages of ten rows each that come out of order."""
    spool = TableSpool(("at",))
    for page in range(pages):
        spool.add(
            typed(
                list(range(10)),
                b"int",
                pa.int64(),
                at=[(page * 10 + row) * 7919 % (10 * pages) for row in range(10)],
            )
        )
    return spool


def test_a_spool_holds_one_list_of_columns_and_one_row_to_sort_by_however_many_pages_come():
    spool = TableSpool(("at",))
    for page in range(50):
        spool.add(typed([page], b"int", pa.int64(), at=[page // 2]))
    assert (spool._in_order, spool._last.num_rows, len(spool._found)) == (True, 1, 2)
    assert spool.table().column("x").to_pylist() == list(range(50))
    mark = spool.mark
    spool.add(typed([-1], b"int", pa.int64(), at=[7]))
    assert (spool._in_order, spool._last) == (False, None)
    assert spool.table().column("x").to_pylist() == [*range(16), -1, *range(16, 50)]
    spool.cut(mark)
    spool.add(typed([50], b"int", pa.int64(), at=[25]))
    assert (spool._in_order, spool.table().column("x").to_pylist()) == (True, list(range(51)))
    spool.close()


def test_pages_that_come_out_of_order_are_sorted():
    spool = paged(200)
    rows = spool.table().to_pydict()
    assert rows["at"] == list(range(2000))
    assert sum(rows["x"]) == 200 * 45
    mark = spool.mark
    spool.add(typed(["text"], b"str", pa.string(), at=[-1]))
    assert spool.table().column("x").to_pylist()[0] == '"text"'
    spool.cut(mark)
    assert spool.table().to_pydict() == rows
    assert spool.table(["at"]).column_names == ["at"]
    spool.close()


def test_one_row_of_a_spool_is_read_from_its_page():
    spool = TableSpool()
    for page in range(3):
        spool.add(typed([page, page + 10], b"int", pa.int64(), at=[2 * page, 2 * page + 1]))
    assert [spool.row(at, ["x"])["x"] for at in range(6)] == [0, 10, 1, 11, 2, 12]
    with pytest.raises(IndexError):
        spool.row(6, ["x"])
    file = spool._file
    del spool
    gc.collect()
    assert file.closed  # nobody has to close what is forgotten


def test_rows_of_runs_are_found_by_id():
    ids = [f"r{number * 31 % 977}" for number in range(977)]
    index = RunIndex(pa.array(ids))
    wanted = ["r5", "none", "r976", "", "r0", "r5"]
    expected = [ids.index(name) if name in ids else -1 for name in wanted]
    assert index.rows(pa.array(wanted)).tolist() == expected
    assert RunIndex(pa.array([], pa.string())).rows(pa.array(wanted)).tolist() == [-1] * 6


def test_shards_are_balanced_and_name_every_run_once():
    work = planning.Work(ProjectRequest(entity="e", project="p", to="x"))
    rng = random.Random(3)
    sizes = {f"r{number:03}": rng.choice([0, 10, 500, 20_000]) for number in range(300)}
    for number in range(0, 300, 50):
        names = list(sizes)[number : number + 50]
        work.add(50, [Item(listed_of(name, sizes[name]), "history") for name in names])
    assert (work.runs, work.changed, work.rows["history"]) == (300, 300, sum(sizes.values()))
    shards = work.shards(7)
    assert sorted(name for shard in shards for name in shard["runs"]) == sorted(sizes)
    loads = [sum(sizes[name] + 1000 for name in shard["runs"]) for shard in shards]
    assert max(loads) - min(loads) <= 21_000
    assert [(shard["index"], shard["of"]) for shard in shards] == [(at, 7) for at in range(7)]
    assert all(shard["runs"] == sorted(shard["runs"]) for shard in shards)
    assert planning.Work(ProjectRequest(entity="e", project="p", to="x")).shards(3) == (
        {"index": 0, "of": 1, "runs": []},
    )


def listed_of(name, lines):
    counts = RunCounts(history_lines=lines, last_step=lines - 1, state="finished", heartbeat_at=None)
    return listing.Listed(None, RunRef("e", "p", name), counts)
