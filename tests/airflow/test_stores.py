"""Folders in object stores: tfevents come from them, exports go to them, by credentials of connections."""

from __future__ import annotations

import json

import fsspec
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowNotFoundException

from airflow_provider.hooks.storage import options_of, storage_options
from airflow_provider.hooks.wandb import WandbHook
from airflow_provider.operators.export import WandbExportHistoryOperator
from airflow_provider.operators.project import WandbExportProjectOperator, WandbVerifyExportOperator
from airflow_provider.operators.tensorboard import WandbSyncTensorboardOperator
from wandb_ops import Api

pytestmark = pytest.mark.airflow


@pytest.fixture
def api(server):
    return Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)


@pytest.fixture
def logs(bucket, tmp_path):
    """The URL of a folder of tfevents, and what was written there."""
    from tensorboardX import SummaryWriter

    values = [1.0, 0.5, 0.25, 0.125]
    with SummaryWriter(str(tmp_path / "logs" / "train")) as log:
        for step, value in enumerate(values):
            log.add_scalar("loss", value, step)
    fsspec.filesystem("s3").put(str(tmp_path / "logs"), f"{bucket}/logs/2026-01-01", recursive=True)
    return f"{bucket}/logs", values


def test_tfevents_in_a_store_become_a_run(api, logs, make_context):
    url, values = logs
    sync = WandbSyncTensorboardOperator(task_id="sync", root_dir=f"{url}/{{{{ ds }}}}", project="p")
    sync.render_template_fields({"ds": "2026-01-01"})
    assert sync.root_dir == f"{url}/2026-01-01"
    first = sync.execute(make_context("sync"))
    again = sync.execute(make_context("sync"))
    assert (first["rows"], again["rows"]) == (4, 0)
    rows = api.run(first["path"]).scan_history(keys=["train/loss"])
    assert [row["train/loss"] for row in rows] == values


def test_a_folder_that_is_not_in_the_store_burns_no_retry(api, bucket, make_context):
    sync = WandbSyncTensorboardOperator(task_id="sync", root_dir=f"{bucket}/nothing", project="p")
    with pytest.raises(AirflowFailException, match="nothing"):
        sync.execute(make_context("sync"))


def test_new_events_for_an_ended_run_need_a_word(api, logs, make_context, tmp_path):
    from tensorboardX import SummaryWriter

    url, _ = logs
    sync = dict(task_id="sync", root_dir=f"{url}/2026-01-01", project="p")
    WandbSyncTensorboardOperator(**sync).execute(make_context("sync"))
    with SummaryWriter(str(tmp_path / "more"), filename_suffix=".late") as log:
        log.add_scalar("loss", 0.0625, 4)
    fsspec.filesystem("s3").put(str(tmp_path / "more"), f"{url}/2026-01-01/train", recursive=True)
    with pytest.raises(AirflowFailException, match="ended as finished"):
        WandbSyncTensorboardOperator(**sync, finish=False).execute(make_context("sync"))
    reopened = WandbSyncTensorboardOperator(**sync, finish=False, on_finished="resume")
    assert reopened.execute(make_context("sync"))["rows"] == 1


@pytest.fixture
def exported(api, logs, make_context):
    url, _ = logs
    sync = WandbSyncTensorboardOperator(task_id="sync", root_dir=f"{url}/2026-01-01", project="p")
    return sync.execute(make_context("sync"))["path"]


def test_an_export_reaches_its_store_by_a_connection(exported, s3_url, bucket, make_context, monkeypatch):
    """The secret stands in the connection; rendered templates and results do not have it."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    connection = {
        "conn_type": "aws",
        "login": "loopback",
        "password": "store-secret-2",
        "extra": {"endpoint_url": s3_url, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(connection))
    where = dict(project="p", to=f"{bucket}/export", storage_conn_id="lake")
    done = WandbExportProjectOperator(task_id="export", **where).execute(make_context())
    proven = WandbVerifyExportOperator(task_id="verify", **where).execute(make_context())
    one = WandbExportHistoryOperator(
        task_id="one", run=exported, to=f"{bucket}/one.parquet", storage_conn_id="lake"
    ).execute(make_context())
    assert (done["rows"], proven["rows"], one["rows"]) == (4, 4, 4)
    assert "store-secret-2" not in json.dumps([done, proven, one])


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        (
            {"conn_type": "aws", "login": "k", "password": "store-secret-3"},
            {"key": "k", "secret": "store-secret-3"},
        ),
        (
            {"conn_type": "aws", "extra": {"aws_session_token": "store-token-3"}},
            {"token": "store-token-3"},
        ),
        ({"conn_type": "google_cloud_platform", "extra": {"key_path": "/k.json"}}, {"token": "/k.json"}),
        (
            {"conn_type": "wasb", "login": "acct", "password": "store-secret-4"},
            {"account_name": "acct", "account_key": "store-secret-4"},
        ),
        (
            {
                "conn_type": "google_cloud_platform",
                "extra": {"keyfile_dict": '{"type": "service_account"}', "project": "p"},
            },
            {"token": {"type": "service_account"}, "project": "p"},
        ),
        (
            {"conn_type": "wasb", "login": "acct", "extra": {"sas_token": "store-token-4"}},
            {"account_name": "acct", "sas_token": "store-token-4"},
        ),
        (
            {
                "conn_type": "wasb",
                "host": "https://acct.blob.core.windows.net",
                "login": "app",
                "password": "store-secret-5",
                "extra": {"tenant_id": "t"},
            },
            {
                "account_name": "acct",
                "tenant_id": "t",
                "client_id": "app",
                "client_secret": "store-secret-5",
            },
        ),
        (
            {"conn_type": "adls", "host": "acct", "password": "store-secret-6"},
            {"account_name": "acct", "account_key": "store-secret-6"},
        ),
        ({"conn_type": "generic", "extra": {"anon": True}}, {"anon": True}),
    ],
)
def test_each_kind_of_connection_says_how_to_reach_its_store(fields, options, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_STORE", json.dumps(fields))
    assert options_of(WandbHook.get_connection("store")) == options


def test_no_connection_means_the_environment_and_a_missing_one_is_an_error():
    assert storage_options(None) is None
    with pytest.raises(AirflowNotFoundException):
        storage_options("nowhere")
