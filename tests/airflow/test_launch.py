"""Jobs on launch queues: queued once, waited for, taken back."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from types import SimpleNamespace

import pytest
import requests
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    TaskDeferred,
)
from airflow.sdk import DAG, Asset

from airflow_provider.operators.base import own_run_id
from airflow_provider.operators.enqueue import STORED_JOB, WandbEnqueueJobOperator
from airflow_provider.sensors.queue import WandbQueuedRunSensor
from airflow_provider.triggers.queue import WandbQueuedRunTrigger
from wandb_ops import Api, steps

pytestmark = pytest.mark.airflow

POP = """mutation P($e: String!, $q: String!) { popFromRunQueue(input: {
  entityName: $e, projectName: "model-registry", queueName: $q}) { runQueueItemId runSpec } }"""
ACK = """mutation A($i: ID!, $r: String!) {
  ackRunQueueItem(input: {runQueueItemId: $i, runName: $r}) { success } }"""
FAIL = """mutation F($i: ID!) {
  failRunQueueItem(input: {runQueueItemId: $i, message: "no image", stage: "build"}) { success } }"""


class Agent:
    """What a launch agent does, over plain HTTP."""

    def __init__(self, server, queue):
        self.server, self.queue = server, queue

    def ask(self, query, **variables):
        with requests.Session() as http:
            http.trust_env = False
            http.auth = ("api", self.server.api_key)
            body = {"query": query, "variables": variables}
            answer = http.post(f"{self.server.url}/graphql", json=body, timeout=30).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def take(self):
        found = self.ask(POP, e=self.server.entity, q=self.queue)["popFromRunQueue"]
        spec = found["runSpec"]
        return found["runQueueItemId"], json.loads(spec) if isinstance(spec, str) else spec

    def start(self, api):
        """Begin the run of the next job; its path."""
        item, spec = self.take()
        path = steps.create_run(api, project=spec["project"], run_id=spec["run_id"]).path
        self.ask(ACK, i=item, r=spec["run_id"])
        return path

    def fail(self):
        item, _ = self.take()
        self.ask(FAIL, i=item)


class Store(dict):
    """Airflow's task state, which outlives a try."""

    def set(self, key, value):
        self[key] = json.loads(json.dumps(value))


@pytest.fixture
def api(server):
    return Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)


@pytest.fixture
def agent(server, api):
    steps.upsert_run_queue(api, name="q", resource_type="kubernetes", resource_config={})
    return Agent(server, "q")


def items(api):
    return [item.id for item in api.run_queue(api.default_entity, "q").items]


def operator(**options):
    return WandbEnqueueJobOperator(
        **{"task_id": "train", "run_queue": "q", "project": "p", "docker_image": "train:1", **options}
    )


def test_a_job_is_queued_under_the_id_of_its_task(server, api, agent, make_context):
    context = make_context("train")
    queued = operator(run_config={"lr": 0.1}, priority="1").execute(context)
    assert queued["run_id"] == own_run_id(context)
    assert (queued["enqueued"], queued["item_id"]) == (True, items(api)[0])
    pushed = context["ti"].pushed
    assert (pushed["run_id"], pushed["item_id"]) == (queued["run_id"], queued["item_id"])
    assert pushed["run_path"] == f"{server.entity}/p/{queued['run_id']}"
    assert pushed["wandb_queue_url"] == queued["url"]
    _, spec = agent.take()
    assert (spec["run_id"], spec["overrides"]["run_config"]) == (queued["run_id"], {"lr": 0.1})


def test_a_retry_finds_the_run_of_the_try_before(api, agent, make_context):
    operator().execute(make_context("train"))
    agent.start(api)
    again = operator().execute(make_context("train"))
    assert (again["enqueued"], again["item_id"]) == (False, "")
    assert len(items(api)) == 1


def test_a_retry_finds_the_job_that_nobody_took_yet(api, agent, make_context):
    """Where Airflow keeps a task's state; else the queue would hold the job twice."""
    store = Store()
    first = operator().execute({**make_context("train"), "task_state_store": store})
    again = operator().execute({**make_context("train"), "task_state_store": store})
    assert again == {**first, "enqueued": False}
    assert items(api) == [first["item_id"]]
    agent.fail()
    third = operator().execute({**make_context("train"), "task_state_store": store})
    assert third["enqueued"]
    assert store[STORED_JOB]["item_id"] == third["item_id"] != first["item_id"]


def test_a_job_that_is_waited_for_ends_with_its_run(api, agent, make_context):
    context = make_context("train")
    waiting = operator(wait_for_completion=True, deferrable=False, poll_interval=0.02, wait_timeout=30)

    def train():
        while not items(api):
            time.sleep(0.01)
        steps.finish_run(api, run=agent.start(api))

    thread = threading.Thread(target=train)
    thread.start()
    status = waiting.execute(context)
    thread.join()
    assert (status["state"], status["run_id"]) == ("finished", own_run_id(context))
    assert context["ti"].pushed["wandb_run_url"] == status["url"]


def run_of(api, agent, make_context, *, exit_code):
    operator().execute(make_context("train"))
    steps.finish_run(api, run=agent.start(api), exit_code=exit_code)


def test_a_bad_end_fails_for_good_unless_another_try_launches_again(api, agent, make_context):
    run_of(api, agent, make_context, exit_code=1)
    for deferrable in (False, True):
        with pytest.raises(AirflowFailException, match="RunFailed"):
            operator(wait_for_completion=True, deferrable=deferrable).execute(make_context("train"))
    tolerant = operator(wait_for_completion=True, fail_on=()).execute(make_context("train"))
    assert tolerant["state"] == "failed"
    again = operator(relaunch=True).execute(make_context("train"))
    assert (again["enqueued"], again["run_id"]) == (True, f"{own_run_id(make_context('train'))}-2")
    steps.finish_run(api, run=agent.start(api), exit_code=1)
    event = {"status": "done", "result": {"run": {**tolerant, "path": again["path"]}}}
    with pytest.raises(AirflowException) as caught:
        operator(relaunch=True).execute_complete(make_context("train"), event)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_job_that_no_agent_can_start_fails_for_good_unless_that_launches_again(api, agent, make_context):
    event = {"status": "error", "error": "QueueItemFailed", "message": "no image", "retryable": False}
    with pytest.raises(AirflowFailException, match="no image"):
        operator().execute_complete(make_context("train"), event)
    with pytest.raises(AirflowException, match="no image") as caught:
        operator(relaunch=True).execute_complete(make_context("train"), event)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_waiting_task_leaves_its_worker(server, api, agent, make_context):
    with pytest.raises(TaskDeferred) as deferred:
        operator(wait_for_completion=True, deferrable=True, wait_timeout=60).execute(make_context("train"))
    path, arguments = deferred.value.trigger.serialize()
    assert path == "airflow_provider.triggers.queue.WandbQueuedRunTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    assert server.api_key not in json.dumps(arguments)
    again = WandbQueuedRunTrigger(**arguments)
    assert again.serialize() == (path, arguments)
    queued = deferred.value.kwargs["queued"]
    end = threading.Timer(0.1, lambda: steps.finish_run(api, run=agent.start(api)))
    end.start()
    arguments["poll_interval"] = 0.02
    event = first_event(WandbQueuedRunTrigger(**arguments))
    end.join()
    context = make_context("train")
    status = operator(wait_for_completion=True).execute_complete(context, event, queued=queued)
    assert (status["path"], status["state"]) == (queued["path"], "finished")
    assert context["ti"].pushed["wandb_queue_url"] == queued["url"]


def test_a_wait_that_took_too_long_fails_this_try_only(api, agent, make_context):
    """Airflow never retries after its sensors' timeout; the next try of this task waits on."""
    event = {"status": "timeout", "message": "it did not come in time"}
    with pytest.raises(AirflowException, match="in time") as caught:
        operator().execute_complete(make_context("train"), event)
    assert not isinstance(caught.value, AirflowSensorTimeout | AirflowFailException)


def test_a_deferred_task_tells_its_assets_what_came(api, agent, make_context):
    run_of(api, agent, make_context, exit_code=0)
    status = steps.run_status(api, run=f"{api.default_entity}/p/{own_run_id(make_context('train'))}")
    asset = Asset(name="model")
    events = {asset: SimpleNamespace(extra={})}
    event = {"status": "done", "result": {"run": status.to_json()}}
    task = operator(outlets=[asset])
    task.execute_complete({**make_context("train"), "outlet_events": events}, event)
    assert events[asset].extra["path"] == status.path


def first_event(trigger):
    async def collect():
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(collect())
    return json.loads(json.dumps(event, allow_nan=False))


def trigger_for(queued, **options):
    job = {"run_queue": "q", "item_id": queued["item_id"], "project": "p", "run_id": queued["run_id"]}
    return WandbQueuedRunTrigger(**job, **{"end_time": time.time() + 20, "poll_interval": 0.02, **options})


def test_the_trigger_tells_of_a_job_that_failed_before_its_run(api, agent, make_context):
    queued = operator().execute(make_context("train"))
    agent.fail()
    event = first_event(trigger_for(queued))
    assert (event["status"], event["error"], event["retryable"]) == ("error", "QueueItemFailed", False)


def test_the_trigger_may_wait_for_the_beginning_only(api, agent, make_context):
    queued = operator().execute(make_context("train"))
    assert first_event(trigger_for(queued, end_time=time.time() + 0.05))["status"] == "timeout"
    agent.start(api)
    assert first_event(trigger_for(queued, until="running"))["result"]["run"]["state"] == "running"


@pytest.mark.parametrize("begun", [False, True])
def test_killing_the_waiting_task_takes_back_the_job(api, agent, make_context, begun):
    queued = operator().execute(make_context("train"))
    path = agent.start(api) if begun else None
    asyncio.run(trigger_for(queued).on_kill())
    assert len(items(api)) == 1
    asyncio.run(trigger_for(queued, cancel_on_kill=True).on_kill())
    if begun:
        assert steps.run_status(api, run=path).state in {"running", "stopping", "killed"}
        assert api.run(path).state
    else:
        assert items(api) == []


def test_killing_the_worker_takes_back_the_job(api, agent, make_context):
    task = operator(wait_for_completion=True, deferrable=False, poll_interval=0.01, wait_timeout=0.03)
    with pytest.raises(Exception, match="still queued"):
        task.execute(make_context("train"))
    kept = operator(cancel_on_kill=False)
    kept._waits_for = task._waits_for
    kept.on_kill()
    assert len(items(api)) == 1
    task.on_kill()
    assert items(api) == []
    task.on_kill()  # nothing is left to take back; it is not an error


def test_a_task_killed_in_the_middle_of_a_request_ends_all_the_same(api, agent, make_context, monkeypatch):
    """Airflow calls `on_kill` in a signal handler: what the interrupted code holds, it does not give back."""
    monkeypatch.setattr("airflow_provider.operators.enqueue.CANCEL_SECONDS", 0.05)
    task = operator()
    queued = task.execute(make_context("train"))
    task._waits_for = {name: queued[name] for name in ("queue", "item_id", "project", "entity", "run_id")}
    held, done = threading.Lock(), threading.Event()

    def get_conn():
        with held:
            return api

    task.hook.get_conn = get_conn
    monkeypatch.setattr(
        task, "_take_back", lambda job, take_back=task._take_back: (take_back(job), done.set())
    )
    with held:
        task.on_kill()
        assert len(items(api)) == 1
    assert done.wait(20)
    assert items(api) == []


def test_a_killed_task_without_a_server_says_so_and_ends(connection, make_context, caplog):
    connection(password="a" * 40, host="http://127.0.0.1:9", extra={"timeout": 0.05, "entity": "e"})
    task = operator()
    task._waits_for = {"queue": "q", "item_id": "i", "project": "p", "entity": "e", "run_id": ""}
    task.on_kill()
    event = trigger_for({"item_id": "i", "run_id": ""}, cancel_on_kill=True)
    asyncio.run(event.on_kill())
    assert "goes on" in caplog.text


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_sensor_waits_for_a_job_that_another_task_queued(api, agent, make_context, deferrable):
    queued = operator().execute(make_context("train"))
    sensor = {
        "task_id": "wait", "run_queue": "q", "project": "p", "item_id": queued["item_id"],
        "run_id": queued["run_id"], "deferrable": deferrable,
    }  # fmt: skip
    context = make_context("wait")
    if deferrable:
        with pytest.raises(TaskDeferred) as deferred:
            WandbQueuedRunSensor(**sensor).execute(context)
        assert deferred.value.trigger.item_id == queued["item_id"]
    else:
        with pytest.raises(AirflowSensorTimeout):
            WandbQueuedRunSensor(**sensor, poke_interval=0.01, timeout=0.03).execute(context)
    assert context["ti"].pushed["wandb_queue_url"] == queued["url"]
    steps.finish_run(api, run=agent.start(api))
    status = WandbQueuedRunSensor(**sensor).execute(context)
    assert (status["path"], status["state"]) == (queued["path"], "finished")
    assert context["ti"].pushed["run_path"] == queued["path"]


@pytest.mark.slow
def test_a_launched_training_in_a_dag(server, api, agent, run_dag):
    """Deferred for real: the job is taken and ends while the trigger waits."""
    with DAG("launched", schedule=None) as dag:
        operator(wait_for_completion=True, deferrable=True, poll_interval=0.05, wait_timeout=60)

    def train():
        while not items(api):
            time.sleep(0.02)
        path = agent.start(api)
        time.sleep(0.05)
        steps.finish_run(api, run=path)

    thread = threading.Thread(target=train)
    thread.start()
    outcome = run_dag(dag)
    thread.join()
    assert outcome.states == {"train": "success"}
    run = outcome.xcoms["train", "return_value"]
    assert run["state"] == "finished"
    assert outcome.xcoms["train", "_link_WandbRunLink"] == run["url"]
    # Not the queue's button: `dag.test` hands a resumed task the event only, where a triggerer hands on all.
    assert outcome.xcoms["train", "wandb_queue_url"]
    assert server.api_key not in "".join(outcome.raw + outcome.rendered)
