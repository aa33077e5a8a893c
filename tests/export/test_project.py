"""A project becomes a folder: every run exact, what did not change untouched, what fails named."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import math
import os
import threading
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from wandb_ops.errors import AuthenticationError, NotFoundError, OutputError, UsageError
from wandb_ops.export import export_project, export_run, plan_export, verify_export
from wandb_ops.export.files import sink as filesink
from wandb_ops.export.runs.listing import Listed
from wandb_ops.history.table import rows_of_batch
from wandb_ops.protocol.storage import upload_run_file
from wandb_ops.public.api import Api
from wandb_ops.public.runs import files
from wandb_ops.transport.retry import Kind

ROWS = {
    "a": [{"_step": i, "_timestamp": 100.0 + i, "loss": 1 / (i + 1), "text": f"t{i}"} for i in range(30)],
    "b": [{"_step": i * 1000, "loss": math.nan if i else 2**53 + 1, "h": {"_type": "x"}} for i in range(5)],
    "c": [],
}
EVENTS = [{"_timestamp": 100.5 + i, "system.cpu": i / 3, "_runtime": i} for i in range(4)]


@pytest.fixture
def three(project):
    """Three finished runs: rows, odd rows, no rows."""
    for name, rows in ROWS.items():
        project.log(
            name, rows, events=EVENTS if name == "a" else None, config={"lr": 0.1}, summary={"n": name}
        )
    return project


def rows_of(path):
    return [row for batch in pq.read_table(path).to_batches() for row in rows_of_batch(batch)]


def content(folder):
    """Path -> bytes of all files below a folder."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()
    }


def export(project, to, **more):
    return export_project(project.watched, project=project.name, to=to, **more)


def test_every_run_is_a_file_that_holds_what_was_logged(three, tmp_path, same):
    done = export(three, tmp_path, include=("runs", "history", "system"))
    assert done.ok
    assert (done.runs, done.written, done.rows, done.system_rows) == (3, 6, 35, 4)
    for name, rows in ROWS.items():
        assert same(rows_of(tmp_path / "history" / f"{name}.parquet"), rows)
        expected = EVENTS if name == "a" else []
        assert same(
            [dict(sorted(row.items())) for row in rows_of(tmp_path / "system" / f"{name}.parquet")],
            [dict(sorted(row.items())) for row in expected],
        )
    runs = pq.read_table(tmp_path / "runs.parquet").to_pylist()
    assert [(r["run_id"], r["state"], r["history_lines"], r["config.lr"]) for r in runs] == [
        ("a", "finished", 30, 0.1),
        ("b", "finished", 5, 0.1),
        ("c", "finished", 0, 0.1),
    ]
    assert [r["deleted_upstream"] for r in runs] == [False] * 3


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_formats_hold_the_same_and_are_left_alone_too(three, tmp_path, kind):
    assert export(three, tmp_path, format=kind).rows == 35
    for name, rows in ROWS.items():
        text = (tmp_path / "history" / f"{name}.{kind}").read_text()
        if kind == "jsonl":
            assert [json.loads(line)["_step"] for line in text.splitlines()] == [r["_step"] for r in rows]
        else:
            assert [int(r["_step"]) for r in csv.DictReader(text.splitlines())] == [r["_step"] for r in rows]
    assert (tmp_path / f"runs.{kind}").read_text().count("\n") == (4 if kind == "csv" else 3)
    before = content(tmp_path)
    three.asked  # noqa: B018 - forgets what was asked so far
    again = export(three, tmp_path, format=kind)
    assert (again.written, again.unchanged) == (0, 3)
    assert three.asked == ["ExportRuns"]
    assert content(tmp_path) == before
    (tmp_path / "history" / f"a.{kind}").write_text("short")
    assert export(three, tmp_path, format=kind).written == 1
    assert content(tmp_path) == before


def test_unchanged_runs_cost_nothing_but_the_list(three, tmp_path):
    export(three, tmp_path, include=("runs", "history", "system"))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")}
    three.asked  # noqa: B018
    again = export(three, tmp_path, include=("runs", "history", "system"))
    assert three.asked == ["ExportRuns"]
    assert (again.written, again.unchanged, again.rows) == (0, 6, 0)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.parquet")} == before


def test_only_what_changed_is_fetched(three, tmp_path, same):
    export(three, tmp_path)
    more = [{"_step": 30, "loss": 7.5}]
    three.log("a", more, at_line=30)
    three.log("d", [{"_step": 0, "loss": 1.0}])
    three.asked  # noqa: B018
    done = export(three, tmp_path)
    assert (done.written, done.unchanged, done.rows) == (2, 2, 32)
    assert same(rows_of(tmp_path / "history" / "a.parquet"), ROWS["a"] + more)
    assert three.asked == ["ExportRuns", "ExportHistories"]


def test_force_fetches_everything_and_the_bytes_are_the_same(three, tmp_path):
    export(three, tmp_path)
    before = content(tmp_path)
    assert export(three, tmp_path, force=True).written == 3
    assert content(tmp_path) == before


def test_keys_and_filters_choose(three, tmp_path):
    done = export(three, tmp_path, keys=["text"], filters={"name": {"$in": ["a", "b"]}})
    assert (done.runs, done.rows) == (2, 30)
    assert pq.read_schema(tmp_path / "history" / "a.parquet").names == ["_step", "text"]
    assert not (tmp_path / "history" / "c.parquet").exists()
    three.asked  # noqa: B018
    assert export(three, tmp_path, keys=["text"], filters={"name": "a"}).unchanged == 1
    assert "HistoryPage" not in three.asked


def test_a_failing_run_is_named_and_keeps_nobody_back(three, tmp_path):
    export(three, tmp_path)
    before = content(tmp_path)
    three.log("a", [{"_step": 30, "loss": 1.0}], at_line=30)
    three.log("d", [{"_step": 0}])
    three.spoil_count("a", 7)
    done = export(three, tmp_path)
    assert not done.ok
    assert [(n.run_id, n.what, n.error, n.retryable) for n in done.not_taken] == [
        ("a", "history", "IncompleteHistory", True)
    ]
    assert "31 rows came of 38" in done.not_taken[0].message
    after = content(tmp_path)
    assert after["history/a.parquet"] == before["history/a.parquet"]
    assert rows_of(tmp_path / "history" / "d.parquet") == [{"_step": 0}]
    three.spoil_count("a", -7)
    assert export(three, tmp_path).ok
    assert len(rows_of(tmp_path / "history" / "a.parquet")) == 31


def test_runs_that_were_deleted_upstream_are_kept_and_flagged(three, tmp_path):
    export(three, tmp_path)
    kept = content(tmp_path)["history/a.parquet"]
    three.api.run(f"{three.name}/a").delete()
    done = export(three, tmp_path)
    assert done.deleted_upstream == ("a",)
    assert content(tmp_path)["history/a.parquet"] == kept
    flags = {r["run_id"]: r["deleted_upstream"] for r in pq.read_table(tmp_path / "runs.parquet").to_pylist()}
    assert flags == {"a": True, "b": False, "c": False}
    before = content(tmp_path)
    assert export(three, tmp_path).deleted_upstream == ("a",)
    assert content(tmp_path) == before


def test_runs_that_a_filter_leaves_out_are_not_called_deleted(three, tmp_path):
    export(three, tmp_path)
    done = export(three, tmp_path, filters={"name": "b"})
    assert done.deleted_upstream == ()
    runs = pq.read_table(tmp_path / "runs.parquet").to_pylist()
    assert [(r["run_id"], r["deleted_upstream"]) for r in runs] == [("a", False), ("b", False), ("c", False)]


def test_runs_of_other_days_with_other_types_keep_every_value(project, tmp_path):
    project.log("int", [], config={"x": 1, "y": 2**53 + 1})
    export(project, tmp_path)
    project.log("float", [], config={"x": 0.5, "y": 0.5})
    project.log("text", [], config={"x": "one"})
    project.api.run(f"{project.name}/int").delete()
    export(project, tmp_path)
    runs = {r["run_id"]: r for r in pq.read_table(tmp_path / "runs.parquet").to_pylist()}
    assert {name: json.loads(run["config.x"]) for name, run in runs.items()} == {
        "int": 1,
        "float": 0.5,
        "text": "one",
    }
    assert json.loads(runs["int"]["config.y"]) == 2**53 + 1
    assert runs["int"]["deleted_upstream"]


def test_files_come_whole_under_their_names_and_only_once(three, tmp_path):
    logged = {"plain.txt": b"hello", "deep/er/model.bin": os.urandom(300_000)}
    where = {"entity": three.server.entity, "project": three.name, "run_id": "a"}
    for name, data in logged.items():
        upload_run_file(three.api.transport, **where, name=name, data=data)
    done = export(three, tmp_path, include=("files",))
    assert done.ok, done.not_taken
    got = {
        str(p.relative_to(tmp_path / "files" / "a")): p.read_bytes()
        for p in tmp_path.rglob("*")
        if p.is_file()
    }
    assert {name: got.get(name) for name in logged} == logged
    assert done.files == len(got)
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    again = export(three, tmp_path, include=("files",))
    assert again.files == 0
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == stamps
    (tmp_path / "files" / "a" / "plain.txt").write_bytes(b"hellO")
    assert export(three, tmp_path, include=("files",)).files == 1
    assert (tmp_path / "files" / "a" / "plain.txt").read_bytes() == b"hello"


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil.txt", "nul.txt", "a\\..\\evil.txt"])
def test_a_file_whose_name_leads_astray_is_named_and_keeps_nobody_back(three, tmp_path, monkeypatch, name):
    where = {"entity": three.server.entity, "project": three.name, "run_id": "a"}
    for fine in ("good.txt", "evil.txt", "more.txt"):
        upload_run_file(three.api.transport, **where, name=fine, data=b"x")
    real = files.execute

    def lying(*args, **kwargs):
        answer = real(*args, **kwargs)
        for edge in answer["project"]["run"]["files"]["edges"]:
            if edge["node"]["name"] == "evil.txt":
                edge["node"]["name"] = name
        return answer

    monkeypatch.setattr(files, "execute", lying)
    done = export(three, tmp_path / "to", include=("files",))
    assert [(n.run_id, n.what, n.error) for n in done.not_taken] == [("a", "files", "UnsafePath")]
    found = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert {"good.txt", "more.txt"} <= found
    assert not found & {"evil.txt", "nul.txt"}


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_shards_in_any_order_twice_or_at_once_come_to_the_same(three, tmp_path, kind):
    three.log("d", [{"_step": i} for i in range(7)])
    export(three, tmp_path / "one", format=kind)
    expected = content(tmp_path / "one")

    def planned(to):
        return json.loads(
            json.dumps(plan_export(three.watched, project=three.name, to=to, format=kind, shards=3).shards)
        )

    shards = planned(tmp_path / "backwards")
    assert sorted(name for shard in shards for name in shard["runs"]) == ["a", "b", "c", "d"]
    assert [shard["index"] for shard in shards] == [0, 1, 2]
    for shard in [*reversed(shards), shards[1]]:
        assert export(three, tmp_path / "backwards", format=kind, shard=shard).ok
    assert content(tmp_path / "backwards") == expected
    shards = planned(tmp_path / "at once")
    threads = [
        threading.Thread(
            target=export, args=(three, tmp_path / "at once"), kwargs={"format": kind, "shard": shard}
        )
        for shard in [*shards, shards[0]]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(tmp_path / "at once") == expected


def test_a_plan_asks_for_the_list_and_no_history(three, tmp_path):
    plan = plan_export(
        three.watched, project=three.name, to=tmp_path, include=("runs", "history", "system"), shards=9
    )
    assert three.asked == ["ExportRuns"]
    assert (plan.runs, plan.changed, plan.rows, plan.system_rows) == (3, 3, 35, 4)
    assert len(plan.shards) == 3
    assert list(tmp_path.iterdir()) == []
    three.asked  # noqa: B018
    export(three, tmp_path, include=("runs", "history", "system"))
    assert len(three.asked) <= plan.requests
    after = plan_export(three.watched, project=three.name, to=tmp_path, include=("runs", "history", "system"))
    assert (after.changed, after.rows, after.requests, after.shards) == (
        0,
        0,
        1,
        ({"index": 0, "of": 1, "runs": []},),
    )


def test_an_export_sends_nothing_but_queries(three, tmp_path):
    three.transport.sent.clear()
    export(three, tmp_path, include=("runs", "history", "system", "files"))
    assert {kind for _, kind in three.transport.sent} == {Kind.QUERY}


def test_no_more_requests_at_once_than_allowed(project, tmp_path, monkeypatch):
    for name in "abcdef":
        project.log(name, [{"_step": i, "x": i} for i in range(3000)])
    flying, most, lock = [0], [0], threading.Lock()
    real = project.transport.post

    def counted(*args, **kwargs):
        with lock:
            flying[0] += 1
            most[0] = max(most[0], flying[0])
        try:
            return real(*args, **kwargs)
        finally:
            with lock:
                flying[0] -= 1

    monkeypatch.setattr(project.transport, "post", counted)
    assert export(project, tmp_path, concurrency=3).rows == 18_000
    assert most[0] == 3


def test_progress_is_shown_to_those_who_look_and_to_nobody_else(three, tmp_path, capfd, monkeypatch):
    export(three, tmp_path / "quiet")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes it for a terminal
    export(three, tmp_path / "shown", progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{three.name}: runs" in err


def test_a_full_disk_ends_the_export_and_names_all_that_is_missing(three, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        error = OutputError("Cannot write: No space left on device", where="there")
        error.errno = errno.ENOSPC
        raise error

    monkeypatch.setattr(filesink, "write_history", full)
    done = export(three, tmp_path, concurrency=1)
    assert {n.run_id for n in done.not_taken} == {"a", "b", "c"}
    assert {n.error for n in done.not_taken} == {"OutputError", "NotTried"}
    monkeypatch.undo()
    assert export(three, tmp_path).ok


def test_a_refused_key_is_an_error_at_once(three, tmp_path):
    api = Api({"base_url": three.server.url, "entity": three.server.entity}, api_key="f" * 40)
    with pytest.raises(AuthenticationError):
        export_project(api, project=three.name, to=tmp_path)


def test_an_absent_project_is_an_error_and_no_file(project, tmp_path):
    with pytest.raises(NotFoundError):
        export_project(project.watched, project="absent", to=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_folder_of_another_project_is_refused_before_anything_is_asked(three, tmp_path):
    export(three, tmp_path)
    three.asked  # noqa: B018
    with pytest.raises(UsageError, match=three.name):
        export_project(three.watched, project="other", to=tmp_path)
    assert three.asked == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "xlsx"},
        {"include": ("runs", "models")},
        {"include": "runs"},
        {"include": ()},
        {"keys": "loss"},
        {"concurrency": 0},
        {"shard": {"index": 0}, "include": ("history",)},
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(project, tmp_path, wrong):
    with pytest.raises(UsageError):
        export(project, tmp_path, **wrong)
    assert project.asked == []


def test_an_object_store_holds_the_same_files(three, tmp_path):
    export(three, tmp_path)
    name = f"memory://{hashlib.sha256(three.name.encode()).hexdigest()}"
    assert export(three, name).ok
    store = fsspec.filesystem("memory")
    root = name.removeprefix("memory:/")
    held = {path.removeprefix(f"{root}/"): store.cat(path) for path in store.find(root)}
    assert held == content(tmp_path)
    three.asked  # noqa: B018
    assert export(three, name).unchanged == 3
    assert three.asked == ["ExportRuns"]


def test_one_run_exported_alone_has_the_same_bytes(three, tmp_path):
    export(three, tmp_path)
    export_run(three.transport, three.ref("a"), to=tmp_path / "alone.parquet")
    assert (tmp_path / "alone.parquet").read_bytes() == (tmp_path / "history" / "a.parquet").read_bytes()


def verify(project, to, **more):
    return verify_export(project.watched, project=project.name, to=to, **more)


def test_an_untouched_export_is_intact_and_current(three, tmp_path):
    export(three, tmp_path)
    three.asked  # noqa: B018
    found = verify(three, tmp_path)
    assert (found.ok, found.current, found.parts, found.rows) == (True, True, 3, 35)
    assert three.asked == ["ExportRuns"]


def test_damage_age_and_absence_are_told_apart(three, tmp_path):
    export(three, tmp_path)
    three.log("b", [{"_step": 9000}], at_line=5)
    three.log("new", [{"_step": 0}])
    three.api.run(f"{three.name}/c").delete()
    path = tmp_path / "history" / "a.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    found = verify(three, tmp_path)
    assert not found.ok
    assert not found.current
    assert all(problem.startswith("a.parquet: ") for problem in found.problems)
    assert (found.missing, found.stale, found.deleted_upstream) == (("new",), ("b",), ("c",))


def test_a_changed_byte_of_a_text_file_is_found(three, tmp_path):
    export(three, tmp_path, format="csv")
    assert verify(three, tmp_path, format="csv").ok
    path = tmp_path / "history" / "a.csv"
    path.write_text(path.read_text().replace("t5", "t6"))
    found = verify(three, tmp_path, format="csv")
    assert found.problems == ("a.csv: the bytes are not those that were written",)


def test_counts_that_were_overtaken_are_asked_anew(three, tmp_path, monkeypatch):
    """A run is rewound between the list and the reading: the list's counts no longer hold."""
    real = filesink.read_part

    def late(transport, listed, *rest):
        old = listed.counts
        assert old is not None
        wrong = type(old)(old.history_lines + 3, old.last_step + 3, "running", old.heartbeat_at)
        return real(transport, Listed(listed.run, listed.ref, wrong), *rest)

    monkeypatch.setattr(filesink, "read_part", late)
    assert export(three, tmp_path).ok
    assert len(rows_of(tmp_path / "history" / "a.parquet")) == 30
