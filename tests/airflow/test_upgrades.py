"""What waits in Airflow's database over an upgrade of this package still works afterwards.

A deferred task leaves its trigger's class and arguments there, and the arguments of the method that resumes
it. What is written out here is what released versions have left: add to it, never change it.
"""

from __future__ import annotations

import importlib

import pytest

from airflow_provider.operators.base import own_run_id
from airflow_provider.operators.enqueue import WandbEnqueueJobOperator
from airflow_provider.sensors.artifact import WandbArtifactSensor
from airflow_provider.sensors.queue import WandbQueuedRunSensor
from airflow_provider.sensors.run import WandbRunSensor
from airflow_provider.sensors.sweep import WandbSweepSensor

pytestmark = pytest.mark.airflow

WAITING = {
    "end_time": 1.0,
    "poll_interval": 30.0,
    "max_poll_failures": 5,
    "wandb_conn_id": "wandb_default",
}
KEPT = [
    ("airflow_provider.triggers.run.WandbRunTrigger", {"run": "e/p/r", **WAITING}),
    ("airflow_provider.triggers.sweep.WandbSweepTrigger", {"sweep": "e/p/s", **WAITING}),
    (
        "airflow_provider.triggers.artifact.WandbArtifactTrigger",
        {"artifact": "e/p/a:latest", "artifact_type": None, "other_than": "v1", **WAITING},
    ),
    (
        "airflow_provider.triggers.queue.WandbQueuedRunTrigger",
        {
            "run_queue": "q",
            "item_id": "i",
            "project": "p",
            "entity": None,
            "run_id": "r",
            "until": "finished",
            "cancel_on_kill": True,
            **WAITING,
        },
    ),
    (
        "airflow_provider.triggers.artifact.WandbArtifactEventTrigger",
        {
            "collection": "e/p/a",
            "artifact_type": None,
            "poll_interval": 60.0,
            "wandb_conn_id": "wandb_default",
        },
    ),
]


@pytest.mark.parametrize(("classpath", "arguments"), KEPT, ids=[path.rpartition(".")[2] for path, _ in KEPT])
def test_a_trigger_that_was_kept_is_made_again_with_the_same_arguments(classpath, arguments):
    module, _, name = classpath.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**arguments)
    path, again = trigger.serialize()
    assert path == classpath
    assert arguments.items() <= again.items()


@pytest.mark.parametrize(
    ("sensor", "arguments", "result"),
    [
        (
            WandbRunSensor,
            {"run": "e/p/r"},
            {"path": "e/p/r", "run_id": "r", "url": "https://h/r", "state": "finished"},
        ),
        (
            WandbQueuedRunSensor,
            {"run_queue": "q", "item_id": "i"},
            {"run": {"path": "e/p/r", "run_id": "r", "url": "https://h/r", "state": "finished"}},
        ),
        (
            WandbSweepSensor,
            {"sweep": "e/p/s"},
            {"url": "https://h/s", "state": "FINISHED", "succeeded": True},
        ),
        (WandbArtifactSensor, {"artifact": "e/p/a"}, {"url": "https://h/a", "path": "e/p/a:v0"}),
    ],
)
def test_a_sensor_takes_the_event_of_an_older_trigger(make_context, sensor, arguments, result):
    """With no more fields than it needs: newer ones may not have been there."""
    context = make_context()
    found = sensor(task_id="t", **arguments).execute_complete(context, {"status": "done", "result": result})
    assert found in (result, result.get("run"))
    assert [value for key, value in context["ti"].pushed.items() if key.startswith("wandb_")][-1].startswith(
        "https://h/"
    )


def test_an_operator_resumes_with_what_it_kept_of_its_job(make_context):
    queued = {
        "entity": "e",
        "project": "p",
        "queue": "q",
        "item_id": "i",
        "run_id": "r",
        "path": "e/p/r",
        "url": "https://h/q",
        "enqueued": True,
    }
    ended = {"path": "e/p/r", "run_id": "r", "url": "https://h/r", "state": "finished"}
    context = make_context()
    operator = WandbEnqueueJobOperator(task_id="t", run_queue="q", docker_image="i")
    event = {"status": "done", "result": {"run": ended}}
    assert operator.execute_complete(context, event, queued=queued) == ended
    assert context["ti"].pushed["wandb_queue_url"] == "https://h/q"


def test_the_id_of_a_task_instances_run_stays_what_it_was(make_context):
    """Another id after an upgrade would make a cleared task fill a second run."""
    assert own_run_id(make_context("task", -1, "manual__1")) == "the-dag-7vbkrnomekv"
