"""Exports to S3, against a server that speaks its protocol on loopback."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
import traceback

import fsspec
import polars as pl
import pytest
from deltalake import DeltaTable
from upath import UPath

from wandb_ops import steps
from wandb_ops.errors import OutputError, UsageError
from wandb_ops.export import (
    export_project,
    export_run,
    optimize_lake,
    vacuum_lake,
    verify_export,
    verify_file,
)
from wandb_ops.export.places.places import placed, to_fsspec, to_object_store
from wandb_ops.protocol.storage import upload_run_file
from wandb_ops.snapshot import take_snapshot


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
    root = f"{bucket.removeprefix('s3://')}/deep/er/"
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
    assert b"name" not in fsspec.filesystem("s3").cat(f"{bucket}/page.html")[:10]


SECRET = "markersecret0123456789abcdef"


@pytest.fixture
def keyless(s3_url, project, monkeypatch):
    """A bucket that nothing in the environment leads to: its address and keys are in the options."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    options = {"key": "markeraccess01", "secret": SECRET, "client_kwargs": {"endpoint_url": s3_url}}
    fsspec.filesystem("s3", **options).mkdir(project.name)
    yield f"s3://{project.name}"
    fsspec.filesystem("s3", **options).clear_instance_cache()


def spelled(s3_url, how):
    if how == "fsspec":
        return {
            "key": "markeraccess01",
            "secret": SECRET,
            "client_kwargs": {"endpoint_url": s3_url, "region_name": "us-east-1"},
        }
    return {
        "AWS_ACCESS_KEY_ID": "markeraccess01",
        "aws_secret_access_key": SECRET,
        "aws_endpoint_url": s3_url,
        "aws_region": "us-east-1",
    }


@pytest.mark.parametrize("how", ["fsspec", "object_store"])
def test_keys_that_are_passed_reach_files_and_tables_and_nothing_else(two, keyless, s3_url, how, caplog):
    caplog.set_level("DEBUG", "wandb_ops")
    options = spelled(s3_url, how)
    api, name = two.watched, two.name
    upload_run_file(
        two.api.transport, entity=two.server.entity, project=name, run_id="a", name="f", data=b"x"
    )
    shown = []
    for kind in ("parquet", "delta"):
        where = {"project": name, "to": f"{keyless}/{kind}", "format": kind, "storage_options": options}
        where["include"] = ["runs", "history", "files", "artifacts"]
        shown.append(steps.plan_export(api, **where))
        done = steps.export_project(api, **where)
        assert done.ok, done.not_taken
        found = steps.verify_export(api, **where)
        assert (found.ok, found.current) == (True, True)
        where = {"project": name, "to": f"{keyless}/snap-{kind}", "format": kind, "storage_options": options}
        taken = steps.snapshot(api, **where, metrics={"loss": "min"}, report=f"{keyless}/page.html")
        shown += [done, found, taken]
    for kind, to in (("csv", "one.csv"), ("delta", "delta")):
        shown.append(
            steps.export_history(
                api, run=two.ref("a").path, to=f"{keyless}/{to}", format=kind, storage_options=options
            )
        )
    assert optimize_lake(f"{keyless}/delta", storage_options=options)["history"]["files_added"] >= 0
    assert "history" in vacuum_lake(f"{keyless}/delta", storage_options=options)
    store = fsspec.filesystem("s3", **spelled(s3_url, "fsspec"))
    held = b"".join(store.cat(path) for path in store.find(name))
    assert len(held) > 10_000
    texts = held.decode("latin-1") + repr(shown) + repr([one.to_json() for one in shown]) + caplog.text
    for secret in (SECRET, "markeraccess01"):
        assert secret not in texts


@pytest.mark.parametrize("how", ["fsspec", "object_store"])
@pytest.mark.parametrize("kind", ["parquet", "delta"])
def test_an_error_of_the_store_does_not_tell_the_keys(two, keyless, s3_url, kind, how, caplog):
    caplog.set_level("DEBUG", "wandb_ops")
    options = spelled(s3_url, how)
    to = f"s3://no-such-bucket-{two.name}/x"
    try:
        done = steps.export_project(
            two.watched, project=two.name, to=to, format=kind, storage_options=options
        )
        assert not done.ok
        said = repr(done)
    except OutputError as error:
        said = f"{error} {error!r} " + "".join(traceback.format_exception(error))
    texts = said + caplog.text
    for secret in (SECRET, "markeraccess01"):
        assert secret not in texts


def test_a_place_shows_its_url_and_never_its_options():
    place = placed("s3://bucket/x", {"key": "markeraccess01", "secret": SECRET})
    assert (str(place), repr(place), str(place / "y")) == (
        "s3://bucket/x",
        "Place('s3://bucket/x')",
        "s3://bucket/x/y",
    )
    with pytest.raises(TypeError):
        pickle.dumps(place)
    with pytest.raises(UsageError):
        placed(UPath("memory://x"), {"key": "k"})
    with pytest.raises(UsageError):
        placed("s3://bucket", {1: 2})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("url", "files", "tables"),
    [
        ("s3://b", {"key": "k", "token": "t"}, {"aws_access_key_id": "k", "aws_session_token": "t"}),
        ("s3://b", {"endpoint_url": "https://x"}, {"aws_endpoint_url": "https://x"}),
        ("gs://b", {"token": "/key.json"}, {"google_service_account": "/key.json"}),
        ("az://b", {"account_name": "n"}, {"azure_storage_account_name": "n"}),
        ("abfs://b", {"sas_token": "secret-of-az"}, {"azure_storage_sas_token": "secret-of-az"}),
    ],
)
def test_options_are_translated_both_ways(url, files, tables):
    assert to_object_store(url, files) == tables
    assert to_fsspec(url, tables) == files
    assert to_fsspec(url, files) == files
    assert to_object_store(url, tables) == tables
    assert to_fsspec(url, {"aws_conditional_put": "etag", "conditional_put": "etag", "timeout": "9s"}) == {}
    assert to_object_store(url, {"use_ssl": False, "config_kwargs": {}}) == {}


WRITER = textwrap.dedent(
    """
    import json, sys
    from wandb_ops.export import export_project
    from wandb_ops.public.api import Api

    project, to, order, options = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(2):
        shards = [{"index": 1, "of": 9, "runs": [f"r{i}"]} for i in range(3)]
        for shard in shards if order == "1" else reversed(shards):
            done = export_project(Api(), project=project, to=to, format="delta", shard=shard,
                                  storage_options=json.loads(options))
            assert done.ok, done.not_taken
    """
)


def test_two_processes_in_one_bucket_leave_each_row_once(two, keyless, s3_url):
    """What decides between them is the store's conditional put."""
    rows = {f"r{i}": [{"_step": n, "_timestamp": 1.0, f"key{i}": n} for n in range(i + 1)] for i in range(3)}
    for name, logged in rows.items():
        two.log(name, logged)
    options = spelled(s3_url, "object_store")
    command = [sys.executable, "-W", "ignore", "-c", WRITER, two.name, f"{keyless}/lake"]
    writers = [
        subprocess.Popen(
            [*command, order, json.dumps(options)], env={**os.environ, **two.server.env},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for order in "12"
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        _, errors = writer.communicate("\n", timeout=90)
        assert writer.returncode == 0, errors
    table = DeltaTable(
        f"{keyless}/lake/history", storage_options={**options, "allow_http": "true"}
    ).to_pandas()
    assert table.groupby("run_id").size().to_dict() == {name: len(logged) for name, logged in rows.items()}
