"""Pytest fixtures that give a pipeline's tests a real W&B-compatible server on loopback.

Installed with the package as a pytest plugin: a test only names the fixture it wants. Nothing of the
server is imported before a fixture is used, so the plugin costs other test suites nothing.

    def test_my_pipeline(wandb_env):
        api = wandb_ops.Api()                     # finds the server through WANDB_* in the environment
        run = api.create_run(project="demo")
        ...
        assert wandb_env.run("demo", run.id).history == [...]

    def test_my_pipeline_at_3_a_m(wandb_env):
        with wandb_env.faults(Fault(status=502, times=3), Fault.lost_answer(operation="UpsertBucket")):
            my_pipeline()

:class:`Fault` and :class:`LocalServer` can be imported from here, too.

Needs the ``local`` extra (``pip install wandb-ops[local]``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wandb_ops.local.faults import Fault
    from wandb_ops.local.serve import LocalServer

__all__ = ["Fault", "LocalServer", "wandb_env", "wandb_server", "wandb_server_session"]


def __getattr__(name: str) -> Any:
    """`Fault` and `LocalServer`, imported when they are asked for."""
    if name == "Fault":
        from wandb_ops.local.faults import Fault

        return Fault
    if name == "LocalServer":
        from wandb_ops.local.serve import LocalServer

        return LocalServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _start(data: Path) -> LocalServer:
    try:
        from wandb_ops.local.serve import LocalServer
    except ImportError as error:
        # A skip would let a whole pipeline go untested without a word.
        pytest.fail(
            f"the fixtures of wandb_ops.testing start the embedded server, which needs {error.name}:"
            " pip install 'wandb-ops[local]'",
            pytrace=False,
        )
    return LocalServer(data=data)


@pytest.fixture
def wandb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A fresh embedded server on a free loopback port, with an empty data folder, for one test.

    Attributes: ``url``, ``api_key``, ``entity``, ``data`` (the folder), ``env`` (a dict of
    ``WANDB_BASE_URL``, ``WANDB_API_KEY`` and ``WANDB_ENTITY``, for subprocesses).
    ``run(path)``, ``runs(project)``, ``artifact(path)`` and ``queue_items(queue)`` look at what was stored,
    past every client; ``fail_next()``, ``faults()``, ``requests()`` and ``advance()`` break it, count its
    requests and move its clock.
    """
    with _start(tmp_path_factory.mktemp("wandb-server")) as server:
        yield server


@pytest.fixture(scope="session")
def wandb_server_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """One embedded server for the whole test session: quicker, when tests use projects of their own."""
    with _start(tmp_path_factory.mktemp("wandb-server")) as server:
        yield server


@pytest.fixture
def wandb_env(wandb_server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> LocalServer:
    """The server of ``wandb_server``, with this process's ``WANDB_*`` variables pointing at it.

    Variables that would lead a client elsewhere (``WANDB_PROJECT``, ``WANDB_RUN_ID``, ``WANDB_MODE``) are
    removed for the time of the test.
    """
    for name in ("WANDB_PROJECT", "WANDB_RUN_ID", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_APP_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in wandb_server.env.items():
        monkeypatch.setenv(name, value)
    return wandb_server
