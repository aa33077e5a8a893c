"""From an Airflow connection to a client."""

from __future__ import annotations

import os

import pytest
from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider.hooks.wandb import DEFAULT_SERVER, WandbHook, client_arguments
from wandb_ops.errors import CredentialsError, UsageError

pytestmark = pytest.mark.airflow

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, DEFAULT_SERVER),
        ({"host": "https://wandb.example.com/"}, "https://wandb.example.com"),
        ({"host": "wandb.example.com"}, "https://wandb.example.com"),
        ({"host": "wandb.example.com", "port": 8443}, "https://wandb.example.com:8443"),
        ({"host": "wandb.example.com", "schema": "http"}, "http://wandb.example.com"),
        ({"host": "https://wandb.example.com:1", "port": 2}, "https://wandb.example.com:1"),
        ({"host": "http://127.0.0.1", "port": 8080}, "http://127.0.0.1:8080"),
    ],
)
def test_the_host_says_which_server(fields, base_url, connection):
    connection(password=KEY, **fields)
    arguments = client_arguments(WandbHook.get_connection("wandb_default"))
    source = "the Airflow connection 'wandb_default'"
    assert arguments == {"api_key": KEY, "overrides": {"base_url": base_url, "key_source": source}}


def test_the_extra_fields_become_defaults(connection):
    connection(
        password=KEY, extra={"entity": "team", "project": "churn", "timeout": "12.5", "allow_http": True}
    )
    arguments = client_arguments(WandbHook.get_connection("wandb_default"))
    assert arguments["timeout"] == 12.5
    assert arguments["overrides"] == {
        "base_url": DEFAULT_SERVER,
        "key_source": "the Airflow connection 'wandb_default'",
        "entity": "team",
        "project": "churn",
        "allow_http": "True",
    }


def test_a_connection_as_a_uri_works_too(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_W", f"wandb://:{KEY}@wandb.example.com:8443/?entity=team")
    arguments = client_arguments(WandbHook.get_connection("w"))
    assert arguments["overrides"] == {
        "base_url": "https://wandb.example.com:8443",
        "key_source": "the Airflow connection 'w'",
        "entity": "team",
    }
    assert arguments["api_key"] == KEY


def test_a_connection_without_a_key_is_an_error_that_says_what_to_do(connection):
    """Somebody meant to configure it; falling back to other credentials would hide that."""
    connection(host="https://wandb.example.com")
    with pytest.raises(CredentialsError, match=r"no API key.*wandb_default.*password"):
        WandbHook().get_conn()


@pytest.mark.parametrize(
    "fields",
    [{"host": "ftp://x"}, {"host": "http://"}, {"extra": {"timeout": "soon"}}, {"extra": {"timeout": -1}}],
)
def test_what_cannot_be_used_is_refused_before_anything_is_sent(fields, connection):
    connection(password=KEY, **fields)
    with pytest.raises(UsageError, match="wandb_default") as caught:
        WandbHook().get_conn()
    assert KEY not in str(caught.value)


def test_an_extra_field_with_a_typing_error_is_reported(connection, caplog):
    connection(password=KEY, extra={"entitiy": "team"})
    with caplog.at_level("WARNING", logger="wandb_ops.airflow"):
        client_arguments(WandbHook.get_connection("wandb_default"))
    assert "entitiy" in caplog.text
    assert "team" not in caplog.text


def test_without_the_default_connection_the_environment_counts(wandb_env):
    api = WandbHook().get_conn()
    assert api.settings["base_url"] == wandb_env.url
    assert WandbHook(None).get_conn().settings["base_url"] == wandb_env.url


def test_a_connection_that_somebody_named_must_exist(wandb_env):
    with pytest.raises(AirflowNotFoundException, match="elsewhere"):
        WandbHook("elsewhere").get_conn()


def test_the_environment_does_not_mix_into_a_connection(connection, monkeypatch):
    """The connection's key must not go to the server that some variable names."""
    monkeypatch.setenv("WANDB_BASE_URL", "https://other.example.com")
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    connection(password=KEY)
    assert WandbHook().get_conn().settings["base_url"] == DEFAULT_SERVER


def test_one_client_per_process(server, monkeypatch):
    hook = WandbHook()
    first = hook.get_conn()
    assert hook.get_conn() is first
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    assert hook.get_conn() is not first


def test_the_connection_test_names_server_account_and_entity(server):
    ok, message = WandbHook().test_connection()
    assert ok, message
    assert server.url in message
    assert f"entity {server.entity}" in message
    assert server.api_key not in message


def test_the_connection_test_says_what_is_wrong(server, connection):
    connection(password="e" * 40, host=server.url, extra={"timeout": 5})
    ok, message = WandbHook().test_connection()
    assert not ok
    assert "e" * 40 not in message
    assert "does not accept the API key from the Airflow connection 'wandb_default'" in message


def test_the_connection_test_reports_a_half_filled_connection(connection):
    connection(host="https://wandb.example.com")
    ok, message = WandbHook().test_connection()
    assert not ok
    assert "no API key" in message


def test_the_key_is_masked_in_task_logs(connection):
    from airflow.sdk.log import redact

    connection(password=KEY)
    client_arguments(WandbHook.get_connection("wandb_default"))
    assert KEY not in redact(f"the key is {KEY}")


def test_a_connection_without_a_host_goes_where_the_core_goes():
    from wandb_ops.settings import DEFAULT_BASE_URL

    assert DEFAULT_SERVER == DEFAULT_BASE_URL
