"""Artifacts of a project's runs: every version whole, its bytes checked, nothing fetched twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from wandb_ops.export import export_project, plan_export, vacuum_lake, verify_export
from wandb_ops.public.artifacts.artifacts import Artifact
from wandb_ops.transport.retry import Kind

WEIGHTS = os.urandom(70_000)


def export(project, to, **more):
    more = {"include": ("artifacts",)} | more
    return export_project(project.watched, project=project.name, to=to, **more)


def log(project, run_id, name, files, *, kind="model", folder, aliases=(), metadata=None, references=()):
    """Log a version as a training would; returns it as the server has it."""
    artifact = Artifact(name, type=kind, metadata=metadata, description=f"by {run_id}")
    for path, data in files.items():
        source = folder / "source" / run_id / path
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(data)
        artifact.add_file(str(source), name=path)
    for reference in references:
        artifact.add_reference(reference, name="elsewhere", checksum=False)
    return run(project, run_id).log_artifact(artifact, aliases=list(aliases))


def run(project, run_id):
    return project.api.run(f"{project.name}/{run_id}")


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


@pytest.fixture
def logged(project, tmp_path):
    """Two runs: `maker` logged two versions of a model and a data set, `reader` used one of them."""
    for name in ("maker", "reader"):
        project.log(name, [])
    log(project, "maker", "net", {"model.bin": WEIGHTS, "deep/er/conf.json": b"{}"}, folder=tmp_path,
        metadata={"loss": 0.5})  # fmt: skip
    second = log(project, "maker", "net", {"model.bin": WEIGHTS, "more.txt": b"v1"}, folder=tmp_path,
                 aliases=["best"])  # fmt: skip
    log(project, "maker", "rows", {"rows.csv": b"a,b\n1,2\n"}, kind="dataset", folder=tmp_path)
    run(project, "reader").use_artifact(second)
    project.second = second
    return project


EXPECTED = {
    "artifact_files/model/net/v0/model.bin": WEIGHTS,
    "artifact_files/model/net/v0/deep/er/conf.json": b"{}",
    "artifact_files/model/net/v1/model.bin": WEIGHTS,
    "artifact_files/model/net/v1/more.txt": b"v1",
    "artifact_files/dataset/rows/v0/rows.csv": b"a,b\n1,2\n",
}


def data_of(folder):
    return {name: data for name, data in tree(folder).items() if "wandb-ops" not in name and "/" in name}


def test_every_version_comes_with_its_files_and_a_row_that_says_what_it_is(logged, tmp_path):
    done = export(logged, tmp_path / "to")
    assert done.ok, done.not_taken
    assert (done.artifacts, done.files) == (3, 5)
    assert data_of(tmp_path / "to") == EXPECTED
    rows = {row["name"]: row for row in pq.read_table(tmp_path / "to" / "artifacts.parquet").to_pylist()}
    prefix = f"local/{logged.name}"
    assert set(rows) == {f"{prefix}/net:v0", f"{prefix}/net:v1", f"{prefix}/rows:v0"}
    net = rows[f"{prefix}/net:v1"]
    assert (net["type"], net["collection"], net["version"], net["run_id"]) == ("model", "net", "v1", "maker")
    assert {"best", "latest"} <= set(net["aliases"])
    assert (net["digest"], net["size"], net["file_count"]) == (logged.second.digest, len(WEIGHTS) + 2, 2)
    assert net["folder"] == "artifact_files/model/net/v1"
    assert json.loads(rows[f"{prefix}/net:v0"]["metadata"]) == {"loss": 0.5}
    lineage = pq.read_table(tmp_path / "to" / "lineage.parquet").to_pylist()
    assert {(r["run_id"], r["direction"], r["name"]) for r in lineage} == {
        ("maker", "output", f"{prefix}/net:v0"),
        ("maker", "output", f"{prefix}/net:v1"),
        ("maker", "output", f"{prefix}/rows:v0"),
        ("reader", "input", f"{prefix}/net:v1"),
    }


def test_versions_that_are_there_cost_the_list_and_nothing_else(logged, tmp_path):
    export(logged, tmp_path / "to")
    before = tree(tmp_path / "to")
    logged.asked  # noqa: B018 - forgets what was asked so far
    again = export(logged, tmp_path / "to")
    assert logged.asked == ["ExportRuns", "ExportArtifacts"]
    assert (again.artifacts, again.files, again.written, again.unchanged) == (0, 0, 0, 2)
    assert tree(tmp_path / "to") == before


def test_a_moved_alias_shows_in_the_table_and_fetches_no_byte(logged, tmp_path):
    export(logged, tmp_path / "to")
    second = logged.api.artifact(f"local/{logged.name}/net:v1")
    second.aliases = ["champion"]
    second.save()
    done = export(logged, tmp_path / "to")
    assert done.files == 0
    rows = {r["name"]: r for r in pq.read_table(tmp_path / "to" / "artifacts.parquet").to_pylist()}
    assert rows[f"local/{logged.name}/net:v1"]["aliases"] == ["champion"]


@pytest.mark.parametrize("harm", ["gone", "mark gone", "mark damaged"])
def test_what_is_missing_is_fetched_again(logged, tmp_path, harm):
    export(logged, tmp_path / "to")
    before = tree(tmp_path / "to")
    place = tmp_path / "to" / "artifact_files" / "model" / "net"
    if harm == "gone":
        (place / "v0" / "model.bin").unlink()
    elif harm == "mark gone":
        (place / "v0.wandb-ops.json").unlink()
    else:
        mark = place / "v0.wandb-ops.json"
        mark.write_bytes(mark.read_bytes().replace(b"model.bin", b"nodel.bin"))
    done = export(logged, tmp_path / "to")
    assert done.ok
    assert (done.artifacts, done.files) == (1, 1 if harm == "gone" else 0)
    assert tree(tmp_path / "to") == before


def test_a_changed_byte_is_found_by_verify(logged, tmp_path):
    export(logged, tmp_path / "to")
    arguments = {"project": logged.name, "to": tmp_path / "to", "include": ("artifacts",)}
    found = verify_export(logged.watched, **arguments)
    assert (found.ok, found.current) == (True, True)
    damaged = tmp_path / "to" / "artifact_files" / "model" / "net" / "v0" / "model.bin"
    damaged.write_bytes(WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1]))
    found = verify_export(logged.watched, **arguments)
    assert found.problems == (
        "artifact_files/model/net/v0/model.bin: the bytes are not those that were logged",
    )
    log(logged, "reader", "late", {"x": b"x"}, folder=tmp_path)
    assert verify_export(logged.watched, **arguments).missing == ("reader",)
    assert export(logged, tmp_path / "to", force=True).ok
    assert verify_export(logged.watched, **arguments).ok


def test_a_version_that_was_deleted_upstream_is_kept_and_flagged(logged, tmp_path):
    export(logged, tmp_path / "to")
    logged.api.artifact(f"local/{logged.name}/net:v0").delete()
    assert export(logged, tmp_path / "to").ok
    rows = {
        r["version"] + r["collection"]: r
        for r in pq.read_table(tmp_path / "to" / "artifacts.parquet").to_pylist()
    }
    assert {name: row["deleted_upstream"] for name, row in rows.items()} == {
        "v0net": True, "v1net": False, "v0rows": False
    }  # fmt: skip
    assert data_of(tmp_path / "to") == EXPECTED
    before = tree(tmp_path / "to")
    export(logged, tmp_path / "to")
    assert tree(tmp_path / "to") == before


def test_bytes_that_are_not_those_that_were_logged_are_refused_and_keep_nobody_back(logged, tmp_path):
    stored = [path for path in Path(logged.server.data).rglob("*") if path.is_file()]
    broken = [path for path in stored if path.stat().st_size == 70_000 and path.read_bytes() == WEIGHTS]
    for path in broken:
        path.write_bytes(b"x" * 70_000)
    try:
        done = export(logged, tmp_path / "to")
    finally:
        for path in broken:
            path.write_bytes(WEIGHTS)
    refused = {(one.run_id, one.what, one.error) for one in done.not_taken}
    assert refused == {("maker", "artifacts", "ChecksumMismatch")}
    assert done.artifacts == 1
    assert (tmp_path / "to" / "artifact_files" / "dataset" / "rows" / "v0" / "rows.csv").exists()
    assert not list((tmp_path / "to").rglob("model.bin"))
    assert export(logged, tmp_path / "to").ok
    assert data_of(tmp_path / "to") == EXPECTED


def test_references_are_named_and_not_followed(logged, tmp_path):
    log(logged, "reader", "links", {"a": b"a"}, folder=tmp_path, references=["s3://elsewhere/data.bin"])
    done = export(logged, tmp_path / "to")
    assert done.ok, done.not_taken
    assert done.left_out == {"references of artifacts to files elsewhere": 1}
    mark = json.loads(
        (tmp_path / "to" / "artifact_files" / "model" / "links" / "v0.wandb-ops.json").read_text()
    )
    assert mark["references"] == {"elsewhere": "s3://elsewhere/data.bin"}


def test_a_name_that_leads_astray_is_refused_before_a_byte_is_written(logged, tmp_path, monkeypatch):
    from wandb_ops.export.runs import artifactfiles

    real = artifactfiles.VersionPlace.file

    def astray(self, name):
        return real(self, "../../../../evil" if name == "more.txt" else name)

    monkeypatch.setattr(artifactfiles.VersionPlace, "file", astray)
    done = export(logged, tmp_path / "to")
    assert [(n.run_id, n.error) for n in done.not_taken] == [("maker", "UnsafePath")]
    assert not (tmp_path / "to" / "artifact_files" / "model" / "net" / "v1").exists()
    assert not list(tmp_path.rglob("evil"))


def test_a_lake_has_the_tables_and_the_files_beside_them(logged, tmp_path):
    done = export(logged, tmp_path / "to", format="delta", include=("runs", "history", "artifacts"))
    assert done.ok, done.not_taken
    below = tmp_path / "to" / "artifact_files" / "local" / logged.name
    assert {f"artifact_files/{n}": d for n, d in tree(below).items() if "wandb-ops" not in n} == EXPECTED
    names = DeltaTable(str(tmp_path / "to" / "artifacts")).to_pandas().set_index("name")
    assert (
        names.loc[f"local/{logged.name}/net:v1", "folder"]
        == f"artifact_files/local/{logged.name}/model/net/v1"
    )
    lineage = DeltaTable(str(tmp_path / "to" / "lineage")).to_pyarrow_table()  # noqa: F841 - DuckDB finds it
    found = duckdb.sql("SELECT direction, count(*) FROM lineage GROUP BY 1 ORDER BY 1").fetchall()
    assert found == [("input", 1), ("output", 3)]
    versions = [DeltaTable(str(tmp_path / "to" / t)).version() for t in ("artifacts", "lineage")]
    assert export(logged, tmp_path / "to", format="delta").files == 0
    assert [DeltaTable(str(tmp_path / "to" / t)).version() for t in ("artifacts", "lineage")] == versions
    vacuum_lake(tmp_path / "to", keep_hours=0)
    assert {f"artifact_files/{n}": d for n, d in tree(below).items() if "wandb-ops" not in n} == EXPECTED


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_shards_come_to_the_same_as_one_export(logged, tmp_path, kind):
    log(logged, "reader", "own", {"x": b"x"}, folder=tmp_path)
    include = ("runs", "history", "artifacts")
    export(logged, tmp_path / "one", format=kind, include=include)
    plan = plan_export(
        logged.watched, project=logged.name, to=tmp_path / "two", format=kind, include=include, shards=2
    )
    assert len(plan.shards) == 2
    for shard in [*reversed(plan.shards), plan.shards[1]]:
        assert export(logged, tmp_path / "two", format=kind, include=include, shard=shard).ok
    assert tree(tmp_path / "two") == tree(tmp_path / "one")


def test_what_many_runs_logged_is_asked_fifty_runs_at_a_time(project, tmp_path):
    for number in range(60):
        project.log(f"r{number}", [])
    log(project, "r7", "net", {"a": b"a"}, folder=tmp_path)
    project.asked  # noqa: B018
    assert export(project, tmp_path / "to").artifacts == 1
    assert project.asked.count("ExportArtifacts") == 2
    log(project, "r8", "net", {f"f{n}": str(n).encode() for n in range(30)}, folder=tmp_path)
    for number in range(25):  # more than come along with the list
        log(project, "r9", f"many{number}", {"n": str(number).encode()}, folder=tmp_path)
    done = export(project, tmp_path / "to")
    assert (done.artifacts, done.files) == (26, 55)


def test_exporting_artifacts_sends_nothing_but_queries(logged, tmp_path):
    logged.transport.sent.clear()
    assert export(logged, tmp_path / "to").ok
    assert {kind for _, kind in logged.transport.sent} == {Kind.QUERY}
