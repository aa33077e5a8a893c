"""Credentials of an object store, from the Airflow connection that holds them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Connection

_SECRETS = ("secret", "token", "account_key", "client_secret", "sas_token", "connection_string")


def storage_options(conn_id: str | None) -> dict[str, Any] | None:
    """What fsspec has to be told to reach the store of a connection; None without a connection.

    Connections of Amazon (``aws``), Google (``google_cloud_platform``) and Azure (``wasb``, ``adls``) are
    taken as their own providers take them: key and secret, key file, account and key. Of any other type, the
    *extra* is taken as fsspec's options.

    :param conn_id: the connection's id, or None for what stands in the worker's environment.
    :raises AirflowNotFoundException: there is no such connection.
    """
    return None if conn_id is None else options_of(BaseHook.get_connection(conn_id))


def options_of(connection: Connection) -> dict[str, Any]:
    """fsspec's options of a connection; its secrets are masked in task logs.

    :param connection: the connection.
    """
    extra: Mapping[str, Any] = connection.extra_dejson or {}
    options: dict[str, Any]
    match connection.conn_type:
        case "aws":
            options = {
                "key": connection.login or extra.get("aws_access_key_id"),
                "secret": connection.password or extra.get("aws_secret_access_key"),
                "token": extra.get("aws_session_token"),
                "endpoint_url": extra.get("endpoint_url"),
            }
            if extra.get("region_name"):
                options["client_kwargs"] = {"region_name": extra["region_name"]}
        case "google_cloud_platform":
            keyfile = extra.get("keyfile_dict")  # Airflow's form stores it as text
            options = {
                "token": json.loads(keyfile) if isinstance(keyfile, str) and keyfile else keyfile,
                "project": extra.get("project"),
            }
            options["token"] = options["token"] or extra.get("key_path")
        case "wasb" | "adls":
            options = _azure(connection, extra)
        case _:
            options = dict(extra)
    found = {name: value for name, value in options.items() if value}
    for name in _SECRETS:
        if found.get(name):
            mask_secret(found[name])
    return found


def _azure(connection: Connection, extra: Mapping[str, Any]) -> dict[str, Any]:
    """As Azure's provider reads it: with a tenant, login and password are an application's."""
    named = {name: extra.get(name) for name in ("connection_string", "sas_token")}
    host = (connection.host or "").partition("://")[2] or connection.host or ""
    account = host.partition("/")[0].partition(".")[0]
    if extra.get("tenant_id"):
        application = {"client_id": connection.login, "client_secret": connection.password}
        return {**named, "account_name": account, "tenant_id": extra["tenant_id"], **application}
    if connection.conn_type == "wasb":
        account = connection.login or account
    return {**named, "account_name": account, "account_key": connection.password}
