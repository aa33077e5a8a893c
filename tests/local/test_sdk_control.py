"""The real SDK's steering: early stops, sweeps steered from the shell, a preempted run, a launch agent."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from wandb_ops.local.serve import LocalServer

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="the wandb SDK is not installed"),
]
LIMIT = 1200  # as in sdk_control_session.py


@dataclass(frozen=True)
class Session:
    server: LocalServer
    answers: dict[str, Any]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, run_sdk_script: Any) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("sdk-control")
    with LocalServer(data=folder / "data", entity="team") as server:
        yield Session(server, run_sdk_script(server, "sdk_control_session.py", folder))


def test_an_agent_stops_the_run_that_lags_behind_and_goes_on(session: Session) -> None:
    (_, good), (_, bad) = session.answers["race"]
    assert len(session.server.run("race", good).history) == 4
    assert 2 <= len(session.server.run("race", bad).history) < LIMIT
    assert session.server.run("race", good).state == "finished"
    assert session.server.run("race", bad).state != "running"
    assert session.answers["race state"] == "FINISHED"


def test_a_sweep_is_paused_resumed_and_stopped_from_the_shell(session: Session) -> None:
    assert session.answers["states"] == ["PAUSED", "RUNNING", "FINISHED"]


def test_a_run_that_said_so_and_failed_was_preempted(session: Session) -> None:
    assert session.server.run("spot/spot").state == "preempted"


def test_a_launch_agent_runs_a_queued_job(session: Session) -> None:
    state, log = session.answers["item"]
    assert state == "finished", log
    (item,) = session.server.queue_items("here")
    assert (item.state, item.spec["job"]) == ("FINISHED", "team/jobs/job:latest")
    assert item.run is not None
    run = session.server.run("jobs", item.run)
    assert [row["a"] for row in run.history] == [1]
    assert json.loads(run.files["wandb-metadata.json"])["program"].endswith("job.py")


def test_every_operation_that_the_sdk_has_is_one_of_this_server() -> None:
    """Its texts, as they are: each is valid against the schema."""
    from graphql import parse, validate
    from wandb.apis._generated import operations as public
    from wandb.sdk.artifacts._generated import operations as artifacts

    from wandb_ops.local.graphql import schema

    texts = {
        f"{module.__name__}.{name}": text
        for module in (public, artifacts)
        for name, text in vars(module).items()
        if name.endswith("_GQL")
    }
    assert len(texts) > 50
    wrong = {name: validate(schema(), parse(text)) for name, text in texts.items()}
    assert {name: errors for name, errors in wrong.items() if errors} == {}
