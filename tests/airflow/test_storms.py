"""Three in the morning: every operator and trigger against a W&B that only says 502, or nothing at all."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider.operators.artifacts import (
    WandbDownloadArtifactOperator,
    WandbLogArtifactOperator,
    WandbPromoteArtifactOperator,
    WandbUseArtifactOperator,
)
from airflow_provider.operators.enqueue import WandbEnqueueJobOperator
from airflow_provider.operators.export import WandbExportHistoryOperator
from airflow_provider.operators.launch import WandbUpsertRunQueueOperator
from airflow_provider.operators.project import (
    WandbExportProjectOperator,
    WandbPlanExportOperator,
    WandbVerifyExportOperator,
)
from airflow_provider.operators.runs import (
    WandbCreateRunOperator,
    WandbFinishRunOperator,
    WandbLogMetricsOperator,
)
from airflow_provider.operators.snapshot import WandbSnapshotOperator
from airflow_provider.operators.sweeps import WandbCreateSweepOperator
from airflow_provider.operators.tensorboard import WandbSyncTensorboardOperator
from airflow_provider.sensors.artifact import WandbArtifactSensor
from airflow_provider.sensors.queue import WandbQueuedRunSensor
from airflow_provider.sensors.run import WandbRunSensor
from airflow_provider.sensors.sweep import WandbSweepSensor
from airflow_provider.triggers.artifact import WandbArtifactTrigger
from airflow_provider.triggers.queue import WandbQueuedRunTrigger
from airflow_provider.triggers.run import WandbRunTrigger
from airflow_provider.triggers.sweep import WandbSweepTrigger
from wandb_ops import Error

pytestmark = pytest.mark.airflow

KEY = "d" * 40
OPERATORS = {
    "create": lambda f: WandbCreateRunOperator(task_id="t", project="p"),
    "log": lambda f: WandbLogMetricsOperator(task_id="t", run="e/p/r", rows=[{"a": 1}], first_line=0),
    "finish": lambda f: WandbFinishRunOperator(task_id="t", run="e/p/r"),
    "tensorboard": lambda f: WandbSyncTensorboardOperator(task_id="t", root_dir=f / "logs", project="p"),
    "queue": lambda f: WandbUpsertRunQueueOperator(
        task_id="t", name="q", resource_type="local-process", resource_config={}
    ),
    "enqueue": lambda f: WandbEnqueueJobOperator(task_id="t", run_queue="q", project="p", docker_image="x"),
    "export": lambda f: WandbExportHistoryOperator(task_id="t", run="e/p/r", to=f / "h.parquet"),
    "plan": lambda f: WandbPlanExportOperator(task_id="t", project="p", to=f / "out"),
    "project": lambda f: WandbExportProjectOperator(task_id="t", project="p", to=f / "out"),
    "verify": lambda f: WandbVerifyExportOperator(task_id="t", project="p", to=f / "out"),
    "snapshot": lambda f: WandbSnapshotOperator(task_id="t", project="p", to=f / "s", at="2026-01-01"),
    "log artifact": lambda f: WandbLogArtifactOperator(
        task_id="t", name="n", artifact_type="t", content=f / "logs", project="p"
    ),
    "sweep": lambda f: WandbCreateSweepOperator(task_id="t", config={"method": "grid"}, project="p"),
    "use": lambda f: WandbUseArtifactOperator(task_id="t", artifact="e/p/n", run="e/p/r"),
    "download": lambda f: WandbDownloadArtifactOperator(task_id="t", artifact="e/p/n", to=f / "d"),
    "promote": lambda f: WandbPromoteArtifactOperator(task_id="t", artifact="e/p/n", aliases=["x"]),
}
SENSORS = {
    "run": lambda **o: WandbRunSensor(task_id="t", run="e/p/r", **o),
    "queued": lambda **o: WandbQueuedRunSensor(task_id="t", run_queue="q", item_id="i", project="p", **o),
    "sweep": lambda **o: WandbSweepSensor(task_id="t", sweep="e/p/s", **o),
    "artifact": lambda **o: WandbArtifactSensor(task_id="t", artifact="e/p/n", **o),
}
TRIGGERS = {
    "run": lambda **o: WandbRunTrigger(run="e/p/r", **o),
    "queued": lambda **o: WandbQueuedRunTrigger(run_queue="q", item_id="i", project="p", entity="e", **o),
    "sweep": lambda **o: WandbSweepTrigger(sweep="e/p/s", **o),
    "artifact": lambda **o: WandbArtifactTrigger(artifact="e/p/n", **o),
}


@pytest.fixture(scope="module")
def storm():
    """A server that answers 502 to everything, in no hurry; `hang` makes it say nothing for a while."""

    class Bad(BaseHTTPRequestHandler):
        hang = threading.Event()
        limited = False

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.hang.is_set():
                time.sleep(0.5)
            self.send_response(429 if type(self).limited else 502)
            if type(self).limited:
                self.send_header("Retry-After", "3000")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self):
            self.do_POST()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Bad) as server:
        server.handler = Bad
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def reached(storm, connection):
    connection(
        password=KEY,
        host=f"http://127.0.0.1:{storm.server_port}",
        extra={"entity": "e", "timeout": 0.1},
    )
    storm.handler.limited = False
    storm.handler.hang.clear()
    return storm


@pytest.fixture
def folder(tmp_path):
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(tmp_path / "logs")) as log:
        log.add_scalar("loss", 1.0, 0)
    return tmp_path


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator_fails_this_try_only(name, reached, folder, make_context):
    with pytest.raises(Error) as caught:
        OPERATORS[name](folder).execute(make_context())
    assert caught.value.retryable
    assert not isinstance(caught.value, AirflowFailException)
    assert KEY not in str(caught.value)
    assert str(reached.server_port) in str(caught.value) or "502" in str(caught.value)


@pytest.mark.parametrize("name", SENSORS)
def test_each_sensor_bears_some_failures_and_then_fails_this_try(name, reached, make_context):
    sensor = SENSORS[name](max_poll_failures=2, poke_interval=0.01, timeout=60, deferrable=False)
    with pytest.raises(Error) as caught:
        sensor.execute(make_context())
    assert caught.value.retryable
    assert sensor._failures == 3


@pytest.mark.parametrize("name", SENSORS)
def test_a_first_look_that_fails_does_not_keep_a_sensor_from_deferring(name, reached, make_context):
    with pytest.raises(TaskDeferred):
        SENSORS[name](deferrable=True, timeout=60).execute(make_context())


def first_event(trigger):
    async def collect():
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(collect())
    return json.loads(json.dumps(event, allow_nan=False))


@pytest.mark.parametrize("name", TRIGGERS)
def test_each_trigger_says_that_a_retry_may_help(name, reached):
    trigger = TRIGGERS[name](end_time=time.time() + 60, poll_interval=0.01, max_poll_failures=2)
    event = first_event(trigger)
    assert (event["status"], event["retryable"]) == ("error", True)
    assert KEY not in json.dumps([event, trigger.serialize()])


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_rate_limit_is_no_failure_of_a_trigger(name, reached):
    """It is waited out, though no failure at all is borne; here until the time is up."""
    reached.handler.limited = True
    trigger = TRIGGERS[name](end_time=time.time() + 0.3, poll_interval=0.01, max_poll_failures=0)
    assert first_event(trigger)["status"] == "timeout"


def test_a_server_that_hangs_does_not_hold_up_the_event_loop(reached):
    """While looks wait for an answer, other triggers of the same triggerer go on."""
    reached.handler.hang.set()

    async def together():
        triggers = [
            WandbRunTrigger(run=f"e/p/r{n}", end_time=time.time() + 60, max_poll_failures=0)
            for n in range(12)
        ]
        waiting = [asyncio.ensure_future(anext(trigger.run())) for trigger in triggers]
        beats = 0
        while not all(one.done() for one in waiting):
            await asyncio.sleep(0.005)
            beats += 1
        return beats, [one.result().payload["status"] for one in waiting]

    beats, events = asyncio.run(together())
    assert events == ["error"] * 12
    assert beats > 5


def test_a_key_that_is_changed_while_a_trigger_waits_is_taken_up(server, connection):
    """The key in use is refused after a rotation; the connection has the new one."""
    from wandb_ops import Api, steps

    api = Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)
    run = steps.create_run(api, project="p", run_id="r").path
    steps.finish_run(api, run=run)
    trigger = WandbRunTrigger(run=run, end_time=time.time() + 60, poll_interval=0.01, max_poll_failures=0)
    looked = []
    look = trigger.look

    def refused_once(client):
        looked.append(client.api_key)
        if len(looked) == 1:
            connection(password="e" * 40, host=server.url, extra={"entity": server.entity})
            return None
        if len(looked) == 2:
            old = Api({"base_url": server.url, "entity": server.entity}, api_key="e" * 40)
            connection(password=server.api_key, host=server.url, extra={"entity": server.entity})
            return look(old)
        return look(client)

    trigger.look = refused_once
    event = first_event(trigger)
    assert (event["status"], event["result"]["state"]) == ("done", "finished")
    assert len(looked) == 3


def test_a_connection_that_is_gone_ends_the_trigger_for_good(monkeypatch):
    trigger = WandbRunTrigger(run="e/p/r", end_time=time.time() + 60, wandb_conn_id="nowhere")
    event = first_event(trigger)
    assert (event["status"], event["retryable"]) == ("error", False)
    assert "nowhere" in event["message"]
