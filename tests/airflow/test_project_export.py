"""A whole project, exported by mapped tasks: each shard once, then proven."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time

import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowTaskTimeout
from airflow.sdk import DAG

from airflow_provider.operators.project import (
    WandbExportProjectOperator,
    WandbPlanExportOperator,
    WandbVerifyExportOperator,
)
from wandb_ops import Api, DataError, steps
from wandb_ops.testing import Fault

pytestmark = pytest.mark.airflow

RUNS = {"a": 40, "b": 3, "c": 11, "d": 0}


def rows_of(count):
    return [{"loss": 1 / (step + 1), "odd": math.nan} for step in range(count)]


@pytest.fixture
def api(server):
    return Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)


@pytest.fixture
def project(api):
    for run_id, count in RUNS.items():
        run = steps.create_run(api, project="p", run_id=run_id).path
        steps.log_metrics(api, run=run, rows=rows_of(count), first_line=0)
        steps.finish_run(api, run=run)
    return "p"


def losses(folder):
    return {
        path.stem: [row["loss"] for row in pq.read_table(path).to_pylist()]
        for path in sorted((folder / "history").glob("*.parquet"))
        if pq.read_metadata(path).num_rows
    }


WRITTEN = {run_id: [row["loss"] for row in rows_of(count)] for run_id, count in RUNS.items() if count}


def test_an_export_holds_every_run_and_the_second_one_fetches_nothing(project, make_context, tmp_path):
    export = dict(task_id="export", project=project, to=tmp_path / "out")
    context = make_context()
    first = WandbExportProjectOperator(**export).execute(context)
    second = WandbExportProjectOperator(**export, concurrency="2").execute(make_context())
    assert losses(tmp_path / "out") == WRITTEN
    assert (first["runs"], first["rows"], first["not_taken"]) == (len(RUNS), sum(RUNS.values()), [])
    assert (second["written"], second["rows"]) == (0, 0)
    assert context["ti"].pushed["wandb_project_url"] == first["url"]
    assert len(json.dumps(first, allow_nan=False)) < 4096


def test_verifying_tells_a_good_export_from_one_that_is_not(api, project, make_context, tmp_path):
    where = dict(project=project, to=tmp_path / "out")
    WandbExportProjectOperator(task_id="export", **where).execute(make_context())
    good = WandbVerifyExportOperator(task_id="verify", **where).execute(make_context())
    assert (good["ok"], good["current"], good["rows"]) == (True, True, sum(RUNS.values()))
    run = steps.create_run(api, project=project, run_id="late").path
    steps.finish_run(api, run=run)
    with pytest.raises(AirflowFailException, match=r"1 runs are missing: late"):
        WandbVerifyExportOperator(task_id="verify", **where).execute(make_context())
    assert WandbVerifyExportOperator(task_id="verify", **where, current=False).execute(make_context())["ok"]
    file = tmp_path / "out" / "history" / "a.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(AirflowFailException, match="problems"):
        WandbVerifyExportOperator(task_id="verify", **where, current=False).execute(make_context())


def test_runs_that_were_not_taken_fail_the_task_with_a_retry_where_that_helps(
    server, project, make_context, tmp_path
):
    """The server counts more rows than it gives, as one that lags behind does."""
    with server.service.store.writing() as connection:
        connection.execute("UPDATE runs SET history_lines = history_lines + 1 WHERE name = 'b'")
    export = dict(task_id="export", project=project, to=tmp_path / "out")
    with pytest.raises(DataError, match=r"1 parts were not taken: history of b") as caught:
        WandbExportProjectOperator(**export).execute(make_context())
    assert caught.value.retryable
    assert losses(tmp_path / "out") == {name: WRITTEN[name] for name in ("a", "c")}
    partial = WandbExportProjectOperator(**export, allow_partial=True).execute(make_context())
    assert [one["run_id"] for one in partial["not_taken"]] == ["b"]


@pytest.mark.slow
def test_shards_are_mapped_tasks_and_come_to_one_export(server, project, run_dag, tmp_path):
    where = {"project": project, "to": str(tmp_path / "out"), "include": ["runs", "history"]}
    with DAG("sharded", schedule=None) as dag:
        plan = WandbPlanExportOperator(task_id="plan", shards=3, **where)
        export = WandbExportProjectOperator.partial(task_id="export", **where).expand(shard=plan.output)
        export >> WandbVerifyExportOperator(task_id="verify", **where)
    outcome = run_dag(dag)
    assert set(outcome.states.values()) == {"success"}, outcome.states
    shards = outcome.xcoms["plan", "return_value"]
    assert 1 < len(shards) <= 3
    parts = [outcome.xcoms[f"export[{index}]", "return_value"] for index in range(len(shards))]
    assert sum(part["rows"] for part in parts) == sum(RUNS.values())
    assert outcome.xcoms["plan", "plan"]["rows"] == sum(RUNS.values())
    assert outcome.xcoms["verify", "return_value"]["current"]
    assert losses(tmp_path / "out") == WRITTEN
    assert server.api_key not in "".join(outcome.raw + outcome.rendered)


def test_a_try_that_its_execution_timeout_ends_leaves_nothing_half_done(
    server, project, make_context, tmp_path
):
    """The alarm that Airflow sets strikes while the server keeps a request waiting; the next try goes on."""
    export = dict(task_id="export", project=project, to=tmp_path / "out")

    def strike(number, frame):
        raise AirflowTaskTimeout("Timeout")

    def alarm():
        while not faults.hits:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, strike)
    try:
        with server.faults(Fault.slow(3.0, times=1)) as faults:
            threading.Thread(target=alarm, daemon=True).start()
            with pytest.raises(AirflowTaskTimeout):
                WandbExportProjectOperator(**export).execute(make_context())
    finally:
        signal.signal(signal.SIGALRM, before)
    assert losses(tmp_path / "out") == {}
    result = WandbExportProjectOperator(**export).execute(make_context())
    assert (result["runs"], result["not_taken"]) == (len(RUNS), [])
    assert losses(tmp_path / "out") == WRITTEN
