"""`wandb-ops sync-tensorboard`, as a person and as a service manager use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

import wandb_ops
from wandb_ops import steps
from wandb_ops.cli.main import cli
from wandb_ops.errors import UsageError
from wandb_ops.protocol.runs import upsert_run

NAME = "events.out.tfevents.1700000000.host"


@pytest.fixture
def call(wandb_server, monkeypatch):
    """Runs the command against a fresh server."""
    for name, value in {**wandb_server.env, "WANDB_PROJECT": "tb"}.items():
        monkeypatch.setenv(name, value)
    return lambda *words: CliRunner().invoke(cli, ["sync-tensorboard", *map(str, words)])


@pytest.fixture
def folder(tmp_path, append_events, scalar_event):
    append_events(tmp_path / "train" / NAME, [scalar_event("loss", n, n, 1.0 + n) for n in range(5)])
    return tmp_path


def test_a_sync_says_what_it_did(call, folder, wandb_server):
    result = call(folder, "--run-id", "r")
    assert result.exit_code == 0, result.output
    assert "5 new, 5 in all" in result.output
    assert "5 scalars, 0 histograms and media" in result.output
    assert len(wandb_server.run("tb", "r").history_rows()) == 5


def test_the_folder_finds_its_run_again(call, folder):
    first, again = (json.loads(call(folder, "--json").output) for _ in range(2))
    assert (first["rows"], again["rows"]) == (5, 0)
    assert first["run_id"] == again["run_id"]


def test_the_prefixed_step_can_be_asked_for(call, folder, wandb_server):
    assert call(folder, "--run-id", "r", "--prefixed-step").exit_code == 0
    assert [row["train/global_step"] for row in wandb_server.run("tb", "r").history_rows()] == [*range(5)]


def test_following_ends_after_the_idle_limit_with_the_run_finished(call, folder, wandb_server):
    result = call(folder, "--run-id", "r", "--follow", "--idle", 0.1, "--poll", 0.02, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["rows"] == 5
    assert wandb_server.run("tb", "r").state == "finished"


def test_a_bar_is_shown_when_asked_for_and_never_in_the_json(call, folder):
    result = call(folder, "--progress", "--json")
    assert json.loads(result.stdout)["rows"] == 5
    assert call(folder).stderr == ""


def test_an_idle_limit_without_following_is_a_wrong_call(call, folder):
    result = call(folder, "--idle", 5)
    assert result.exit_code == 2
    assert "--follow" in result.output


def test_a_folder_that_is_not_there_is_a_wrong_call(call, tmp_path):
    assert call(tmp_path / "absent").exit_code == 2


def test_a_folder_in_a_store_can_be_named_by_its_url(call, folder, bucket):
    import fsspec

    fsspec.filesystem("s3").put(
        str(folder / "train"), f"{bucket.removeprefix('s3://')}/train", recursive=True
    )
    first, again = (json.loads(call(bucket, "--json").output) for _ in range(2))
    assert (first["rows"], again["rows"]) == (5, 0)
    assert first["run_id"] == again["run_id"]


def eventually(check):
    """Until `check` holds; the test's own limit of time is generous."""
    end = time.monotonic() + 30
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_following_with_everything_sent_and_the_run_finished(
    wandb_server, transport, folder, append_events, scalar_event, number
):
    upsert_run(transport, entity=wandb_server.entity, project="tb", run_id="r")
    command = [sys.executable, "-m", "wandb_ops.cli", "sync-tensorboard", str(folder)]
    follower = subprocess.Popen(
        [*command, "--project", "tb", "--run-id", "r", "--follow", "--poll", "0.02", "--json"],
        env=os.environ | wandb_server.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # Of the last step more may come: it is held back.
        eventually(lambda: len(wandb_server.run("tb", "r").history_rows()) == 4)
        append_events(folder / "train" / NAME, [scalar_event("acc", 0.5, 4, 9.0)])
        follower.send_signal(number)
        said, errors = follower.communicate(timeout=60)
    finally:
        follower.kill()
        follower.wait()
    assert (follower.returncode, errors) == (0, "")
    assert json.loads(said)["rows"] == 5
    run = wandb_server.run("tb", "r")
    assert (run.state, run.history_rows()[-1]["train/acc"]) == ("finished", 0.5)


def test_the_step_follows_too_and_refuses_what_is_no_folder(wandb_server, folder, monkeypatch):
    for name, value in wandb_server.env.items():
        monkeypatch.setenv(name, value)
    api = wandb_ops.Api()
    told = []
    result = steps.follow_tensorboard(
        api, folder, project="tb", should_stop=lambda: True, progress=lambda *numbers: told.append(numbers)
    )
    assert (result.rows, result.last_step) == (5, 4)
    size = (folder / "train" / NAME).stat().st_size
    assert told[-1][:2] == (size, size)
    with pytest.raises(UsageError, match="is not a folder"):
        steps.sync_tensorboard(api, folder / "absent", project="tb")
