"""Waiting for a run: by looking from a worker, and by the trigger."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import Asset

from airflow_provider.sensors.run import BAD_ENDS, WandbRunSensor
from airflow_provider.triggers.run import WandbRunTrigger
from wandb_ops import Api, RateLimited, steps
from wandb_ops.protocol.states import SUCCESS_STATES, TERMINAL_STATES

pytestmark = pytest.mark.airflow


@pytest.fixture
def api(server):
    return Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)


@pytest.fixture
def run(api):
    """A run that has not ended."""
    return steps.create_run(api, project="p", run_id="waited-for").path


def first_event(trigger):
    async def collect():
        return [event.payload async for event in trigger.run()]

    events = asyncio.run(collect())
    assert len(events) == 1
    return json.loads(json.dumps(events[0], allow_nan=False))


def trigger_for(run, **kwargs):
    return WandbRunTrigger(**{"run": run, "end_time": time.time() + 20, "poll_interval": 0.02, **kwargs})


def test_a_run_that_ended_well_is_a_success_at_the_first_look(api, run, make_context):
    steps.finish_run(api, run=run)
    context = make_context()
    status = WandbRunSensor(task_id="wait", run=run, deferrable=True).execute(context)
    assert (status["path"], status["state"], status["succeeded"]) == (run, "finished", True)
    assert context["ti"].pushed["run_path"] == run
    assert context["ti"].pushed["wandb_run_url"] == status["url"]


def test_every_end_but_a_good_one_fails_by_default():
    assert set(BAD_ENDS) == TERMINAL_STATES - SUCCESS_STATES


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_sensor_tells_its_assets_what_came(api, run, make_context, deferrable):
    steps.finish_run(api, run=run)
    asset = Asset(name="trained")
    sensor = WandbRunSensor(task_id="wait", run=run, deferrable=deferrable, outlets=[asset])
    events = {asset: SimpleNamespace(extra={})}
    sensor.execute({**make_context(), "outlet_events": events})
    assert events[asset].extra["path"] == run
    events = {asset: SimpleNamespace(extra={})}
    event = {"status": "done", "result": steps.run_status(api, run=run).to_json()}
    sensor.execute_complete({**make_context(), "outlet_events": events}, event)
    assert events[asset].extra["state"] == "finished"


def test_a_rate_limit_in_a_long_reschedule_mode_wait_is_no_failure(server, run, make_context):
    """How long the task has waited for its run says nothing of how long W&B kept it away."""
    context = make_context()
    context["ti"].get_first_reschedule_date.return_value = datetime.now(UTC) - timedelta(hours=7)

    class Limited(WandbRunSensor):
        def look(self, api, context):
            raise RateLimited("slow down", retry_after=5.0)

    sensor = Limited(task_id="wait", run=run, deferrable=False, mode="reschedule")
    assert not sensor.poke(context).is_done


def test_a_run_that_ended_badly_fails_the_task_for_good(api, run, make_context):
    steps.finish_run(api, run=run, exit_code=1)
    for deferrable in (False, True):
        with pytest.raises(AirflowFailException, match="ended as failed: http"):
            WandbRunSensor(task_id="wait", run=run, deferrable=deferrable).execute(make_context())
        soft = WandbRunSensor(task_id="wait", run=run, deferrable=deferrable, soft_fail=True)
        with pytest.raises(AirflowSkipException):
            soft.execute(make_context())
    tolerant = WandbRunSensor(task_id="wait", run=run, fail_on=(), deferrable=True)
    assert tolerant.execute(make_context())["state"] == "failed"


def test_a_run_that_does_not_exist_fails_the_task_for_good(api, run, make_context):
    with pytest.raises(AirflowFailException, match="NotFoundError"):
        WandbRunSensor(task_id="wait", run=run + "-not", deferrable=True).execute(make_context())


def test_waiting_in_the_worker_ends_in_time(run, make_context):
    sensor = WandbRunSensor(task_id="wait", run=run, deferrable=False, poke_interval=0.01, timeout=0.05)
    with pytest.raises(AirflowSensorTimeout):
        sensor.execute(make_context())


def test_an_unfinished_run_is_left_to_the_triggerer(server, run, make_context):
    sensor = WandbRunSensor(task_id="wait", run=run, deferrable=True, poke_interval=7, timeout=100)
    before = time.time()
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(make_context())
    path, arguments = deferred.value.trigger.serialize()
    assert path == "airflow_provider.triggers.run.WandbRunTrigger"
    assert before + 100 <= arguments.pop("end_time") <= time.time() + 100
    assert arguments == {
        "run": run,
        "poll_interval": 7,
        "max_poll_failures": 5,
        "wandb_conn_id": "wandb_default",
    }
    assert deferred.value.method_name == "execute_complete"
    assert deferred.value.timeout > timedelta(seconds=107)


def test_a_trigger_made_again_elsewhere_is_the_same(run):
    trigger = trigger_for(run, max_poll_failures=2)
    _, arguments = trigger.serialize()
    again = WandbRunTrigger(**json.loads(json.dumps(arguments)))
    assert again.serialize() == trigger.serialize()


@pytest.mark.parametrize(("exit_code", "state"), [(0, "finished"), (3, "failed")])
def test_the_trigger_sends_one_event_when_the_run_ends(api, run, exit_code, state):
    end = threading.Timer(0.1, steps.finish_run, [api], {"run": run, "exit_code": exit_code})
    end.start()
    event = first_event(trigger_for(run))
    end.join()
    assert event["status"] == "done"
    assert (event["result"]["path"], event["result"]["state"]) == (run, state)


def test_the_trigger_gives_up_at_its_time_of_day(run):
    assert first_event(trigger_for(run, end_time=time.time() + 0.05))["status"] == "timeout"


def test_the_trigger_does_not_look_again_when_that_cannot_help(server, connection, run):
    connection(password="c" * 40, host=server.url)
    event = first_event(trigger_for(run))
    assert (event["status"], event["retryable"]) == ("error", False)
    assert "AuthenticationError" in event["message"]
    assert "c" * 40 not in event["message"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_trigger_bears_so_many_failures_in_a_row(connection):
    connection(password="d" * 40, host=f"http://127.0.0.1:{free_port()}", extra={"timeout": 0.05})
    event = first_event(trigger_for("e/p/r", max_poll_failures=1))
    assert (event["status"], event["retryable"]) == ("error", True)


def test_the_trigger_survives_a_server_that_restarts(tmp_path, connection):
    from wandb_ops.local.serve import LocalServer

    port = free_port()
    with LocalServer(data=tmp_path, port=port, api_key="a1" * 20) as server:
        api = Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)
        run = steps.create_run(api, project="p", run_id="survivor").path
        steps.finish_run(api, run=run)
    connection(password="a1" * 20, host=f"http://127.0.0.1:{port}", extra={"timeout": 0.3})
    later = LocalServer(data=tmp_path, port=port, api_key="a1" * 20)
    starter = threading.Timer(0.4, later.start)
    starter.start()
    try:
        event = first_event(trigger_for(run, max_poll_failures=200))
    finally:
        starter.join()
        later.stop()
    assert event["status"] == "done"


def complete(run="e/p/r", **kwargs):
    return WandbRunSensor(task_id="wait", run=run, **kwargs).execute_complete


ENDED = {"path": "e/p/r", "url": "http://127.0.0.1/e/p/runs/r", "state": "finished", "run_id": "r"}


def test_the_events_of_the_trigger_become_the_end_of_the_task(make_context):
    context = make_context()
    assert complete()(context, {"status": "done", "result": ENDED}) == ENDED
    assert context["ti"].pushed["wandb_run_url"] == ENDED["url"]
    with pytest.raises(AirflowFailException, match="killed"):
        complete()(make_context(), {"status": "done", "result": {**ENDED, "state": "killed"}})
    with pytest.raises(AirflowSensorTimeout):
        complete()(make_context(), {"status": "timeout", "message": "late"})
    with pytest.raises(AirflowFailException, match="no key"):
        complete()(make_context(), {"status": "error", "message": "no key", "retryable": False})
    with pytest.raises(AirflowException, match="busy") as caught:
        complete()(make_context(), {"status": "error", "message": "busy", "retryable": True})
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize(
    "event", [None, {}, {"status": "done"}, {"status": "done", "result": {}}, {"status": "?"}]
)
def test_an_event_that_is_none_of_the_triggers_is_refused(event, make_context):
    with pytest.raises(AirflowException, match="none of its own"):
        complete()(make_context(), event)
