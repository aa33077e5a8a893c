"""What the TensorBoard operator hands on: everything that a sync knows."""

from __future__ import annotations

import json

import pytest

from airflow_provider.operators.tensorboard import WandbSyncTensorboardOperator

pytestmark = pytest.mark.airflow


def test_what_could_not_be_read_reaches_xcom(server, make_context, damaged_logs):
    folder, size = damaged_logs
    sync = WandbSyncTensorboardOperator(task_id="sync", root_dir=folder, project="p")
    result = sync.execute(make_context("sync"))
    assert (result["rows"], result["scalars"], result["files"]) == (2, 2, 1)
    assert (result["bytes_skipped"], result["left_out"]) == (size, {"damaged record": 1})
    assert (result["resumed_at_line"], result["history_lines"], result["last_step"]) == (0, 2, 1)
    assert json.loads(json.dumps(result)) == result


def test_a_run_stays_open_while_the_training_still_writes(server, make_context, damaged_logs):
    sync = dict(task_id="sync", root_dir=damaged_logs[0], project="p")
    first = WandbSyncTensorboardOperator(**sync, finish=False).execute(make_context("sync"))
    assert server.run("p", first["run_id"]).state == "running"
    last = WandbSyncTensorboardOperator(**sync).execute(make_context("sync"))
    assert (last["rows"], last["resumed_at_line"]) == (0, 2)
    assert server.run("p", first["run_id"]).state == "finished"


def test_the_prefixed_step_of_older_versions_can_be_asked_for(server, make_context, damaged_logs):
    folder, _ = damaged_logs
    sync = WandbSyncTensorboardOperator(task_id="sync", root_dir=folder, project="p", prefixed_step=True)
    run = server.run("p", sync.execute(make_context("sync"))["run_id"])
    assert [row["train/global_step"] for row in run.history] == [2, 3]
