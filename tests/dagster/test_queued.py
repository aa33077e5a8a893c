"""A training done by W&B Launch, as an asset; an agent in a thread stands for the cluster."""

from __future__ import annotations

import json
import threading
import time

import dagster as dg
import pytest
import requests

from dagster_resources import build_wandb_launch_sensor, wandb_launch_asset
from dagster_resources.queued import is_another_try
from wandb_ops import TransportError

pytestmark = pytest.mark.dagster

POP = """mutation P($e: String!, $q: String!) { popFromRunQueue(input: {
  entityName: $e, projectName: "model-registry", queueName: $q}) { runQueueItemId runSpec } }"""
ACK = """mutation A($i: ID!, $r: String!) {
  ackRunQueueItem(input: {runQueueItemId: $i, runName: $r}) { success } }"""


def metadata_of(result):
    (event,) = result.get_asset_materialization_events()
    return event.materialization.metadata


@pytest.fixture
def queue(wandb, project):
    wandb.upsert_run_queue(name=project, resource_type="kubernetes", resource_config={})
    return project


@pytest.fixture
def agent(server, wandb, queue):
    """`agent(exit_codes)` takes that many jobs as they come and ends their runs so; gives back the specs."""

    def ask(query, **variables):
        with requests.Session() as http:
            http.trust_env = False
            http.auth = ("api", server.api_key)
            body = {"query": query, "variables": variables}
            return http.post(f"{server.url}/graphql", json=body, timeout=30).json()["data"]

    def work(*exit_codes):
        specs = []
        for code in exit_codes:
            while not (found := ask(POP, e=server.entity, q=queue)["popFromRunQueue"]):
                time.sleep(0.01)
            spec = found["runSpec"]
            specs.append(json.loads(spec) if isinstance(spec, str) else spec)
            run = wandb.create_run(project=specs[-1]["project"], run_id=specs[-1]["run_id"])
            ask(ACK, i=found["runQueueItemId"], r=run.run_id)
            wandb.finish_run(run=run.path, exit_code=code)
        return specs

    return work


def asset(project, queue, **options):
    return wandb_launch_asset(
        name="training", queue=queue, project=project, docker_image="train:1", poll_interval=0.02, **options
    )


def in_background(work, *arguments):
    thread = threading.Thread(target=work, args=arguments)
    thread.start()
    return thread


def test_a_launched_run_is_waited_for_and_linked(project, queue, agent, materialize, wandb):
    thread = in_background(agent, 0)
    metadata = metadata_of(materialize(asset(project, queue, run_config={"lr": 0.1})))
    thread.join()
    (run,) = wandb.list_runs(project=project)
    assert metadata["wandb/run_id"].value == run.run_id
    assert (metadata["state"].value, metadata["url"].value) == ("finished", run.url)


def test_a_run_that_fails_fails_the_step_without_a_retry(project, queue, agent, materialize):
    thread = in_background(agent, 3)
    result = materialize(asset(project, queue), raise_on_error=False)
    thread.join()
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "ended as failed" in failure.user_failure_data.description


def test_a_step_that_dies_and_is_retried_finds_its_run(project, queue, agent, wandb, materialize):
    """The first try times out; its run goes on, and the second one waits for that."""
    tries = asset(project, queue, timeout=0.0)

    specs = []
    thread = threading.Timer(0.0, lambda: specs.extend(agent(0)))
    thread.start()
    result = materialize(tries, raise_on_error=False)
    thread.join()
    assert [event for event in result.all_events if event.is_step_up_for_retry] or result.success
    assert len({spec["run_id"] for spec in specs}) == 1
    assert len(wandb.list_runs(project=project)) == 1


def failure_of(result):
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return failure.user_failure_data


def test_after_a_bad_end_a_retry_launches_another_run_where_the_policy_has_one(
    project, queue, agent, instance, wandb
):
    """Whether a failed training is tried again is the pipeline's own retry policy to say."""
    training = asset(project, queue)
    job = dg.define_asset_job("train", [training], op_retry_policy=dg.RetryPolicy(max_retries=1))
    defs = dg.Definitions(assets=[training], jobs=[job], resources={"wandb": wandb})
    thread = in_background(agent, 1, 0)
    ended = defs.resolve_job_def("train").execute_in_process(instance=instance, raise_on_error=False)
    thread.join()
    assert ended.success
    first, second = sorted(wandb.list_runs(project=project), key=lambda run: len(run.run_id))
    assert (first.state, second.state) == ("failed", "finished")
    assert second.run_id == f"{first.run_id}-2" == metadata_of(ended)["wandb/run_id"].value


@pytest.mark.parametrize(
    ("retry_number", "root", "again"), [(0, None, False), (1, None, True), (0, "first-run", True)]
)
def test_a_step_retry_and_a_reexecution_are_another_try(retry_number, root, again):
    run = dg.DagsterRun("train", run_id="now", root_run_id=root, parent_run_id=root)
    assert is_another_try(run, retry_number) is again


def test_without_relaunch_a_bad_end_is_final_whatever_the_policy(project, queue, agent, materialize, wandb):
    thread = in_background(agent, 1)
    result = materialize(asset(project, queue, relaunch=False), raise_on_error=False)
    thread.join()
    assert "ended as failed" in failure_of(result).description
    assert failure_of(result).metadata["error"].value == "RunFailed"


def test_a_terminated_run_stays_terminated_though_its_job_cannot_be_taken_back(
    project, queue, materialize, wandb
):
    """Else Dagster would run the step again that somebody has just ended."""

    class Ended(type(wandb)):
        def wait_for_queued_run(self, **job):
            raise dg.DagsterExecutionInterruptedError

        def cancel_queued_job(self, **job):
            raise TransportError("no answer")

    ended = Ended(base_url=wandb.base_url, api_key=wandb.api_key, entity=wandb.entity)
    with pytest.raises(dg.DagsterExecutionInterruptedError):
        materialize(asset(project, queue), resources={"wandb": ended})


@pytest.fixture
def tick(wandb, instance):
    def evaluate(launch, cursor=None):
        sensor = build_wandb_launch_sensor(launch, target=[launch])
        defs = dg.Definitions(assets=[launch], sensors=[sensor], resources={"wandb": wandb})
        with dg.build_sensor_context(
            instance_ref=instance.get_ref(), cursor=cursor, definitions=defs, resources={"wandb": wandb}
        ) as context:
            return sensor.evaluate_tick(context)

    return evaluate


def test_the_end_of_a_job_that_was_not_waited_for_is_told_once(
    project, queue, agent, materialize, instance, tick, wandb
):
    launch = asset(project, queue, wait=False)
    for _ in range(3):
        assert metadata_of(materialize(launch, instance=instance))["state"].value == "queued"
    waiting = tick(launch)
    assert "3 jobs have not ended" in waiting.skip_message
    agent(0, 1)
    outcome = tick(launch, waiting.cursor)
    assert [event.metadata["state"].value for event in outcome.asset_events] == ["finished", "failed"]
    (request,) = outcome.run_requests
    assert request.tags["wandb/state"] == "finished"
    later = tick(launch, outcome.cursor)
    assert "1 jobs have not ended" in later.skip_message
    (open_job,) = json.loads(later.cursor)["open"]
    wandb.cancel_queued_job(**{name: open_job[name] for name in ("queue", "item_id", "project")})
    gone = tick(launch, later.cursor)
    assert [event.metadata["state"].value for event in gone.asset_events] == ["no run"]
    assert "No job is open" in tick(launch, gone.cursor).skip_message


@pytest.mark.parametrize("partitioned", [False, True])
def test_the_job_that_follows_a_partition_need_not_have_partitions(
    project, queue, agent, materialize, instance, wandb, partitioned
):
    parts = dg.StaticPartitionsDefinition(["small", "large"])
    launch = asset(project, queue, wait=False, partitions_def=parts)

    @dg.asset(deps=[launch], partitions_def=parts if partitioned else None)
    def evaluated() -> None: ...

    target = dg.define_asset_job("evaluate", [evaluated])
    sensor = build_wandb_launch_sensor(launch, target=target)
    defs = dg.Definitions(
        assets=[launch, evaluated], jobs=[target], sensors=[sensor], resources={"wandb": wandb}
    )
    materialize(launch, partition_key="small", instance=instance)
    agent(0)
    with dg.build_sensor_context(
        instance_ref=instance.get_ref(), definitions=defs, resources={"wandb": wandb}
    ) as context:
        outcome = sensor.evaluate_tick(context)
    (request,) = outcome.run_requests
    assert request.partition_key == ("small" if partitioned else None)
    assert request.tags["wandb/state"] == "finished"
