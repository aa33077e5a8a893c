"""Every wait there is, in the objects and in the steps, behaves alike when W&B or its caller does not."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import pytest

import wandb_ops
from wandb_ops import ServerError, UsageError, WaitTimeout, steps
from wandb_ops.polling import MAX_FAILURES
from wandb_ops.testing import Fault
from wandb_ops.transport.retry import RetryPolicy
from wandb_ops.transport.session import Transport


class Time:
    """A clock that only waiting moves; `on` is called before each wait with the seconds waited so far."""

    def __init__(self, on=lambda _waited: None):
        self.now, self.on = 0.0, on

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.on(self.now)
        self.now += seconds


@pytest.fixture
def world(wandb_server_session, project):
    """A run that goes on, a sweep that goes on, and a job that nobody takes; no call is tried twice."""
    server = wandb_server_session
    api = wandb_ops.Api(overrides={"base_url": server.url, "entity": server.entity}, api_key=server.api_key)
    run = steps.create_run(api, project=project, run_id="r").path
    sweep = steps.create_sweep(
        api, project=project, name="s", config={"method": "grid", "parameters": {"lr": {"values": [1, 2]}}}
    ).path
    queue = f"q-{uuid.uuid4().hex[:8]}"
    steps.upsert_run_queue(api, name=queue, resource_type="kubernetes", resource_config={})
    job = steps.enqueue_job(api, queue=queue, project=project, docker_image="x")
    loaded = api.run(run)
    item = api.queued_run(api.default_entity, project, queue, job.item_id)
    once = Transport(api.transport.settings, policy=RetryPolicy(attempts=1))
    api._transport = loaded._transport = item._transport = once
    return SimpleNamespace(
        server=server,
        waits={
            "Run.wait_until_finished": loaded.wait_until_finished,
            "QueuedRun.wait_until_running": item.wait_until_running,
            "QueuedRun.wait_until_finished": item.wait_until_finished,
            "wait_for_run": lambda **given: steps.wait_for_run(api, run=run, **given),
            "wait_for_queued_run": lambda **given: steps.wait_for_queued_run(
                api, queue=queue, item_id=job.item_id, project=project, **given
            ),
            "wait_for_sweep": lambda **given: steps.wait_for_sweep(api, sweep=sweep, **given),
        },
    )


WAITS = (
    "Run.wait_until_finished",
    "QueuedRun.wait_until_running",
    "QueuedRun.wait_until_finished",
    "wait_for_run",
    "wait_for_queued_run",
    "wait_for_sweep",
)


@pytest.mark.parametrize("name", WAITS)
def test_each_wait_gives_up_in_time_outlives_an_outage_and_lets_an_interrupt_through(world, name):
    wait = world.waits[name]
    time = Time()
    with pytest.raises(WaitTimeout, match=r"is still .* after 25 s"):
        wait(timeout=25.0, poll_interval=10.0, sleep=time.sleep, clock=time.clock)
    assert time.now == 25.0

    # W&B is away for three looks: the pauses double, and the wait goes on.
    time = Time()
    world.server.fail_next(times=3)
    with pytest.raises(WaitTimeout):
        wait(timeout=100.0, poll_interval=10.0, sleep=time.sleep, clock=time.clock)
    assert time.now == 100.0

    time = Time()
    with world.server.faults(Fault(status=502, times=None)), pytest.raises(ServerError, match="502"):
        wait(timeout=1e6, poll_interval=1.0, sleep=time.sleep, clock=time.clock)
    assert time.now == sum(2.0**n for n in range(MAX_FAILURES))

    def interrupt(_waited):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait(timeout=10.0, poll_interval=1.0, sleep=Time(interrupt).sleep, clock=time.clock)
    with pytest.raises(UsageError, match="poll_interval"):
        wait(timeout=10.0, poll_interval=0)
    with pytest.raises(UsageError, match="timeout"):
        wait(timeout=-1.0)
