"""One run becomes one file: exact, atomic, left alone when nothing changed."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import subprocess
import sys
import textwrap

import fsspec
import pyarrow.parquet as pq
import pytest

from wandb_ops.errors import IncompleteHistory, NotFoundError, OutputError, UnsafePath, UsageError
from wandb_ops.export import export_run, verify_file
from wandb_ops.export.files import writing
from wandb_ops.history.table import rows_of_batch
from wandb_ops.transport.retry import Kind

NASTY = [
    {
        "_step": 0,
        "loss": 0.1,
        "n": 2**53 + 1,
        "ok": True,
        "text": "NaN?",
        "x": 1,
        "h": {"_type": "histogram", "v": [1]},
    },
    {"_step": 1, "loss": math.nan, "n": -(2**63), "ok": False, "text": "", "x": "1", "with/slash": 1.5},
    {"_step": 5, "loss": math.inf, "n": 2**63 - 1, "text": '=1+"1"', "x": 1.5, "with.dot": [1, None]},
    {"_step": 61_010, "loss": -math.inf, "text": "two\nlines", "x": True, "empty": {}, "ünïcode 🙂": -0.0},
    {"_step": 61_011, "loss": 5e-324, "big": 10**30, "text": "a\ud800"},
]


def rows_of(path) -> list[dict[str, object]]:
    return [row for batch in pq.read_table(path).to_batches() for row in rows_of_batch(batch)]


def test_parquet_equals_what_was_logged(project, tmp_path, same):
    ref = project.log("r", NASTY)
    exported = export_run(project.transport, ref, to=tmp_path / "r.parquet")
    assert same(rows_of(tmp_path / "r.parquet"), NASTY)
    assert (exported.rows, exported.first_step, exported.last_step) == (5, 0, 61_011)
    assert exported.action == "written"
    assert exported.complete
    assert exported.state == "finished"
    assert exported.path == f"local/{project.name}/r"
    assert exported.url == f"{project.server.url}/local/{project.name}/runs/r"
    assert exported.uri == str(tmp_path / "r.parquet")
    assert exported.left_out == {}
    data = (tmp_path / "r.parquet").read_bytes()
    assert exported.bytes == len(data)
    assert exported.sha256 == hashlib.sha256(data).hexdigest()
    columns = dict(exported.columns)
    assert columns["_step"] == "int64"
    assert columns["loss"] == "double"
    assert columns["ok"] == "bool"
    assert verify_file(exported.uri, transport=project.transport, sha256=exported.sha256).ok


def test_json_lines_equal_what_was_logged(project, tmp_path, same):
    ref = project.log("r", NASTY)
    exported = export_run(project.transport, ref, to=tmp_path / "r.jsonl")
    expected = [dict(row) for row in NASTY]
    for row, word in zip(expected[1:4], ("NaN", "Infinity", "-Infinity"), strict=True):
        row["loss"] = word
    found = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().split("\n")[:-1]]
    assert same([dict(sorted(row.items())) for row in found], [dict(sorted(row.items())) for row in expected])
    assert exported.format == "jsonl"
    assert exported.rows == 5


def test_csv_holds_what_was_logged(project, tmp_path):
    ref = project.log("r", NASTY)
    exported = export_run(project.transport, ref, to=tmp_path / "r.csv")
    text = (tmp_path / "r.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == [name for name, _ in exported.columns]
    assert [row["_step"] for row in rows] == ["0", "1", "5", "61010", "61011"]
    assert [row["loss"] for row in rows] == ["0.1", "NaN", "Infinity", "-Infinity", "5e-324"]
    assert [row["n"] for row in rows] == [str(2**53 + 1), str(-(2**63)), str(2**63 - 1), "", ""]
    assert [row["x"] for row in rows] == ["1", "1", "1.5", "true", ""]
    assert "\n5," in text
    assert rows[3]["text"] == "two\nlines"
    assert rows[4]["big"] == str(10**30)
    assert json.loads(rows[2]["with.dot"]) == [1, None]


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_the_same_export_twice_changes_nothing(project, tmp_path, suffix):
    ref = project.log("r", NASTY)
    target = tmp_path / f"r.{suffix}"
    first = export_run(project.transport, ref, to=target)
    before = target.stat()
    again = export_run(project.transport, ref, to=target)
    assert again.action == "unchanged"
    assert target.stat().st_mtime_ns == before.st_mtime_ns
    assert target.stat().st_ino == before.st_ino
    assert {**vars(again), "action": "written"} == vars(first)


def test_an_unchanged_run_costs_one_request_and_no_history(project, tmp_path):
    ref = project.log("r", NASTY)
    export_run(project.transport, ref, to=tmp_path / "r.parquet")
    project.transport.sent.clear()
    assert export_run(project.transport, ref, to=tmp_path / "r.parquet").action == "unchanged"
    assert [operation for operation, _ in project.transport.sent] == ["RunHistoryCounts"]


def test_exporting_sends_nothing_but_queries(project, tmp_path):
    ref = project.log("r", NASTY)
    for name in ("r.parquet", "r.csv", "r.jsonl"):
        export_run(project.transport, ref, to=tmp_path / name)
    verify_file(tmp_path / "r.parquet", transport=project.transport)
    assert project.transport.sent
    assert {kind for _, kind in project.transport.sent} == {Kind.QUERY}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_force_writes_again_and_the_bytes_are_the_same(project, tmp_path, suffix):
    ref = project.log("r", NASTY)
    target = tmp_path / f"r.{suffix}"
    first = export_run(project.transport, ref, to=target)
    inode = target.stat().st_ino
    again = export_run(project.transport, ref, to=target, force=True)
    assert again.action == "written"
    assert target.stat().st_ino != inode
    assert again.sha256 == first.sha256


def test_two_places_get_the_same_bytes(project, tmp_path):
    ref = project.log("r", NASTY)
    one = export_run(project.transport, ref, to=tmp_path / "a" / "one.parquet")
    two = export_run(project.transport, ref, to=f"file://{tmp_path}/b/two.parquet")
    three = export_run(project.transport, ref, to=f"memory://{project.name}/three.parquet")
    assert one.sha256 == two.sha256 == three.sha256
    assert (
        fsspec.filesystem("memory").cat(f"/{project.name}/three.parquet")
        == (tmp_path / "a" / "one.parquet").read_bytes()
    )
    assert three.uri == f"memory://{project.name}/three.parquet"
    again = export_run(project.transport, ref, to=f"memory://{project.name}/three.parquet")
    assert again.action == "unchanged"
    assert verify_file(three.uri).ok


def test_a_running_run_is_exported_and_marked_and_the_next_run_extends_it(project, tmp_path):
    rows = [{"_step": i, "loss": 1 / (i + 1)} for i in range(20)]
    ref = project.log("r", rows[:10], finish=None)
    first = export_run(project.transport, ref, to=tmp_path / "r.parquet")
    assert not first.complete
    assert first.state == "running"
    assert first.rows == 10
    project.log("r", rows[10:], at_line=10)
    second = export_run(project.transport, ref, to=tmp_path / "r.parquet")
    assert second.complete
    assert second.action == "written"
    assert rows_of(tmp_path / "r.parquet") == rows


def test_a_run_that_was_rewound_is_written_anew(project, tmp_path):
    ref = project.log("r", [{"_step": i, "loss": 1.0} for i in range(10)])
    export_run(project.transport, ref, to=tmp_path / "r.parquet")
    project.log("r", [{"_step": i, "loss": 2.0} for i in range(10)])
    assert verify_file(tmp_path / "r.parquet", transport=project.transport).current is False
    again = export_run(project.transport, ref, to=tmp_path / "r.parquet")
    assert again.action == "written"
    assert [row["loss"] for row in rows_of(tmp_path / "r.parquet")] == [2.0] * 10
    assert verify_file(tmp_path / "r.parquet", transport=project.transport).current is True


def test_keys_and_steps_are_chosen_and_the_rest_is_counted(project, tmp_path):
    rows = [{"_step": i, ("a" if i % 2 else "b"): i} for i in range(10)]
    ref = project.log("r", rows)
    either = export_run(project.transport, ref, to=tmp_path / "any.parquet", keys=["a", "b"])
    assert either.rows == 10
    assert either.left_out == {}
    both = export_run(project.transport, ref, to=tmp_path / "all.parquet", keys=["a", "b"], keys_mode="all")
    assert both.rows == 0
    assert both.left_out == {"not asked for": 10}
    assert (both.first_step, both.last_step) == (-1, -1)
    part = export_run(project.transport, ref, to=tmp_path / "part.parquet", min_step=3, max_step=7)
    assert (part.rows, part.first_step, part.last_step) == (4, 3, 6)
    assert part.left_out == {"not asked for": 6}


def test_another_request_for_the_same_file_writes_it_again(project, tmp_path):
    ref = project.log("r", NASTY)
    export_run(project.transport, ref, to=tmp_path / "r.parquet")
    assert export_run(project.transport, ref, to=tmp_path / "r.parquet", keys=["loss"]).action == "written"
    assert export_run(project.transport, ref, to=tmp_path / "r.parquet", keys=["loss"]).action == "unchanged"
    assert pq.read_schema(tmp_path / "r.parquet").names == ["_step", "loss"]


def test_a_run_without_rows_is_a_valid_file_in_each_format(project, tmp_path):
    ref = project.log("r", [])
    for name in ("r.parquet", "r.csv", "r.jsonl"):
        exported = export_run(project.transport, ref, to=tmp_path / name)
        assert (exported.rows, exported.first_step, exported.last_step) == (0, -1, -1)
        assert exported.complete
    assert pq.read_table(tmp_path / "r.parquet").num_rows == 0
    assert (tmp_path / "r.csv").read_text() == "_step\n"
    assert (tmp_path / "r.jsonl").read_bytes() == b""


def test_a_damaged_or_foreign_file_is_replaced(project, tmp_path):
    ref = project.log("r", NASTY)
    target = tmp_path / "r.parquet"
    good = export_run(project.transport, ref, to=target)
    whole = target.read_bytes()
    for damaged in (b"", b"hello", whole[:-9], whole.replace(b'"state":"fin', b'"state":"fun')):
        target.write_bytes(damaged)
        again = export_run(project.transport, ref, to=target)
        assert again.action == "written"
        assert again.sha256 == good.sha256


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_incomplete_history_leaves_the_old_file(project, tmp_path, monkeypatch, leftovers, suffix):
    """The server loses rows that it counted: nothing short is ever put in the place of something whole."""
    rows = [{"_step": i, "loss": 1.0} for i in range(50)]
    ref = project.log("r", rows)
    target = tmp_path / f"r.{suffix}"
    export_run(project.transport, ref, to=target)
    old = target.read_bytes()
    with project.server.service.store.writing() as connection:
        connection.execute(
            "UPDATE runs SET history_lines = history_lines + 7 WHERE name = ? AND project IN"
            " (SELECT id FROM projects WHERE name = ?)",
            ("r", project.name),
        )
    with pytest.raises(IncompleteHistory):
        export_run(project.transport, ref, to=target)
    assert target.read_bytes() == old
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_a_full_disk_is_told_with_the_path_and_leaves_the_old_file(
    project, tmp_path, monkeypatch, leftovers, suffix
):
    import resource
    import signal

    rows = [{"_step": i, "t": hashlib.sha256(str(i).encode()).hexdigest()} for i in range(3000)]
    ref = project.log("r", rows)
    target = tmp_path / f"r.{suffix}"
    target.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    measured = writing._write

    def with_limit(*args):
        # Only while the export writes: the server in this process writes its database too.
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
        try:
            return measured(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(writing, "_write", with_limit)
    try:
        with pytest.raises(OutputError, match="File too large") as failure:
            export_run(project.transport, ref, to=target)
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    assert str(target) in str(failure.value)
    assert target.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_a_missing_run_leaves_the_old_file(project, tmp_path):
    project.log("there", [])
    target = tmp_path / "r.csv"
    target.write_bytes(b"old")
    with pytest.raises(NotFoundError):
        export_run(project.transport, project.ref("absent"), to=target)
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("to", ["run", "run.json", "run.xlsx", "a\0.csv"])
def test_a_target_that_cannot_be_is_refused_before_anything_is_sent(project, tmp_path, to):
    with pytest.raises(UsageError):
        export_run(project.transport, project.ref("r"), to=f"{tmp_path}/{to}")
    assert project.transport.sent == []


def test_a_link_is_refused_before_anything_is_sent(project, tmp_path):
    (tmp_path / "r.csv").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePath):
        export_run(project.transport, project.ref("r"), to=tmp_path / "r.csv")
    assert project.transport.sent == []


def test_a_place_without_permission_is_told(project, tmp_path):
    ref = project.log("r", NASTY)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="Not a directory"):
        export_run(project.transport, ref, to=tmp_path / "file" / "r.csv")


def test_the_format_can_be_named(project, tmp_path):
    ref = project.log("r", NASTY)
    assert export_run(project.transport, ref, to=tmp_path / "data.txt", format="csv").format == "csv"
    assert export_run(project.transport, ref, to=tmp_path / "R.NDJSON").format == "jsonl"
    with pytest.raises(UsageError, match="excel"):
        export_run(project.transport, ref, to=tmp_path / "x", format="excel")
    with pytest.raises(UsageError, match="list of names"):
        export_run(project.transport, ref, to=tmp_path / "x.csv", keys="loss")


def test_in_a_folder_the_file_is_named_after_the_run(project, tmp_path):
    ref = project.log("Run-1", NASTY)
    plain = project.log("run-1", NASTY)
    (tmp_path / "there").mkdir()
    assert (
        export_run(project.transport, plain, to=tmp_path / "there").uri == f"{tmp_path}/there/run-1.parquet"
    )
    new = export_run(project.transport, plain, to=f"{tmp_path}/new/", format="csv")
    assert new.uri == f"{tmp_path}/new/run-1.csv"
    other = export_run(project.transport, ref, to=f"{tmp_path}/new/")
    assert other.uri.startswith(f"{tmp_path}/new/Run-1-")
    assert export_run(project.transport, ref, to=f"{tmp_path}/new/").action == "unchanged"
    stored = export_run(project.transport, plain, to=f"memory://{project.name}/runs/")
    assert stored.uri == f"memory://{project.name}/runs/run-1.parquet"


def test_in_a_folder_a_run_of_another_project_is_not_overwritten(project, tmp_path):
    ref = project.log("r", NASTY)
    export_run(project.transport, ref, to=f"{tmp_path}/")
    old = (tmp_path / "r.parquet").read_bytes()
    project.name += "x"
    other = project.log("r", [])
    with pytest.raises(UsageError, match="folder of its own"):
        export_run(project.transport, other, to=tmp_path)
    assert (tmp_path / "r.parquet").read_bytes() == old


def test_excel_safe_disarms_what_was_logged(project, tmp_path):
    ref = project.log("r", [{"_step": 0, "note": "=HYPERLINK(0)", "x": -1.5}])
    export_run(project.transport, ref, to=tmp_path / "r.csv", excel_safe=True)
    assert (tmp_path / "r.csv").read_text() == '_step,note,x\n0,"\'=HYPERLINK(0)",-1.5\n'


def test_the_footer_holds_no_key_and_no_local_path(project, tmp_path):
    ref = project.log("r", NASTY)
    export_run(project.transport, ref, to=tmp_path / "r.parquet")
    data = (tmp_path / "r.parquet").read_bytes()
    assert project.server.api_key.encode() not in data
    assert str(tmp_path).encode() not in data


CRASHES = textwrap.dedent(
    """
    import hashlib, json, os, signal, sys
    from pathlib import Path
    from wandb_ops.export import export_run
    from wandb_ops.export.places import atomic
    from wandb_ops.history.ref import RunRef
    from wandb_ops.public.api import Api

    folder, entity, project, name = sys.argv[1:]
    api, ref = Api(), RunRef(entity, project, "r")

    def export(target):
        return export_run(api.transport, ref, to=target).sha256

    class Counter:
        seen, at = 0, 0

    def counted(real):
        def call(*args, **kwargs):
            Counter.seen += 1
            if Counter.seen == Counter.at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return call

    class Out:
        def __init__(self, real):
            self._real, self.write = real, counted(real.write)
        def __enter__(self):
            self._real.__enter__()
            return self
        def __exit__(self, *why):
            return self._real.__exit__(*why)
        def __getattr__(self, name):
            return getattr(self._real, name)

    for call in ("fsync", "replace", "fchmod"):
        setattr(os, call, counted(getattr(os, call)))
    fdopen = os.fdopen
    atomic.os.fdopen = lambda descriptor, mode: Out(fdopen(descriptor, mode, 0))

    Path(folder, "reference").mkdir()
    expected = export(f"{folder}/reference/{name}")
    points, report = Counter.seen, []
    for at in range(1, points + 1):
        target = Path(folder, str(at), name)
        target.parent.mkdir()
        target.write_bytes(b"old")
        child = os.fork()
        if child == 0:
            Counter.seen, Counter.at = 0, at
            export(target)
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        between = target.read_bytes()
        whole = hashlib.sha256(between).hexdigest() == expected
        report.append(
            {
                "killed": killed == -9,
                "old or new": between == b"old" or whole,
                "same in the end": export(target) == expected,
                "litter": [p.name for p in target.parent.iterdir() if p.name != name],
            }
        )
    print(json.dumps(report))
    """
)


@pytest.mark.parametrize("name", ["r.parquet", "r.jsonl"])
def test_killed_at_every_point_the_next_export_ends_with_the_same_file(project, tmp_path, name):
    project.log("r", [{"_step": i, "loss": 1 / (i + 1), "text": f"t{i}"} for i in range(200)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CRASHES, str(tmp_path), "local", project.name, name],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **project.server.env},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report) >= 5
    for point in report:
        assert point == {"killed": True, "old or new": True, "same in the end": True, "litter": []}


def test_importing_exports_and_snapshots_loads_no_heavy_library():
    code = (
        "import sys, wandb_ops.export, wandb_ops.snapshot;"
        "print([m for m in ('pyarrow', 'pandas', 'numpy', 'fsspec', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
