"""A sweep made by a task, and waited for by another."""

from __future__ import annotations

import json

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider.operators.sweeps import WandbCreateSweepOperator
from airflow_provider.sensors.sweep import WandbSweepSensor
from airflow_provider.triggers.sweep import WandbSweepTrigger
from wandb_ops import Api

pytestmark = pytest.mark.airflow

CONFIG = {"method": "grid", "parameters": {"lr": {"values": [0.1, 0.01]}}}


def test_a_sweep_is_made_once_per_dag_run_and_waited_for(server, make_context):
    making = dict(task_id="make", config=CONFIG, project="p")
    made = []
    for _ in range(2):
        context = make_context("make")
        made.append(WandbCreateSweepOperator(**making).execute(context))
    assert [one["created"] for one in made] == [True, False]
    assert made[0]["name"] == "the_dag make manual__1"
    assert context["ti"].pushed == {"sweep_path": made[0]["path"], "wandb_sweep_url": made[0]["url"]}
    api = Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)
    assert api.sweep(made[0]["path"]).config["parameters"] == CONFIG["parameters"]
    with pytest.raises(TaskDeferred) as deferred:
        WandbSweepSensor(task_id="wait", sweep=made[0]["path"], deferrable=True).execute(make_context())
    path, arguments = deferred.value.trigger.serialize()
    assert path == "airflow_provider.triggers.sweep.WandbSweepTrigger"
    assert WandbSweepTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


def test_each_mapped_task_has_a_sweep_of_its_own(server, make_context):
    made = [
        WandbCreateSweepOperator(task_id="make", config={**CONFIG, "method": method}, project="p").execute(
            make_context("make", map_index=index)
        )
        for index, method in enumerate(["grid", "random"])
    ]
    assert [one["created"] for one in made] == [True, True]
    assert made[0]["path"] != made[1]["path"]


@pytest.mark.parametrize("state", ["FINISHED", "CANCELED"])
def test_how_a_sweep_ended_is_how_its_sensor_ends(state, make_context):
    result = {"state": state, "succeeded": state == "FINISHED", "url": "http://127.0.0.1/s", "path": "e/p/s"}
    event = {"status": "done", "result": result}
    complete = WandbSweepSensor(task_id="wait", sweep="e/p/s").execute_complete
    if state == "FINISHED":
        assert complete(make_context(), event)["path"] == "e/p/s"
    else:
        with pytest.raises(AirflowFailException, match="CANCELED"):
            complete(make_context(), event)
