"""Helpers of the export tests."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wandb_ops.history.ref import RunRef
from wandb_ops.local.serve import LocalServer
from wandb_ops.protocol.filestream import FileStream
from wandb_ops.protocol.runs import upsert_run
from wandb_ops.protocol.values import dumps
from wandb_ops.public.api import Api
from wandb_ops.settings import Settings
from wandb_ops.transport.retry import Kind
from wandb_ops.transport.session import Transport


@pytest.fixture
def leftovers() -> Callable[[Path], list[str]]:
    """What stands in a folder besides the files that belong there."""

    def look(folder: Path) -> list[str]:
        return sorted(p.name for p in folder.iterdir() if "part" in p.name or p.name.startswith("."))

    return look


@pytest.fixture
def same() -> Callable[[Any, Any], bool]:
    """Equality that tells 1 from 1.0 and True, -0.0 from 0.0, and holds NaN equal to itself."""

    def equal(left: Any, right: Any) -> bool:
        if type(left) is not type(right):
            return False
        if isinstance(left, float):
            return struct.pack(">d", left) == struct.pack(">d", right) or (
                math.isnan(left) and math.isnan(right)
            )
        if isinstance(left, dict):
            return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
        if isinstance(left, list):
            return len(left) == len(right) and all(map(equal, left, right))
        return bool(left == right)

    return equal


class CountingTransport(Transport):
    """The real transport, which writes down the operations that it sends."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.sent: list[tuple[str, Kind]] = []

    def post(self, path: str, body: bytes, *, kind: Kind, operation: str, **rest: Any) -> Any:
        self.sent.append((operation, kind))
        return super().post(path, body, kind=kind, operation=operation, **rest)

    def upload(self, url: str, *rest: Any, **more: Any) -> None:
        raise AssertionError(f"an export uploads nothing, not to {url}")


class Project:
    """A project on an embedded server: tests log into it and export from it."""

    def __init__(self, server: LocalServer, name: str) -> None:
        self.server = server
        self.name = name
        self.api = Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)
        self.transport = CountingTransport(self.api.transport.settings)

        # A client whose every request is written down.
        self.watched = Api({"base_url": server.url, "entity": server.entity}, api_key=server.api_key)
        self.watched._transport = self.transport

    @property
    def asked(self) -> list[str]:
        """Operations sent by the watched client since this was last looked at."""
        names = [operation for operation, _ in self.transport.sent]
        self.transport.sent.clear()
        return names

    def spoil_count(self, run_id: str, more: int) -> None:
        """Let the server count `more` history rows than it has."""
        with self.server.service.store.writing() as connection:
            connection.execute(
                "UPDATE runs SET history_lines = history_lines + ? WHERE name = ? AND project IN"
                " (SELECT id FROM projects WHERE name = ?)",
                (more, run_id, self.name),
            )

    def ref(self, run_id: str) -> RunRef:
        return RunRef(self.server.entity, self.name, run_id)

    def log(
        self,
        run_id: str,
        rows: list[dict[str, Any]] | None = None,
        *,
        at_line: int = 0,
        summary: dict[str, Any] | None = None,
        finish: int | None = 0,
        events: list[dict[str, Any]] | None = None,
        **about: Any,
    ) -> RunRef:
        """Write a run as a training would: `rows` from line `at_line` on, then the exit code."""
        ref = self.ref(run_id)
        where = {"entity": ref.entity, "project": ref.project, "run_id": run_id}
        transport = self.api.transport
        upsert_run(transport, **where, **about)
        stream = FileStream(transport, **where, offsets={"wandb-history.jsonl": at_line})
        stream.append("wandb-history.jsonl", [dumps(row) for row in rows or []])
        if events:
            stream.append("wandb-events.jsonl", [dumps(row) for row in events])
        if summary is not None:
            stream.set_summary(dumps(summary))
        if finish is None:
            stream.flush()
        else:
            stream.finish(finish)
        return ref


@pytest.fixture
def project(wandb_server_session: LocalServer, request: pytest.FixtureRequest) -> Project:
    """A project of the test's own."""
    return Project(wandb_server_session, f"p{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}")
