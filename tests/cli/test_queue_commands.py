"""Jobs put on a queue and waited for, on the command line."""

from __future__ import annotations

import json
import uuid

import pytest
from click.testing import CliRunner

import wandb_ops
from wandb_ops import steps
from wandb_ops.cli.main import cli


@pytest.fixture
def queue(wandb_server_session, monkeypatch):
    """A queue on the server that the environment leads to."""
    for name, value in wandb_server_session.env.items():
        monkeypatch.setenv(name, value)
    name = f"q-{uuid.uuid4().hex[:8]}"
    steps.upsert_run_queue(
        wandb_ops.Api(), name=name, resource_type="local-process", resource_config={"a": 1}
    )
    return name


def call(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_a_job_is_enqueued_once_its_run_decides(queue, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"lr": 0.1}')
    project = f"p-{uuid.uuid4().hex[:8]}"
    arguments = ("queue", "enqueue", queue, "--project", project, "--image", "python", "--run-id", "mine")
    first = json.loads(call(*arguments, "--config", config, "--json").output)
    assert (first["enqueued"], first["run_id"]) == (True, "mine")
    wandb_ops.Api().create_run(run_id="mine", project=project)
    assert json.loads(call(*arguments, "--json").output)["enqueued"] is False
    assert "the run is there" in call(*arguments).output


def test_waiting_tells_what_became_of_the_item(queue):
    project = f"p-{uuid.uuid4().hex[:8]}"
    queued = steps.enqueue_job(wandb_ops.Api(), queue=queue, project=project, docker_image="python")
    arguments = ("queue", "wait", queue, queued.item_id, "--project", project, "--timeout", 0)
    assert "still queued" in call(*arguments).output
    entity = wandb_ops.Api().default_entity
    wandb_ops.Api().queued_run(entity, project, queue, queued.item_id).delete()
    failed = call(*arguments)
    assert failed.exit_code != 0
    assert "removed" in failed.output
