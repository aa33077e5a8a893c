"""Starting and stopping the server: in the background of a test or notebook, or in a shell's foreground."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import secrets
import shutil
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from starlette.applications import Starlette

from wandb_ops.local import app as protocol
from wandb_ops.local import automations
from wandb_ops.local.accounts import provision
from wandb_ops.local.faults import FaultyApp
from wandb_ops.local.observe import Observed
from wandb_ops.local.service import Service, Settings, open_service
from wandb_ops.local.web import pages

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from wandb_ops.local.accounts.provision import AddedOrganization, AddedTeam, AddedUser
    from wandb_ops.local.faults import Faults

_log = logging.getLogger("wandb_ops.local")

_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 20.0


def build_app(service: Service) -> Starlette:
    """The ASGI application over an opened data folder."""
    return Starlette(routes=[*protocol.routes(service), *pages.routes(service)])


class _Server(uvicorn.Server):
    """A uvicorn server that says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    def hang_up(self, client: tuple[str, int]) -> None:
        """Close the connection to a client once what was sent has left."""
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == client:
                connection.transport.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if not ipaddress.ip_address(host).is_loopback:
        _log.warning("listening on %s: the API key travels unencrypted over the network", host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _uvicorn(service: Service, ready: Callable[[], None], faults: Faults | None = None) -> _Server:
    app = build_app(service)
    config = uvicorn.Config(
        FaultyApp(app, faults) if faults is not None else app,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,  # it would write signed queries into the log
        server_header=False,
        timeout_keep_alive=75,  # longer than clients keep idle connections, so that none meets a closing one
        timeout_graceful_shutdown=5,
    )
    server = _Server(config, ready)
    if faults is not None:
        faults.hang_up = server.hang_up
    return server


class LocalServer(Observed):
    """A W&B-compatible server in a thread of this process.

        with LocalServer() as server:
            os.environ.update(server.env)
            ...

    Args:
        data: The folder that keeps everything; None takes a temporary one, removed by :meth:`stop`.
        host: The address to listen on.
        port: 0 takes a free one.
        entity: The server's own user, an administrator, and the name of his entity.
        api_key: The key that clients must send; None takes the folder's own, made on first use.
        clock: Seconds since the epoch; tests move it to see crashed runs and expired URLs.
        settings: Further fields of :class:`wandb_ops.local.service.Settings`, such as ``crash_after``,
            ``parquet_after_rows`` and ``admin_key``.

    Raises:
        RuntimeError: Another server has the folder open, or the server did not start.
        OSError: The port is taken.
    """

    def __init__(
        self,
        data: str | os.PathLike[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        entity: str = "local",
        api_key: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
        **settings: Any,
    ) -> None:
        super().__init__(clock)
        self._temporary = data is None
        temporary = Path(tempfile.gettempdir()) / f"wandb-local-{secrets.token_hex(8)}"
        self.data = temporary if data is None else Path(data)
        self.host = host
        self.port = port
        self.entity = entity
        self._given_key = api_key
        self._settings = Settings(entity=entity, **settings)
        self._service: Service | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._base_url = ""
        self._api_key = ""

    @property
    def service(self) -> Service:
        """The opened data folder."""
        if self._service is None:
            raise RuntimeError("the server is not started")
        return self._service

    @property
    def url(self) -> str:
        """``http://host:port``, without a trailing slash."""
        if not self._base_url:
            raise RuntimeError("the server is not started")
        return self._base_url

    @property
    def api_key(self) -> str:
        """The key that clients must send; known once the server was started."""
        if not self._api_key:
            raise RuntimeError("the server is not started")
        return self._api_key

    @property
    def env(self) -> dict[str, str]:
        """The environment that leads a client here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": self.api_key, "WANDB_ENTITY": self.entity}

    def env_of(self, user: AddedUser) -> dict[str, str]:
        """The environment that leads a client here as another user."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": user.api_key, "WANDB_ENTITY": user.entity}

    def add_user(
        self,
        username: str,
        *,
        email: str | None = None,
        name: str | None = None,
        admin: bool = False,
        teams: Iterable[str] = (),
        api_key: str | None = None,
    ) -> AddedUser:
        """Make a user; what comes back holds the only copy of his key.

        Args:
            email: None is ``username@localhost``.
            name: The name shown; None is the username.
            admin: Whether he administers the server: may make and find users. He sees no more for that.
            teams: Teams that he is to be a member of.
            api_key: None makes one.

        Raises:
            Refused: (:class:`wandb_ops.local.errors.Refused`) A name, address or key is taken, or cannot be
                one; or there is no such team.
        """
        return provision.add_user(
            self.service, username, email=email, name=name, admin=admin, teams=teams, api_key=api_key
        )

    def add_team(
        self,
        name: str,
        *,
        members: Mapping[str, str] | Iterable[str] = (),
        organization: str | None = None,
    ) -> AddedTeam:
        """Make a team, an entity of its own that its members see.

        Args:
            members: Usernames, or role ("admin", "member") by username.
            organization: The organisation that it belongs to.

        Raises:
            Refused: The name is taken or cannot be one; or there is no such user or organisation.
        """
        return provision.add_team(self.service, name, members=members, organization=organization)

    def add_service_account(self, team: str, description: str) -> AddedUser:
        """Make an account that acts for a team alone; what comes back holds the only copy of its key."""
        return provision.add_service_account(self.service, team, description)

    def add_organization(
        self,
        name: str,
        *,
        entity: str | None = None,
        teams: Iterable[str] = (),
        members: Iterable[str] = (),
    ) -> AddedOrganization:
        """Make an organisation, whose entity its members and the members of its teams see.

        Args:
            entity: Name of the entity that owns its registries; None makes one of the organisation's name.
            teams: Teams that belong to it from now on.
            members: Usernames.

        Raises:
            Refused: A name is taken or cannot be one; or there is no such team or user.
        """
        return provision.add_organization(self.service, name, entity=entity, teams=teams, members=members)

    def add_slack_integration(self, entity: str, *, team: str, channel: str) -> str:
        """Give an entity a Slack integration, which automations of the entity can name; returns its id.

        W&B makes them in its app; here nothing is ever sent to Slack.

        Args:
            team: The Slack workspace's name.
            channel: The channel's name.

        Raises:
            Refused: There is no such entity, or a text is missing.
        """
        with self.service.store.writing() as db:
            now = self.service.store.now()
            return automations.add_integration(db, now, entity, automations.SLACK, team, channel).id

    def start(self) -> Self:
        """Open the folder and answer; returns once requests are answered."""
        if self._thread is not None:
            raise RuntimeError("the server is started already")
        self._service = open_service(self.data, self._settings, self._given_key, self._now)
        self._api_key = self._service.api_key
        try:
            listener = _listen(self.host, self.port)
        except BaseException:
            self._close()
            raise
        # The same port after a restart, so that URLs handed out before still lead here.
        self.port = listener.getsockname()[1]
        self._base_url = _url(listener)
        ready = threading.Event()
        self._server = _uvicorn(self._service, ready.set, self._faults)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="wandb-local", daemon=True
        )
        self._thread.start()
        if not ready.wait(_START_TIMEOUT):
            self.stop()
            raise RuntimeError("the server did not start")
        return self

    def stop(self) -> None:
        """Finish the requests under way and close the folder. Does nothing when stopped already."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_TIMEOUT)
            if self._thread.is_alive():
                self._server.force_exit = True
                self._thread.join(_STOP_TIMEOUT)
        self._server = self._thread = None
        self._close()
        if self._temporary:
            shutil.rmtree(self.data, ignore_errors=True)

    def _close(self) -> None:
        if self._service is not None:
            self._service.close()
            self._service = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()


@contextlib.contextmanager
def _signals_ignored_afterwards() -> Iterator[None]:
    """uvicorn ends in good order on SIGTERM and then raises it again, which would end this process at once
    and leave the database unfolded. A handler that does nothing takes that second signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(
    host: str,
    port: int,
    data: str | os.PathLike[str],
    entity: str,
    api_key: str | None,
    ready: Callable[[str, str], None],
    **settings: Any,
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM.

    Args:
        port: 0 takes a free one.
        api_key: None takes the folder's own, made on first use.
        ready: Called with the URL and the key once requests are answered.
        settings: As for :class:`LocalServer`.
    """
    service = open_service(Path(data), Settings(entity=entity, **settings), api_key)
    try:
        listener = _listen(host, port)
        url = _url(listener)
        with _signals_ignored_afterwards(), contextlib.suppress(KeyboardInterrupt):
            _uvicorn(service, lambda: ready(url, service.api_key)).run(sockets=[listener])
    finally:
        service.close()
