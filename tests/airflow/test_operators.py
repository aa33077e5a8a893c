"""Each operator against the embedded server; the context is the only stand-in."""

from __future__ import annotations

import json
import math
import socket
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider.operators.artifacts import WandbDownloadArtifactOperator, WandbLogArtifactOperator
from airflow_provider.operators.base import own_run_id
from airflow_provider.operators.export import WandbExportHistoryOperator
from airflow_provider.operators.launch import WandbUpsertRunQueueOperator
from airflow_provider.operators.project import WandbExportProjectOperator
from airflow_provider.operators.runs import (
    WandbCreateRunOperator,
    WandbFinishRunOperator,
    WandbLogMetricsOperator,
)
from airflow_provider.operators.snapshot import WandbSnapshotOperator
from airflow_provider.operators.tensorboard import WandbSyncTensorboardOperator
from wandb_ops.errors import TransportError

pytestmark = pytest.mark.airflow

ROWS = [{"loss": 0.5, "lr": 0.1}, {"loss": math.nan, "lr": 0.1}, {"loss": 0.25, "lr": 0.01}]


def is_small_json(value: object) -> bool:
    return len(json.dumps(value, allow_nan=False)) < 4096


@pytest.fixture
def made(server, make_context):
    """A run with three rows of history, made by the operators."""
    result = WandbCreateRunOperator(task_id="create", project="p", config={"lr": 0.1}).execute(make_context())
    WandbLogMetricsOperator(task_id="log", run=result["path"], rows=ROWS, first_line=0).execute(
        make_context()
    )
    return result


def test_a_retried_task_finds_its_own_run(server, make_context):
    operator = dict(task_id="create", project="p", config={"lr": 0.1}, tags=["nightly"])
    first, second = make_context("create"), make_context("create")
    a = WandbCreateRunOperator(**operator).execute(first)
    b = WandbCreateRunOperator(**operator).execute(second)
    assert (a["created"], b["created"]) == (True, False)
    assert a["path"] == b["path"] == f"{server.entity}/p/{a['run_id']}"
    assert is_small_json(a)
    assert first["ti"].pushed == {
        "run_id": a["run_id"],
        "run_path": a["path"],
        "wandb_run_url": a["url"],
    }


@pytest.mark.parametrize(
    ("operator", "field", "others"),
    [
        (WandbExportHistoryOperator, "to", {"run": "r"}),
        (WandbExportProjectOperator, "to", {}),
        (WandbSnapshotOperator, "to", {"at": None}),
        (WandbSnapshotOperator, "report", {"to": "x", "at": None}),
        (WandbSyncTensorboardOperator, "root_dir", {}),
        (WandbLogArtifactOperator, "content", {"name": "n", "artifact_type": "t"}),
        (WandbDownloadArtifactOperator, "to", {"artifact": "a"}),
    ],
)
def test_templates_in_path_objects_are_rendered(operator, field, others):
    """Airflow itself leaves a `Path` alone, and a file would be named `{{ ds }}`."""
    task = operator(task_id="t", **{field: Path("/data") / "{{ ds }}"}, **others)
    task.render_template_fields({"ds": "2026-01-01"})
    assert getattr(task, field) == "/data/2026-01-01"


def test_templates_in_a_dict_of_paths_are_rendered():
    content = {"rows": Path("/data") / "{{ ds }}", "more": "/more/{{ ds }}"}
    task = WandbLogArtifactOperator(task_id="t", name="n", artifact_type="t", content=content)
    task.render_template_fields({"ds": "2026-01-01"})
    assert task.content == {"rows": "/data/2026-01-01", "more": "/more/2026-01-01"}


def test_each_task_instance_has_a_run_of_its_own(make_context):
    ids = {
        own_run_id(make_context(task_id, map_index, run_id))
        for task_id in ("a", "b")
        for map_index in (-1, 0, 1)
        for run_id in ("scheduled__2026-01-01", "scheduled__2026-01-02")
    }
    assert len(ids) == 12
    assert own_run_id(make_context("a", 1)) == own_run_id(make_context("a", 1))


def test_the_run_id_is_stored_before_the_first_request(connection, make_context):
    """A task that dies on its way leaves the id of the run that it may have made."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    connection(password="a" * 40, host=f"http://127.0.0.1:{port}", extra={"entity": "e", "timeout": 0.2})
    context = make_context("create")
    with pytest.raises(TransportError) as caught:
        WandbCreateRunOperator(task_id="create", project="p").execute(context)
    assert context["ti"].pushed == {"run_id": own_run_id(context)}
    assert "a" * 40 not in str(caught.value)


def test_a_wrong_key_burns_no_retry(server, connection, make_context):
    connection(password="b" * 40, host=server.url, extra={"entity": server.entity})
    with pytest.raises(AirflowFailException) as caught:
        WandbCreateRunOperator(task_id="create", project="p").execute(make_context())
    assert "AuthenticationError" in str(caught.value)
    assert "b" * 40 not in str(caught.value)


def test_a_task_without_a_project_takes_the_connections(server, connection, make_context):
    with pytest.raises(AirflowFailException, match="no project"):
        WandbCreateRunOperator(task_id="create").execute(make_context())
    connection(
        password=server.api_key, host=server.url, extra={"entity": server.entity, "project": "of-conn"}
    )
    result = WandbCreateRunOperator(task_id="create").execute(make_context())
    assert result["project"] == "of-conn"


def test_rows_sent_twice_are_there_once(made, make_context):
    again = WandbLogMetricsOperator(task_id="log", run=made["path"], rows=ROWS, first_line="0")
    result = again.execute(make_context())
    assert (result["rows"], result["skipped"], result["history_lines"]) == (0, 3, 3)
    assert is_small_json(result)


def test_a_run_ends_once_and_stays_ended(made, make_context):
    finish = dict(task_id="finish", run=made["path"], summary={"best": 0.25})
    first = WandbFinishRunOperator(**finish).execute(make_context())
    second = WandbFinishRunOperator(**finish).execute(make_context())
    assert first["state"] == second["state"] == "finished"
    with pytest.raises(AirflowFailException, match="RunConflict"):
        WandbFinishRunOperator(task_id="f", run=made["path"], exit_code="1").execute(make_context())


def test_a_cleared_task_adopts_its_ended_run_and_does_not_reopen_it(made, make_context):
    WandbFinishRunOperator(task_id="finish", run=made["path"]).execute(make_context())
    create = dict(task_id="create", project="p", config={"lr": 0.2})
    assert WandbCreateRunOperator(**create).execute(make_context())["state"] == "finished"
    with pytest.raises(AirflowFailException, match="RunConflict"):
        WandbCreateRunOperator(**create, on_finished="error").execute(make_context())
    assert (
        WandbCreateRunOperator(**create, on_finished="resume").execute(make_context())["state"] == "running"
    )


def test_an_export_holds_what_was_logged_and_is_not_written_twice(made, make_context, tmp_path):
    target = tmp_path / "history.parquet"
    export = dict(task_id="export", run=made["path"], to=target)
    context = make_context()
    first = WandbExportHistoryOperator(**export).execute(context)
    second = WandbExportHistoryOperator(**export, min_step="0").execute(make_context())
    table = pq.read_table(target).to_pylist()
    assert [row["lr"] for row in table] == [row["lr"] for row in ROWS]
    assert str([row["loss"] for row in table]) == str([row["loss"] for row in ROWS])
    assert (first["action"], second["action"]) == ("written", "unchanged")
    assert first["rows"] == 3
    assert first["uri"].endswith("history.parquet")
    assert is_small_json(first)
    assert context["ti"].pushed["run_path"] == made["path"]


def test_an_unfinished_run_is_not_exported_when_that_was_asked(made, make_context, tmp_path):
    export = WandbExportHistoryOperator(
        task_id="export", run=made["path"], to=tmp_path / "h.csv", require_finished=True
    )
    with pytest.raises(AirflowFailException, match="still running"):
        export.execute(make_context())
    assert list(tmp_path.iterdir()) == []


def test_a_queue_is_made_once_and_keeps_wandbs_own_braces(server, make_context):
    """`{{cpus}}` is W&B's to fill; Airflow must not render it away."""
    config = {"cpus": "{{cpus}}"}
    queue = dict(task_id="q", name="train", resource_type="local-container", resource_config=config)
    operator = WandbUpsertRunQueueOperator(
        **queue, template_variables={"cpus": {"schema": {"type": "integer"}}}
    )
    operator.render_template_fields({})
    context = make_context()
    first = operator.execute(context)
    second = operator.execute(make_context())
    assert (first["action"], second["action"]) == ("created", "unchanged")
    assert first["changes"]["resource_config"]["after"] == config
    assert context["ti"].pushed["wandb_queue_url"] == first["url"]


def test_a_snapshot_of_the_same_dag_run_is_the_same_file(made, make_context, tmp_path):
    snapshot = WandbSnapshotOperator(
        task_id="snapshot", project="p", to=tmp_path, metrics={"lr": "min"}, at="2026-01-02T03:04:05+00:00"
    )
    context = make_context()
    first = snapshot.execute(context)
    second = snapshot.execute(make_context())
    assert first["uri"] == second["uri"]
    assert first["runs"] == 1
    assert first["best"][0]["run_id"] == made["run_id"]
    assert is_small_json(first)
    assert context["ti"].pushed["wandb_project_url"] == first["url"]


def test_tfevents_become_the_history_of_the_tasks_own_run(server, make_context, tmp_path):
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(tmp_path / "train")) as log:
        for step in range(5):
            log.add_scalar("loss", 1 / (step + 1), step)
    context = make_context("sync")
    sync = WandbSyncTensorboardOperator(task_id="sync", root_dir=tmp_path, project="p")
    first = sync.execute(context)
    again = sync.execute(make_context("sync"))
    assert first["run_id"] == own_run_id(context) == again["run_id"]
    assert (first["rows"], again["rows"], again["history_lines"]) == (5, 0, 5)
    assert is_small_json(first)
