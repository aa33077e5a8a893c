"""Exports to S3, against a server that speaks its protocol on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import fsspec
import polars as pl
import pytest
from deltalake import DeltaTable
from upath import UPath

from wandb_ops.export import export_project, export_run, verify_export, verify_file
from wandb_ops.snapshot import take_snapshot

SERVER = textwrap.dedent(
    """
    import sys
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(*server.get_host_and_port(), flush=True)
    sys.stdin.read()
    """
)


@pytest.fixture(scope="module")
def s3_url():
    """The address of a server that holds nothing yet."""
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        host, port = server.stdout.readline().split()
        yield f"http://{host}:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        server.stdin.close()
        server.stdout.close()


@pytest.fixture
def bucket(s3_url, project, monkeypatch):
    """An empty bucket of the test's own; how to reach it stands in the environment, as anywhere."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    store = fsspec.filesystem("s3")
    store.mkdir(project.name)
    yield f"s3://{project.name}"
    fsspec.filesystem("s3").clear_instance_cache()


@pytest.fixture
def two(project):
    project.log(
        "a", [{"_step": i, "_timestamp": 5.0 + i, "loss": i / 3} for i in range(40)], summary={"loss": 1.0}
    )
    project.log("b", [{"_step": 0, "_timestamp": 1.0, "text": "hello"}], summary={"loss": 2.0})
    return project


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_project_becomes_objects_and_is_left_alone_the_second_time(two, bucket, tmp_path, kind):
    assert export_project(two.watched, project=two.name, to=tmp_path, format=kind).ok
    done = export_project(two.watched, project=two.name, to=f"{bucket}/deep/er", format=kind)
    assert done.ok, done.not_taken
    assert done.uri == f"{bucket}/deep/er"
    store = fsspec.filesystem("s3")
    root = f"{two.name}/deep/er/"
    held = {path.removeprefix(root): store.cat(path) for path in store.find(root)}
    local = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert held == local
    two.asked  # noqa: B018 - forgets what was asked so far
    again = export_project(two.watched, project=two.name, to=f"{bucket}/deep/er", format=kind)
    assert again.unchanged == 2
    assert two.asked == ["ExportRuns"]
    found = verify_export(two.watched, project=two.name, to=f"{bucket}/deep/er", format=kind)
    assert (found.ok, found.current, found.rows) == (True, True, 41)


def test_a_path_object_with_its_own_credentials_is_a_destination(two, bucket, s3_url):
    place = UPath(bucket, key="testing", secret="testing", client_kwargs={"endpoint_url": s3_url})
    assert export_project(two.watched, project=two.name, to=place / "up").ok
    assert (place / "up" / "history" / "a.parquet").exists()


def test_one_run_becomes_one_object(two, bucket):
    done = export_run(two.transport, two.ref("a"), to=f"{bucket}/a.parquet")
    assert done.rows == 40
    assert export_run(two.transport, two.ref("a"), to=f"{bucket}/a.parquet").action == "unchanged"
    assert verify_file(f"{bucket}/a.parquet", sha256=done.sha256).ok


def test_a_lake_in_a_bucket(two, bucket):
    for _ in range(2):
        done = export_project(two.watched, project=two.name, to=f"{bucket}/lake", format="delta")
        assert done.ok, done.not_taken
    assert done.unchanged == 2
    two.log("a", [{"_step": 40, "_timestamp": 99.0, "loss": 7.0}], at_line=40)
    done = export_project(two.watched, project=two.name, to=f"{bucket}/lake", format="delta")
    assert (done.written, done.rows) == (1, 1)
    table = DeltaTable(f"{bucket}/lake/history")
    assert table.to_pyarrow_table().num_rows == 42
    assert table.transaction_version(two.ref("a").path) == 41
    assert pl.read_delta(f"{bucket}/lake/history").filter(pl.col("run_id") == "a").height == 41


def test_snapshots_and_their_page_in_a_bucket(two, bucket):
    taken = take_snapshot(
        two.watched,
        project=two.name,
        to=f"{bucket}/lake",
        format="delta",
        metrics={"loss": "min"},
        report=f"{bucket}/page.html",
    )
    assert taken.report == f"{bucket}/page.html"
    assert DeltaTable(f"{bucket}/lake/snapshots").to_pyarrow_table().num_rows == 2
    assert b"name" not in fsspec.filesystem("s3").cat(f"{two.name}/page.html")[:10]
