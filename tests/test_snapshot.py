"""Snapshots: one row per run, the best of each metric, and what changed since last time."""

from __future__ import annotations

import hashlib
import math
import pickle
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from wandb_ops import steps
from wandb_ops.errors import NotFoundError, UnsafePath, UsageError
from wandb_ops.export import verify_file
from wandb_ops.export.rows.runs import column_names, path_of_field
from wandb_ops.export.rows.spool import TableSpool
from wandb_ops.export.runs import listing
from wandb_ops.local.serve import LocalServer
from wandb_ops.protocol.filestream import FileStream
from wandb_ops.protocol.runs import upsert_run
from wandb_ops.protocol.values import dumps
from wandb_ops.public.api import Api
from wandb_ops.snapshot import Snapshot, take_snapshot
from wandb_ops.steps.results import SnapshotResult

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
NIGHT = datetime(2026, 11, 21, 20, 30, 0, tzinfo=UTC)


class Team:
    """A project on an embedded server, and its client, which counts what it asks."""

    def __init__(self, server: LocalServer, project: str) -> None:
        self.server = server
        self.project = project
        self.api = Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)
        self.asked: list[str] = []
        send = self.api.transport.post

        def post(path: str, body: bytes, *, operation: str, **rest: Any) -> Any:
            self.asked.append(operation)
            return send(path, body, operation=operation, **rest)

        self.api.transport.post = post  # type: ignore[method-assign]

    def run(
        self, run_id: str, summary: dict[str, Any], *, exit_code: int | None = 0, lines: int = 0, **about: Any
    ) -> None:
        where = {"entity": self.server.entity, "project": self.project, "run_id": run_id}
        upsert_run(self.api.transport, **where, display_name=f"name of {run_id}", **about)
        stream = FileStream(self.api.transport, **where, offsets={"wandb-history.jsonl": 0})
        stream.append("wandb-history.jsonl", [dumps({"_step": i, "x": i}) for i in range(lines)])
        stream.set_summary(dumps(summary))
        if exit_code is None:
            stream.flush()
        else:
            stream.finish(exit_code)

    def take(self, **arguments: Any) -> Snapshot:
        self.asked.clear()
        return take_snapshot(self.api, project=self.project, **arguments)


@pytest.fixture
def team(wandb_server_session: LocalServer, request: pytest.FixtureRequest) -> Team:
    return Team(wandb_server_session, f"s{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}")


def test_one_row_per_run_with_config_and_summary(team, tmp_path):
    team.run(
        "a",
        {
            "loss": 0.5,
            "val": {"acc": 0.9},
            "hist": {"_type": "histogram", "values": [1, 2], "bins": [0, 1, 2]},
        },
        config={"lr": 0.1, "optimizer": {"name": "adam", "betas": [0.9, 0.999]}, "layers": 3, "amp": True},
        group="g",
        job_type="train",
        tags=["t1", "t2"],
        lines=4,
    )
    team.run("b", {"loss": 0.25}, config={"lr": 1, "layers": 2**60, "name": "ü"}, exit_code=1)
    taken = team.take(to=tmp_path, at=NOON)
    assert taken.uri == str(tmp_path / "snapshot-20261121T120000Z.parquet")
    assert taken.at == "2026-11-21T12:00:00Z"
    assert (taken.runs, taken.rows, taken.new_runs, taken.previous) == (2, 2, 2, None)
    assert taken.states == {"failed": 1, "finished": 1}
    assert taken.url == f"{team.server.url}/local/{team.project}"
    assert taken.bytes == (tmp_path / "snapshot-20261121T120000Z.parquet").stat().st_size
    table = pq.read_table(taken.uri)
    assert table.equals(taken.table)
    first, second = table.to_pylist()
    assert first["run_id"] == "a"
    assert first["display_name"] == "name of a"
    assert first["state"] == "finished"
    assert first["url"] == f"{team.server.url}/local/{team.project}/runs/a"
    assert first["group"] == "g"
    assert first["job_type"] == "train"
    assert sorted(first["tags"]) == ["t1", "t2"]
    assert first["user"]
    assert first["history_lines"] == 4
    assert first["last_step"] == 3
    assert first["at"] == NOON
    assert abs(first["created_at"] - datetime.now(UTC)) < timedelta(minutes=10)
    assert first["heartbeat_at"] >= first["created_at"]
    assert first["config.lr"] == 0.1
    assert first["config.optimizer.name"] == "adam"
    assert first["config.optimizer.betas"] == "[0.9,0.999]"
    assert first["config.layers"] == 3
    assert first["config.amp"] is True
    assert first["summary.loss"] == 0.5
    assert first["summary.val.acc"] == 0.9
    assert first["summary.hist"].startswith('{"_type":"histogram"')
    assert second["state"] == "failed"
    assert second["config.layers"] == 2**60
    assert second["config.name"] == "ü"
    assert second["config.amp"] is None
    assert second["history_lines"] == 0
    assert verify_file(taken.uri).ok


def test_the_best_run_is_found_by_each_metric_and_nan_never_wins(team):
    team.run("a", {"loss": 0.5, "acc": 0.7})
    team.run("b", {"loss": math.nan, "acc": math.inf})
    team.run("c", {"loss": 0.25, "acc": True})
    team.run("d", {"loss": 0.25, "acc": "high"})
    team.run("e", {"acc": 0.8})
    taken = team.take(metrics={"loss": "min", "acc": "max", "nobody": "max"}, at=NOON)
    loss, acc = taken.best
    assert (loss.metric, loss.goal, loss.value, loss.run_id, loss.delta) == ("loss", "min", 0.25, "c", None)
    assert loss.display_name == "name of c"
    assert loss.url == f"{team.server.url}/local/{team.project}/runs/c"
    assert (acc.metric, acc.goal, acc.value, acc.run_id) == ("acc", "max", 0.8, "e")
    assert taken.metrics == ("loss", "acc", "nobody")
    assert taken.left_out == {
        "loss: missing": 1,
        "loss: not a finite number": 1,
        "acc: not a finite number": 3,
        "nobody: missing": 5,
    }
    assert taken.uri == ""
    assert taken.bytes == 0


def test_a_metric_may_be_nested_or_have_a_dot_in_its_name(team):
    team.run("a", {"loss": {"min": 0.1, "last": 0.3}, "val.acc": 0.5, "train": {"acc": 0.6}})
    team.run("b", {"loss": {"min": 0.2, "last": 0.2}, "val.acc": 0.4, "train": {"acc": 0.7}})
    taken = team.take(
        metrics=[("loss", "min"), ("loss.last", "min"), ("val.acc", "max"), ("train.acc", "max")]
    )
    assert [(best.value, best.run_id) for best in taken.best] == [
        (0.1, "a"),
        (0.2, "b"),
        (0.5, "a"),
        (0.7, "b"),
    ]
    assert taken.left_out == {}


def test_the_difference_to_the_snapshot_before(team, tmp_path):
    metrics = {"loss": "min", "acc": "max"}
    team.run("a", {"loss": 0.5})
    first = team.take(to=tmp_path, at=NOON, metrics=metrics)
    team.run("b", {"loss": 0.25, "acc": 0.75})
    team.run("c", {}, exit_code=None)
    second = team.take(to=tmp_path, at=NIGHT, metrics=metrics)
    assert second.previous == first.uri
    assert second.new_runs == 2
    assert second.states == {"finished": 2, "running": 1}
    loss, acc = second.best
    assert (loss.value, loss.delta, loss.run_id) == (0.25, -0.25, "b")
    assert (acc.value, acc.delta) == (0.75, None)
    again = team.take(to=tmp_path, at=NIGHT, metrics=metrics)
    assert again == second
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "snapshot-20261121T120000Z.parquet",
        "snapshot-20261121T203000Z.parquet",
    ]


def test_the_same_moment_again_is_the_same_file_untouched(team, tmp_path):
    team.run("a", {"loss": 0.5})
    first = team.take(to=tmp_path, at=NOON)
    before = (tmp_path / "snapshot-20261121T120000Z.parquet").stat()
    zone = timezone(timedelta(hours=2))
    again = team.take(to=tmp_path, at=datetime(2026, 11, 21, 14, 0, 0, 999, tzinfo=zone))
    assert again == first
    after = (tmp_path / "snapshot-20261121T120000Z.parquet").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_late_snapshot_of_an_earlier_moment_compares_with_what_was_before_it(team, tmp_path):
    team.run("a", {"loss": 0.5})
    first = team.take(to=tmp_path, at=NOON - timedelta(days=2))
    team.take(to=tmp_path, at=NIGHT)
    between = team.take(to=tmp_path, at=NOON)
    assert between.previous == first.uri


def test_other_filters_and_other_files_are_not_compared_with(team, tmp_path):
    team.run("a", {"loss": 0.5}, tags=["x"])
    team.run("b", {"loss": 0.1})
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "snapshot-20261121T110000Z.parquet").write_bytes(b"torn")
    team.take(to=tmp_path, at=NOON)
    filtered = team.take(to=tmp_path, at=NIGHT, filters={"tags": "x"}, metrics={"loss": "min"})
    assert filtered.runs == 1
    assert filtered.previous is None
    assert filtered.best[0].run_id == "a"
    assert filtered.left_out == {"earlier snapshot that is damaged": 1}
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_the_rows_wait_on_disk_until_somebody_asks_for_them(team, tmp_path, monkeypatch, kind):
    for i in range(12):
        team.run(f"r{i:02}", {"loss": i / 10}, config={"i": i})
    whole, real = [], TableSpool.table

    def table(spool, columns=None):
        if columns is None:
            whole.append(spool.rows)
        return real(spool, columns)

    monkeypatch.setattr(TableSpool, "table", table)
    monkeypatch.setattr(listing, "PAGE", 5)
    team.take(to=tmp_path / "s", at=NOON, metrics={"loss": "min"}, format=kind)
    team.run("r12", {"loss": -1.0})
    where = tmp_path / "page.html"
    taken = team.take(to=tmp_path / "s", at=NIGHT, metrics={"loss": "min"}, format=kind, report=where)
    assert whole == []
    assert (taken.runs, taken.new_runs, taken.best[0].run_id, taken.best[0].delta) == (13, 1, "r12", -1.0)
    assert "r12" in where.read_text()
    there = pickle.loads(pickle.dumps(taken))
    assert there == taken
    assert there.table.column("config.i").to_pylist() == [*range(12), None]
    assert taken.table is taken.table
    assert whole == [13]


def test_another_project_does_not_overwrite_the_snapshot_of_the_same_moment(team, tmp_path):
    team.run("a", {"loss": 0.5})
    taken = team.take(to=tmp_path, at=NOON)
    old = (tmp_path / "snapshot-20261121T120000Z.parquet").read_bytes()
    other = Team(team.server, f"{team.project}-other")
    other.run("b", {})
    with pytest.raises(UsageError, match=f"snapshot of local/{team.project}"):
        other.take(to=tmp_path, at=NOON)
    assert (tmp_path / "snapshot-20261121T120000Z.parquet").read_bytes() == old
    assert other.take(to=tmp_path, at=NIGHT).previous is None
    assert taken.uri


def test_a_page_of_runs_is_one_request_whatever_the_runs_hold(team):
    for i in range(30):
        team.run(f"r{i:02}", {"loss": i / 10}, config={"i": i})
    taken = team.take(metrics={"loss": "min"})
    assert taken.runs == 30
    assert team.asked == ["ExportRuns"]
    assert taken.table.column("config.i").to_pylist() == list(range(30))


def test_an_object_store_keeps_snapshots_too(team):
    team.run("a", {"loss": 0.5})
    to = f"memory://{team.project}/snapshots"
    first = team.take(to=to, at=NOON, metrics={"loss": "min"})
    team.run("b", {"loss": 0.4})
    second = team.take(to=f"{to}/", at=NIGHT, metrics={"loss": "min"})
    assert second.previous == first.uri == f"{to}/snapshot-20261121T120000Z.parquet"
    assert second.best[0].delta == pytest.approx(-0.1)
    assert len(fsspec.filesystem("memory").ls(f"/{team.project}/snapshots")) == 2


def test_an_empty_project_is_a_snapshot_without_rows(team, tmp_path):
    team.api.create_project(team.project, team.server.entity)
    taken = team.take(to=tmp_path, at=NOON, metrics={"loss": "min"})
    assert (taken.runs, taken.states, taken.best, taken.new_runs) == (0, {}, (), 0)
    assert pq.read_table(taken.uri).num_rows == 0


def test_an_absent_project_is_an_error_and_no_file(team, tmp_path):
    with pytest.raises(NotFoundError):
        team.take(to=tmp_path / "new", at=NOON)
    assert not (tmp_path / "new").exists()


def test_wrong_arguments_are_refused_before_anything_is_sent(team, tmp_path):
    with pytest.raises(UsageError, match="'best'"):
        team.take(metrics={"loss": "best"})
    with pytest.raises(UsageError, match="time zone"):
        team.take(at=datetime(2026, 11, 21))
    with pytest.raises(UsageError, match="no project's name"):
        take_snapshot(team.api, project="a/b/c")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="Not a folder"):
        team.take(to=tmp_path / "file")
    (tmp_path / "snapshot-20261121T120000Z.parquet").symlink_to(tmp_path / "file")
    with pytest.raises(UnsafePath):
        team.take(to=tmp_path, at=NOON)
    assert team.asked == []


def test_entity_and_project_may_come_as_one_path(team):
    team.run("a", {})
    taken = take_snapshot(team.api, project=f"local/{team.project}")
    assert (taken.entity, taken.project, taken.runs) == ("local", team.project, 1)


def test_the_fields_are_those_of_the_step_result(team):
    team.run("a", {"loss": 1.5})
    values = asdict(team.take(metrics={"loss": "min"}))
    assert set(values) == {*SnapshotResult.__dataclass_fields__}
    assert values["best"][0]["value"] == 1.5


def test_colliding_keys_get_columns_of_their_own(team):
    team.run("a", {}, config={"a.b": 1, "a": {"b": 2, "c": 3}, "x": 1})
    team.run("b", {}, config={"x": {"y": 5}, "empty": {}, "": 4, "run_id": "mine"})
    table = team.take().table
    first, second = table.to_pylist()
    assert first['config."a.b"'] == 1
    assert first["config.a.b"] == 2
    assert first["config.a.c"] == 3
    assert first["config.x"] == 1
    assert second["config.x.y"] == 5
    assert second["config.empty"] == "{}"
    assert second["config."] == 4
    assert second["config.run_id"] == "mine"
    assert second["run_id"] == "b"
    paths = {field.name: path_of_field(field) for field in table.schema}
    assert paths['config."a.b"'] == ("config", "a.b")
    assert paths["config.a.b"] == ("config", "a", "b")
    assert paths["run_id"] == ()


def test_column_names_are_different_for_different_paths():
    paths = [("s", "a.b"), ("s", "a", "b"), ("s.a", "b"), ("s", '"a.b"'), ("s", ""), ("s", "c")]
    names = column_names(paths)
    assert len(set(names.values())) == len(paths)
    assert names["s", "c"] == "s.c"
    assert column_names(reversed(paths)) == names


def test_mixed_types_across_runs_keep_every_value(team):
    team.run("a", {}, config={"x": 1, "y": True, "z": 2**53 + 1})
    team.run("b", {}, config={"x": 1.5, "y": 1, "z": 0.5})
    team.run("c", {}, config={"x": None, "y": "yes", "z": None})
    table = team.take().table
    assert table.column("config.x").to_pylist() == [1.0, 1.5, None]
    assert table.column("config.y").to_pylist() == ["true", "1", '"yes"']
    assert table.column("config.z").to_pylist() == [str(2**53 + 1), "0.5", None]


def lake_rows(folder):
    return (
        DeltaTable(str(folder / "snapshots"))
        .to_pyarrow_table()
        .sort_by([("at", "ascending"), ("run_id", "ascending")])
    )


def test_a_lake_keeps_every_snapshot_with_the_change_of_each_run(team, tmp_path):
    team.run("a", {"loss": 0.5, "accuracy": 0.75})
    team.run("b", {"loss": 0.25})
    metrics = {"loss": "min", "accuracy": "max"}
    first = team.take(to=tmp_path, format="delta", metrics=metrics, at=NOON)
    team.run("a", {"loss": 0.125, "accuracy": 1})
    team.run("c", {"loss": "broken"})
    second = team.take(to=tmp_path, format="delta", metrics=metrics, at=NIGHT)
    assert (first.previous, first.new_runs) == (None, 2)
    assert second.previous == f"{tmp_path}/snapshots at 2026-11-21T12:00:00Z"
    assert (second.uri, second.new_runs, second.bytes) == (f"{tmp_path}/snapshots", 1, 0)
    assert [(b.metric, b.run_id, b.delta) for b in second.best] == [
        ("loss", "a", 0.125 - 0.25),
        ("accuracy", "a", 0.25),
    ]
    rows = lake_rows(tmp_path).to_pylist()
    assert [(r["at"], r["run_id"], r["delta.loss"], r["delta.accuracy"]) for r in rows] == [
        (NOON, "a", None, None),
        (NOON, "b", None, None),
        (NIGHT, "a", 0.125 - 0.5, 0.25),
        (NIGHT, "b", 0.0, None),
        (NIGHT, "c", None, None),
    ]
    # A column that met text holds each value as JSON from then on.
    assert [r["summary.loss"] for r in rows] == ["0.5", "0.25", "0.125", "0.25", '"broken"']
    third = team.take(to=tmp_path, format="delta", metrics=metrics, at=NIGHT + timedelta(days=1))
    assert [(b.metric, b.delta) for b in third.best] == [("loss", 0.0), ("accuracy", 0.0)]


def test_the_same_moment_again_is_in_the_lake_once(team, tmp_path):
    team.run("a", {"loss": 0.5})
    for _ in range(2):
        team.take(to=tmp_path, format="delta", at=NOON)
    team.run("b", {"loss": 0.5})
    team.take(to=tmp_path, format="delta", at=NOON)
    assert lake_rows(tmp_path).column("run_id").to_pylist() == ["a", "b"]


def test_projects_and_filters_in_one_lake_are_compared_with_themselves_only(team, tmp_path):
    team.run("a", {"loss": 0.5})
    team.run("b", {"loss": 0.25})
    team.take(to=tmp_path, format="delta", at=NOON)
    some = team.take(to=tmp_path, format="delta", at=NIGHT, filters={"name": "a"})
    assert (some.previous, some.runs) == (None, 1)
    assert lake_rows(tmp_path).num_rows == 3


def test_the_page_shows_charts_and_needs_no_network(team, tmp_path):
    team.run("a", {"loss": 0.5})
    team.run("b", {"loss": 0.25, "x": math.nan})
    team.take(to=tmp_path, metrics={"loss": "min", "x": "max"}, at=NOON)
    team.run("b", {"loss": 0.125})
    taken = team.take(
        to=tmp_path, metrics={"loss": "min", "x": "max"}, at=NIGHT, report=tmp_path / "page.html"
    )
    page = (tmp_path / "page.html").read_text()
    assert taken.report == str(tmp_path / "page.html")
    assert page.count("<img") == 1
    assert "data:image/svg+xml;base64," in page
    assert "No run has a finite value" in page
    assert "0.125" in page
    assert "-0.125" in page
    outside = [
        u
        for u in re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)""", page)
        if not u.startswith("data:")
    ]
    assert all(url.startswith(team.server.url) for url in outside)  # links to runs, nothing that is loaded
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_names_on_the_page_are_text_and_never_markup(team, tmp_path):
    where = {"entity": team.server.entity, "project": team.project, "run_id": "a"}
    upsert_run(team.api.transport, **where, display_name="<script>alert(1)</script>\"'")
    team.take(metrics={"<img src=x>": "min"}, report=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page


def test_a_lake_needs_a_place_and_a_known_format(team, tmp_path):
    with pytest.raises(UsageError):
        team.take(to=tmp_path, format="iceberg")
    assert team.asked == []


def logged(team, run_id, values, *, summary=None, at_line=0, exit_code=0, steps=None):
    """A run with a history of `loss`, and a summary that need not say anything about it."""
    where = {"entity": team.server.entity, "project": team.project, "run_id": run_id}
    upsert_run(team.api.transport, **where, display_name=f"name of {run_id}")
    stream = FileStream(team.api.transport, **where, offsets={"wandb-history.jsonl": at_line})
    rows = [{"_step": at_line + i, **({} if v is None else {"loss": v})} for i, v in enumerate(values)]
    stream.append("wandb-history.jsonl", [dumps(row) for row in rows])
    stream.set_summary(dumps(summary or {}))
    if exit_code is None:
        stream.flush()
    else:
        stream.finish(exit_code)


def column(snapshot, name):
    return dict(zip(snapshot.table["run_id"].to_pylist(), snapshot.table[name].to_pylist(), strict=True))


def test_last_and_mean_come_from_the_summary_or_from_the_whole_history(team):
    logged(team, "heads", [1.0, 5.0], summary={"loss": {"mean": 3.25, "last": 4.5}})
    logged(team, "plain", [1.0, 2.0, 6.0], summary={"loss": 6.5})
    logged(team, "nothing", [0.1, math.nan, 0.2, None], summary={"other": 1})
    logged(team, "odd", [1, "text", True, 4, math.inf], summary={"loss": {"min": 1}})
    logged(team, "long", [i / 7 for i in range(1500)])
    logged(team, "absent", [None, None])
    logged(team, "empty", [])
    team.asked.clear()
    taken = team.take(metrics={"loss": ["last", "mean", "min"]})
    last, mean = column(taken, "last.loss"), column(taken, "mean.loss")
    assert (last["heads"], mean["heads"]) == (4.5, 3.25)
    assert (last["plain"], mean["plain"]) == (6.5, 3.0)
    assert (last["nothing"], mean["nothing"]) == (0.2, pytest.approx(0.15, abs=1e-15))
    assert (last["odd"], mean["odd"]) == (math.inf, 2.5)
    assert (last["long"], mean["long"]) == (1499 / 7, pytest.approx(sum(range(1500)) / 7 / 1500, rel=1e-15))
    assert [(last[name], mean[name]) for name in ("absent", "empty")] == [(None, None)] * 2
    assert [(one.metric, one.goal, one.runs, one.changed) for one in taken.changes] == [
        ("loss", "last", 4, 0),
        ("loss", "mean", 5, 0),
        ("loss", "min", 2, 0),
    ]
    assert [best.goal for best in taken.best] == ["min"]
    assert taken.metrics == ("loss",)
    # One request for the list, one for the small histories together, pages for the long one.
    assert set(team.asked) - {"RunParquetHistory", "HistoryPage", "RunHistoryCounts"} == {
        "ExportRuns",
        "ExportHistories",
    }
    assert team.asked.count("ExportHistories") == 1


def test_what_did_not_change_since_the_snapshot_before_is_not_read_again(team, tmp_path):
    logged(team, "done", [1.0, 3.0])
    logged(team, "goes on", [1.0], exit_code=None)
    metrics = {"loss": ["last", "mean"]}
    team.take(to=tmp_path, at=NOON, metrics=metrics)
    team.asked.clear()
    logged(team, "goes on", [5.0], at_line=1)
    team.asked.clear()
    taken = team.take(to=tmp_path, at=NIGHT, metrics=metrics)
    assert (column(taken, "mean.loss"), column(taken, "last.loss")) == (
        {"done": 2.0, "goes on": 3.0},
        {"done": 3.0, "goes on": 5.0},
    )
    assert team.asked == ["ExportRuns", "RunHistoryCounts", "HistoryPage"] or team.asked == [
        "ExportRuns",
        "HistoryPage",
    ]
    moved = {one.goal: one for one in taken.changes}
    assert (moved["mean"].run_id, moved["mean"].value, moved["mean"].delta) == ("goes on", 3.0, 2.0)
    assert (moved["last"].runs, moved["last"].changed, moved["last"].delta) == (2, 1, 4.0)
    assert moved["last"].display_name == "name of goes on"
    step = steps.snapshot(
        team.api, project=team.project, to=str(tmp_path), at=NIGHT.isoformat(), metrics={"loss": "mean"}
    )
    assert step.to_json()["changes"][0]["delta"] == 2.0


def test_a_lake_has_the_change_of_the_mean_and_of_the_last_value(team, tmp_path):
    metrics = {"loss": ["min", "last", "mean"]}
    logged(team, "a", [1.0, 2.0], summary={"loss": 2.0}, exit_code=None)
    team.take(to=tmp_path, at=NOON, format="delta", metrics=metrics)
    logged(team, "a", [9.0], at_line=2, summary={"loss": 9.0})
    team.take(to=tmp_path, at=NIGHT, format="delta", metrics=metrics)
    rows = DeltaTable(str(tmp_path / "snapshots")).to_pyarrow_table().sort_by("at").to_pylist()
    names = ("last.loss", "mean.loss", "delta.loss", "delta.last.loss", "delta.mean.loss")
    assert [tuple(row[name] for name in names) for row in rows] == [
        (2.0, 1.5, None, None, None),
        (9.0, 4.0, 7.0, 7.0, 2.5),
    ]


def test_a_history_that_cannot_be_read_is_counted_and_keeps_no_run_out(team):
    logged(team, "whole", [1.0])
    logged(team, "short", [1.0])
    with team.server.service.store.writing() as connection:
        connection.execute("UPDATE runs SET history_lines = 3 WHERE name = 'short' AND history_lines = 1")
    taken = team.take(metrics={"loss": "mean"})
    assert column(taken, "mean.loss") == {"whole": 1.0, "short": None}
    assert taken.left_out["loss: history that could not be read"] == 1


def test_the_page_shows_last_values_and_means_and_what_changed_most(team, tmp_path):
    metrics = {"loss": ["min", "mean"], "nowhere": "last"}
    logged(team, "a", [1.0], summary={"loss": 1.0}, exit_code=None)
    logged(team, "b", [0.5], summary={"loss": 0.5})
    team.take(to=tmp_path, at=NOON, metrics=metrics)
    logged(team, "a", [0.0], at_line=1, summary={"loss": 0.0})
    team.take(to=tmp_path, at=NIGHT, metrics=metrics, report=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img ") == 2
    assert "changed most: -0.5" in page
    assert "<span class='good'>-0.5</span> since the snapshot before" in page
    assert "No run has a finite value." in page
