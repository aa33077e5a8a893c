"""The hook: an Airflow connection becomes a `wandb_ops.Api`."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import AirflowNotFoundException
from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from wandb_ops.errors import CredentialsError, Error, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Connection

    from wandb_ops import Api

log = logging.getLogger("wandb_ops.airflow")

DEFAULT_SERVER = "https://api.forge.coreweave.com"
EXTRA_FIELDS = frozenset({"entity", "project", "timeout", "allow_http"})


class WandbHook(BaseHook):
    """Talk to W&B with the credentials of an Airflow connection.

    The connection, of type ``wandb``, has the API key as its *password*, the server as its *host* (empty
    means W&B's public cloud) and in *extra* ``entity``, ``project``, ``timeout`` (seconds one call may take
    in all) and ``allow_http`` (true for a server on a trusted network that has no TLS).

    Which credentials count:

    1. The connection ``wandb_conn_id``. It stands alone: its key goes to its server, and neither
       ``WANDB_API_KEY`` nor ``WANDB_BASE_URL`` mixes in. One that has no key is an error, since somebody
       meant to configure it.
    2. No connection of the default name ``wandb_default``, or ``wandb_conn_id=None``: what W&B's own tools
       use on that machine, so ``WANDB_API_KEY``, ``WANDB_BASE_URL``, ``WANDB_ENTITY``, ``WANDB_PROJECT``,
       then W&B's settings file, then netrc.
    3. No connection of any other name: an error.

    The key is masked in task logs; neither the hook nor the client logs it.

    :param wandb_conn_id: the connection's id; None for the machine's own credentials.
    """

    conn_name_attr = "wandb_conn_id"
    default_conn_name = "wandb_default"
    conn_type = "wandb"
    hook_name = "Weights & Biases"

    def __init__(self, wandb_conn_id: str | None = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wandb_conn_id = wandb_conn_id
        self._api: Api | None = None
        self._pid = -1

    def get_conn(self) -> Api:
        """The client; made once per process, so that a forked task opens its own connections.

        :raises CredentialsError: there is no key, or the connection is half filled.
        :raises AirflowNotFoundException: a connection other than the default one does not exist.
        """
        if self._api is None or self._pid != os.getpid():
            from wandb_ops import Api

            self._api = Api(**self._client_arguments())
            self._pid = os.getpid()
        return self._api

    def test_connection(self) -> tuple[bool, str]:
        """Whether the server accepts the key, and who it says we are."""
        try:
            api = self.get_conn()
            viewer = api.viewer
            settings = api.settings
            entity = settings.get("entity") or api.default_entity
            return True, f"{settings['base_url']} knows you as {viewer.username}; runs go to entity {entity}."
        except Error as error:
            return False, str(error)

    def _client_arguments(self) -> dict[str, Any]:
        if self.wandb_conn_id is None:
            return {}
        try:
            connection = self.get_connection(self.wandb_conn_id)
        except AirflowNotFoundException:
            if self.wandb_conn_id != self.default_conn_name:
                raise
            log.info("No connection %s; using this machine's own W&B credentials", self.wandb_conn_id)
            return {}
        return client_arguments(connection)


def client_arguments(connection: Connection) -> dict[str, Any]:
    """Arguments of `wandb_ops.Api` that say what the connection says.

    :param connection: a connection of type ``wandb``.
    :raises CredentialsError: it has no API key.
    :raises UsageError: its host, port or timeout cannot be used.
    """
    where = f"connection {connection.conn_id}"
    if not connection.password:
        raise CredentialsError(
            "the connection has no API key",
            where=where,
            hint="Put the key into its password, or delete the connection to use WANDB_API_KEY.",
        )
    mask_secret(connection.password)
    extra: Mapping[str, Any] = connection.extra_dejson or {}
    unknown = sorted(set(extra) - EXTRA_FIELDS)
    if unknown:
        log.warning("%s has extra fields that mean nothing here: %s", where, ", ".join(unknown))
    overrides = {
        "base_url": _base_url(connection, where),
        "key_source": f"the Airflow connection '{connection.conn_id}'",
    }
    overrides |= {name: str(extra[name]) for name in ("entity", "project", "allow_http") if extra.get(name)}
    arguments: dict[str, Any] = {"api_key": connection.password, "overrides": overrides}
    if extra.get("timeout"):
        arguments["timeout"] = _seconds(extra["timeout"], where)
    return arguments


def _base_url(connection: Connection, where: str) -> str:
    host = (connection.host or "").strip()
    if not host:
        return DEFAULT_SERVER
    if "://" not in host:
        host = f"{connection.schema or 'https'}://{host}"
    parts = urlsplit(host)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(
            "the host is not the address of a server", where=where, hint=f"E.g. {DEFAULT_SERVER}"
        )
    if connection.port and parts.port is None:
        host = parts._replace(netloc=f"{parts.netloc}:{connection.port}").geturl()
    return host.rstrip("/")


def _seconds(value: Any, where: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise UsageError("the timeout is not a number of seconds above 0", where=where)
    return seconds
