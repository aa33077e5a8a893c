"""Jobs put on a launch queue, and waited for until they end, however they end."""

from __future__ import annotations

import json
import uuid

import pytest
import requests

from wandb_ops import NotFoundError, QueueItemFailed, RunFailed, UsageError, WaitTimeout, steps

POP = """mutation P($e: String!, $q: String!) { popFromRunQueue(input: {
  entityName: $e, projectName: "model-registry", queueName: $q}) { runQueueItemId runSpec } }"""
ACK = """mutation A($i: ID!, $r: String!) {
  ackRunQueueItem(input: {runQueueItemId: $i, runName: $r}) { success } }"""
FAIL = """mutation F($i: ID!) {
  failRunQueueItem(input: {runQueueItemId: $i, message: "no image", stage: "build"}) { success } }"""


class LaunchAgent:
    """What a launch agent does, over plain HTTP."""

    def __init__(self, server, queue):
        self.server = server
        self.queue = queue
        self.http = requests.Session()
        self.http.auth = ("api", server.api_key)
        self.http.trust_env = False

    def ask(self, query, **variables):
        body = self.http.post(
            f"{self.server.url}/graphql", json={"query": query, "variables": variables}, timeout=30
        ).json()
        assert "errors" not in body, body
        return body["data"]

    def take(self):
        """The next item: its id and spec."""
        found = self.ask(POP, e=self.server.entity, q=self.queue)["popFromRunQueue"]
        spec = found["runSpec"]
        return found["runQueueItemId"], json.loads(spec) if isinstance(spec, str) else spec


class Time:
    """A clock that only waiting moves; `events` happen when that long was waited."""

    def __init__(self, **events):
        self.now = 0.0
        self.events = sorted((float(at.lstrip("s")), event) for at, event in events.items())

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        while self.events and self.events[0][0] <= self.now:
            self.events.pop(0)[1]()


@pytest.fixture
def queue(api):
    name = f"q-{uuid.uuid4().hex[:8]}"
    steps.upsert_run_queue(
        api,
        name=name,
        resource_type="kubernetes",
        resource_config={"gpus": "{{gpus}}"},
        template_variables={"gpus": {"schema": {"type": "integer", "default": 1}}},
    )
    return name


@pytest.fixture
def agent(wandb_server_session, queue):
    return LaunchAgent(wandb_server_session, queue)


def wait(api, queued, time, **options):
    return steps.wait_for_queued_run(
        api,
        queue=queued.queue,
        item_id=queued.item_id,
        project=queued.project,
        **{"timeout": 100, "poll_interval": 10, "sleep": time.sleep, "clock": time.clock, **options},
    )


def test_an_agent_gets_what_was_enqueued(api, project, queue, agent):
    job = f"{api.default_entity}/jobs/train:v3"
    queued = steps.enqueue_job(
        api, queue=queue, project=project, job=job, run_id="mine", name="shown", run_config={"lr": 0.1},
        entry_point=["python", "train.py"], arguments=["--fast"], template_variables={"gpus": 4}, priority=1,
    )  # fmt: skip
    assert queued.enqueued
    assert (queued.run_id, queued.path) == ("mine", f"{api.default_entity}/{project}/mine")
    json.dumps(queued.to_json())
    item_id, spec = agent.take()
    assert item_id == queued.item_id
    assert (spec["job"], spec["project"], spec["run_id"], spec["name"]) == (job, project, "mine", "shown")
    assert (spec["entity"], spec["resource"]) == (api.default_entity, "kubernetes")
    assert spec["overrides"] == {
        "run_config": {"lr": 0.1}, "entry_point": ["python", "train.py"], "args": ["--fast"],
    }  # fmt: skip
    assert spec["template_variables"] == {"gpus": 4}


def test_a_job_whose_run_is_there_is_not_enqueued_again(api, project, queue):
    wanted = {"queue": queue, "project": project, "docker_image": "python:3.12", "run_id": "once"}
    assert steps.enqueue_job(api, **wanted).enqueued
    api.create_run(run_id="once", project=project)
    again = steps.enqueue_job(api, **wanted)
    assert (again.enqueued, again.item_id) == (False, "")
    assert len(api.run_queue(api.default_entity, queue).items) == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "one of"),
        ({"job": "a/b/c:v0", "docker_image": "x"}, "one of"),
        ({"job": "just-a-name"}, "no job"),
        ({"docker_image": "x", "priority": 7}, "priority"),
        ({"docker_image": "x", "arguments": "--fast"}, "list of texts"),
    ],
)
def test_what_cannot_be_enqueued_is_refused_before_anything_is_sent(api, project, queue, options, reason):
    with pytest.raises(UsageError, match=reason):
        steps.enqueue_job(api, queue=queue, project=project, **options)
    assert api.run_queue(api.default_entity, queue).items == []


def test_a_queue_that_is_not_there_is_named(api, project):
    with pytest.raises(NotFoundError, match="no queue 'nothing'"):
        steps.enqueue_job(api, queue="nothing", project=project, docker_image="x")


def test_the_wait_ends_with_the_run(api, project, queue, agent):
    queued = steps.enqueue_job(api, queue=queue, project=project, docker_image="x")

    def begin():
        item_id, _ = agent.take()
        api.create_run(run_id="r", project=project)
        assert agent.ask(ACK, i=item_id, r="r")["ackRunQueueItem"]["success"]

    def end():
        steps.finish_run(api, run=f"{project}/r")

    status = wait(api, queued, Time(s15=begin, s45=end))
    assert (status.run_id, status.state, status.succeeded) == ("r", "finished", True)
    item = api.queued_run(api.default_entity, project, queue, queued.item_id)
    assert item.state == "finished"  # the item follows its run


def test_waiting_until_running_returns_at_once(api, project, queue, agent):
    queued = steps.enqueue_job(api, queue=queue, project=project, docker_image="x")
    item_id, _ = agent.take()
    api.create_run(run_id="r", project=project)
    agent.ask(ACK, i=item_id, r="r")
    status = wait(api, queued, Time(), until="running")
    assert (status.state, status.terminal) == ("running", False)
    assert api.queued_run(api.default_entity, project, queue, item_id).state == "claimed"


def test_a_run_that_failed_raises_or_is_told(api, project, queue, agent):
    queued = steps.enqueue_job(api, queue=queue, project=project, docker_image="x")
    item_id, _ = agent.take()
    api.create_run(run_id="r", project=project)
    agent.ask(ACK, i=item_id, r="r")
    steps.finish_run(api, run=f"{project}/r", exit_code=3)
    with pytest.raises(RunFailed, match="failed"):
        wait(api, queued, Time())
    status = wait(api, queued, Time(), fail_on_bad_end=False)
    assert (status.state, status.terminal, status.succeeded) == ("failed", True, False)


def test_an_item_that_failed_or_was_removed_ends_the_wait(api, project, queue, agent):
    failed = steps.enqueue_job(api, queue=queue, project=project, docker_image="x")
    removed = steps.enqueue_job(api, queue=queue, project=project, docker_image="x")

    def fail():
        item_id, _ = agent.take()
        assert item_id == failed.item_id
        agent.ask(FAIL, i=item_id)

    def remove():
        api.queued_run(api.default_entity, project, queue, removed.item_id).delete()

    with pytest.raises(QueueItemFailed, match="failed"):
        wait(api, failed, Time(s20=fail))
    with pytest.raises(QueueItemFailed, match="removed"):
        wait(api, removed, Time(s20=remove))


def test_an_item_that_nobody_takes_times_out(api, project, queue):
    queued = steps.enqueue_job(api, queue=queue, project=project, docker_image="x")
    time = Time()
    with pytest.raises(WaitTimeout, match="still queued"):
        wait(api, queued, time)
    assert time.now == pytest.approx(100)
    with pytest.raises(UsageError, match="poll_interval"):
        wait(api, queued, time, poll_interval=0)


def look(api, queued):
    return steps.queued_run_status(
        api, queue=queued.queue, item_id=queued.item_id, project=queued.project, run_id=queued.run_id
    )


def test_one_look_tells_how_far_a_job_is(api, project, queue, agent):
    queued = steps.enqueue_job(api, queue=queue, project=project, docker_image="x", run_id="r")
    before = look(api, queued)
    assert (before.state, before.run) == ("queued", None)
    assert before.to_json()["run"] is None
    item_id, _ = agent.take()
    api.create_run(run_id="r", project=project)
    agent.ask(ACK, i=item_id, r="r")
    after = look(api, queued)
    assert (after.state, after.run.run_id, after.run.terminal) == ("running", "r", False)
    assert json.loads(json.dumps(after.to_json()))["run"]["path"] == queued.path


def test_a_job_that_queued_nothing_is_waited_for_by_its_run(api, project, queue):
    api.create_run(run_id="r", project=project)
    queued = steps.enqueue_job(api, queue=queue, project=project, docker_image="x", run_id="r")
    assert queued.item_id == ""
    time = Time(s25=lambda: steps.finish_run(api, run=queued.path))
    assert wait(api, queued, time, run_id=queued.run_id).state == "finished"
    with pytest.raises(UsageError, match="neither"):
        wait(api, queued, time)


def test_a_run_that_ended_badly_is_launched_again_when_asked(api, project, queue):
    wanted = {"queue": queue, "project": project, "docker_image": "x", "run_id": "r"}
    for number, name in enumerate(("r", "r-2"), start=1):
        api.create_run(run_id=name, project=project)
        steps.finish_run(api, run=f"{project}/{name}", exit_code=1)
        assert steps.enqueue_job(api, **wanted).run_id == "r"
        again = steps.enqueue_job(api, **wanted, relaunch=True)
        assert (again.run_id, again.enqueued) == (f"r-{number + 1}", True)
    api.create_run(run_id="r-3", project=project)
    going_on = steps.enqueue_job(api, **wanted, relaunch=True)
    assert (going_on.run_id, going_on.enqueued) == ("r-3", False)


def test_a_job_that_nobody_took_is_taken_off_the_queue(api, project, queue):
    queued = steps.enqueue_job(api, queue=queue, project=project, docker_image="x")
    where = {"queue": queue, "project": project, "item_id": queued.item_id}
    assert steps.cancel_queued_job(api, **where).action == "removed"
    assert api.run_queue(api.default_entity, queue).items == []
    assert steps.cancel_queued_job(api, **where).action == "ended"


def test_a_job_that_became_a_run_is_asked_to_stop(api, project, queue, agent):
    queued = steps.enqueue_job(api, queue=queue, project=project, docker_image="x")
    where = {"queue": queue, "project": project, "item_id": queued.item_id}
    agent.take()
    api.create_run(run_id="r", project=project)
    agent.ask(ACK, i=queued.item_id, r="r")
    done = steps.cancel_queued_job(api, **where)
    assert (done.action, done.path) == ("stopping", f"{api.default_entity}/{project}/r")
    steps.finish_run(api, run=done.path, exit_code=255)
    assert steps.cancel_queued_job(api, **where).action == "ended"


def test_a_project_given_as_a_path_is_told_how_to_be_given(api, project, queue):
    for call in (
        lambda: steps.create_run(api, project="team/churn"),
        lambda: steps.enqueue_job(api, queue=queue, project="team/churn", docker_image="x"),
    ):
        with pytest.raises(UsageError, match="entity='team', project='churn'"):
            call()
    with pytest.raises(UsageError, match="not the name"):
        steps.create_run(api, project="/")
    with pytest.raises(UsageError, match="not a run's id"):
        steps.create_run(api, project=project, run_id=f"{project}/r")
