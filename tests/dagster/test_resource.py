"""The resource: lazy, thin, silent about its key."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg
import pytest

from dagster_resources import WandbResource, wandb_failures
from wandb_ops import steps
from wandb_ops.errors import (
    AmbiguousOutcome,
    AuthenticationError,
    GraphQLError,
    IncompleteHistory,
    NotFoundError,
    RateLimited,
    ServerError,
)

pytestmark = pytest.mark.dagster

SENTINEL = "5e11715e" * 5


def test_a_resource_is_made_without_any_request():
    """A definition loads in every worker; it must not ask the server, nor need one."""
    resource = WandbResource(base_url="http://127.0.0.1:9", api_key=SENTINEL)
    assert resource.get_client() is resource.get_client()
    assert resource.api is resource.get_client()


def test_the_connection_test_says_who_we_are(wandb, server):
    found = wandb.test_connection()
    assert found.base_url == server.url
    assert found.entity == server.entity
    assert found.account


def test_the_resources_entity_comes_before_the_accounts_own(server):
    """Else an asset that names no entity writes to the personal account instead of the team."""
    account = WandbResource(base_url=server.url, api_key=server.api_key)
    team = WandbResource(base_url=server.url, api_key=server.api_key, entity="my-team")
    assert account.resolve_entity() == server.entity
    assert (team.resolve_entity(), team.resolve_entity("other")) == ("my-team", "other")
    assert team.test_connection().entity == "my-team"


def test_a_wrong_key_is_refused_by_name(server):
    with pytest.raises(AuthenticationError, match="from the api_key of the Dagster resource WandbResource"):
        WandbResource(base_url=server.url, api_key=SENTINEL).test_connection()


def test_env_vars_work_though_dagster_has_not_resolved_them(server, monkeypatch):
    """A resource used as a plain object, as in a script or at load time, holds unresolved EnvVars."""
    monkeypatch.setenv("TEST_WANDB_KEY", server.api_key)
    monkeypatch.setenv("TEST_WANDB_URL", server.url)
    resource = WandbResource(base_url=dg.EnvVar("TEST_WANDB_URL"), api_key=dg.EnvVar("TEST_WANDB_KEY"))
    assert resource.test_connection().base_url == server.url


def test_env_vars_work_in_an_asset(server, monkeypatch):
    monkeypatch.setenv("TEST_WANDB_KEY", server.api_key)

    @dg.asset
    def account(wandb: WandbResource) -> str:
        return wandb.test_connection().account

    resource = WandbResource(base_url=server.url, api_key=dg.EnvVar("TEST_WANDB_KEY"))
    result = dg.materialize([account], resources={"wandb": resource})
    assert result.output_for_node("account") == resource.test_connection().account


def test_each_method_is_the_step_of_its_name():
    verbs = ("run", "metrics", "job", "queue", "artifact", "export", "status", "runs", "versions", "project")
    steps_of_the_api = [name for name in steps.__all__ if name.islower() and name.endswith(verbs)]
    apart = {"check_export"}  # takes no client
    assert len(steps_of_the_api) > 15
    for name in {*steps_of_the_api, "snapshot", "sync_tensorboard", "upsert_run_queue"} - apart:
        method = getattr(WandbResource, name)
        assert method.__wrapped__ is getattr(steps, name)
        assert method.__doc__ == getattr(steps, name).__doc__


def test_the_key_is_a_secret_to_dagster_and_absent_from_text(capsys):
    """Field marked as secret: the UI masks it. And repr, the form that reaches logs, leaves it out."""
    resource = WandbResource(base_url="http://127.0.0.1:9", api_key=SENTINEL)
    resource.get_client()
    assert SENTINEL not in repr(resource)
    assert SENTINEL not in str(resource)
    schema = WandbResource.to_config_schema().as_field().config_type.fields
    assert schema["api_key"].is_secret
    assert not schema["entity"].is_secret


def test_an_env_var_key_is_known_to_dagster_by_its_name_only(monkeypatch):
    """What the code location hands to the UI holds the variable's name, never its value."""
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster_shared.serdes import serialize_value

    monkeypatch.setenv("TEST_WANDB_KEY", SENTINEL)
    defs = dg.Definitions(resources={"wandb": WandbResource(api_key=dg.EnvVar("TEST_WANDB_KEY"))})
    snap = serialize_value(RepositorySnap.from_def(defs.get_repository_def()))
    assert "TEST_WANDB_KEY" in snap
    assert SENTINEL not in snap


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (RateLimited("slow down", retry_after=400.0), 400.0),
        (RateLimited("slow down"), 30.0),
        (ServerError("down", status=502), 30.0),
        (IncompleteHistory("short", expected=2, received=1), 30.0),
        (GraphQLError("internal error", transient=True), 30.0),
    ],
)
def test_errors_that_pass_become_a_retry_at_the_time_the_server_names(error, wait):
    with pytest.raises(dg.RetryRequested) as caught, wandb_failures(max_retries=5):
        raise error
    assert caught.value.seconds_to_wait == wait
    assert caught.value.max_retries == 5
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [NotFoundError("no such run", where="a/b/c"), AmbiguousOutcome("lost"), GraphQLError("bad id")],
)
def test_errors_that_stay_become_a_failure_without_retries(error):
    with pytest.raises(dg.Failure) as caught, wandb_failures():
        raise error
    assert caught.value.allow_retries is False
    assert caught.value.metadata["error"].value == type(error).__name__
    assert caught.value.description == str(error)


def test_dagster_runs_the_step_again_after_a_passing_error():
    tries = []

    @dg.asset
    def flaky() -> int:
        with wandb_failures(max_retries=2, retry_delay=0):
            tries.append(1)
            if len(tries) < 3:
                raise ServerError("down", status=503)
        return len(tries)

    assert dg.materialize([flaky]).output_for_node("flaky") == 3


def test_importing_the_package_loads_nothing_heavy_and_asks_nobody():
    """In a fresh interpreter: what Dagster itself loads, and no more."""
    code = """
import socket, sys
def refuse(*args, **kwargs): raise AssertionError("network at import")
socket.socket.connect = refuse
import dagster
before = set(sys.modules)
import dagster_resources
heavy = {"pandas", "pyarrow", "numpy", "matplotlib", "rich"} & (set(sys.modules) - before)
assert not heavy, heavy
assert sorted(dagster_resources.__all__) == dagster_resources.__all__
missing = [name for name in dagster_resources.__all__ if not hasattr(dagster_resources, name)]
assert not missing, missing
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
