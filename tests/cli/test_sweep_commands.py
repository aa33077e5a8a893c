"""Sweeps on the command line: made once, looked at, waited for."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import wandb_ops
from wandb_ops.cli.main import cli
from wandb_ops.protocol.graphql import Operation, execute
from wandb_ops.transport.retry import Kind

CHANGE = Operation(
    name="UpsertSweep",
    kind=Kind.UPSERT,
    text="mutation UpsertSweep($id: ID!, $state: String!) {"
    " upsertSweep(input: {id: $id, state: $state}) { sweep { name } } }",
)
CONFIG = """
name: nightly
method: grid
metric: {name: loss, goal: minimize}
parameters:
  lr: {values: [0.1, 0.01]}
"""


def call(*arguments, text=None):
    return CliRunner().invoke(cli, ["sweep", *map(str, arguments)], input=text)


def made(project, *options, config=CONFIG):
    result = call("create", project, "--config", "-", "--json", *options, text=config)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def end(sweep, state):
    """End it as its owner would in the app."""
    api = wandb_ops.Api()
    execute(api.transport, CHANGE, {"id": api.sweep(sweep).load()["id"], "state": state}, where=sweep)


def test_a_sweep_is_made_once_under_the_name_of_its_file_or_of_the_caller(project, wandb_server_session):
    first, again = made(project), made(f"{wandb_server_session.entity}/{project}")
    assert (first["created"], again["created"], first["path"]) == (True, False, again["path"])
    assert first["name"] == "nightly"
    other = made(
        project, "--name", "mine", config=json.dumps({"method": "random", "parameters": {"lr": {"value": 1}}})
    )
    assert (other["name"], other["created"]) == ("mine", True)
    names = {sweep.name for sweep in wandb_ops.Api().project(project, first["entity"]).sweeps()}
    assert names == {"nightly", "mine"}
    assert "unchanged" in call("create", project, "--config", "-", text=CONFIG).output


def test_waiting_ends_with_the_sweep_and_tells_a_bad_end(project):
    path = made(project)["path"]
    going_on = call("wait", path, "--timeout", 0)
    assert going_on.exit_code == 75
    assert "still PENDING" in going_on.output
    end(path, "FINISHED")
    looked = json.loads(call("status", path, "--json").output)
    assert (looked["state"], looked["ended"], looked["succeeded"]) == ("FINISHED", True, True)
    assert json.loads(call("wait", path, "--json").output) == looked
    bad = made(project, "--name", "bad", config="{method: grid, parameters: {lr: {values: [1]}}}")["path"]
    end(bad, "CANCELED")
    ended = call("wait", bad)
    assert (ended.exit_code, "CANCELED" in ended.output) == (5, True)
    assert "CANCELED" in call("status", bad.rpartition("/")[2]).output


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        ("- a list", 2, "mapping"),
        ("{", 2, "not YAML"),
        ("{method: grid}", 2, "--name"),
        ("{name: nightly, method: random, parameters: {lr: {value: 1}}}", 1, "another configuration"),
    ],
)
def test_a_configuration_that_will_not_do_has_an_exit_code_and_words(project, config, code, words):
    made(project)
    result = call("create", project, "--config", "-", text=config)
    assert (result.exit_code, words in result.output) == (code, True), result.output


def test_a_sweep_that_does_not_exist_is_not_found(project):
    assert call("status", "none-such").exit_code == 4
