"""Sweeps made once by their name, and waited for."""

from __future__ import annotations

import json

import pytest

from wandb_ops import RunConflict, RunFailed, UsageError, WaitTimeout, steps
from wandb_ops.protocol.graphql import Operation, execute
from wandb_ops.transport.retry import Kind

CONFIG = {
    "method": "grid",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"values": [0.1, 0.01]}, "epochs": {"value": 3}},
}
CHANGE = Operation(
    name="UpsertSweep",
    kind=Kind.UPSERT,
    text="mutation UpsertSweep($id: ID!, $state: String!) {"
    " upsertSweep(input: {id: $id, state: $state}) { sweep { name } } }",
)


def end(api, sweep, state):
    found = api.sweep(sweep.path)
    execute(api.transport, CHANGE, {"id": found.load()["id"], "state": state}, where=sweep.path)


class Time:
    """A clock that only waiting moves; `event` happens after `at` seconds."""

    def __init__(self, at, event):
        self.now, self.at, self.event = 0.0, at, event

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        if self.event is not None and self.now >= self.at:
            self.event, event = None, self.event
            event()


def test_a_sweep_is_made_once_in_a_project_that_need_not_exist(api, project):
    wanted = {"project": project, "name": "nightly 2026-01-01", "config": CONFIG}
    first, again = steps.create_sweep(api, **wanted), steps.create_sweep(api, **wanted)
    assert (first.created, again.created) == (True, False)
    assert first.path == again.path
    assert (first.name, first.ended, first.runs) == ("nightly 2026-01-01", False, 0)
    json.dumps(first.to_json())
    (found,) = api.project(project, api.default_entity).sweeps()
    assert found.config == {**CONFIG, "name": "nightly 2026-01-01"}
    other = steps.create_sweep(api, project=project, name="nightly 2026-01-02", config=CONFIG)
    assert other.path != first.path


def test_a_name_with_another_configuration_is_refused(api, project):
    steps.create_sweep(api, project=project, name="n", config=CONFIG)
    with pytest.raises(RunConflict, match="another configuration"):
        steps.create_sweep(api, project=project, name="n", config={**CONFIG, "method": "random"})
    for arguments in ({"name": " ", "config": CONFIG}, {"name": "x", "config": {}}):
        with pytest.raises(UsageError, match="name and a configuration"):
            steps.create_sweep(api, project=project, **arguments)


def test_the_wait_ends_with_the_sweep_and_tells_its_best_run(api, project):
    sweep = steps.create_sweep(api, project=project, name="n", config=CONFIG)
    time = Time(35, lambda: end(api, sweep, "FINISHED"))
    status = steps.wait_for_sweep(
        api, sweep=sweep.path, timeout=100, poll_interval=10, sleep=time.sleep, clock=time.clock
    )
    assert (status.state, status.ended, time.now) == ("FINISHED", True, 40.0)


def test_a_sweep_that_was_cancelled_or_never_ends_is_an_error(api, project):
    sweep = steps.create_sweep(api, project=project, name="n", config=CONFIG)
    time = Time(0, None)
    with pytest.raises(WaitTimeout, match="after 100 s"):
        steps.wait_for_sweep(api, sweep=sweep.path, timeout=100, sleep=time.sleep, clock=time.clock)
    end(api, sweep, "CANCELED")
    with pytest.raises(RunFailed, match="CANCELED"):
        steps.wait_for_sweep(api, sweep=sweep.path, timeout=0)
    told = steps.wait_for_sweep(api, sweep=sweep.path, timeout=0, fail_on_bad_end=False)
    assert told.state == "CANCELED"


def test_a_configuration_with_tuples_is_found_again(api, project):
    """YAML has lists only; what comes back is not what was given."""
    wanted = {**CONFIG, "parameters": {"lr": {"values": (0.1, 0.01)}}}
    first = steps.create_sweep(api, project=project, name="n", config=wanted)
    again = steps.create_sweep(api, project=project, name="n", config=wanted)
    assert (again.path, again.created) == (first.path, False)


def test_a_configuration_that_is_not_plain_data_makes_nothing(api, project):
    with pytest.raises(UsageError, match="plain data"):
        steps.create_sweep(api, project=project, name="n", config={"method": object()})
    assert project not in [found.name for found in api.projects(api.default_entity)]
