"""Whole DAGs, run to their end by Airflow itself against the embedded server."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import airflow
import pyarrow.parquet as pq
import pytest
from airflow.sdk import DAG, task

from airflow_provider.operators.runs import WandbCreateRunOperator, WandbFinishRunOperator
from airflow_provider.operators.snapshot import WandbSnapshotOperator
from airflow_provider.sensors.run import WandbRunSensor
from wandb_ops import Api, errors, steps

pytestmark = pytest.mark.airflow

EXAMPLES = Path(__file__).parents[2] / "example_dags"
TRAININGS = {"deep": {"lr": 0.003, "layers": [48, 48]}, "wide": {"lr": 0.005, "layers": [96]}}
LOSSES = {"deep": [1.0, 0.5, 0.125, 0.0625], "wide": [2.0, 0.75]}


@pytest.fixture
def logdir(tmp_path):
    """Two trainings' tfevents, with values that floats of 32 bits hold exactly."""
    from tensorboardX import SummaryWriter

    for name, losses in LOSSES.items():
        for part, factor in (("train", 1.0), ("validation", 2.0)):
            with SummaryWriter(str(tmp_path / "logs" / name / part)) as log:
                for step, loss in enumerate(losses):
                    log.add_scalar("loss", loss * factor, step)
        (tmp_path / "logs" / name / "config.json").write_text(json.dumps(TRAININGS[name]))
    return tmp_path / "logs"


@pytest.fixture
def example(airflow_home):
    """The example's DAG, from Airflow's own folder of DAGs."""
    path = airflow_home / "dags" / "wandb_training_pipeline.py"
    shutil.copy2(EXAMPLES / path.name, path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module.pipeline
    path.unlink()


def client(server):
    return Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)


@pytest.mark.slow
def test_the_example_exports_exactly_what_was_trained_and_may_be_run_again(
    server, example, logdir, tmp_path, run_dag, capfd, caplog
):
    """The oracle is what the trainings wrote; a cleared DAG run changes nothing that is already right."""
    conf = {"project": "digits", "logdir": str(logdir), "output_dir": str(tmp_path / "out")}
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    first = run_dag(example, conf, logical_date=when, run_after=when)
    assert first.state == "success", first.states
    assert first.states.pop("launch") == "skipped"  # no image was named
    assert set(first.states.values()) == {"success"}
    assert len(first.states) == 4 + 4 * len(TRAININGS)

    runs = {}
    for index, name in enumerate(sorted(TRAININGS)):
        task_of = {
            step: f"training.{step}[{index}]"
            for step in ("create_run", "sync_tensorboard", "wait_for_run", "export_history")
        }
        created, synced, ended, exported = (first.xcoms[t, "return_value"] for t in task_of.values())
        assert created["display_name"] == name
        assert created["path"] == synced["path"] == ended["path"] == exported["path"]
        assert ended["state"] == "finished"
        rows = sorted(pq.read_table(exported["uri"]).to_pylist(), key=lambda row: row["_step"])
        for part, factor in (("train", 1.0), ("validation", 2.0)):
            values = [row[f"{part}/loss"] for row in rows if row.get(f"{part}/loss") is not None]
            assert values == [loss * factor for loss in LOSSES[name]]
        run = client(server).run(created["path"])
        assert {key: run.config[key] for key in TRAININGS[name]} == TRAININGS[name]
        for step in task_of.values():
            assert first.xcoms[step, "_link_WandbRunLink"] == created["url"]
        runs[name] = created["run_id"]
    assert len(set(runs.values())) == len(TRAININGS)

    snapshot = first.xcoms["snapshot", "return_value"]
    assert snapshot["runs"] == len(TRAININGS)
    best = {entry["metric"]: entry for entry in snapshot["best"]}
    assert best["validation/loss"]["run_id"] == runs["deep"]
    assert best["validation/loss"]["value"] == 0.125
    assert snapshot["at"].startswith("2026-01-02T03:04:05")
    assert first.xcoms["upsert_queue", "return_value"]["action"] == "created"

    again = run_dag(example, conf, logical_date=when, run_after=when)
    assert again.state == "success", again.states
    assert again.run_id == first.run_id
    for index, name in enumerate(sorted(TRAININGS)):
        created = again.xcoms[f"training.create_run[{index}]", "return_value"]
        assert (created["run_id"], created["created"]) == (runs[name], False)
        assert again.xcoms[f"training.sync_tensorboard[{index}]", "return_value"]["rows"] == 0
        assert again.xcoms[f"training.export_history[{index}]", "return_value"]["action"] == "unchanged"
    assert again.xcoms["upsert_queue", "return_value"]["action"] == "unchanged"
    assert again.xcoms["snapshot", "return_value"]["uri"] == snapshot["uri"]
    assert len(client(server).runs(f"{server.entity}/digits")) == len(TRAININGS)

    for outcome in (first, again):
        for text in outcome.raw:
            assert len(text) < 8192
            json.loads(text)
        assert server.api_key not in "".join(outcome.raw + outcome.rendered)
    assert server.api_key not in "".join(capfd.readouterr()) + caplog.text


def test_a_deferred_sensor_ends_when_the_run_does(server, run_dag):
    """The trigger runs, the task resumes, and the ids are there for whoever comes next."""
    api = client(server)
    run = steps.create_run(api, project="p", run_id="slow-run").path
    with DAG("deferred", schedule=None) as dag:
        WandbRunSensor(task_id="wait", run=run, deferrable=True, poke_interval=0.05, timeout=60)
    threading.Timer(1.5, steps.finish_run, [api], {"run": run}).start()
    outcome = run_dag(dag)
    assert outcome.states == {"wait": "success"}
    assert outcome.xcoms["wait", "return_value"]["state"] == "finished"
    assert outcome.xcoms["wait", "_link_WandbRunLink"] == api.run(run).url
    assert server.api_key not in "".join(outcome.raw + outcome.rendered)


def test_a_retried_task_makes_no_second_run(server, run_dag):
    """The first try fails after the run was made, as if the worker had died there."""

    class FailsOnce(WandbCreateRunOperator):
        def run_step(self, api, context):
            result = super().run_step(api, context)
            if context["ti"].try_number == 1:
                raise ConnectionError("the worker died after the run was made")
            return result

    with DAG("retried", schedule=None) as dag:
        created = FailsOnce(
            task_id="create", project="retried", config={"lr": 0.1}, retries=1, retry_delay=timedelta(0)
        )
        WandbFinishRunOperator(task_id="finish", run=created.output["run_path"])
    outcome = run_dag(dag)
    assert outcome.states == {"create": "success", "finish": "success"}
    assert outcome.tries["create"] == 2
    assert outcome.xcoms["create", "return_value"]["created"] is False
    assert [run.state for run in client(server).runs(f"{server.entity}/retried")] == ["finished"]


@pytest.mark.slow
def test_a_rate_limit_costs_no_retry(server, run_dag):
    """The scheduler starts the task again when W&B said; the try is still the first one."""
    answers = [errors.RateLimited("slow down", retry_after=1.0)]

    class LimitedOnce(WandbCreateRunOperator):
        def run_step(self, api, context):
            if answers:
                raise answers.pop()
            return super().run_step(api, context)

    with DAG("limited", schedule=None) as dag:
        LimitedOnce(task_id="create", project="limited", retries=0)
    outcome = run_dag(dag)
    assert outcome.states == {"create": "success"}
    assert outcome.tries == {"create": 1}
    assert outcome.xcoms["create", "return_value"]["created"] is True


def test_a_wrong_key_fails_at_once_and_is_shown_nowhere(server, connection, run_dag, capfd, caplog):
    connection(password="9" * 40, host=server.url, extra={"entity": server.entity})
    with DAG("refused", schedule=None) as dag:
        WandbCreateRunOperator(task_id="create", project="p", retries=5, retry_delay=timedelta(hours=1))
    outcome = run_dag(dag)
    assert outcome.states == {"create": "failed"}
    assert outcome.tries == {"create": 1}
    everything = "".join([*outcome.raw, *outcome.rendered, *capfd.readouterr(), caplog.text])
    assert "9" * 40 not in everything


def test_a_run_without_a_logical_date_has_a_time_for_its_snapshot(server, run_dag, tmp_path):
    """Runs that an asset or an API call starts have no logical date, so `ds` would be undefined."""
    steps.create_run(client(server), project="p", run_id="r1")
    with DAG("dateless", schedule=None) as dag:
        WandbSnapshotOperator(task_id="snapshot", project="p", to=str(tmp_path))
    when = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
    outcome = run_dag(dag, logical_date=None, run_after=when)
    assert outcome.states == {"snapshot": "success"}
    assert outcome.xcoms["snapshot", "return_value"]["at"].startswith("2026-05-06T07:08:09")


def test_operators_map_over_values_and_take_them_from_tasks(server, run_dag):
    with DAG("mapped", schedule=None) as dag:

        @task
        def configurations():
            return [{"config": {"lr": 0.1}}, {"config": {"lr": 0.2}}]

        created = WandbCreateRunOperator.partial(task_id="create", project="mapped").expand_kwargs(
            configurations()
        )
        WandbFinishRunOperator.partial(task_id="finish").expand(run=created.output.map(lambda r: r["path"]))
    outcome = run_dag(dag)
    assert set(outcome.states.values()) == {"success"}
    found = client(server).runs(f"{server.entity}/mapped")
    assert sorted(run.config["lr"] for run in found) == [0.1, 0.2]
    assert {run.state for run in found} == {"finished"}


@pytest.mark.slow
def test_the_runner_of_the_examples_is_quiet_and_leaves_nothing(server, logdir, tmp_path, monkeypatch):
    """As `make demo` calls it: a process of its own, credentials from the environment."""
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "home"
    conf = {"project": "by-script", "logdir": str(logdir), "output_dir": str(tmp_path / "out")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    done = subprocess.run(
        [
            sys.executable,
            str(EXAMPLES / "_run_airflow.py"),
            str(EXAMPLES / "wandb_training_pipeline.py"),
            "--conf",
            json.dumps(conf),
            "--results",
            str(tmp_path / "results.json"),
        ],
        env={**environment, "AIRFLOW_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5 + 4 * len(TRAININGS) + 1
    assert [line.split() for line in lines if "success" not in line] == [["skipped", "launch"]]
    if tuple(map(int, airflow.__version__.split(".")[:2])) >= (3, 3):  # older ones warn about themselves
        assert done.stderr == ""
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["snapshot"]["runs"] == len(TRAININGS)
    assert server.api_key not in done.stdout + (tmp_path / "results.json").read_text()
